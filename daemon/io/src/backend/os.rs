//! The real machine: every call resolved beneath one open directory with openat2(2).
//!
//! Invariant: no call leaves the directory or follows a symbolic link, whatever stands on the
//! disk (`RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`). A file is changed as the daemon itself, not
//! as the caller that a thread has served before. What a sync has failed for once fails every later
//! sync through this directory, also when it is opened anew: a file or directory by itself, and
//! everything after a failed syncfs(2). Not promised: a kernel before 5.8, which has no openat2(2)
//! or whose syncfs(2) tells nobody of lost writes.

use std::any::Any;
use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{
    AtFlags, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags,
    ResolveFlags, SeekFrom, StatxFlags,
};
use rustix::io::Errno;

use towline_base::Recent;
use towline_sys::files;
use towline_sys::identity::assume_daemon;

use super::{BLOCK_BYTES, Backend, Entry, File, Kind, Lock, Metadata, Open, Result, Space, split};

/// A directory of this machine.
#[derive(Debug)]
pub struct Directory {
    root: OwnedFd,
    condemned: Arc<Condemned>,
}

/// Most files that are remembered one by one; past it everything is condemned.
const CONDEMNED_MAX: usize = 10_000;

/// Most bytes that one call copies. On a kernel without preemption the processor is given to nobody
/// before a call has copied what lies in one folio, which may be megabytes: a request would wait.
pub const CALL_BYTES_MAX: usize = 256 << 10;

/// Most directories on either side that [`Backend::link_all`] keeps open at once.
const PARENTS_MAX: usize = 64;

/// Device (major and minor), inode, and when it was made (seconds and nanoseconds), which tells an
/// inode number that is used again.
type Identity = (u32, u32, u64, i64, u32);

/// What could not be made durable once. The kernel marks pages clean that it could not write
/// (fsync(2)), so a second try proves nothing.
#[derive(Debug, Default)]
struct Condemned {
    files: Mutex<HashSet<Identity>>,
    is_everything: AtomicBool,
}

impl Condemned {
    /// Syncs one file or directory by `sync`.
    fn judge(&self, fd: &OwnedFd, sync: impl FnOnce(&OwnedFd) -> Result<()>) -> Result<()> {
        if self.is_everything.load(Ordering::Acquire) {
            return Err(Errno::IO);
        }
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let seen = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, mask)?;
        let (major, minor, born) = (seen.stx_dev_major, seen.stx_dev_minor, seen.stx_btime);
        let file = (major, minor, seen.stx_ino, born.tv_sec, born.tv_nsec);
        let files = || self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files().contains(&file) {
            return Err(Errno::IO);
        }
        let result = sync(fd);
        if let Err(error) = result {
            let node = seen.stx_ino;
            tracing::error!(node, %error, "a sync failed: what it was for is condemned");
            let mut files = files();
            files.insert(file);
            if files.len() >= CONDEMNED_MAX {
                self.is_everything.store(true, Ordering::Release);
            }
        }
        result
    }

    /// Syncs the whole file system by `sync`.
    fn judge_everything(&self, sync: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.is_everything.load(Ordering::Acquire) {
            return Err(Errno::IO);
        }
        let result = sync();
        if let Err(error) = result {
            tracing::error!(
                %error,
                "syncfs failed: nothing counts as durable; check the disk, then restart the node"
            );
            self.is_everything.store(true, Ordering::Release);
        }
        result
    }
}

impl Directory {
    /// Opens the directory at `path`, which must exist.
    ///
    /// # Errors
    /// What open(2) reports.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            root,
            condemned: Arc::default(),
        })
    }

    fn resolve(&self, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        assume_daemon().map_err(|_| Errno::PERM)?;
        let path = if path.is_empty() { "." } else { path };
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, how) {
                // A rename somewhere on the way made the kernel unsure (openat2(2), EAGAIN).
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    fn parent<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str)> {
        let (directory, name) = (split(path).0, last_name(path)?);
        let fd = self.resolve(directory, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok((fd, name))
    }
}

