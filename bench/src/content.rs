//! What a file must contain, kept small: a hash of every MiB and one word of every page.
//!
//! It is made from what was written, or from a first read where only reading is possible; then the
//! promise is that later reads give the same. Invariant: a timed read is checked at its first page
//! and at every sixteenth (cheap enough not to be measured), and every byte once by its hash when
//! the timed reads are over. Not promised: that a share was right before its first read.

use crate::source::{Access, Source, SourceError};

/// Bytes of a page: one word of each is kept, so 1 GiB needs 2 MiB.
const PAGE_BYTES: u64 = 4096;
/// Bytes of a hashed block.
pub const BLOCK_BYTES: u32 = 1 << 20;
/// Requests in flight while a file is read whole for its hashes.
const DEPTH: u32 = 4;

/// The content of one file.
#[derive(Clone, Debug)]
pub struct Content {
    name: String,
    before: &'static str,
    words: Vec<u64>,
    hashes: Vec<blake3::Hash>,
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    found.map_or(0, u64::from_le_bytes)
}

impl Content {
    /// Of a file of `bytes` that was or will be `before` (`written` or `read`).
    #[must_use]
    pub fn new(name: &str, before: &'static str, bytes: u64) -> Self {
        let blocks = bytes.div_ceil(BLOCK_BYTES.into()) as usize;
        Self {
            name: name.to_owned(),
            before,
            words: vec![0; bytes.div_ceil(PAGE_BYTES) as usize],
            hashes: vec![blake3::Hash::from_bytes([0; 32]); blocks],
        }
    }

    /// Takes in the block at `offset`, a multiple of [`BLOCK_BYTES`].
    pub fn learn(&mut self, offset: u64, bytes: &[u8]) {
        for (index, page) in bytes.chunks(PAGE_BYTES as usize).enumerate() {
            let at = (offset / PAGE_BYTES) as usize + index;
            if let Some(entry) = self.words.get_mut(at) {
                *entry = word(page, 0);
            }
        }
        let at = (offset / u64::from(BLOCK_BYTES)) as usize;
        if let Some(entry) = self.hashes.get_mut(at) {
            *entry = blake3::hash(bytes);
        }
    }

    fn wrong(&self, offset: u64) -> SourceError {
        SourceError::Content {
            what: self.name.clone(),
            offset,
            before: self.before,
        }
    }

    /// The quick look at a block whose offset is a multiple of a page.
    ///
    /// # Errors
    /// [`SourceError::Content`].
    pub fn glance(&self, offset: u64, bytes: &[u8]) -> Result<(), SourceError> {
        let first = (offset / PAGE_BYTES) as usize;
        for index in (0..bytes.len() / PAGE_BYTES as usize).step_by(16) {
            let seen = word(bytes, index * PAGE_BYTES as usize);
            if self.words.get(first + index) != Some(&seen) {
                return Err(self.wrong(offset));
            }
        }
        Ok(())
    }

    /// Every byte of a block at a multiple of [`BLOCK_BYTES`].
    ///
    /// # Errors
    /// [`SourceError::Content`].
    pub fn examine(&self, offset: u64, bytes: &[u8]) -> Result<(), SourceError> {
        let expected = self.hashes.get((offset / u64::from(BLOCK_BYTES)) as usize);
        match expected == Some(&blake3::hash(bytes)) {
            true => Ok(()),
            false => Err(self.wrong(offset)),
        }
    }

    /// Reads the whole file and compares every byte; how many there were.
    ///
    /// # Errors
    /// [`SourceError::Content`], or what reading says.
    pub fn verify(&self, source: &dyn Source) -> Result<u64, SourceError> {
        each_block(source, &mut |offset, bytes| self.examine(offset, bytes))
    }
}

/// Told the offset and the bytes of a block.
pub type ToldBlock<'a> = dyn FnMut(u64, &[u8]) -> Result<(), SourceError> + 'a;

/// Reads a whole file in blocks of [`BLOCK_BYTES`], in any order.
///
/// # Errors
/// What reading or `told` says.
pub fn each_block(source: &dyn Source, told: &mut ToldBlock<'_>) -> Result<u64, SourceError> {
    // A server that gives less per request is asked for parts, which are put together here.
    let part = source.block_bytes_max().min(BLOCK_BYTES);
    let access = Access {
        depth: if part == BLOCK_BYTES { DEPTH } else { 1 },
        block_bytes: part,
        is_sequential: false,
        is_direct: false,
    };
    let mut queue = source.open(access)?;
    let bytes = source.bytes();
    let mut places = vec![0_u64; access.depth as usize];
    let (mut next, mut in_flight) = (0_u64, 0);
    let mut idle: Vec<usize> = (0..access.depth as usize).collect();
    let mut gathered = Vec::new();
    while next < bytes || in_flight > 0 {
        while next < bytes
            && let Some(slot) = idle.pop()
        {
            let length = (bytes - next).min(part.into()) as u32;
            queue.submit(slot, next, length)?;
            if let Some(place) = places.get_mut(slot) {
                *place = next;
            }
            next += u64::from(length);
            in_flight += 1;
        }
        queue.wait(&mut |slot, block| {
            let offset = places.get(slot).copied().unwrap_or(0);
            idle.push(slot);
            in_flight -= 1;
            if part == BLOCK_BYTES {
                return told(offset, block);
            }
            gathered.extend_from_slice(block);
            let end = offset + block.len() as u64;
            if gathered.len() == BLOCK_BYTES as usize || end == bytes {
                let start = end - gathered.len() as u64;
                return told(start, &std::mem::take(&mut gathered));
            }
            Ok(())
        })?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::file::PathSource;

    #[test]
    fn one_wrong_byte_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mut content = Content::new("x", "written", bytes.len() as u64);
        for (index, block) in bytes.chunks(BLOCK_BYTES as usize).enumerate() {
            content.learn(index as u64 * u64::from(BLOCK_BYTES), block);
        }
        let source = PathSource::new(&path, u64::MAX).unwrap();
        assert_eq!(content.verify(&source).unwrap(), 3_000_000);
        content.glance(8192, &bytes[8192..16384]).unwrap();
        bytes[8192] ^= 1;
        assert!(content.glance(8192, &bytes[8192..16384]).is_err());
        bytes[8192] ^= 1;
        bytes[2_999_999] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = content.verify(&source).unwrap_err().to_string();
        assert!(error.contains("byte 2097152 of x"), "{error}");
    }
}
