//! Reads XDR (RFC 4506) from a message that has arrived.
//!
//! Invariant: everything handed out is a number or a part of the message; a length that the peer
//! claims is compared with what is there and with the protocol's maximum before it is used, so
//! there is nothing to allocate and nothing to overflow (threats N4 and N5). Not promised: that
//! the whole message was read; a server may ignore what follows the arguments.

use super::padding;

/// The message ends too early, or a value in it is out of the range of its type.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("malformed XDR")]
pub struct Malformed;

/// A position in a message. Copying it makes a second, independent position.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `message`.
    #[must_use]
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// An unsigned integer (RFC 4506 section 4.2).
    ///
    /// # Errors
    /// [`Malformed`] if fewer than 4 bytes are left.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// An unsigned hyper integer (RFC 4506 section 4.5).
    ///
    /// # Errors
    /// [`Malformed`] if fewer than 8 bytes are left.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.fixed().map(u64::from_be_bytes)
    }

    /// A boolean: 0 or 1 and nothing else (RFC 4506 section 4.4).
    ///
    /// # Errors
    /// [`Malformed`] for any other number.
    #[inline]
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    /// Passes over bytes.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    #[inline]
    pub fn skip(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.rest = self.rest.get(bytes..).ok_or(Malformed)?;
        Ok(())
    }

    /// `N` bytes of fixed-length opaque data; `N` is a multiple of four (RFC 4506 section 4.9).
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    #[inline]
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        const { assert!(N.is_multiple_of(4), "other lengths would need padding") };
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// Variable-length opaque data or a string of at most `bytes_max` bytes, with its padding
    /// (RFC 4506 sections 4.10 and 4.11).
    ///
    /// # Errors
    /// [`Malformed`] if it is longer than `bytes_max` or than what is left.
    #[inline]
    pub fn opaque(&mut self, bytes_max: usize) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        if length > bytes_max {
            return Err(Malformed);
        }
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest.get(padding(length)..).ok_or(Malformed)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_big_endian() {
        let mut reader = Reader::new(&[0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1]);
        assert_eq!(reader.u32(), Ok(0x102));
        assert_eq!(reader.u64(), Ok(9));
        assert_eq!(reader.flag(), Ok(true));
        assert_eq!(reader.u32(), Err(Malformed));
    }

    #[test]
    fn a_string_is_lent_without_its_padding() {
        let mut reader = Reader::new(b"\0\0\0\x05hello\0\0\0\0\0\0\x07");
        assert_eq!(reader.opaque(5), Ok(&b"hello"[..]));
        assert_eq!(reader.u32(), Ok(7));
    }

    #[test]
    fn a_claimed_length_is_judged_before_it_is_used() {
        let exactly = b"\0\0\0\x04abcd";
        assert_eq!(Reader::new(exactly).opaque(4), Ok(&b"abcd"[..]));
        assert_eq!(Reader::new(exactly).opaque(3), Err(Malformed));
        let lies = b"\xff\xff\xff\xffabcd";
        assert_eq!(Reader::new(lies).opaque(usize::MAX), Err(Malformed));
        let without_padding = b"\0\0\0\x05hello";
        assert_eq!(Reader::new(without_padding).opaque(9), Err(Malformed));
    }

    #[test]
    fn a_boolean_is_zero_or_one() {
        assert_eq!(Reader::new(&[0, 0, 0, 2]).flag(), Err(Malformed));
    }
}
