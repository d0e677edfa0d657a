//! The Content-Range of an upload: which piece of the whole file a PUT brings.
//!
//! Governed by RFC 9110 sections 14.4 and 14.5 (partial PUT). `bytes a-b/total` brings bytes a
//! to b; `bytes */total` brings nothing and asks how much is held. Invariant: a piece that was
//! accepted is not empty and lies inside its total.

use crate::range::digits;

/// What a PUT with Content-Range is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece {
    /// Bytes on their way.
    Bytes {
        /// Offset of the first byte.
        start: u64,
        /// How many, at least 1.
        length: u64,
        /// Size of the whole file, at most 2^63-1.
        total: u64,
    },
    /// A question how much is held.
    Ask {
        /// Size of the whole file, at least 1 and at most 2^63-1.
        total: u64,
    },
}

impl Piece {
    /// Reads the value of a Content-Range field; `None` if it is broken, of another unit, or
    /// without a total.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (unit, rest) = value.split_at_checked(b"bytes ".len())?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        let (range, total) = rest.split_at_checked(slash)?;
        let total =
            digits(total.get(1..)?).filter(|total| (1..=i64::MAX as u64).contains(total))?;
        if range == b"*" {
            return Some(Self::Ask { total });
        }
        let dash = range.iter().position(|byte| *byte == b'-')?;
        let (first, last) = range.split_at_checked(dash)?;
        let (start, last) = (digits(first)?, digits(last.get(1..)?)?);
        (start <= last && last < total).then(|| Self::Bytes {
            start,
            length: last - start + 1,
            total,
        })
    }

    /// Size of the whole file in bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        match self {
            Self::Bytes { total, .. } | Self::Ask { total } => *total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_read_from_its_field() {
        let bytes = |start, length, total| Piece::Bytes {
            start,
            length,
            total,
        };
        assert_eq!(Piece::parse(b"bytes 0-4/5"), Some(bytes(0, 5, 5)));
        assert_eq!(Piece::parse(b"Bytes 3-3/10"), Some(bytes(3, 1, 10)));
        assert_eq!(Piece::parse(b"bytes */10"), Some(Piece::Ask { total: 10 }));
    }

    #[test]
    fn a_piece_outside_its_total_or_without_one_is_refused() {
        for value in [
            "",
            "bytes",
            "bytes 0-4/*",
            "bytes 0-5/5",
            "bytes 4-3/5",
            "bytes */0",
            "bytes -4/5",
            "bytes 0-/5",
            "items 0-4/5",
            "bytes 0-4/9223372036854775808",
            "bytes +0-4/5",
            "bytes 0-4",
        ] {
            assert_eq!(Piece::parse(value.as_bytes()), None, "{value}");
        }
    }
}
