//! One path component that cannot leave its directory.
//!
//! Invariant: a [`Name`] holds 1 to [`NAME_BYTES_MAX`] bytes, is neither `.` nor `..`, and has
//! no `/` and no NUL. Bytes are kept as they came (macOS sends NFC or NFD, Windows a code
//! page); nothing is normalised. Not promised: that the file exists, or that the bytes are
//! UTF-8. Governed by POSIX.1-2017 section 3.170 and by RFC 1813 section 3.2 (filenames).

use std::fmt;

/// Longest name accepted, in bytes: `NAME_MAX` of every Linux file system that we serve.
pub const NAME_BYTES_MAX: usize = 255;

/// Why bytes are not a [`Name`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// No bytes at all.
    #[error("a name must not be empty")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes.
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// `.`, `..`, a `/` or a NUL byte: the name would mean another place.
    #[error("a name must not be '.' or '..' and must not contain '/' or NUL")]
    Escapes,
}

/// One checked path component.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Checks `bytes` and keeps a copy.
    ///
    /// # Errors
    /// [`NameError`] says which rule the bytes break.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        Self::check(bytes)?;
        Ok(Self(bytes.into()))
    }

    /// Applies the rules of [`Name::new`] without a copy.
    ///
    /// # Errors
    /// [`NameError`] says which rule the bytes break.
    pub fn check(bytes: &[u8]) -> Result<(), NameError> {
        match bytes {
            [] => Err(NameError::Empty),
            b"." | b".." => Err(NameError::Escapes),
            _ if bytes.len() > NAME_BYTES_MAX => Err(NameError::TooLong),
            _ if bytes.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(NameError::Escapes),
            _ => Ok(()),
        }
    }

    /// The bytes as they came.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_another_place_are_refused() {
        for bytes in [&b"."[..], b"..", b"a/b", b"/", b"a\0b", b"../x"] {
            assert_eq!(Name::new(bytes), Err(NameError::Escapes), "{bytes:?}");
        }
        assert_eq!(Name::new(b""), Err(NameError::Empty));
    }

    #[test]
    fn the_longest_name_passes_and_one_more_byte_does_not() {
        assert!(Name::new(&[b'a'; NAME_BYTES_MAX]).is_ok());
        assert_eq!(
            Name::new(&[b'a'; NAME_BYTES_MAX + 1]),
            Err(NameError::TooLong)
        );
    }

    #[test]
    fn bytes_are_kept_as_sent() {
        let name = Name::new(b"._\xffe\xcc\x81").unwrap();
        assert_eq!(name.as_bytes(), b"._\xffe\xcc\x81");
    }
}
