//! Files whose every byte is known from its place, so that any piece of one can be judged alone.
//!
//! Invariant: byte `i` of content `seed` depends on nothing but `i` and `seed`, and pieces of 8
//! bytes do not repeat within a file. Not promised: that it cannot be compressed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Result, ensure};

/// The bytes of content `seed` in `from..from + length`.
#[must_use]
pub fn bytes(seed: u64, from: u64, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + 16);
    let mut word = from / 8;
    let skip = (from % 8) as usize;
    while out.len() < length + skip {
        out.extend_from_slice(&mix(seed, word).to_le_bytes());
        word += 1;
    }
    out.truncate(length + skip);
    out.split_off(skip)
}

/// Writes a file of content `seed`.
///
/// # Errors
/// Fails when the file cannot be written.
pub fn write(path: &Path, seed: u64, length: u64) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut at = 0;
    while at < length {
        let piece = (length - at).min(1 << 20);
        file.write_all(&bytes(seed, at, piece as usize))?;
        at += piece;
    }
    Ok(file.flush()?)
}

/// Judges a piece; says where the first wrong byte is.
///
/// # Errors
/// Fails when a byte is wrong.
pub fn judge(seed: u64, from: u64, piece: &[u8]) -> Result<()> {
    let wanted = bytes(seed, from, piece.len());
    let wrong = piece
        .iter()
        .zip(&wanted)
        .position(|(got, wanted)| got != wanted);
    ensure!(
        wrong.is_none(),
        "content {seed}: wrong byte at {}",
        from + wrong.unwrap_or(0) as u64
    );
    Ok(())
}

fn mix(seed: u64, word: u64) -> u64 {
    let mut value = word
        .wrapping_add(seed << 40)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value ^= value >> 31;
    value.wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_the_same_wherever_it_is_cut() {
        let whole = bytes(3, 0, 100);
        for from in 0..40_usize {
            assert_eq!(bytes(3, from as u64, 50), &whole[from..from + 50]);
        }
        assert!(judge(3, 7, &whole[7..20]).is_ok());
        assert!(judge(4, 7, &whole[7..20]).is_err());
    }
}
