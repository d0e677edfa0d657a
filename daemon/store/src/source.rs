//! Where a revision's bytes come from when it is published: anything that lists files and reads
//! them at an offset.
//!
//! Invariant of [`DirectorySource`]: no byte from outside the directory is read, whatever links
//! stand in it or are put there meanwhile (openat2, `RESOLVE_BENEATH`), and a file that changes
//! while it is read fails the publishing. Links that stay inside are followed. One more place is
//! "inside": a snapshot of the hub's cache (`models--org--name/snapshots/<revision>`), whose links
//! lead to `../../blobs`, may be published, so links may reach all of `models--org--name` then.
//! Left out of a listing: `.git`, `.cache` (downloads keep notes there) and `.towline`.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use towline_io::backend::File;
use towline_io::backend::os::CALL_BYTES_MAX;

use crate::error::{ClientFault, Result, StoreError};
use crate::name::{GitId, RepoPath, Sha256};

/// Most files of one directory that are listed; a revision holds no more.
const ENTRIES_MAX: usize = crate::manifest::FILES_MAX;

/// Names in the top directory that are not part of a model.
const LEFT_OUT: [&str; 3] = [".git", ".cache", ".towline"];

/// One file that a source has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceEntry {
    /// Where it goes.
    pub path: RepoPath,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, if the source knows. A file that the store has by this name is not read.
    pub sha256: Option<Sha256>,
    /// Its git id, if the source knows: checked, and it says whether the file is an LFS file.
    pub git_oid: Option<GitId>,
}

/// Something that a revision can be published from. Many threads read at once.
pub trait Source: Sync {
    /// Its files, in any order; called once.
    ///
    /// # Errors
    /// What makes it unusable.
    fn entries(&self) -> Result<Vec<SourceEntry>>;

    /// Fills the buffer with the bytes at `offset` of the file with this number in
    /// [`Source::entries`]; only ranges inside the file are asked for.
    ///
    /// # Errors
    /// [`ClientFault::SourceChanged`] if the file ends before.
    fn read_at(&self, index: usize, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// The file itself, where its blocks may be shared instead of read and written.
    ///
    /// # Errors
    /// What makes it unusable.
    fn file(&self, index: usize) -> Result<Option<Arc<dyn File>>> {
        let _ = index;
        Ok(None)
    }

    /// Called when a file has been read whole.
    ///
    /// # Errors
    /// [`ClientFault::SourceChanged`] if it is not what it was in the beginning.
    fn check(&self, index: usize) -> Result<()> {
        let _ = index;
        Ok(())
    }
}

/// A directory of this machine.
#[derive(Debug)]
pub struct DirectorySource {
    /// Beneath which links may lead.
    anchor: OwnedFd,
    /// From there to the directory; empty, or ends with a slash.
    prefix: String,
    files: std::sync::OnceLock<Vec<Found>>,
    shown: String,
    /// Tells this source from every other one of this process.
    number: u64,
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Debug)]
struct Found {
    path: RepoPath,
    stamp: Stamp,
}

/// A folder that is still to be read, and those that it lies in: file system and inode.
#[derive(Default)]
struct Folder {
    path: String,
    above: Vec<(u64, u64)>,
}

impl Folder {
    /// It and those that it lies in; `None` if it lies in itself.
    fn with(&self, stat: &Stat) -> Option<Vec<(u64, u64)>> {
        let own = (stat.st_dev, stat.st_ino);
        let mut above = self.above.clone();
        let is_new = !above.contains(&own);
        above.push(own);
        is_new.then_some(above)
    }
}

/// What changes when a file is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    size: u64,
    inode: u64,
    changed: (i64, u64),
    modified: (i64, u64),
}

impl Stamp {
    fn of(stat: &Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            inode: stat.st_ino,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
        }
    }
}

