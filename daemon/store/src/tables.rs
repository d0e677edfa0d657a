//! Chunk tables of files that are here, the last few in memory.
//!
//! Invariant: a table that is given is that of the identity, and none that was forgotten is given
//! again. Its lock is a last one: no other is taken under it. Not promised: that a table in memory
//! is still on the disk; [`Inner::read_table`] looks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use towline_base::Recent;

use crate::error::{Result, StorageFault};
use crate::layout;
use crate::name::FileId;
use crate::store::Inner;
use crate::table::ChunkTable;

/// Longest chunk table that is read, in bytes: that of the largest file.
pub(crate) const TABLE_BYTES_MAX: usize = 1 << 30;

/// Most tables kept in memory.
const TABLES_MAX: usize = 16;

/// Tables in memory.
#[derive(Debug)]
pub(crate) struct Tables(Mutex<Recent<FileId, Arc<ChunkTable>>>);

impl Default for Tables {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(TABLES_MAX)))
    }
}

impl Tables {
    fn kept(&self) -> MutexGuard<'_, Recent<FileId, Arc<ChunkTable>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file is gone, or its table is another.
    pub(crate) fn forget(&self, id: &FileId) {
        self.kept().remove(id);
    }
}

impl Inner {
    /// The cuts of a file that is here, checked against its identity.
    pub(crate) fn table(&self, id: &FileId) -> Result<Arc<ChunkTable>> {
        if let Some(table) = self.tables.kept().cloned(id) {
            return Ok(table);
        }
        let table = Arc::new(self.read_table(id)?);
        self.tables.kept().insert(*id, Arc::clone(&table));
        Ok(table)
    }

    /// From its file; that of a short file from the index, or else from its bytes.
    pub(crate) fn read_table(&self, id: &FileId) -> Result<ChunkTable> {
        let path = layout::table(id);
        let bytes = match self.disk.read_whole(&path, TABLE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) => {
                let good = |bytes: &Vec<u8>| ChunkTable::id_of(bytes) == *id;
                match self.index.table(id)?.filter(good) {
                    Some(bytes) => bytes,
                    None => return self.disk.short_table(id).ok_or(error),
                }
            }
        };
        let damaged = |reason: String| StorageFault::Damaged {
            path: path.clone(),
            reason,
        };
        if ChunkTable::id_of(&bytes) != *id {
            return Err(damaged("its BLAKE3 is another".into()).into());
        }
        ChunkTable::decode(&bytes).map_err(|fault| damaged(fault.to_string()).into())
    }
}
