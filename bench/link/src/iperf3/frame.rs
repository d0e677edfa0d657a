//! JSON frames of the control connection: a length of four octets, then that much text.
//!
//! Invariant: a claim is judged before anything is kept, and memory grows with bytes that have
//! arrived, never with a claim. The text is parsed into a generic value: version 3.12 repeats
//! keys and prints negative numbers as unsigned, which a strict reader would refuse.

use serde_json::Value;

use super::fault::Fault;

/// Largest parameters in bytes: what a 3.21 server accepts.
pub const PARAMETERS_BYTES_MAX: usize = 8 * 1024;

/// Largest results in bytes: 256 streams need 64 KiB; the rest is the server's own output, which
/// a client may ask for.
pub const RESULTS_BYTES_MAX: usize = 16 << 20;

const LENGTH_BYTES: usize = 4;

/// Takes one frame off a stream of bytes, in whatever pieces it comes.
#[derive(Debug)]
pub struct FrameReader {
    what: &'static str,
    bytes_max: usize,
    head: Vec<u8>,
    length: Option<usize>,
    text: Vec<u8>,
}

impl FrameReader {
    /// A reader for the message called `what`, of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(what: &'static str, bytes_max: usize) -> Self {
        Self {
            what,
            bytes_max,
            head: Vec::new(),
            length: None,
            text: Vec::new(),
        }
    }

    /// Takes what there is off the front of `input`; the value once it is complete.
    ///
    /// # Errors
    /// [`Fault`] for a claim out of bounds or a text that is no JSON.
    pub fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Value>, Fault> {
        if self.length.is_none() {
            let missing = LENGTH_BYTES - self.head.len();
            let (taken, rest) = input.split_at(missing.min(input.len()));
            self.head.extend_from_slice(taken);
            *input = rest;
            let Ok(head) = <[u8; LENGTH_BYTES]>::try_from(self.head.as_slice()) else {
                return Ok(None);
            };
            let bytes = u32::from_be_bytes(head) as usize;
            if bytes == 0 || bytes > self.bytes_max {
                let bytes_max = self.bytes_max;
                return Err(Fault::FrameLength { bytes, bytes_max });
            }
            self.length = Some(bytes);
        }
        let length = self.length.unwrap_or_default();
        let missing = length - self.text.len();
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.text.extend_from_slice(taken);
        *input = rest;
        if self.text.len() < length {
            return Ok(None);
        }
        // The C program of some versions counts a NUL at the end.
        let text = self.text.strip_suffix(&[0]).unwrap_or(&self.text);
        match serde_json::from_slice(text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(Fault::Frame {
                what: self.what,
                why: format!("no JSON: {error}"),
            }),
        }
    }
}

/// The frame around a value.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_cut_gives_the_same_value() {
        let value = json!({"tcp": true, "time": 1});
        let bytes = [encode(&value), b"rest".to_vec()].concat();
        for cut in 0..bytes.len() {
            let mut reader = FrameReader::new("test", 100);
            let mut first = &bytes[..cut];
            let early = reader.advance(&mut first).unwrap();
            let mut second = &bytes[cut - first.len()..];
            let found = match early {
                Some(found) => found,
                None => reader.advance(&mut second).unwrap().unwrap(),
            };
            assert_eq!(found, value, "cut at {cut}");
            assert!(second.ends_with(b"rest"), "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_at_the_limit_passes_and_one_past_it_is_refused_before_it_is_kept() {
        let mut reader = FrameReader::new("test", 8);
        assert_eq!(reader.advance(&mut &[0, 0, 0, 8][..]), Ok(None));
        for claim in [[0, 0, 0, 9], [0xff; 4], [0; 4]] {
            let mut reader = FrameReader::new("test", 8);
            let result = reader.advance(&mut &claim[..]);
            assert!(
                matches!(result, Err(Fault::FrameLength { .. })),
                "{claim:?}"
            );
            assert_eq!(reader.text.capacity(), 0);
        }
    }
}
