//! One file, directory or other object of a volume, held open by descriptor.
//!
//! A node is an `O_PATH` descriptor with the handle that clients know it by. Permissions are not
//! part of it: the descriptors for reading and writing are opened by the volume for a caller, and
//! who may use them is kept by the [`crate::View`] of each worker. Invariant: a node's descriptor
//! lies beneath its volume's root at the moment of opening. Once its file has lost its last name
//! the volume takes the descriptors away ([`Node::release`]), so that the room comes back whoever
//! still keeps the node; it is then stale. Not promised: that the file still has a name before
//! that; `links == 0` in its attributes tells.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use towline_io::OpenFile;

use crate::attributes::{Attributes, FileKind, Timestamp};
use crate::change::ChangeTable;
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
    /// `None` once it was released.
    path: RwLock<Option<Arc<OwnedFd>>>,
    changes: Arc<ChangeTable>,
    opened: Mutex<Opened>,
}

/// What a node's file is open for.
#[derive(Debug, Default)]
struct Opened {
    reader: Option<Arc<OpenFile>>,
    writer: Option<Arc<OpenFile>>,
    /// For fsync only: opened without asking for anybody's rights, so never read from.
    syncer: Option<Arc<OpenFile>>,
    is_released: bool,
}

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Use {
    Reading,
    Writing,
    Syncing,
}

impl Node {
    /// Wraps an `O_PATH` descriptor.
    #[must_use]
    pub(crate) fn new(
        volume: VolumeId,
        handle: FileHandle,
        kind: FileKind,
        identity: FileIdentity,
        (path, changes): (OwnedFd, Arc<ChangeTable>),
    ) -> Self {
        Self {
            volume,
            handle,
            kind,
            identity,
            path: RwLock::new(Some(Arc::new(path))),
            changes,
            opened: Mutex::default(),
        }
    }

    /// Its attributes now; `Stale` once it has no name any more.
    pub(crate) fn attributes(&self) -> Result<Attributes, VolumeError> {
        let path = self.path.read().unwrap_or_else(PoisonError::into_inner);
        let path = path.as_ref().ok_or(VolumeError::Stale)?;
        let stat = rustix::fs::fstat(path)?;
        let attributes = self
            .changes
            .numbered(Attributes::from_stat(&stat, self.identity.born));
        if attributes.links == 0 {
            Err(VolumeError::Stale)
        } else {
            Ok(attributes)
        }
    }

    /// The `O_PATH` descriptor.
    ///
    /// # Errors
    /// `Stale` once the node was released.
    pub fn as_path(&self) -> Result<Arc<OwnedFd>, VolumeError> {
        let path = self.path.read().unwrap_or_else(PoisonError::into_inner);
        path.clone().ok_or(VolumeError::Stale)
    }

    /// The file, if it is open for this.
    pub(crate) fn kept(&self, purpose: Use) -> Option<Arc<OpenFile>> {
        self.opened().slot(purpose).clone()
    }

    /// Keeps an open file, unless another thread was faster: one descriptor is enough.
    pub(crate) fn keep(&self, purpose: Use, file: Arc<OpenFile>) -> Arc<OpenFile> {
        let mut opened = self.opened();
        if opened.is_released {
            return file;
        }
        opened.slot(purpose).get_or_insert(file).clone()
    }

    /// Closes everything: the file has lost its last name. Whoever is reading or writing it at
    /// this moment holds it open until that has ended.
    pub(crate) fn release(&self) {
        let mut path = self.path.write().unwrap_or_else(PoisonError::into_inner);
        *path = None;
        drop(path);
        *self.opened() = Opened {
            is_released: true,
            ..Opened::default()
        };
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    fn slot(&mut self, purpose: Use) -> &mut Option<Arc<OpenFile>> {
        match purpose {
            Use::Reading => &mut self.reader,
            Use::Writing => &mut self.writer,
            Use::Syncing => &mut self.syncer,
        }
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