fn last_name(path: &str) -> Result<&str> {
    match split(path).1 {
        "" | "." | ".." => Err(Errno::INVAL),
        name => Ok(name),
    }
}

/// Directories that were looked up during one call, those that were used last.
struct Parents<'a> {
    root: &'a Directory,
    open: Recent<String, OwnedFd>,
}

impl<'a> Parents<'a> {
    fn new(root: &'a Directory) -> Self {
        let open = Recent::new(PARENTS_MAX);
        Self { root, open }
    }

    fn of<'p>(&mut self, path: &'p str) -> Result<(&OwnedFd, &'p str)> {
        let (directory, _) = split(path);
        if self.open.peek(directory).is_none() {
            let (parent, _) = self.root.parent(path)?;
            self.open.insert(directory.to_owned(), parent);
        }
        let name = last_name(path)?;
        let parent = self.open.get(directory).ok_or(Errno::BADF)?;
        Ok((parent, name))
    }
}

/// A file that was opened elsewhere, for reading and as something to clone.
#[must_use]
pub fn opened(fd: OwnedFd) -> Arc<dyn File> {
    Arc::new(OsFile::new(fd, Arc::default()))
}

impl Backend for Directory {
    fn open(&self, path: &str, how: Open) -> Result<Arc<dyn File>> {
        let (flags, mode) = match how {
            Open::Read => (OFlags::RDONLY, Mode::empty()),
            Open::Write => (OFlags::RDWR, Mode::empty()),
            Open::Create | Open::CreateLong => (
                OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
                Mode::from_raw_mode(0o644),
            ),
        };
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = match how {
            // What the store reads itself is no use of a file. Only its owner may say so.
            Open::Read => match self.resolve(path, flags | OFlags::NOATIME, mode) {
                Err(Errno::PERM) => self.resolve(path, flags, mode)?,
                other => other?,
            },
            Open::Write | Open::Create | Open::CreateLong => self.resolve(path, flags, mode)?,
        };
        let is_new = matches!(how, Open::Create | Open::CreateLong);
        // What was made just now is a regular file.
        if !is_new
            && FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile
        {
            return Err(Errno::ISDIR);
        }
        let mut file = OsFile::new(fd, self.condemned.clone());
        if how == Open::CreateLong {
            let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::NOFOLLOW;
            // tmpfs and others cannot; then all of it goes through the page cache.
            file.direct = self.resolve(path, flags, Mode::empty()).ok();
        }
        Ok(Arc::new(file))
    }

