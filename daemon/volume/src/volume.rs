//! What a volume can do, as two traits: reading, and writing for those that allow it.
//!
//! Every method may block (disk, fsync), so faces call them on pool threads, except those marked
//! *hot*, which never wait for storage. Every method acts as the [`Identity`] that it is given
//! and lets the kernel decide; none returns success for what is not done. `who` is the caller
//! after squashing. Implementations are shared by all threads.

use std::ops::ControlFlow;
use std::sync::Arc;

use towline_base::Name;
use towline_io::OpenFile;
use towline_sys::identity::Identity;

use crate::attributes::{Attributes, Guard, SetAttributes, Space, Wcc};
use crate::error::VolumeError;
use crate::handle::FileHandle;
use crate::node::Node;

/// Result of an operation on a volume.
pub type Result<T> = std::result::Result<T, VolumeError>;

/// Device and inode of the directory that a path leads to now, in the numbers of
/// [`crate::node::FileIdentity`]. As the daemon itself.
///
/// # Errors
/// `NotFound`, or what statx(2) reports.
pub fn place_of(path: &std::path::Path) -> Result<(u64, u64)> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    towline_sys::identity::assume_daemon()?;
    let seen = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
    let seen = Attributes::from_statx(&seen);
    Ok((seen.file_system, seen.file_id))
}

/// Whether an operation may wait for the storage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// Only from memory; [`VolumeError::WouldBlock`] otherwise. For worker threads.
    Cached,
    /// As long as it takes. For pool threads.
    Blocking,
}

/// Rights that a caller asks about (RFC 1813 section 3.3.4, `ACCESS3_*` without the numbers).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Access {
    /// Read data, or list a directory.
    pub read: bool,
    /// Write data, or change a directory's entries.
    pub write: bool,
    /// Execute a file, or look up in a directory.
    pub execute: bool,
}

/// How much of a directory's entries is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail {
    /// Name, inode number and cookie (READDIR).
    Names,
    /// Handle and attributes too (READDIRPLUS).
    Attributes,
}

/// One entry of a directory. `.` and `..` are among them, without handle and attributes for `..`
/// of the root's parent: the root's parent is the root.
#[derive(Clone, Debug)]
pub struct DirEntry<'a> {
    /// The name as the file system has it.
    pub name: &'a [u8],
    /// Inode number.
    pub file_id: u64,
    /// Where to continue behind this entry; never 0, stable while the directory changes.
    pub cookie: u64,
    /// Type, handle and attributes if asked for and still there.
    pub node: Option<(FileHandle, Attributes)>,
}

/// The verifier of an exclusive create (`createverf3`).
pub type Exclusive = [u8; 8];

/// How a regular file is created (`createhow3`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// Take a regular file that is there already.
    Unchecked(SetAttributes),
    /// Fail if the name is taken.
    Guarded(SetAttributes),
    /// Fail if the name is taken, unless by a create with this same verifier. Times are not set:
    /// they hold the verifier.
    Exclusive(Exclusive, SetAttributes),
}

/// How an extended attribute is set (`setxattr_option4`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum XattrHow {
    /// Whether there is one or not.
    Either,
    /// Only a new one.
    Create,
    /// Only one that is there.
    Replace,
}

/// What became of setting an extended attribute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum XattrSet {
    /// It is set.
    Done,
    /// There is one already.
    Taken,
    /// There is none.
    Missing,
    /// It is longer than one may be.
    TooBig,
}

/// What MKNOD makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device with major and minor number.
    Character(u32, u32),
    /// A block device with major and minor number.
    Block(u32, u32),
}

/// What a change of a directory gives back.
#[derive(Clone, Debug)]
pub struct Created {
    /// The new node.
    pub node: Arc<Node>,
    /// Its attributes.
    pub attributes: Attributes,
    /// The directory before and after.
    pub dir: Wcc,
}

