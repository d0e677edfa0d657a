//! Files as the store sees them: one trait with two machines behind it, the real one ([`os`]) and
//! one that can lose power at any moment ([`sim`]).
//!
//! A backend is one directory; every path is relative to it, written with `/`, without `.`, `..`
//! or an empty segment, and never leads out of it or over a symbolic link. The calls are those of
//! POSIX, no more: a write is durable after [`File::sync_data`], a name after
//! [`Backend::sync_directory`] of the directory that holds it, and not before.
//!
//! Invariant: a file whose sync has failed once fails every later sync through the same handle
//! (the kernel marks its pages clean, fsync(2)); on the real machine through any handle. Not
//! promised: that a name survives because its file was synced, or that unsynced writes are lost or
//! kept in any order.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use rustix::io::Errno;

pub mod os;
pub mod sim;

/// What goes past the page cache as a whole, in bytes: a page, and a block of every disk.
pub const BLOCK_BYTES: usize = 4_096;

/// The outcome of a call on a backend.
pub type Result<T> = std::result::Result<T, Errno>;

/// How a file is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Open {
    /// For reading only; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; it must not exist (`EXIST`).
    Create,
    /// As [`Open::Create`], for a long file that is written once: whole blocks of [`BLOCK_BYTES`]
    /// that lie in memory as they will lie in the file go past the page cache, where the system
    /// can do that. It costs neither the copy nor the memory of what else is read.
    CreateLong,
}

/// What kind of thing a name leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, a device, a socket, ...
    Other,
}

/// What is known of a name without opening it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Length in bytes.
    pub length: u64,
    /// Number of the inode: equal for two names of one file.
    pub inode: u64,
    /// How many names the file has.
    pub links: u64,
    /// Bytes of disk that are allocated to it.
    pub allocated: u64,
    /// When it was last read, in seconds since 1970-01-01 UTC, as exactly as the file system keeps
    /// that (Linux: to a day, unless mounted otherwise; not at all with `noatime`).
    pub accessed: u64,
}

/// One name in a directory.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Entry {
    /// The name, without its directory. Names that are not UTF-8 are left out of listings.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// Room on the file system of a backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Space {
    /// Bytes that may still be allocated.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Held for as long as a lock is; dropping it releases the lock.
pub type Lock = Box<dyn Any + Send + Sync>;

