//! Shows bytes that a peer chose without letting them forge a log line or a terminal.
//!
//! Every byte outside printable ASCII is written as an escape, and the result is cut to a
//! bound. Not promised: that the text can be read back.

use std::fmt;

/// Longest part of a peer's bytes that is shown, in bytes; the rest becomes `...`.
pub const SHOWN_BYTES_MAX: usize = 200;

/// A peer's bytes, safe to print.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..SHOWN_BYTES_MAX) {
            Some(shown) if self.0.len() > SHOWN_BYTES_MAX => {
                write!(f, "{}...", shown.escape_ascii())
            }
            _ => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_cannot_forge_a_log_line() {
        assert_eq!(
            Escaped(b"a\nERROR \x1b[31m").to_string(),
            "a\\nERROR \\x1b[31m"
        );
    }

    #[test]
    fn long_bytes_are_cut_at_the_limit() {
        assert_eq!(
            Escaped(&[b'a'; SHOWN_BYTES_MAX]).to_string().len(),
            SHOWN_BYTES_MAX
        );
        assert!(
            Escaped(&[b'a'; SHOWN_BYTES_MAX + 1])
                .to_string()
                .ends_with("a...")
        );
    }
}
