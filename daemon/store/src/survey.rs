//! What a file would share with files seen before, found without storing any byte.
//!
//! The same cuts, names and index as publishing, in a directory of its own. Invariant: a chunk is
//! called known only if one with the same name was surveyed before. Not promised: that publishing
//! saves as much on every file system; sharing blocks has rules of its own.

use std::path::Path;
use std::sync::Arc;

use towline_io::backend::Backend;
use towline_io::backend::os::Directory;

use crate::cut::{self, Plan, content};
use crate::disk::DiskAccess;
use crate::error::{Result, io};
use crate::index::{Changes, Index, IndexedFile};
use crate::layout;
use crate::name::{ChunkId, FileId};
use crate::table::{CHUNK_BYTES_MAX, Chunk, ChunkTable, Format};

/// Files seen so far.
#[derive(Debug)]
pub struct Survey {
    index: Index,
    files: u64,
}

/// What one file was found to be.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// Its identity.
    pub id: FileId,
    /// Its cuts.
    pub table: Arc<ChunkTable>,
    /// Bytes of chunks that were seen before.
    pub known_bytes: u64,
    /// Chunks that were not seen before: entries that the index grows by.
    pub new_chunks: u64,
}

impl Survey {
    /// Starts a survey whose index lies in a directory that is otherwise empty.
    ///
    /// # Errors
    /// [`crate::StorageFault`] if it cannot be made.
    pub fn start(directory: &Path) -> Result<Self> {
        let shown = directory.display().to_string();
        let backend = Directory::open(directory).map_err(io("open", &shown))?;
        let backend: Arc<dyn Backend> = Arc::new(backend);
        DiskAccess::new(Arc::clone(&backend)).make_directories(layout::INTERNAL)?;
        let (index, ..) = Index::open(&*backend)?;
        Ok(Self { index, files: 0 })
    }

    /// Cuts and names a file of `size` bytes, and lets the index know of it.
    ///
    /// # Errors
    /// Those of `read` and of the index.
    pub fn add(
        &mut self,
        size: u64,
        read: &dyn Fn(u64, &mut [u8]) -> Result<()>,
    ) -> Result<Surveyed> {
        let table = Arc::new(table_of(size, read)?);
        let (mut known_bytes, mut new_chunks) = (0, 0);
        let mut fresh = std::collections::HashSet::new();
        for chunk in &table.chunks {
            if fresh.contains(&chunk.id) || self.index.locate(&chunk.id)?.is_some() {
                known_bytes += u64::from(chunk.length);
            } else {
                fresh.insert(chunk.id);
                new_chunks += 1;
            }
        }
        let id = table.id();
        let changes = Changes {
            files: vec![IndexedFile {
                id,
                sha256: None,
                table: Arc::clone(&table),
            }],
            ..Changes::default()
        };
        self.files += 1;
        self.index.commit(&changes, self.files, true)?;
        Ok(Surveyed {
            id,
            table,
            known_bytes,
            new_chunks,
        })
    }
}

/// The chunk table of a file, and so its identity.
///
/// # Errors
/// Those of `read`.
pub fn table_of(size: u64, read: &dyn Fn(u64, &mut [u8]) -> Result<()>) -> Result<ChunkTable> {
    let mut buffer = vec![0; CHUNK_BYTES_MAX as usize];
    let mut chunks = Vec::new();
    let mut offset = 0;
    let mut name = |bytes: &[u8], flags| {
        let flags = crate::table::ChunkFlags {
            zero: crate::cutting::is_zero(bytes),
            ..flags
        };
        chunks.push(Chunk {
            id: ChunkId(*blake3::hash(bytes).as_bytes()),
            offset,
            length: bytes.len() as u32,
            flags,
        });
        offset += bytes.len() as u64;
        offset
    };
    let (format, tensors) = match cut::plan(size, read)? {
        Plan::Spans {
            format,
            spans,
            tensors,
        } => {
            let mut at = 0;
            for span in spans {
                let (bytes, _) = buffer.split_at_mut(span.length as usize);
                read(at, bytes)?;
                at = name(bytes, span.flags);
            }
            (format, tensors)
        }
        Plan::Content => {
            let mut at = 0;
            while at < size {
                let window = (size - at).min(content::WINDOW_BYTES as u64) as usize;
                let (bytes, _) = buffer.split_at_mut(window);
                read(at, bytes)?;
                let (chunk, _) = bytes.split_at(content::cut(bytes).min(window));
                at = name(chunk, crate::table::ChunkFlags::default());
            }
            (Format::Content, Vec::new())
        }
    };
    Ok(ChunkTable {
        size,
        format,
        chunks,
        tensors,
    })
}