/// A file on its way in: written under a temporary name, published by rename.
#[derive(Debug)]
pub struct Upload {
    /// The directory that it lies in and will stay in.
    pub dir: Arc<Node>,
    /// Its temporary name.
    pub name: Name,
    /// Whether that name exists yet: an upload without a session has none until it is published,
    /// so a crash leaves nothing behind.
    pub is_named: bool,
    /// Open for writing.
    pub file: Arc<OpenFile>,
    /// Bytes that are there already (a resumed upload), else 0.
    pub bytes_held: u64,
}

/// The reading half of a volume.
pub trait Volume: Send + Sync + std::fmt::Debug {
    /// The root directory.
    fn root(&self) -> Result<Arc<Node>>;

    /// The node behind a handle that a client sent.
    ///
    /// # Errors
    /// `BadHandle` if this node did not make it, `Stale` if its file is gone.
    fn resolve(&self, handle: &FileHandle) -> Result<Arc<Node>>;

    /// The node called `name` in `dir`; the last component is not followed if it is a link.
    /// *Hot* with [`Pace::Cached`].
    fn lookup(&self, dir: &Node, name: &Name, who: &Identity, pace: Pace) -> Result<Arc<Node>>;

    /// The attributes of `name` in `dir`, without opening it. May block on a cold entry.
    fn peek(&self, dir: &Node, name: &Name, who: &Identity) -> Result<Attributes>;

    /// The directory above `dir`; the root's is the root.
    fn parent(&self, dir: &Node, who: &Identity) -> Result<Arc<Node>>;

    /// The node at a path of names below the root. No link is followed. *Hot* with
    /// [`Pace::Cached`].
    fn walk(&self, path: &[Name], who: &Identity, pace: Pace) -> Result<Arc<Node>>;

    /// *Hot.* The attributes of what a path of names below the root leads to now, without opening
    /// it; the kernel decides for `who`. One system call, so links on the way are followed (not a
    /// last one): compare the identity with that of a node which [`Volume::walk`] has found, and
    /// use nothing of it if they differ. `WouldBlock` if the path is too long for this.
    fn peek_path(&self, path: &[Name], who: &Identity) -> Result<Attributes> {
        let node = self.walk(path, who, Pace::Cached)?;
        self.attributes(&node)
    }

    /// *Hot.* The attributes now. `Stale` if the file has no name any more.
    fn attributes(&self, node: &Node) -> Result<Attributes>;

    /// Which of the `asked` rights `who` has, as the kernel and the volume see it.
    fn access(&self, node: &Node, who: &Identity, asked: Access) -> Result<Access>;

    /// Opens for reading. The owner may always read, and who may execute may read (RFC 1813
    /// section 4.4). `IsDirectory`, `WrongType` for what is not a regular file.
    fn open_read(&self, node: &Node, who: &Identity) -> Result<Arc<OpenFile>>;

    /// The target of a symbolic link, as it was made. `Invalid` for other types.
    fn read_link(&self, node: &Node, who: &Identity) -> Result<Vec<u8>>;

