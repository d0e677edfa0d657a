//! The ground under a tree: its root descriptor, how names and handles become nodes.
//!
//! Invariant: every descriptor that becomes a [`Node`] was opened beneath the root and on the
//! root's file system. Where the process may open files by kernel handle, a handle is opened
//! directly; where it may not (an ordinary user) or the file system has no handles, an index of
//! names that were given out leads there ([`super::index`]).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use towline_base::Name;
use towline_sys::files::{self, KernelHandle};
use towline_sys::identity::assume_daemon;

use crate::attributes::{Attributes, FileKind, Space};
use crate::change::ChangeTable;
use crate::error::VolumeError;
use crate::handle::{FileHandle, FileKey, HandleKeys, KeyForm, VolumeId};
use crate::node::{FileIdentity, Node};
use crate::volume::{Pace, Result};

use super::index::Index;
use super::present::Present;
use super::statx_at;
use super::usage::Bound;

/// Most components of a path that is walked in one go: PATH_MAX holds no more than 2,048.
const PATH_NAMES_MAX: usize = 2_048;

/// Longest path that is peeked at from memory, in bytes; a longer one goes to a pool thread.
const PEEK_BYTES_MAX: usize = 1_024;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Root directory, handle keys and index of one tree.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) id: VolumeId,
    keys: HandleKeys,
    root: Arc<Node>,
    /// The root again, opened for reading: open_by_handle_at takes no `O_PATH` descriptor.
    mount: OwnedFd,
    /// `None`: files are opened by kernel handle.
    index: Option<Index>,
    form: KeyForm,
    /// The mount that the root lies in; `None` on kernels that do not tell (before 5.8).
    mount_id: Option<u64>,
    /// Every node that somebody keeps.
    present: Present,
    /// What has changed.
    pub(super) changes: Arc<ChangeTable>,
    /// Of a bounded volume: its bound, and how much of it is used.
    bound: Option<Bound>,
}

