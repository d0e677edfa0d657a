//! Chunked transfer-coding: where each chunk of an upload begins and ends.
//!
//! Governed by RFC 9112 section 7.1. Extensions and trailer fields are read and forgotten. Only
//! the framing passes through here; the bytes of a chunk go from the socket to the file without
//! being seen. Invariant: no line longer than [`LINE_BYTES_MAX`] and no trailer longer than
//! [`TRAILER_BYTES_MAX`] is waited for. Not promised: that trailer fields make sense.

use memchr::memchr;

/// Longest line with a chunk size and its extensions, in bytes; 16 digits would do.
pub const LINE_BYTES_MAX: usize = 256;

/// Longest trailer behind the last chunk, in bytes; nobody sends one with a file.
pub const TRAILER_BYTES_MAX: usize = 4096;

/// Why the framing of a body is not accepted: answer 400 and close.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChunkFault {
    /// No hexadecimal size, or one above 2^60.
    #[error("a chunk must begin with its size in hexadecimal")]
    BadSize,
    /// A line past [`LINE_BYTES_MAX`], or a trailer past [`TRAILER_BYTES_MAX`].
    #[error("a chunk line or the trailer is too long")]
    TooLong,
    /// A line that does not end in CR LF, or bytes behind the end of a chunk.
    #[error("a chunk must end in CR LF")]
    BadEnd,
}

/// What comes next in a chunked body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// More input is needed.
    Input,
    /// A chunk of this many bytes, at least 1, follows.
    Chunk(u64),
    /// The body is complete.
    End,
}

/// The framing of one body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunks {
    state: State,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    /// A size line comes.
    #[default]
    Size,
    /// The CR LF behind a chunk comes.
    BehindChunk,
    /// Trailer lines come.
    Trailer,
}

impl Chunks {
    /// Takes framing off the front of `input`. After [`Next::Chunk`] the caller takes the bytes
    /// of the chunk itself and calls again.
    ///
    /// # Errors
    /// [`ChunkFault`].
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Next, ChunkFault> {
        loop {
            match self.state {
                State::BehindChunk => match input.split_first_chunk::<2>() {
                    Some((b"\r\n", rest)) => {
                        *input = rest;
                        self.state = State::Size;
                    }
                    Some(_) => return Err(ChunkFault::BadEnd),
                    None => return Ok(Next::Input),
                },
                State::Size => {
                    let Some(line) = take_line(input, LINE_BYTES_MAX)? else {
                        return Ok(Next::Input);
                    };
                    let length = size(line)?;
                    if length > 0 {
                        self.state = State::BehindChunk;
                        return Ok(Next::Chunk(length));
                    }
                    self.state = State::Trailer;
                }
                State::Trailer => {
                    let left = TRAILER_BYTES_MAX - self.trailer_bytes;
                    let Some(line) = take_line(input, left)? else {
                        return Ok(Next::Input);
                    };
                    self.trailer_bytes += line.len() + 2;
                    if line.is_empty() {
                        return Ok(Next::End);
                    }
                }
            }
        }
    }
}

/// A line without its CR LF; `None` if it is not all there.
fn take_line<'a>(input: &mut &'a [u8], limit: usize) -> Result<Option<&'a [u8]>, ChunkFault> {
    let Some(end) = memchr(b'\n', input) else {
        return if input.len() >= limit {
            Err(ChunkFault::TooLong)
        } else {
            Ok(None)
        };
    };
    if end + 1 > limit {
        return Err(ChunkFault::TooLong);
    }
    let (line, rest) = input.split_at_checked(end + 1).ok_or(ChunkFault::BadEnd)?;
    let line = line.strip_suffix(b"\r\n").ok_or(ChunkFault::BadEnd)?;
    if line.contains(&b'\r') {
        return Err(ChunkFault::BadEnd);
    }
    *input = rest;
    Ok(Some(line))
}

/// The hexadecimal number before an extension.
fn size(line: &[u8]) -> Result<u64, ChunkFault> {
    let text = line.split(|byte| *byte == b';').next().unwrap_or(&[]);
    let text = text.trim_ascii_end();
    // Fifteen digits stay below 2^60, so no sum of two sizes overflows.
    if text.is_empty() || text.len() > 15 {
        return Err(ChunkFault::BadSize);
    }
    text.iter().try_fold(0, |value, byte| {
        let digit = (*byte as char).to_digit(16).ok_or(ChunkFault::BadSize)?;
        Ok(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a whole body that arrives cut at `cut`.
    fn read(stream: &[u8], cut: usize) -> Result<Vec<u8>, ChunkFault> {
        let (mut chunks, mut body, mut consumed) = (Chunks::default(), Vec::new(), 0);
        let mut chunk = 0;
        for arrived in [cut, stream.len()] {
            loop {
                let mut unread = &stream[consumed..arrived];
                let taken = unread.len().min(chunk as usize);
                body.extend_from_slice(&unread[..taken]);
                consumed += taken;
                chunk -= taken as u64;
                if chunk > 0 {
                    break;
                }
                unread = &stream[consumed..arrived];
                let next = chunks.next(&mut unread)?;
                consumed = arrived - unread.len();
                match next {
                    Next::Input => break,
                    Next::Chunk(length) => chunk = length,
                    Next::End => {
                        assert_eq!(&stream[consumed..], b"GET");
                        return Ok(body);
                    }
                }
            }
        }
        panic!("no end");
    }

    #[test]
    fn every_cut_gives_the_same_body() {
        let stream = b"5;name=\"x\"\r\nhello\r\nA \r\n, world !!\r\n0\r\nX: y\r\n\r\nGET";
        for cut in 0..stream.len() {
            assert_eq!(
                read(stream, cut),
                Ok(b"hello, world !!".to_vec()),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        for (stream, fault) in [
            (&b"\r\n"[..], ChunkFault::BadSize),
            (b"-5\r\n", ChunkFault::BadSize),
            (b"0x5\r\n", ChunkFault::BadSize),
            (b"+5\r\n", ChunkFault::BadSize),
            (b"5 5\r\n", ChunkFault::BadSize),
            (b"fffffffffffffffff\r\n", ChunkFault::BadSize),
            (b"5\nhello", ChunkFault::BadEnd),
            (b"5\rx\r\n", ChunkFault::BadEnd),
            (b"1\r\naXY", ChunkFault::BadEnd),
        ] {
            assert_eq!(read(stream, 0), Err(fault), "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn long_lines_and_trailers_are_refused_at_the_limit() {
        let line = |length: usize| format!("0;{}\r\n\r\nGET", "x".repeat(length - 4));
        assert_eq!(read(line(LINE_BYTES_MAX).as_bytes(), 0), Ok(vec![]));
        let long = line(LINE_BYTES_MAX + 1);
        assert_eq!(read(long.as_bytes(), 0), Err(ChunkFault::TooLong));
        assert_eq!(
            read(&long.as_bytes()[..LINE_BYTES_MAX], 0),
            Err(ChunkFault::TooLong)
        );
        let trailer = |length: usize| format!("0\r\n{}\r\n\r\nGET", "x".repeat(length - 4));
        assert_eq!(read(trailer(TRAILER_BYTES_MAX).as_bytes(), 0), Ok(vec![]));
        assert_eq!(
            read(trailer(TRAILER_BYTES_MAX + 1).as_bytes(), 0),
            Err(ChunkFault::TooLong)
        );
    }
}
