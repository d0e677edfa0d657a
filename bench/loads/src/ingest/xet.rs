//! The yardstick: content-defined chunks as Xet cuts them.
//!
//! Parameters of its published format: a gear hash with the default table, a cut where the upper
//! sixteen bits are zero, at least 8 and at most 128 KiB, no look at the bytes below the minimum
//! but the last 64. Invariant: chunks cover the file in order. Not promised: Xet's own names; a
//! plain BLAKE3 costs as much as its keyed one.

use std::collections::HashSet;

use anyhow::Result;
use gearhash::{DEFAULT_TABLE, Hasher};

/// Shortest chunk but the last, in bytes.
const CHUNK_BYTES_MIN: usize = 8 << 10;
/// Longest chunk, in bytes, as its format says.
const CHUNK_BYTES_MAX: usize = 128 << 10;
/// One cut in 64 KiB on average.
const MASK: u64 = 0xffff_0000_0000_0000;
/// Bytes that the rolling hash remembers.
const WINDOW_BYTES: usize = 64;
/// Bytes read at once, as towline does.
const READ_BYTES: usize = 4 << 20;

/// Length and name of one chunk.
pub type Piece = (u32, [u8; 32]);

/// Cuts and hashes a file of `size` bytes.
///
/// # Errors
/// Those of `read`.
pub fn cut_and_hash(
    size: u64,
    read: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>,
) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut buffer = vec![0; READ_BYTES + CHUNK_BYTES_MAX];
    let (mut held, mut offset) = (0, 0);
    while offset < size || held > 0 {
        let wanted = (size - offset).min(READ_BYTES as u64) as usize;
        read(offset, &mut buffer[held..held + wanted])?;
        offset += wanted as u64;
        let mut window = &buffer[..held + wanted];
        // The rest waits for more bytes unless there are none.
        while window.len() >= CHUNK_BYTES_MAX || (offset == size && !window.is_empty()) {
            let (chunk, rest) = window.split_at(length(window));
            pieces.push((chunk.len() as u32, *blake3::hash(chunk).as_bytes()));
            window = rest;
        }
        let end = held + wanted;
        held = window.len();
        buffer.copy_within(end - held..end, 0);
    }
    Ok(pieces)
}

fn length(window: &[u8]) -> usize {
    let most = window.len().min(CHUNK_BYTES_MAX);
    if most <= CHUNK_BYTES_MIN {
        return most;
    }
    let mut hasher = Hasher::new(&DEFAULT_TABLE);
    let skipped = CHUNK_BYTES_MIN - WINDOW_BYTES - 1;
    let mut at = skipped;
    while let Some(found) = hasher.next_match(&window[at..most], MASK) {
        at += found;
        if at >= CHUNK_BYTES_MIN {
            return at;
        }
    }
    most
}

/// Bytes of chunks that were not seen before, and how many such chunks there are.
#[must_use]
pub fn new_bytes(seen: &mut HashSet<[u8; 32]>, pieces: &[Piece]) -> (u64, u64) {
    let (mut bytes, mut chunks) = (0, 0);
    for (length, name) in pieces {
        if seen.insert(*name) {
            bytes += u64::from(*length);
            chunks += 1;
        }
    }
    (bytes, chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_file_within_the_limits() {
        let bytes = crate::ingest::weights::random(3, 9_000_001);
        let pieces = cut_and_hash(bytes.len() as u64, &mut |offset, buffer| {
            let start = offset as usize;
            buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
            Ok(())
        });
        let pieces = pieces.expect("memory can be read");
        let mut at = 0;
        for (length, name) in &pieces {
            let end = at + *length as usize;
            assert_eq!(blake3::hash(&bytes[at..end]).as_bytes(), name);
            assert!(*length as usize <= CHUNK_BYTES_MAX);
            assert!(*length as usize >= CHUNK_BYTES_MIN || end == bytes.len());
            at = end;
        }
        assert_eq!(at, bytes.len());
        let average = bytes.len() / pieces.len();
        assert!((40_000..110_000).contains(&average), "{average}");
    }
}