impl DirectorySource {
    /// Opens a directory for publishing.
    ///
    /// # Errors
    /// [`ClientFault::Source`] if it is not a directory that can be read.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let failed = |errno: Errno| ClientFault::Source {
            path: shown.clone(),
            reason: match errno {
                Errno::NOENT => "no such directory".to_owned(),
                Errno::NOTDIR => "not a directory; name the folder that holds the files".to_owned(),
                errno => errno.to_string(),
            },
        };
        let path = std::fs::canonicalize(path)
            .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let (anchor, prefix) = anchor_of(&path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let anchor = rustix::fs::open(anchor, flags, Mode::empty()).map_err(failed)?;
        let source = Self {
            anchor,
            prefix,
            files: std::sync::OnceLock::new(),
            shown: shown.clone(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        };
        source.open_beneath("", OFlags::DIRECTORY).map_err(failed)?;
        Ok(source)
    }

    fn open_beneath(&self, path: &str, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let whole = format!("{}{path}", self.prefix);
        let whole = if whole.is_empty() {
            "."
        } else {
            whole.as_str()
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | flags;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.anchor, whole, flags, Mode::empty(), how) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    fn fault(&self, path: &str, reason: impl Into<String>) -> StoreError {
        ClientFault::Source {
            path: format!("{}/{path}", self.shown),
            reason: reason.into(),
        }
        .into()
    }

    fn refused(&self, path: &str, errno: Errno) -> StoreError {
        let reason = match errno {
            Errno::XDEV => "a link that leads out of the folder; copy what it points to".to_owned(),
            Errno::LOOP => "a link that leads in a circle".to_owned(),
            Errno::NOENT => "a link that leads nowhere".to_owned(),
            errno => errno.to_string(),
        };
        self.fault(path, reason)
    }

    fn walk(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        let mut folders = VecDeque::from([Folder::default()]);
        while let Some(folder) = folders.pop_front() {
            let fd = self.open_beneath(&folder.path, OFlags::DIRECTORY);
            let fd = fd.map_err(|errno| self.refused(&folder.path, errno))?;
            let stat = rustix::fs::fstat(&fd).map_err(|errno| self.refused(&folder.path, errno))?;
            let above = folder.with(&stat).ok_or_else(|| {
                let why = "a link that leads to a folder in which it lies itself; remove it";
                self.fault(&folder.path, why)
            })?;
            let entries = Dir::read_from(&fd);
            let entries = entries.map_err(|errno| self.refused(&folder.path, errno))?;
            for entry in entries {
                let entry = entry.map_err(|errno| self.refused(&folder.path, errno))?;
                let Ok(name) = entry.file_name().to_str() else {
                    return Err(self.fault(&folder.path, "a name in it is not UTF-8; rename it"));
                };
                let top = folder.path.is_empty();
                if matches!(name, "." | "..") || (top && LEFT_OUT.contains(&name)) {
                    continue;
                }
                let path = if top {
                    name.to_owned()
                } else {
                    format!("{}/{name}", folder.path)
                };
                let looked = match entry.file_type() {
                    FileType::Directory => None,
                    FileType::RegularFile => match regular(&fd, entry.file_name()) {
                        Some(stat) => Some(self.file_of(&path, &stat)?),
                        None => self.look(&path)?,
                    },
                    _ => self.look(&path)?,
                };
                match looked {
                    Some(file) => found.push(file),
                    None => folders.push_back(Folder {
                        path,
                        above: above.clone(),
                    }),
                }
                if found.len() > ENTRIES_MAX || folders.len() > ENTRIES_MAX {
                    return Err(self.fault("", "more than 1,000,000 files"));
                }
            }
        }
        Ok(found)
    }

    /// A file, or a link to one; `None`: a folder, or a link to one.
    fn look(&self, path: &str) -> Result<Option<Found>> {
        let fd = self.open_beneath(path, OFlags::empty());
        let fd = fd.map_err(|errno| self.refused(path, errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| self.refused(path, errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Ok(None),
            _ => {
                let why = "neither a file nor a folder; remove it or move it away";
                return Err(self.fault(path, why));
            }
        }
        self.file_of(path, &stat).map(Some)
    }

    fn file_of(&self, path: &str, stat: &Stat) -> Result<Found> {
        let name = path.parse::<RepoPath>();
        Ok(Found {
            path: name.map_err(|fault| self.fault(path, fault.to_string()))?,
            stamp: Stamp::of(stat),
        })
    }

    /// Opens a file that was listed, which must be what it was then.
    fn open_found(&self, found: &Found) -> Result<OwnedFd> {
        let path = found.path.as_str();
        let fd = self.open_beneath(path, OFlags::empty());
        let fd = fd.map_err(|errno| self.refused(path, errno))?;
        self.check_stamp(found, &fd)?;
        Ok(fd)
    }

    fn check_stamp(&self, found: &Found, fd: &OwnedFd) -> Result<()> {
        let path = found.path.as_str();
        let stat = rustix::fs::fstat(fd).map_err(|errno| self.refused(path, errno))?;
        if Stamp::of(&stat) == found.stamp {
            return Ok(());
        }
        Err(ClientFault::SourceChanged(found.path.clone()).into())
    }

    fn found(&self, index: usize) -> Result<&Found> {
        let found = self.files.get().and_then(|files| files.get(index));
        found.ok_or_else(|| ClientFault::Argument("no file with this number").into())
    }
}

/// Beneath which directory links may lead, and the way from there.
fn anchor_of(path: &Path) -> (&Path, String) {
    let name = |path: &Path| {
        path.file_name()
            .and_then(|name| name.to_str().map(str::to_owned))
    };
    let snapshots = path.parent();
    let repo = snapshots.and_then(Path::parent);
    if let (Some(revision), Some(snapshots), Some(repo)) = (name(path), snapshots, repo)
        && name(snapshots).as_deref() == Some("snapshots")
        && name(repo).is_some_and(|name| name.contains("--"))
    {
        return (repo, format!("snapshots/{revision}/"));
    }
    (path, String::new())
}

impl Source for DirectorySource {
    fn entries(&self) -> Result<Vec<SourceEntry>> {
        let mut found = self.walk()?;
        found.sort_by(|one, other| one.path.cmp(&other.path));
        let entries = found.iter().map(|found| SourceEntry {
            path: found.path.clone(),
            size: found.stamp.size,
            sha256: None,
            git_oid: None,
        });
        let entries = entries.collect();
        let _ = self.files.set(found);
        Ok(entries)
    }

    fn read_at(&self, index: usize, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let found = self.found(index)?;
        let path = found.path.as_str();
        let fd = OPENED.with_borrow_mut(|opened| match opened.take() {
            Some((owner, at, fd)) if owner == self.number && at == index => Ok(fd),
            _ => self.open_found(found),
        })?;
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let (part, _) = rest.split_at_mut(rest.len().min(CALL_BYTES_MAX));
            match rustix::io::pread(&fd, part, offset + filled as u64) {
                Ok(0) => return Err(ClientFault::SourceChanged(found.path.clone()).into()),
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.refused(path, errno)),
            }
        }
        OPENED.with_borrow_mut(|opened| *opened = Some((self.number, index, fd)));
        Ok(())
    }

    fn file(&self, index: usize) -> Result<Option<Arc<dyn File>>> {
        let fd = self.open_found(self.found(index)?)?;
        Ok(Some(towline_io::backend::os::opened(fd)))
    }

    fn check(&self, index: usize) -> Result<()> {
        let found = self.found(index)?;
        // A file that was written, moved or removed meanwhile has another time of change, so the
        // one that was read tells it without being looked up again.
        match OPENED.with_borrow_mut(Option::take) {
            Some((owner, at, fd)) if owner == self.number && at == index => {
                self.check_stamp(found, &fd)
            }
            _ => self.open_found(found).map(drop),
        }
    }
}

/// What stands under a name in a folder, if it is a file itself and no link.
fn regular(folder: &OwnedFd, name: &std::ffi::CStr) -> Option<Stat> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(stat)
}

thread_local! {
    /// The file that this thread read last: a file is read in many pieces by one thread.
    static OPENED: std::cell::RefCell<Option<(u64, usize, OwnedFd)>> =
        const { std::cell::RefCell::new(None) };
}
