//! Writes XDR (RFC 4506) at the end of a buffer that belongs to the worker.
//!
//! Several numbers are put down in one piece ([`Writer::words`]), because a reply of thirty
//! numbers with a capacity check for each costs more than the system call behind it. Invariant:
//! the buffer grows by a multiple of four bytes with every call. Not promised: that the lengths
//! suit the receiver; the caller keeps the protocol's maxima.

use super::padding;

/// Appends to a buffer.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut Vec<u8>,
}

impl<'b> Writer<'b> {
    /// Appends to `buffer`.
    pub fn new(buffer: &'b mut Vec<u8>) -> Self {
        Self { buffer }
    }

    /// Bytes in the buffer, those of earlier replies included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the buffer is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes back everything behind the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.buffer.truncate(length);
    }

    /// Unsigned integers, one after the other.
    #[inline]
    pub fn words<const N: usize>(&mut self, words: [u32; N]) {
        let mut bytes = [[0; 4]; N];
        for (to, from) in bytes.iter_mut().zip(words) {
            *to = from.to_be_bytes();
        }
        self.buffer.extend_from_slice(bytes.as_flattened());
    }

    /// An unsigned integer.
    #[inline]
    pub fn u32(&mut self, number: u32) {
        self.buffer.extend_from_slice(&number.to_be_bytes());
    }

    /// An unsigned hyper integer.
    #[inline]
    pub fn u64(&mut self, number: u64) {
        self.buffer.extend_from_slice(&number.to_be_bytes());
    }

    /// Fixed-length opaque data; `N` is a multiple of four.
    #[inline]
    pub fn fixed<const N: usize>(&mut self, bytes: &[u8; N]) {
        const { assert!(N.is_multiple_of(4), "other lengths would need padding") };
        self.buffer.extend_from_slice(bytes);
    }

    /// Variable-length opaque data with its length and padding.
    ///
    /// # Panics
    /// If `bytes` has 2^32 bytes or more, which no reply of ours comes near.
    #[inline]
    pub fn opaque(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        assert!(length < u32::MAX, "replies are bounded far below 4 GiB");
        self.u32(length);
        self.buffer.extend_from_slice(bytes);
        let zeros = [0; 3];
        let zeros = zeros.get(..padding(bytes.len())).unwrap_or(&[]);
        self.buffer.extend_from_slice(zeros);
    }

    /// Overwrites the number at `position`, which was written before.
    ///
    /// # Panics
    /// If the buffer has no four bytes there.
    #[inline]
    pub fn patch(&mut self, position: usize, number: u32) {
        let place = self.buffer.get_mut(position..position + 4);
        assert!(place.is_some(), "only what was written can be overwritten");
        if let Some(place) = place {
            place.copy_from_slice(&number.to_be_bytes());
        }
    }
}

/// The upper and lower half of a hyper integer, for [`Writer::words`].
#[must_use]
pub const fn halves(number: u64) -> [u32; 2] {
    [(number >> 32) as u32, number as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_ends_on_a_multiple_of_four() {
        for length in 0..9 {
            let mut buffer = Vec::new();
            Writer::new(&mut buffer).opaque(&vec![7; length]);
            assert_eq!(buffer.len(), 4 + length.next_multiple_of(4));
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer);
        writer.words([1, 2]);
        writer.u64(3);
        writer.opaque(b"hello");
        writer.fixed(b"verifier");
        writer.patch(0, 9);
        let mut reader = crate::xdr::Reader::new(&buffer);
        assert_eq!((reader.u32(), reader.u32()), (Ok(9), Ok(2)));
        assert_eq!(reader.u64(), Ok(3));
        assert_eq!(reader.opaque(9), Ok(&b"hello"[..]));
        assert_eq!(reader.fixed(), Ok(*b"verifier"));
        assert_eq!(reader.rest(), b"");
    }

    #[test]
    fn a_hyper_integer_is_two_words() {
        assert_eq!(halves(0x1_0000_0002), [1, 2]);
    }
}
