//! Cuts that follow the content, for files that people edit: an insertion moves one cut, not all.
//!
//! FastCDC with 256 KiB at least, 1 MiB on average and 4 MiB at most. Invariant: a cut depends
//! only on the bytes since the cut before it. Golden cuts in the tests pin the algorithm, since
//! a silent change of it would rename every such file. Not promised: good cuts in weights.

use fastcdc::v2020::FastCDC;

use crate::table::CHUNK_BYTES_MAX;

/// Shortest chunk but the last, in bytes.
pub const CONTENT_BYTES_MIN: usize = 256 << 10;

/// What chunks are long on average, in bytes.
pub const CONTENT_BYTES_AIM: usize = 1 << 20;

/// Bytes that [`cut`] must be shown unless the file ends before.
pub const WINDOW_BYTES: usize = CHUNK_BYTES_MAX as usize;

/// The length of the chunk that starts at the window's first byte. The window holds
/// [`WINDOW_BYTES`], or all that is left of the file; it is not empty.
#[must_use]
pub fn cut(window: &[u8]) -> usize {
    let window = window.get(..WINDOW_BYTES).unwrap_or(window);
    let cutter = FastCDC::new(window, CONTENT_BYTES_MIN, CONTENT_BYTES_AIM, WINDOW_BYTES);
    let (_, end) = cutter.cut(0, window.len());
    end.clamp(1, window.len().max(1))
}

/// Whether a file that begins like this is one that gets edited: text, or an archive other than
/// one of weights.
#[must_use]
pub fn is_edited(start: &[u8]) -> bool {
    is_text(start) || is_archive(start)
}

fn is_text(start: &[u8]) -> bool {
    let readable = match std::str::from_utf8(start) {
        Ok(_) => true,
        // The window may end inside a letter.
        Err(error) => error.error_len().is_none() && start.len() - error.valid_up_to() < 4,
    };
    readable && !start.contains(&0)
}

fn is_archive(start: &[u8]) -> bool {
    let is_tar = start.get(257..262) == Some(b"ustar");
    // PyTorch's weights are zip archives whose first member is `.../data.pkl`.
    let is_weights = |start: &[u8]| {
        let names = start.get(30..256).unwrap_or_default();
        names.windows(8).any(|part| part == b"data.pkl")
    };
    is_tar || (start.starts_with(b"PK\x03\x04") && !is_weights(start))
}