impl Ground {
    pub(super) fn open(
        path: &Path,
        id: VolumeId,
        keys: HandleKeys,
        (size_max, by_contents): (Option<u64>, bool),
    ) -> Result<Self> {
        assume_daemon()?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags | OFlags::PATH, Mode::empty())?;
        let mount = rustix::fs::open(path, flags | OFlags::RDONLY, Mode::empty())?;
        let attributes = live_attributes(fd.as_fd())?;
        let form = match files::name_to_handle(mount.as_fd(), c"") {
            Ok(handle) => match files::open_by_handle(mount.as_fd(), &handle) {
                Ok(_) => (KeyForm::Kernel, None),
                Err(_) => (KeyForm::Kernel, Some(Index::default())),
            },
            Err(_) => (KeyForm::Inode, Some(Index::default())),
        };
        let mount_id = files::mount_of(fd.as_fd(), b"");
        let handle = keys.seal(id, &FileKey::root());
        let identity = FileIdentity::of(&attributes);
        let changes = Arc::new(ChangeTable::new(by_contents));
        let held = (fd, changes.clone());
        let root = Arc::new(Node::new(id, handle, FileKind::Directory, identity, held));
        Ok(Self {
            id,
            keys,
            root,
            mount,
            index: form.1,
            form: form.0,
            mount_id,
            present: Present::default(),
            changes,
            bound: size_max.map(Bound::new),
        })
    }

    pub(super) fn root(&self) -> Arc<Node> {
        self.root.clone()
    }

    /// Opens `name` in `dir`. The caller has assumed an identity.
    pub(super) fn enter(&self, dir: &Node, name: &Name, pace: Pace) -> Result<Arc<Node>> {
        let fd = open_beneath(dir.as_path()?, name.as_bytes(), pace)?;
        let node = self.node(fd)?;
        if let Some(index) = &self.index {
            index.record(self.key_of(&node)?, self.key_of(dir)?, name);
        }
        Ok(node)
    }

    /// Opens a whole path beneath the root. The caller has assumed an identity.
    pub(super) fn walk(&self, path: &[Name], pace: Pace) -> Result<Arc<Node>> {
        if path.len() > PATH_NAMES_MAX {
            return Err(VolumeError::NameTooLong);
        }
        let Some((last, above)) = path.split_last() else {
            return Ok(self.root());
        };
        if self.index.is_some() {
            // The index wants every step, so that handles of the way are found again.
            let mut dir = self.root();
            for name in above {
                dir = self.enter(&dir, name, pace)?;
                if dir.kind == FileKind::Symlink {
                    return Err(VolumeError::WrongType);
                }
            }
            return self.enter(&dir, last, pace);
        }
        let names: Vec<&[u8]> = path.iter().map(Name::as_bytes).collect();
        self.node(open_beneath(
            self.root.as_path()?,
            &names.join(&b'/'),
            pace,
        )?)
    }

    /// Attributes of what a path leads to now, from memory; no link is followed. The caller has
    /// assumed an identity; a path of ordinary length is joined on the stack. One statx(2) of the
    /// path would be quicker, but it would follow links on the way.
    pub(super) fn peek_path(&self, path: &[Name]) -> Result<Attributes> {
        let mut joined = [0; PEEK_BYTES_MAX];
        let mut length = 0;
        for (place, name) in path.iter().enumerate() {
            let start = length + usize::from(place > 0);
            length = start + name.as_bytes().len();
            // The slash between two names, where there is room for the second.
            let slot = joined
                .get_mut(start..length)
                .ok_or(VolumeError::WouldBlock)?;
            slot.copy_from_slice(name.as_bytes());
            if let Some(slash) = start.checked_sub(1).and_then(|place| joined.get_mut(place)) {
                *slash = b'/';
            }
        }
        let path = joined.get(..length).unwrap_or(&[]);
        if path.is_empty() {
            return self.root.attributes();
        }
        statx_at(self.root.as_path()?, path, AtFlags::empty())
    }

    /// The directory above. The caller has assumed an identity.
    pub(super) fn parent(&self, dir: &Node) -> Result<Arc<Node>> {
        if dir.kind != FileKind::Directory {
            return Err(VolumeError::NotDirectory);
        }
        if dir.identity == self.root.identity {
            return Ok(self.root());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir.as_path()?, c"..", flags, Mode::empty())?;
        // A directory that was moved out of the tree would lead up outside it.
        if !self.is_beneath_root(&fd)? {
            return Err(VolumeError::Stale);
        }
        self.node(fd)
    }

    /// Climbs until the root or the top of the host; subvolumes of one file system on the way are
    /// devices of their own.
    fn is_beneath_root(&self, dir: &OwnedFd) -> Result<bool> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = rustix::io::dup(dir)?;
        for _ in 0..PATH_NAMES_MAX {
            let identity = FileIdentity::of(&statx_at(at.as_fd(), b"", AtFlags::EMPTY_PATH)?);
            if identity == self.root.identity {
                return Ok(true);
            }
            let above = rustix::fs::openat(&at, c"..", flags, Mode::empty())?;
            if FileIdentity::of(&statx_at(above.as_fd(), b"", AtFlags::EMPTY_PATH)?) == identity {
                return Ok(false);
            }
            at = above;
        }
        Ok(false)
    }

    /// The node behind a client's handle.
    pub(super) fn resolve(&self, handle: &FileHandle) -> Result<Arc<Node>> {
        let (id, key) = self.keys.open(handle)?;
        if id != self.id {
            return Err(VolumeError::BadHandle);
        }
        if key.form == KeyForm::Root {
            return Ok(self.root());
        }
        assume_daemon()?;
        let Some(index) = &self.index else {
            let kernel = kernel_handle(&key).ok_or(VolumeError::BadHandle)?;
            let fd = files::open_by_handle(self.mount.as_fd(), &kernel)?;
            live_attributes(fd.as_fd())?;
            return self.node(fd);
        };
        for attempt in 0..2 {
            if let Some(path) = index.path_of(&key)
                && let Ok(fd) = open_beneath(self.root.as_path()?, &path, Pace::Blocking)
                && self.key_of_fd(fd.as_fd(), c"").ok() == Some(key)
            {
                return self.node(fd);
            }
            if attempt == 0 && !index.rebuild(self, &self.mount)? {
                break;
            }
        }
        Err(VolumeError::Stale)
    }

    /// Wraps a descriptor that was opened beneath the root.
    pub(super) fn node(&self, fd: OwnedFd) -> Result<Arc<Node>> {
        let attributes = statx_at(fd.as_fd(), b"", AtFlags::EMPTY_PATH)?;
        let identity = FileIdentity::of(&attributes);
        if identity == self.root.identity {
            return Ok(self.root());
        }
        let key = self.key_of_fd(fd.as_fd(), c"")?;
        let handle = self.keys.seal(self.id, &key);
        let held = (fd, self.changes.clone());
        let node = Arc::new(Node::new(self.id, handle, attributes.kind, identity, held));
        self.present.add(&node);
        Ok(node)
    }

    /// Handle and attributes of an entry, without opening it; `None` if it is not to be entered.
    pub(super) fn describe(
        &self,
        dir: &Node,
        dir_fd: BorrowedFd<'_>,
        name: &Name,
    ) -> Option<(FileHandle, Attributes)> {
        let attributes = statx_at(dir_fd, name.as_bytes(), AtFlags::empty()).ok()?;
        // Another device is a subvolume, or a mount point that is not to be entered.
        if attributes.file_system != self.root.identity.file_system
            && (self.mount_id.is_none()
                || files::mount_of(dir_fd, name.as_bytes()) != self.mount_id)
        {
            return None;
        }
        let key = match self.form {
            KeyForm::Inode => self.inode_key(&attributes)?,
            KeyForm::Kernel | KeyForm::Root => self
                .key_of_fd(dir_fd, &CString::new(name.as_bytes()).ok()?)
                .ok()?,
        };
        if let Some(index) = &self.index {
            index.record(key, self.key_of(dir).ok()?, name);
        }
        let attributes = self.changes.numbered(attributes);
        Some((self.keys.seal(self.id, &key), attributes))
    }

    /// The key that a node's handle carries.
    pub(super) fn key_of(&self, node: &Node) -> Result<FileKey> {
        self.keys.open(&node.handle).map(|(_, key)| key)
    }

    /// The key of an open file, or of a name in an open directory.
    pub(super) fn key_of_fd(&self, fd: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<FileKey> {
        match self.form {
            KeyForm::Inode => {
                let flags = if name.is_empty() {
                    AtFlags::EMPTY_PATH
                } else {
                    AtFlags::empty()
                };
                let attributes = statx_at(fd, name.to_bytes(), flags)?;
                self.inode_key(&attributes).ok_or(VolumeError::NotSupported)
            }
            KeyForm::Kernel | KeyForm::Root => {
                let handle = files::name_to_handle(fd, name)?;
                let kind = handle.kind.to_le_bytes();
                let bytes = [&kind[..], handle.as_bytes()].concat();
                FileKey::new(KeyForm::Kernel, &bytes).ok_or(VolumeError::NotSupported)
            }
        }
    }

    /// The key of a file by its number and time of birth, and by its device where that is not the
    /// root's.
    fn inode_key(&self, attributes: &Attributes) -> Option<FileKey> {
        let born = attributes.born;
        let device = attributes.file_system.to_le_bytes();
        let is_home = attributes.file_system == self.root.identity.file_system;
        let bytes = [
            &attributes.file_id.to_le_bytes()[..],
            &born.seconds.to_le_bytes(),
            &born.nanoseconds.to_le_bytes(),
            if is_home { &[] } else { &device },
        ];
        FileKey::new(KeyForm::Inode, &bytes.concat())
    }

    /// Tells the index where a node is now.
    pub(super) fn moved(&self, node: &Node, dir: &Node, name: &Name) {
        if let Some(index) = &self.index
            && let (Ok(key), Ok(dir)) = (self.key_of(node), self.key_of(dir))
        {
            index.record(key, dir, name);
        }
    }

    /// Closes what the node itself keeps open of a file that has lost its last name, so that its
    /// room comes back now.
    pub(super) fn let_go(&self, gone: Option<Attributes>) {
        if let Some(gone) = gone.filter(|gone| gone.kind == FileKind::Regular) {
            self.present.let_go(&FileIdentity::of(&gone));
        }
    }

    /// Checks that `bytes` more find room, making some in a bounded volume.
    pub(super) fn make_room(&self, bytes: u64) -> Result<()> {
        let lacks = || self.space().map(|space| space.bytes_available < bytes);
        if !lacks()? {
            return Ok(());
        }
        let Some(bound) = self.bound.as_ref().filter(|bound| bytes <= bound.bytes_max) else {
            return Err(VolumeError::NoSpace);
        };
        bound.make_room(&self.mount, bytes)?;
        if lacks()? {
            return Err(VolumeError::NoSpace);
        }
        Ok(())
    }

    /// What is free; of a bounded volume no more than its bound leaves. May walk over it.
    pub(super) fn space(&self) -> Result<Space> {
        let stat = rustix::fs::fstatvfs(&self.mount)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        let disk_used = bytes(stat.f_blocks.saturating_sub(stat.f_bfree));
        let (total, free) = match &self.bound {
            None => (u64::MAX, u64::MAX),
            Some(bound) => {
                assume_daemon()?;
                let used = bound.used(&self.mount, disk_used);
                (bound.bytes_max, bound.bytes_max.saturating_sub(used))
            }
        };
        Ok(Space {
            bytes_total: bytes(stat.f_blocks).min(total),
            bytes_free: bytes(stat.f_bfree).min(free),
            bytes_available: bytes(stat.f_bavail).min(free),
            files_total: stat.f_files,
            files_free: stat.f_ffree,
            name_bytes_max: u32::try_from(stat.f_namemax).unwrap_or(255),
        })
    }
}

