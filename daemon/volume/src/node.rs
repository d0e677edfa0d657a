//! One file, directory or other object of a volume, held open by descriptor.
//!
//! A node is an `O_PATH` descriptor with the handle that clients know it by. Permissions are not
//! part of it: the descriptors for reading and writing are opened by the volume for a caller, and
//! who may use them is kept by the [`crate::View`] of each worker. Invariant: a node's descriptor
//! lies beneath its volume's root at the moment of opening. Not promised: that the file still has
//! a name; `links == 0` in its attributes tells.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use towline_io::OpenFile;

use crate::attributes::{Attributes, FileKind, Timestamp};
use crate::error::VolumeError;
use crate::handle::{FileHandle, VolumeId};

/// What tells one file from every other on this host, over time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FileIdentity {
    /// The file system.
    pub file_system: u64,
    /// Inode number.
    pub file_id: u64,
    /// Birth time: tells a reused inode number.
    pub born: Timestamp,
}

/// An open node.
#[derive(Debug)]
pub struct Node {
    /// The volume that it belongs to.
    pub volume: VolumeId,
    /// What clients call it.
    pub handle: FileHandle,
    /// Its type, which never changes.
    pub kind: FileKind,
    /// What the host calls it.
    pub identity: FileIdentity,
    pub(crate) path: OwnedFd,
    pub(crate) reader: OnceLock<Arc<OpenFile>>,
    pub(crate) writer: OnceLock<Arc<OpenFile>>,
    /// For fsync only: opened without asking for anybody's rights, so never read from.
    pub(crate) syncer: OnceLock<Arc<OpenFile>>,
}

impl Node {
    /// Wraps an `O_PATH` descriptor.
    #[must_use]
    pub(crate) fn new(
        volume: VolumeId,
        handle: FileHandle,
        kind: FileKind,
        identity: FileIdentity,
        path: OwnedFd,
    ) -> Self {
        let (reader, writer, syncer) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self {
            volume,
            handle,
            kind,
            identity,
            path,
            reader,
            writer,
            syncer,
        }
    }

    /// Its attributes now; `Stale` once it has no name any more.
    pub(crate) fn attributes(&self) -> Result<Attributes, VolumeError> {
        let stat = rustix::fs::fstat(&self.path)?;
        let attributes = Attributes::from_stat(&stat, self.identity.born);
        if attributes.links == 0 {
            Err(VolumeError::Stale)
        } else {
            Ok(attributes)
        }
    }

    /// The `O_PATH` descriptor.
    #[must_use]
    pub fn as_path(&self) -> BorrowedFd<'_> {
        self.path.as_fd()
    }
}

impl FileIdentity {
    /// What attributes say about which file it is.
    #[must_use]
    pub fn of(attributes: &Attributes) -> Self {
        let Attributes {
            file_system,
            file_id,
            born,
            ..
        } = *attributes;
        Self {
            file_system,
            file_id,
            born,
        }
    }
}