    fn metadata(&self, path: &str) -> Result<Metadata> {
        let fd = self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            _ => Kind::Other,
        };
        Ok(Metadata {
            kind,
            length: u64::try_from(stat.st_size).unwrap_or(0),
            inode: stat.st_ino,
            links: u64::from(stat.st_nlink as u32),
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
            accessed: u64::try_from(stat.st_atime).unwrap_or(0),
        })
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let fd = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in Dir::new(fd)? {
            let entry = entry?;
            let name: &CStr = entry.file_name();
            let Ok(name) = name.to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let is_directory = match entry.file_type() {
                FileType::Unknown => {
                    let path = format!("{path}/{name}");
                    self.metadata(path.trim_start_matches('/'))?.kind == Kind::Directory
                }
                kind => kind == FileType::Directory,
            };
            entries.push(Entry {
                name: name.to_owned(),
                is_directory,
            });
        }
        entries.sort();
        Ok(entries)
    }

    fn make_directory(&self, path: &str) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
        // Whatever the process's umask says: clients read through these directories.
        rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(0o755), AtFlags::empty())
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        let (from, from_name) = self.parent(from)?;
        let (to, to_name) = self.parent(to)?;
        rustix::fs::linkat(&from, from_name, &to, to_name, AtFlags::empty())
    }

    fn link_all(&self, links: &[(&str, String)]) -> std::result::Result<(), (usize, Errno)> {
        let (mut sources, mut targets) = (Parents::new(self), Parents::new(self));
        for (done, (from, to)) in links.iter().enumerate() {
            let mut one = || {
                let (from, from_name) = sources.of(from)?;
                let (to, to_name) = targets.of(to)?;
                rustix::fs::linkat(from, from_name, to, to_name, AtFlags::empty())
            };
            one().map_err(|errno| (done, errno))?;
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, from_name) = self.parent(from)?;
        let (to, to_name) = self.parent(to)?;
        rustix::fs::renameat(&from, from_name, &to, to_name)
    }

    fn exchange(&self, one: &str, other: &str) -> Result<()> {
        let (one, one_name) = self.parent(one)?;
        let (other, other_name) = self.parent(other)?;
        rustix::fs::renameat_with(&one, one_name, &other, other_name, RenameFlags::EXCHANGE)
    }

    fn remove_file(&self, path: &str) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::empty())
    }

    fn remove_directory(&self, path: &str) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)
    }

    fn sync_directory(&self, path: &str) -> Result<()> {
        let fd = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        self.condemned.judge(&fd, |fd| rustix::fs::fsync(fd))
    }

    fn sync_everything(&self) -> Result<()> {
        self.condemned
            .judge_everything(|| rustix::fs::syncfs(&self.root))
    }

    fn lock(&self, path: &str) -> Result<Lock> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW;
        let fd = self.resolve(path, flags, Mode::from_raw_mode(0o600))?;
        rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(fd))
    }

    fn space(&self) -> Result<Space> {
        let found = rustix::fs::fstatvfs(&self.root)?;
        Ok(Space {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }

    fn is_open(&self, path: &str) -> Result<bool> {
        let fd = self.resolve(path, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty())?;
        files::is_open_elsewhere(fd.as_fd())
    }
}

/// A file of this machine.
#[derive(Debug)]
struct OsFile {
    fd: OwnedFd,
    /// The same file, for what goes past the page cache.
    direct: Option<OwnedFd>,
    /// Whether the file system has refused that.
    is_refused: AtomicBool,
    condemned: Arc<Condemned>,
}

impl OsFile {
    fn new(fd: OwnedFd, condemned: Arc<Condemned>) -> Self {
        Self {
            fd,
            direct: None,
            is_refused: AtomicBool::new(false),
            condemned,
        }
    }

    /// Writes whole blocks past the page cache; `false` if that cannot be done with these.
    fn write_direct(&self, blocks: &[u8], offset: u64) -> Result<bool> {
        let is_aligned = blocks.as_ptr().addr().is_multiple_of(BLOCK_BYTES);
        let Some(direct) = self.direct.as_ref().filter(|_| is_aligned) else {
            return Ok(false);
        };
        if blocks.is_empty() || self.is_refused.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match write_all(direct, blocks, offset, usize::MAX) {
            // Less than a block was taken, or the disk has longer ones.
            Err(Errno::INVAL) => {
                self.is_refused.store(true, Ordering::Relaxed);
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }
}

/// Writes all bytes, at most `most` with one call.
fn write_all(fd: &OwnedFd, bytes: &[u8], offset: u64, most: usize) -> Result<()> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let (part, _) = rest.split_at(rest.len().min(most));
        match rustix::io::pwrite(fd, part, offset + written as u64) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl File for OsFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let (part, _) = rest.split_at_mut(rest.len().min(CALL_BYTES_MAX));
            match rustix::io::pread(&self.fd, part, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        if self.direct.is_none() {
            return write_all(&self.fd, bytes, offset, CALL_BYTES_MAX);
        }
        // The ends share their blocks with what is written before and after.
        let head = (offset.next_multiple_of(BLOCK_BYTES as u64) - offset) as usize;
        let (first, rest) = bytes.split_at(head.min(bytes.len()));
        let (blocks, last) = rest.split_at(rest.len() / BLOCK_BYTES * BLOCK_BYTES);
        let start = offset + first.len() as u64;
        if !self.write_direct(blocks, start)? {
            return write_all(&self.fd, bytes, offset, CALL_BYTES_MAX);
        }
        write_all(&self.fd, first, offset, CALL_BYTES_MAX)?;
        write_all(&self.fd, last, start + blocks.len() as u64, CALL_BYTES_MAX)
    }

    fn length(&self) -> Result<u64> {
        let stat = rustix::fs::fstat(&self.fd)?;
        u64::try_from(stat.st_size).map_err(|_| Errno::IO)
    }

    fn set_length(&self, length: u64) -> Result<()> {
        rustix::fs::ftruncate(&self.fd, length)
    }

    fn reserve(&self, length: u64) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.fd, FallocateFlags::KEEP_SIZE, 0, length) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => other,
        }
    }

    fn sync_data(&self) -> Result<()> {
        self.condemned
            .judge(&self.fd, |fd| rustix::fs::fdatasync(fd))
    }

    fn start_writing(&self, offset: u64, length: u64) {
        // A hint: where it cannot be taken the sync does all the work.
        let _ = files::start_writing(self.fd.as_fd(), offset, length);
    }

    fn make_read_only(&self) -> Result<()> {
        rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(0o444))
    }

    fn clone_range(&self, other: &dyn File, from: u64, to: u64, length: u64) -> Result<()> {
        let other = other.as_any().downcast_ref::<Self>().ok_or(Errno::XDEV)?;
        files::clone_range(self.fd.as_fd(), other.fd.as_fd(), from, to, length)
    }

    fn clone_whole(&self, other: &dyn File) -> Result<()> {
        // From the start to the other's end, which a length of zero means (ioctl_ficlonerange(2)).
        self.clone_range(other, 0, 0, 0)
    }

    fn next_data(&self, offset: u64) -> Result<Option<(u64, u64)>> {
        let start = match rustix::fs::seek(&self.fd, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // No notion of holes: all of it is data.
            Err(Errno::INVAL) => offset,
            Err(error) => return Err(error),
        };
        let end = match rustix::fs::seek(&self.fd, SeekFrom::Hole(start)) {
            Ok(end) => end,
            Err(Errno::INVAL) => self.length()?,
            Err(error) => return Err(error),
        };
        Ok((start < end).then_some((start, end)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_failed_is_condemned_through_every_descriptor() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let open = |name: &str| {
            let flags = OFlags::RDWR | OFlags::CREATE;
            directory
                .resolve(name, flags, Mode::from_raw_mode(0o600))
                .unwrap()
        };
        let condemned = &directory.condemned;
        let full = condemned.judge(&open("a"), |_| Err(Errno::NOSPC));
        assert_eq!(full, Err(Errno::NOSPC));
        assert_eq!(condemned.judge(&open("a"), |_| Ok(())), Err(Errno::IO));
        let again = directory.open("a", Open::Write).unwrap();
        assert_eq!(again.sync_data(), Err(Errno::IO));
        let other = directory.open("b", Open::Create).unwrap();
        assert_eq!(other.sync_data(), Ok(()));
        // The directory itself is a file of its own.
        assert_eq!(directory.sync_directory(""), Ok(()));
        let failed = condemned.judge(&open_directory(&directory), |_| Err(Errno::IO));
        assert_eq!(failed, Err(Errno::IO));
        assert_eq!(directory.sync_directory(""), Err(Errno::IO));
    }

    fn open_directory(directory: &Directory) -> OwnedFd {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        directory.resolve("", flags, Mode::empty()).unwrap()
    }

    #[test]
    fn many_links_go_as_far_as_they_can_and_say_how_far() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path()).unwrap();
        for name in ["from", "to", "to/deep"] {
            directory.make_directory(name).unwrap();
        }
        directory.open("from/a", Open::Create).unwrap();
        let links = |names: &[&str]| -> Vec<(&str, String)> {
            names.iter().map(|to| ("from/a", (*to).into())).collect()
        };
        let good = links(&["to/1", "to/deep/2", "to/3", "4"]);
        assert_eq!(directory.link_all(&good), Ok(()));
        assert_eq!(directory.metadata("to/deep/2").unwrap().links, 5);
        let taken = directory.link_all(&links(&["to/5", "to/1", "to/6"]));
        assert_eq!(taken, Err((1, Errno::EXIST)));
        assert_eq!(directory.metadata("to/6").unwrap_err(), Errno::NOENT);
        let outside = directory.link_all(&links(&["../out"]));
        assert_eq!(outside, Err((0, Errno::XDEV)));
        assert_eq!(
            directory.link_all(&links(&["to/.."])),
            Err((0, Errno::INVAL))
        );
        std::os::unix::fs::symlink(place.path(), place.path().join("link")).unwrap();
        let through = directory.link_all(&links(&["link/7"]));
        assert_eq!(through, Err((0, Errno::LOOP)));
        // More directories than are kept open.
        let mut many = Vec::new();
        for number in 0..3 * PARENTS_MAX {
            directory.make_directory(&format!("d{number}")).unwrap();
            many.push(("from/a", format!("d{number}/x")));
            many.push(("from/a", format!("to/x{number}")));
        }
        assert_eq!(directory.link_all(&many), Ok(()));
        assert_eq!(directory.list("to").unwrap().len(), 3 * PARENTS_MAX + 4);
    }

    /// Bytes that begin in memory at this place within a block.
    fn placed(length: usize, at: usize) -> (Vec<u8>, usize) {
        let bytes: Vec<u8> = (0..length + 2 * BLOCK_BYTES).map(|at| at as u8).collect();
        let start = (at + BLOCK_BYTES - bytes.as_ptr().addr() % BLOCK_BYTES) % BLOCK_BYTES;
        (bytes, start)
    }

    #[test]
    fn a_long_file_has_the_bytes_that_were_written_wherever_they_lay() {
        let place = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let file = directory.open("long", Open::CreateLong).unwrap();
        file.reserve(1 << 20).unwrap();
        let mut expected = Vec::new();
        // Pieces of odd lengths one after the other, in memory as in the file or not.
        for (number, length) in [10, 4_096, 100_000, 8_192, 1, 65_536, 50_001]
            .into_iter()
            .enumerate()
        {
            let offset = expected.len();
            let shift = if number == 3 { 8 } else { 0 };
            let (bytes, start) = placed(length, (offset + shift) % BLOCK_BYTES);
            let piece = &bytes[start..start + length];
            file.write_at(piece, offset as u64).unwrap();
            expected.extend_from_slice(piece);
        }
        file.sync_data().unwrap();
        assert_eq!(file.length(), Ok(expected.len() as u64));
        let mut seen = vec![0; expected.len()];
        assert_eq!(file.read_at(&mut seen, 0), Ok(expected.len()));
        assert!(seen == expected);
        assert!(std::fs::read(place.path().join("long")).unwrap() == expected);
    }

    #[test]
    fn after_a_failed_syncfs_nothing_is_durable_any_more() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let file = directory.open("a", Open::Create).unwrap();
        assert_eq!(directory.sync_everything(), Ok(()));
        let failed = directory.condemned.judge_everything(|| Err(Errno::IO));
        assert_eq!(failed, Err(Errno::IO));
        assert_eq!(directory.sync_everything(), Err(Errno::IO));
        assert_eq!(file.sync_data(), Err(Errno::IO));
        assert_eq!(directory.sync_directory(""), Err(Errno::IO));
    }
}
