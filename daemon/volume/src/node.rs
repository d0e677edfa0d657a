//! One file, directory or other object of a volume, held open by descriptor.
//!
//! A node is an `O_PATH` descriptor with the handle that clients know it by. Permissions are not
//! part of it: the descriptors for reading and writing are opened by the volume for a caller, and
//! who may use them is kept by the [`crate::View`] of each worker. Invariant: a node's descriptor
//! lies beneath its volume's root at the moment of opening. Not promised: that the file still has
//! a name; `links == 0` in its attributes tells.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use crate::attributes::{FileKind, Timestamp};
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
    pub(crate) reader: OnceLock<Arc<File>>,
    pub(crate) writer: OnceLock<Arc<File>>,
    /// For fsync only: opened without asking for anybody's rights, so never read from.
    pub(crate) syncer: OnceLock<Arc<File>>,
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

    /// The `O_PATH` descriptor.
    #[must_use]
    pub fn as_path(&self) -> BorrowedFd<'_> {
        self.path.as_fd()
    }
}

impl FileIdentity {
    /// What attributes say about which file it is.
    #[must_use]
    pub fn of(attributes: &crate::Attributes) -> Self {
        let crate::Attributes {
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
