//! What a share, disk or model is read through: a local path, NFSv3 of our own, or HTTP ranges.
//!
//! A [`Source`] is one file whose blocks are asked for with several requests in flight; a [`Tree`]
//! is a folder with its names. Measurements know these two only. Invariant: a queue tells every
//! block that was asked for exactly once, whole, or ends with an error; a short answer is an error,
//! because a number made from half an answer is worth nothing. Not promised: an order of answers.

pub mod error;
pub mod file;
pub mod http;
pub mod nfs;
pub mod place;

use std::net::SocketAddr;

pub use error::SourceError;
pub use place::Place;

/// How a queue will be used.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Requests in flight, at least 1.
    pub depth: u32,
    /// Most bytes of a request.
    pub block_bytes: u32,
    /// Ascending places: [`region`] tells whose, where [`Source::streams`].
    pub is_sequential: bool,
    /// Around the page cache, where the source is a local file.
    pub is_direct: bool,
}

/// Told about each block: its slot and its bytes.
pub type Told<'a> = dyn FnMut(usize, &[u8]) -> Result<(), SourceError> + 'a;

/// Requests in flight on one file.
pub trait Queue {
    /// Asks for `length` bytes from `offset` in the name of `slot`, which must be idle.
    ///
    /// # Errors
    /// When the request cannot be sent.
    fn submit(&mut self, slot: usize, offset: u64, length: u32) -> Result<(), SourceError>;

    /// Waits for at least one answer and tells all that came.
    ///
    /// # Errors
    /// When an answer is an error, short, or does not come.
    fn wait(&mut self, told: &mut Told<'_>) -> Result<(), SourceError>;

    /// Bytes that have come of blocks under way, where answers go on behind what was asked for: a
    /// measurement then ends at its time with these counted. `None` where an answer ends with its
    /// block; then the blocks under way are waited for.
    fn arrived(&self) -> Option<u64> {
        None
    }
}

/// Whether a source can be read as if for the first time.
#[derive(Clone, Debug, PartialEq)]
pub enum Cold {
    /// Nothing of it is in the memory of this host now; a server's memory may still hold it.
    Yes,
    /// This share of it, 0 to 1, stayed in memory.
    Stays(f64),
    /// Whose memory it is in, and why it cannot be dropped.
    No(String),
}

/// One file that can be read.
pub trait Source: Sync {
    /// Its length in bytes.
    fn bytes(&self) -> u64;

    /// Most bytes of one request.
    fn block_bytes_max(&self) -> u32;

    /// Whether each slot of a sequential access reads a part of its own as one stream; else all
    /// slots together go through the file.
    fn streams(&self) -> bool;

    /// Opens it.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(&self, access: Access) -> Result<Box<dyn Queue + '_>, SourceError>;

    /// Drops it from this host's memory.
    fn cool(&self) -> Cold;

    /// The other end, where there is a network between.
    fn peer(&self) -> Option<SocketAddr>;
}

/// A folder: names, and small files in it.
pub trait Tree: Sync {
    /// A connection to it, for one thread.
    ///
    /// # Errors
    /// When the other end cannot be reached.
    fn open(&self) -> Result<Box<dyn Walk + '_>, SourceError>;
}

/// One entry of a folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Bytes of a file; `None` for anything else.
    pub bytes: Option<u64>,
}

/// What one thread does in a folder.
pub trait Walk {
    /// All entries, `.` and `..` left out.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn list(&mut self) -> Result<Vec<Entry>, SourceError>;

    /// The length of one file by its name.
    ///
    /// # Errors
    /// When it is not there.
    fn stat(&mut self, name: &str) -> Result<u64, SourceError>;

    /// A whole small file.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&mut self, name: &str) -> Result<Vec<u8>, SourceError>;
}

/// The part of a file that slot `slot` of `depth` streams: begin and end, in whole blocks.
#[must_use]
pub fn region(bytes: u64, access: &Access, slot: usize) -> (u64, u64) {
    let blocks = bytes.div_ceil(u64::from(access.block_bytes.max(1)));
    let each = blocks.div_ceil(u64::from(access.depth.max(1))) * u64::from(access.block_bytes);
    let start = (each * slot as u64).min(bytes);
    (start, (start + each).min(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_cover_the_file_once() {
        for (bytes, depth, block_bytes) in [(10, 3, 4), (4096, 1, 4096), (1 << 20, 8, 4096)] {
            let access = Access {
                depth,
                block_bytes,
                is_sequential: true,
                is_direct: false,
            };
            let mut at = 0;
            for slot in 0..depth as usize {
                let (start, end) = region(bytes, &access, slot);
                assert_eq!(start, at.min(bytes));
                at = end;
            }
            assert_eq!(at, bytes);
        }
    }
}
