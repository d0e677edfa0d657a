//! Files that a measurement writes for itself: one large one, and many small ones.
//!
//! Invariant: they lie in a new folder `.towline-bench-*` of their own, which is removed when this
//! is dropped; nothing else is touched. What is written is random, so no server can compress it,
//! and is on the disk (fsync) before anything is read.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Options;
use crate::content::{BLOCK_BYTES, Content};
use crate::source::SourceError;

/// The files.
pub(super) struct OwnFiles {
    folder: TempDir,
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> SourceError {
    let what = path.display().to_string();
    move |error| SourceError::system(what.clone(), error)
}

/// Random bytes, another piece for each number.
pub(crate) fn fill(bytes: &mut [u8], number: u64) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in bytes.chunks_mut(8) {
        // xorshift64* (Marsaglia 2003, Vigna 2016).
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let value = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        word.copy_from_slice(value.get(..word.len()).unwrap_or(&value));
    }
}

/// Writes a file of random bytes to the disk and tells what is in it.
pub(crate) fn write_large(path: &Path, bytes: u64) -> Result<Content, SourceError> {
    let mut file = File::create(path).map_err(failed(path))?;
    let mut content = Content::new(&path.display().to_string(), "written", bytes);
    let mut block = vec![0; BLOCK_BYTES as usize];
    let mut offset = 0;
    while offset < bytes {
        let length = (bytes - offset).min(BLOCK_BYTES.into()) as usize;
        let block = block.get_mut(..length).unwrap_or(&mut []);
        fill(block, offset + 1);
        file.write_all(block).map_err(failed(path))?;
        content.learn(offset, block);
        offset += length as u64;
    }
    file.sync_all().map_err(failed(path))?;
    Ok(content)
}

impl OwnFiles {
    pub(super) fn write(place: &Path, options: &Options) -> Result<(Self, Content), SourceError> {
        let mut builder = tempfile::Builder::new();
        let made = builder.prefix(".towline-bench-").tempdir_in(place);
        let own = Self {
            folder: made.map_err(failed(place))?,
        };
        let small = own.folder().join("small");
        fs::create_dir(&small).map_err(failed(&small))?;
        let mut bytes = vec![0; options.file_bytes as usize];
        for number in 0..options.files {
            let path = small.join(format!("{number:05}"));
            fill(&mut bytes, u64::from(number) + 1);
            fs::write(&path, &bytes).map_err(failed(&path))?;
        }
        let content = write_large(&own.large(), options.bytes)?;
        Ok((own, content))
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn large(&self) -> PathBuf {
        self.folder.path().join("large")
    }
}