    /// Lists entries behind `cookie` (0: from the start) until `visit` breaks; an entry at which
    /// it breaks is not consumed. Returns whether the end was reached.
    fn read_dir(
        &self,
        dir: &Node,
        who: &Identity,
        cookie: u64,
        detail: Detail,
        visit: &mut dyn FnMut(&DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<bool>;

    /// The value of an extended attribute; `None`: there is none of that name. Names are those of
    /// xattr(7) without `user.`.
    fn xattr(&self, _node: &Node, _who: &Identity, _name: &[u8]) -> Result<Option<Vec<u8>>> {
        Err(VolumeError::NotSupported)
    }

    /// The names of all extended attributes.
    fn xattrs(&self, _node: &Node, _who: &Identity) -> Result<Vec<Vec<u8>>> {
        Err(VolumeError::NotSupported)
    }

    /// Room.
    fn space(&self) -> Result<Space>;

    /// The writing half, unless the volume is read-only.
    fn writable(&self) -> Option<&dyn WritableVolume>;
}

/// The writing half of a volume. A change is on stable storage when its method returns if the
/// volume is synchronous (project), and is not promised to be if it is not (cache).
pub trait WritableVolume: Send + Sync + std::fmt::Debug {
    /// Opens for writing. The owner may always write. Not durable by itself: see
    /// [`WritableVolume::sync`].
    fn open_write(&self, node: &Node, who: &Identity) -> Result<Arc<OpenFile>>;

    /// Makes the contents of `node` durable, as far as the volume promises (COMMIT, stable
    /// writes). After one failure it fails for that file until the node restarts.
    fn sync(&self, node: &Node) -> Result<()>;

    /// Whether this volume promises durability (project) or not (cache).
    fn is_synchronous(&self) -> bool;

    /// Sets an extended attribute, name and value. The node before and after.
    fn set_xattr(
        &self,
        _node: &Node,
        _who: &Identity,
        _pair: (&[u8], &[u8]),
        _how: XattrHow,
    ) -> Result<(XattrSet, Wcc)> {
        Err(VolumeError::NotSupported)
    }

    /// Removes an extended attribute; whether there was one.
    fn remove_xattr(&self, _node: &Node, _who: &Identity, _name: &[u8]) -> Result<(bool, Wcc)> {
        Err(VolumeError::NotSupported)
    }

    /// *Hot.* Somebody has written to `node` through [`WritableVolume::open_write`]: what is shown
    /// of it from now on has another [`Attributes::change`].
    fn written(&self, _node: &Node) {}

    /// Changes attributes if the guard holds.
    fn set_attributes(
        &self,
        node: &Node,
        who: &Identity,
        changes: &SetAttributes,
        guard: Guard,
    ) -> Result<Wcc>;

    /// Creates a regular file.
    fn create(&self, dir: &Node, name: &Name, who: &Identity, how: &How) -> Result<Created>;

    /// Creates a directory.
    fn make_dir(
        &self,
        dir: &Node,
        name: &Name,
        who: &Identity,
        set: &SetAttributes,
    ) -> Result<Created>;

    /// Creates a symbolic link with this target, kept as it came.
    fn make_symlink(
        &self,
        dir: &Node,
        name: &Name,
        who: &Identity,
        target: &[u8],
        set: &SetAttributes,
    ) -> Result<Created>;

    /// Creates a pipe, socket or device. The kernel lets only root make devices.
    fn make_special(
        &self,
        dir: &Node,
        name: &Name,
        who: &Identity,
        special: Special,
        set: &SetAttributes,
    ) -> Result<Created>;

    /// Removes what is not a directory.
    fn remove(&self, dir: &Node, name: &Name, who: &Identity) -> Result<Wcc>;

    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Node, name: &Name, who: &Identity) -> Result<Wcc>;

    /// Renames, replacing a target of the same type. Both directories before and after.
    fn rename(
        &self,
        from: (&Node, &Name),
        to: (&Node, &Name),
        who: &Identity,
    ) -> Result<(Wcc, Wcc)>;

    /// Gives a file one more name. The file's attributes after, and the directory's.
    fn link(
        &self,
        node: &Node,
        dir: &Node,
        name: &Name,
        who: &Identity,
    ) -> Result<(Attributes, Wcc)>;

    /// Starts an upload of `name` in `dir`. With a `session` (any text that names the upload)
    /// it continues what an earlier upload of the same name and session left behind.
    fn begin_upload(
        &self,
        dir: &Arc<Node>,
        name: &Name,
        who: &Identity,
        session: Option<&[u8]>,
    ) -> Result<Upload>;

    /// Takes the room that an upload of `bytes_total` in all still needs, before more of it comes.
    /// A bounded volume removes what was not used for longest to make some.
    ///
    /// # Errors
    /// `NoSpace` if the disk or the bound of the volume does not leave so much.
    fn reserve(&self, upload: &Upload, bytes_total: u64) -> Result<()>;

    /// Puts a finished upload under its name, replacing a regular file there, after syncing it
    /// as the volume promises.
    fn publish(&self, upload: &Upload, name: &Name, who: &Identity) -> Result<Attributes>;

    /// Throws an unfinished upload away.
    fn abandon(&self, upload: &Upload, who: &Identity) -> Result<()>;
}
