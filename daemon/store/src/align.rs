//! Padding of safetensors headers, so that tensors start at whole blocks and can share them.
//!
//! Tensor data begins behind a header of any multiple of 8 bytes; two files then lie alike within
//! a block only by luck. Trailing spaces in the header are legal, so files that were written here
//! may be padded up to 4 KiB. Invariant: the tensors' bytes and the JSON are unchanged. Never used
//! for mirrored files: their SHA-256 would be another.

use std::sync::OnceLock;

use crate::cut::safetensors;
use crate::error::Result;
use crate::source::{Source, SourceEntry};

/// What tensor data is aligned to, in bytes: the block size of file systems that share blocks.
pub const ALIGN_BYTES: u64 = 4_096;

/// A source whose safetensors files come with padded headers.
pub struct Aligned<'a> {
    source: &'a dyn Source,
    paddings: OnceLock<Vec<Padding>>,
}

/// How a file is changed: `bytes` of spaces behind a header that ends at `at`.
#[derive(Clone, Copy, Debug, Default)]
struct Padding {
    at: u64,
    bytes: u64,
}

impl<'a> Aligned<'a> {
    /// The files of `source`, padded.
    #[must_use]
    pub fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            paddings: OnceLock::new(),
        }
    }

    fn padding(&self, index: usize, size: u64) -> Result<Padding> {
        let mut start = [0; 9];
        if size < start.len() as u64 {
            return Ok(Padding::default());
        }
        self.source.read_at(index, 0, &mut start)?;
        let Some(length) = safetensors::header_bytes(&start, size) else {
            return Ok(Padding::default());
        };
        let at = 8 + length;
        Ok(Padding {
            at,
            bytes: at.next_multiple_of(ALIGN_BYTES) - at,
        })
    }
}

impl Source for Aligned<'_> {
    fn entries(&self) -> Result<Vec<SourceEntry>> {
        let mut entries = self.source.entries()?;
        let mut paddings = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter_mut().enumerate() {
            // What the source promises of a file would not hold any more.
            let promised = entry.sha256.is_some() || entry.git_oid.is_some();
            let padding = match promised {
                true => Padding::default(),
                false => self.padding(index, entry.size)?,
            };
            entry.size += padding.bytes;
            paddings.push(padding);
        }
        let _ = self.paddings.set(paddings);
        Ok(entries)
    }

    fn read_at(&self, index: usize, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let paddings = self.paddings.get();
        let found = paddings.and_then(|paddings| paddings.get(index)).copied();
        let padding = found.unwrap_or_default();
        if padding.bytes == 0 {
            return self.source.read_at(index, offset, buffer);
        }
        let length = buffer.len() as u64;
        let spaces = padding.at..padding.at + padding.bytes;
        let head = spaces.start.saturating_sub(offset).min(length);
        let (before, rest) = buffer.split_at_mut(head as usize);
        if !before.is_empty() {
            self.source.read_at(index, offset, before)?;
        }
        let gap = spaces.end.saturating_sub(offset).min(length) - head;
        let (blank, behind) = rest.split_at_mut(gap as usize);
        blank.fill(b' ');
        if !behind.is_empty() {
            let from = offset + head + gap - padding.bytes;
            self.source.read_at(index, from, behind)?;
        }
        // The length of the header stands in the first eight bytes.
        let word = (padding.at - 8 + padding.bytes).to_le_bytes();
        for (at, byte) in (offset..)
            .zip(buffer.iter_mut())
            .take_while(|(at, _)| *at < 8)
        {
            *byte = word.get(at as usize).copied().unwrap_or_default();
        }
        Ok(())
    }

    fn check(&self, index: usize) -> Result<()> {
        self.source.check(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::{Plan, plan};
    use crate::table::Format;

    struct One(Vec<u8>);

    impl Source for One {
        fn entries(&self) -> Result<Vec<SourceEntry>> {
            Ok(vec![SourceEntry {
                path: "a.safetensors".parse().unwrap(),
                size: self.0.len() as u64,
                sha256: None,
                git_oid: None,
            }])
        }

        fn read_at(&self, _: usize, offset: u64, buffer: &mut [u8]) -> Result<()> {
            let start = offset as usize;
            buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
            Ok(())
        }
    }

    #[test]
    fn tensors_start_at_a_block_and_every_cut_of_reading_gives_the_same() {
        let json = br#"{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}   "#;
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json);
        bytes.extend_from_slice(b"123456789");
        let one = One(bytes);
        let aligned = Aligned::new(&one);
        let size = aligned.entries().unwrap()[0].size as usize;
        assert_eq!(size, ALIGN_BYTES as usize + 9);
        let mut whole = vec![0; size];
        aligned.read_at(0, 0, &mut whole).unwrap();
        assert!(whole.ends_with(b"123456789") && whole[4_095] == b' ');
        for cut in [1, 5, 8, 20, 64, 65, 100, 4_095, 4_096, 4_100] {
            let mut parts = vec![0; size];
            let (first, second) = parts.split_at_mut(cut);
            aligned.read_at(0, 0, first).unwrap();
            aligned.read_at(0, cut as u64, second).unwrap();
            assert_eq!(parts, whole, "{cut}");
        }
        let read = |offset: u64, buffer: &mut [u8]| aligned.read_at(0, offset, buffer);
        let Plan::Spans { format, spans, .. } = plan(size as u64, read).unwrap() else {
            panic!("not cut at tensors")
        };
        assert_eq!((format, spans[0].length), (Format::Safetensors, 4_096));
    }
}