/// One directory in which a store lives.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// `NOENT`, `EXIST`, `LOOP` for a symbolic link, or what open(2) reports.
    fn open(&self, path: &str, how: Open) -> Result<Arc<dyn File>>;

    /// What a name leads to; a symbolic link is not followed.
    ///
    /// # Errors
    /// `NOENT`, or what stat(2) reports.
    fn metadata(&self, path: &str) -> Result<Metadata>;

    /// The names in a directory, sorted; "" is the backend's own directory.
    ///
    /// # Errors
    /// `NOENT`, `NOTDIR`, or what getdents(2) reports.
    fn list(&self, path: &str) -> Result<Vec<Entry>>;

    /// Makes a directory with mode 0755.
    ///
    /// # Errors
    /// `EXIST`, or what mkdir(2) reports.
    fn make_directory(&self, path: &str) -> Result<()>;

    /// Gives an existing file another name.
    ///
    /// # Errors
    /// `EXIST`, `MLINK`, `NOENT`, or what link(2) reports.
    fn link(&self, from: &str, to: &str) -> Result<()>;

    /// Gives existing files other names, in the order given: each is a file and its new name. The
    /// directories are looked up once for many, so links that share them should be neighbours.
    ///
    /// # Errors
    /// How many were made, and why the next was not: as [`Backend::link`].
    fn link_all(&self, links: &[(&str, String)]) -> std::result::Result<(), (usize, Errno)> {
        for (done, (from, to)) in links.iter().enumerate() {
            self.link(from, to).map_err(|errno| (done, errno))?;
        }
        Ok(())
    }

    /// Moves a name; a file at the target is replaced in the same step.
    ///
    /// # Errors
    /// What rename(2) reports.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Lets two names trade places in one step.
    ///
    /// # Errors
    /// `NOENT` if one is missing, or what renameat2(2) reports.
    fn exchange(&self, one: &str, other: &str) -> Result<()>;

    /// Removes a name of a file.
    ///
    /// # Errors
    /// What unlink(2) reports.
    fn remove_file(&self, path: &str) -> Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NOTEMPTY`, or what rmdir(2) reports.
    fn remove_directory(&self, path: &str) -> Result<()>;

    /// Makes every change of names in a directory durable.
    ///
    /// # Errors
    /// What fsync(2) reports; the changes are then not to be trusted.
    fn sync_directory(&self, path: &str) -> Result<()>;

    /// Makes everything durable that was written or named before: for many small files one wait
    /// instead of thousands. Others' writes to the same file system are waited for too.
    ///
    /// # Errors
    /// What syncfs(2) reports, once (Linux 5.8): whatever was not durable before is then not to be
    /// trusted.
    fn sync_everything(&self) -> Result<()>;

    /// Takes the exclusive lock of a file, which is made if it does not exist.
    ///
    /// # Errors
    /// `WOULDBLOCK` if another process holds it.
    fn lock(&self, path: &str) -> Result<Lock>;

    /// Room on the file system.
    ///
    /// # Errors
    /// What statvfs(2) reports.
    fn space(&self) -> Result<Space>;

    /// Whether any process has the file open.
    ///
    /// # Errors
    /// Where the system cannot tell; take it for open then.
    fn is_open(&self, path: &str) -> Result<bool>;
}

/// An open file.
pub trait File: fmt::Debug + Send + Sync {
    /// Reads at `offset`, as many bytes as there are up to the length of `buffer`; fewer only at
    /// the end of the file.
    ///
    /// # Errors
    /// What pread(2) reports.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// `NOSPC`, `DQUOT`, or what pwrite(2) reports; some of the bytes may be written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// What fstat(2) reports.
    fn length(&self) -> Result<u64>;

    /// Cuts or extends the file; what is new reads as zeros and takes no room.
    ///
    /// # Errors
    /// What ftruncate(2) reports.
    fn set_length(&self, length: u64) -> Result<()>;

    /// Reserves room for `[0, length)` without changing what is read. Where the file system
    /// cannot, nothing happens.
    ///
    /// # Errors
    /// `NOSPC` or `DQUOT` if there is no room.
    fn reserve(&self, length: u64) -> Result<()>;

    /// Makes the contents and the length durable.
    ///
    /// # Errors
    /// What fdatasync(2) reports, and `IO` for ever after.
    fn sync_data(&self) -> Result<()>;

    /// Asks that bytes be written to the disk soon, so that a later sync has less to wait for.
    fn start_writing(&self, offset: u64, length: u64);

    /// Sets the mode to 0444: nobody writes it any more through a new handle.
    ///
    /// # Errors
    /// What fchmod(2) reports.
    fn make_read_only(&self) -> Result<()>;

    /// Shares blocks of another file of the same backend (FICLONERANGE).
    ///
    /// # Errors
    /// `OPNOTSUPP` or `XDEV` where that is not possible, `INVAL` when not aligned.
    fn clone_range(&self, other: &dyn File, from: u64, to: u64, length: u64) -> Result<()>;

    /// Becomes a copy of another file, which may be of any directory, by sharing all its blocks.
    ///
    /// # Errors
    /// `OPNOTSUPP`, `XDEV` or `INVAL` where that is not possible.
    fn clone_whole(&self, other: &dyn File) -> Result<()>;

    /// The first written range at or after `offset`: its start and end. `None`: only holes follow.
    ///
    /// # Errors
    /// What lseek(2) reports.
    fn next_data(&self, offset: u64) -> Result<Option<(u64, u64)>>;

    /// The concrete type, for calls that take two files.
    fn as_any(&self) -> &dyn Any;
}

/// The directory and the last name of a path; the directory of a single name is "".
#[must_use]
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