/// A path to an open descriptor that other calls can reopen (proc(5), `/proc/self/fd`). It leads
/// there for as long as the descriptor is open, so that must outlive the call.
pub(super) fn proc_path(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Attributes of an open file; `Stale` once it has no name any more.
pub(super) fn live_attributes(fd: BorrowedFd<'_>) -> Result<Attributes> {
    let attributes = statx_at(fd, b"", AtFlags::EMPTY_PATH)?;
    if attributes.links == 0 {
        Err(VolumeError::Stale)
    } else {
        Ok(attributes)
    }
}

/// Attributes of a name in a directory.
pub(super) fn attributes_at(dir: impl AsFd, name: &Name) -> Result<Attributes> {
    statx_at(dir, name.as_bytes(), AtFlags::empty())
}

/// Attributes of what a path leads to that rules of this node name, `a/b` for `b` in `a`.
pub(super) fn attributes_below(dir: impl AsFd, path: &str) -> Result<Attributes> {
    statx_at(dir, path.as_bytes(), AtFlags::empty())
}

fn open_beneath(dir: impl AsFd, path: &[u8], pace: Pace) -> Result<OwnedFd> {
    let resolve = match pace {
        Pace::Cached => BENEATH | ResolveFlags::CACHED,
        Pace::Blocking => BENEATH,
    };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(fd),
        // A mount point: it belongs to another volume, if to any.
        Err(Errno::XDEV) => Err(VolumeError::Denied),
        Err(error) => Err(error.into()),
    }
}

fn kernel_handle(key: &FileKey) -> Option<KernelHandle> {
    let (kind, bytes) = key.as_bytes().split_first_chunk::<4>()?;
    KernelHandle::new(i32::from_le_bytes(*kind), bytes)
}
