//! The index's file, on the same backend as everything else, so that a simulated crash reaches it.
//!
//! Invariant: what redb asks for is what the backend is asked for, in the same order. Not
//! promised: locks between processes; the store's own lock keeps others out.

use std::io;
use std::sync::Arc;

use towline_io::backend::File;

/// One open index file.
#[derive(Debug)]
pub(super) struct Storage(pub(super) Arc<dyn File>);

impl redb::StorageBackend for Storage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.length()?)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let count = self.0.read_at(out, offset)?;
        if count == out.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Ok(self.0.set_length(length)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(self.0.sync_data()?)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Ok(self.0.write_at(data, offset)?)
    }
}
