//! The header of a GGUF file, read for its cuts only.
//!
//! Format (ggml's `docs/gguf.md`, versions 2 and 3, little-endian): magic, version, counts, keys
//! with values, tensor infos, padding up to `general.alignment`, then the data. Invariant: what
//! comes out covers the data in order, padding belonging to the tensor before it; a length is
//! checked against the bytes at hand before it is used. Not promised: element sizes are known;
//! a tensor ends where the next one starts.

use super::{Described, Header};
use crate::table::TENSORS_MAX;

/// The first bytes of every GGUF file.
pub const MAGIC: &[u8; 4] = b"GGUF";

/// Alignment of the data when the file names none.
const ALIGNMENT_DEFAULT: u64 = 32;

/// Most key-value pairs that are read; real files have some dozens.
const KEYS_MAX: u64 = 1 << 16;

/// Most dimensions of a tensor (`GGML_MAX_DIMS` is 4; some room for later).
const GGUF_DIMENSIONS_MAX: u32 = 8;

/// Deepest nesting of arrays that is read; files in use have one level.
const DEPTH_MAX: u32 = 4;

/// Why a header is not used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The header goes on behind the bytes at hand.
    #[error("the GGUF header goes on")]
    Short,
    /// Another version, an unknown type, or a count past its limit.
    #[error("the GGUF header cannot be read")]
    Odd,
    /// Offsets repeat, or leave the file.
    #[error("the tensors do not cover the data")]
    Offsets,
}

/// Reads the header from the first bytes of a file of `size` bytes.
///
/// # Errors
/// [`Fault::Short`]: try again with more bytes. The others: cut in a plainer way.
pub fn parse(bytes: &[u8], size: u64) -> Result<Header, Fault> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(4)? != MAGIC || !matches!(reader.u32()?, 2 | 3) {
        return Err(Fault::Odd);
    }
    let (tensors, keys) = (reader.u64()?, reader.u64()?);
    if tensors > TENSORS_MAX as u64 || keys > KEYS_MAX {
        return Err(Fault::Odd);
    }
    let mut alignment = ALIGNMENT_DEFAULT;
    for _ in 0..keys {
        let key = reader.text()?;
        let kind = reader.u32()?;
        if key == b"general.alignment" && kind == 4 {
            alignment = u64::from(reader.u32()?);
        } else {
            reader.skip_value(kind, 0)?;
        }
    }
    if !alignment.is_power_of_two() || alignment > 1 << 20 {
        return Err(Fault::Odd);
    }
    let mut found = Vec::new();
    for _ in 0..tensors {
        found.push(reader.tensor()?);
    }
    let data_start = (reader.at as u64).next_multiple_of(alignment);
    if found.is_empty() || data_start > size {
        return Err(Fault::Offsets);
    }
    cover(found, data_start, size)
}

/// Ends each tensor where the next one starts.
fn cover(mut found: Vec<Described>, data_start: u64, size: u64) -> Result<Header, Fault> {
    found.sort_by(|one, other| (one.start, &one.name).cmp(&(other.start, &other.name)));
    let mut end = size - data_start;
    for tensor in found.iter_mut().rev() {
        if tensor.start >= end {
            return Err(Fault::Offsets);
        }
        tensor.end = end;
        end = tensor.start;
    }
    if end == 0 {
        Ok(Header {
            data_start,
            tensors: found,
        })
    } else {
        Err(Fault::Offsets)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        let count = usize::try_from(count).map_err(|_| Fault::Odd)?;
        let end = self.at.checked_add(count).ok_or(Fault::Odd)?;
        let taken = self.bytes.get(self.at..end).ok_or(Fault::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        let bytes = self.take(4)?.first_chunk().ok_or(Fault::Short)?;
        Ok(u32::from_le_bytes(*bytes))
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        let bytes = self.take(8)?.first_chunk().ok_or(Fault::Short)?;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn text(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.u64()?;
        self.take(length)
    }

    /// Passes over a value; types as in `enum gguf_metadata_value_type`.
    fn skip_value(&mut self, kind: u32, depth: u32) -> Result<(), Fault> {
        match kind {
            8 => self.text().map(drop),
            9 if depth < DEPTH_MAX => {
                let (kind, count) = (self.u32()?, self.u64()?);
                if let Some(width) = width(kind) {
                    let bytes = count.checked_mul(width).ok_or(Fault::Odd)?;
                    return self.take(bytes).map(drop);
                }
                // Each element takes bytes, so the loop ends with them.
                (0..count).try_for_each(|_| self.skip_value(kind, depth + 1))
            }
            _ => {
                let width = width(kind).ok_or(Fault::Odd)?;
                self.take(width).map(drop)
            }
        }
    }

    fn tensor(&mut self) -> Result<Described, Fault> {
        let name = std::str::from_utf8(self.text()?).map_err(|_| Fault::Odd)?;
        let dimensions = self.u32()?;
        if dimensions > GGUF_DIMENSIONS_MAX || name.len() > usize::from(u16::MAX) {
            return Err(Fault::Odd);
        }
        let shape = (0..dimensions)
            .map(|_| self.u64())
            .collect::<Result<_, _>>()?;
        let kind = self.u32()?;
        Ok(Described {
            name: name.into(),
            kind: kind.to_string().into(),
            shape,
            start: self.u64()?,
            end: 0,
        })
    }
}

/// Bytes of a value of fixed width.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
