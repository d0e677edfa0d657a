//! Single chunks by their names, for whoever gathers a file from several places.
//!
//! Invariant: bytes that are given are those of the name, compared just now, wherever they lie.
//! Not promised: that a chunk which [`Store::have`] has told of can be read a moment later; its
//! file may have been removed, or be damaged. Who may ask for which chunk is the caller's to judge:
//! a name tells nothing of the models that have it.

use towline_io::backend::Open;

use crate::error::{ClientFault, Result, StorageFault};
use crate::layout;
use crate::name::{ChunkId, FileId};
use crate::store::Store;
use crate::verify::is_good;

/// Most chunks that are asked for at once: those of 256 GiB.
pub const HAVE_MAX: usize = 65_536;

impl Store {
    /// Which of these chunks are here, in the order in which they are asked for. At most
    /// [`HAVE_MAX`].
    ///
    /// # Errors
    /// [`ClientFault::Argument`] for more of them; those of the index.
    pub fn have(&self, chunks: &[ChunkId]) -> Result<Vec<bool>> {
        if chunks.len() > HAVE_MAX {
            return Err(ClientFault::Argument("at most 65536 chunks at once").into());
        }
        let places = self.inner.index.locate_all(chunks)?;
        Ok(places.iter().map(Option::is_some).collect())
    }

    /// The bytes of a chunk; `None` if it is not here.
    ///
    /// # Errors
    /// [`StorageFault::Damaged`] if its bytes are not those of its name any more.
    pub fn read_chunk(&self, chunk: &ChunkId) -> Result<Option<Vec<u8>>> {
        let inner = &self.inner;
        let Some((file, at)) = inner.index.locate(chunk)? else {
            return Ok(None);
        };
        // While it is held nobody removes it.
        let Some(_hold) = inner.hold_known(&file)? else {
            return Ok(None);
        };
        let damaged = |reason: &str| damaged(&file, reason);
        let table = inner.table(&file)?;
        let known = table.chunks.get(at as usize).filter(|it| it.id == *chunk);
        let known = known.ok_or_else(|| damaged("the index has a chunk that it has not"))?;
        let data = inner.disk.backend.open(&layout::data(&file), Open::Read);
        let data = data.map_err(|errno| damaged(&errno.to_string()))?;
        let mut bytes = vec![0; known.length as usize];
        if !is_good(&*data, known, &mut bytes) {
            let reason = format!("chunk {at} is not what its name says; run towline verify");
            return Err(damaged(&reason).into());
        }
        Ok(Some(bytes))
    }
}

fn damaged(file: &FileId, reason: &str) -> StorageFault {
    StorageFault::Damaged {
        path: layout::data(file),
        reason: reason.to_owned(),
    }
}
