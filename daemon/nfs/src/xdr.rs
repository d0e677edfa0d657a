//! XDR (RFC 4506) in two small tools: a reader that only lends parts of the message it was given,
//! and a writer that appends to the reply buffer.
//!
//! Invariant: nothing here allocates from a length that a peer claimed. Not promised: that
//! padding bytes are zero; like every NFS server we skip them unread.

pub mod reader;
pub mod writer;

pub use reader::{Malformed, Reader};
pub use writer::Writer;

/// Bytes that `length` bytes of opaque data take with their padding (RFC 4506 section 4.10).
#[must_use]
pub const fn padded(length: usize) -> usize {
    length + padding(length)
}

/// Padding bytes behind `length` bytes of opaque data, 0 to 3 (RFC 4506 section 4.10).
#[must_use]
pub const fn padding(length: usize) -> usize {
    length.wrapping_neg() & 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_fills_up_to_four_bytes() {
        let lengths: Vec<usize> = (0..6).map(padded).collect();
        assert_eq!(lengths, [0, 4, 4, 4, 4, 8]);
    }
}
