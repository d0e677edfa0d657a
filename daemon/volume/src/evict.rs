//! Keeping a cache within its bounds: the least recently used files go first.
//!
//! A sweep walks the directory once, removes what is older than the age bound, and then the least
//! recently used until nine tenths of the size bound are left. Invariant: a file that any process
//! has open, or that was used in the last [`SPARED_MAX`], is not removed; nothing outside the
//! directory is touched and no link is followed. Not promised: exact recency; file systems mounted
//! `relatime` note a read once a day (mount(8)), so writes count more than reads.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use towline_base::clock;
use towline_sys::files;
use towline_sys::identity::assume_daemon;

use crate::attributes::{Attributes, FileKind};
use crate::node::FileIdentity;
use crate::tree::TEMPORARY_PREFIX;
use crate::volume::Result;

/// A file used more recently than this stays: an NFS client that has it open shows no descriptor
/// here between two reads.
pub const SPARED_MAX: Duration = Duration::from_secs(600);

/// Most files that one sweep looks at: 400 MB of memory. What is beyond waits for the next sweep.
const FILES_MAX: usize = 4_000_000;

/// Deepest directory that is entered.
const DEPTH_MAX: usize = 128;

/// The bounds of a cache.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bounds {
    /// Bytes of disk that files may take together.
    pub bytes_max: Option<u64>,
    /// Time after which a file that nobody has used goes.
    pub age_max: Option<Duration>,
}

/// What a sweep found and did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Swept {
    /// Bytes of disk that files took before.
    pub bytes_before: u64,
    /// Files removed.
    pub files_removed: u64,
    /// Bytes that came free.
    pub bytes_removed: u64,
    /// Files that should have gone but were in use.
    pub files_spared: u64,
}

struct Candidate {
    dir: usize,
    name: CString,
    used: Duration,
    bytes: u64,
}

/// Sweeps the cache in the directory `root`. Blocks for as long as a walk over it takes.
///
/// # Errors
/// Only if the directory itself cannot be opened; a file that cannot be removed is passed over.
pub fn sweep(root: &Path, bounds: &Bounds) -> Result<Swept> {
    assume_daemon()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags, Mode::empty())?;
    Ok(sweep_in(root, bounds))
}

/// Bytes of disk that the files below a directory take. The caller has assumed an identity.
#[must_use]
pub(crate) fn measure(root: &OwnedFd) -> u64 {
    let mut linked = HashSet::new();
    let mut count = |_: &OwnedFd, _: &CStr, attributes: &Attributes| {
        let is_new = attributes.links == 1 || linked.insert(FileIdentity::of(attributes));
        if is_new { attributes.used } else { 0 }
    };
    each_file(root, 0, &mut count)
}

/// Adds up what `count` says of each regular file below a directory.
fn each_file(
    dir: &OwnedFd,
    depth: usize,
    count: &mut dyn FnMut(&OwnedFd, &CStr, &Attributes) -> u64,
) -> u64 {
    let mut sum = 0;
    for entry in Dir::read_from(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let mask = rustix::fs::StatxFlags::BASIC_STATS;
        let Ok(statx) = rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, mask) else {
            continue;
        };
        let attributes = Attributes::from_statx(&statx);
        match attributes.kind {
            FileKind::Regular => sum += count(dir, name, &attributes),
            FileKind::Directory if depth < DEPTH_MAX => {
                if let Some(below) = open_below(dir, name.to_bytes()) {
                    sum += each_file(&below, depth + 1, count);
                }
            }
            FileKind::Directory
            | FileKind::Symlink
            | FileKind::Block
            | FileKind::Character
            | FileKind::Fifo
            | FileKind::Socket => {}
        }
    }
    sum
}

/// Removes unfinished uploads below `root` that nobody has gone on with for `age_max`, and tells
/// how many. Blocks for as long as a walk over the volume takes.
///
/// # Errors
/// Only if the directory itself cannot be opened.
pub fn sweep_uploads(root: &Path, age_max: Duration) -> Result<u64> {
    assume_daemon()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags, Mode::empty())?;
    let now = clock::since_epoch();
    let mut remove = |dir: &OwnedFd, name: &CStr, attributes: &Attributes| {
        let changed = u64::try_from(attributes.modified.seconds).unwrap_or(0);
        let age = now.saturating_sub(Duration::from_secs(changed));
        let is_old = is_unfinished(name.to_bytes()) && age >= age_max;
        u64::from(is_old && remove_unheld(dir.as_fd(), name))
    };
    Ok(each_file(&root, 0, &mut remove))
}

/// Whether a name is that of an upload on its way in.
pub(crate) fn is_unfinished(name: &[u8]) -> bool {
    name.starts_with(TEMPORARY_PREFIX.as_bytes())
}

/// Removes an unfinished upload unless somebody writes to it now; whether it did.
pub(crate) fn remove_unheld(dir: BorrowedFd<'_>, name: &CStr) -> bool {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(dir, name, flags, Mode::empty()) else {
        return false;
    };
    let lock = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&file, lock).is_ok()
        && rustix::fs::unlinkat(dir, name, AtFlags::empty()).is_ok()
}

/// [`sweep`] of an open directory. The caller has assumed an identity.
pub(crate) fn sweep_in(root: OwnedFd, bounds: &Bounds) -> Swept {
    let mut walk = Walk {
        root,
        dirs: vec![Vec::new()],
        candidates: Vec::new(),
        linked: HashSet::new(),
        bytes: 0,
    };
    if let Some(root) = open_below(&walk.root, b"") {
        walk.enter(&root, 0, 0);
    }
    let mut swept = Swept {
        bytes_before: walk.bytes,
        ..Default::default()
    };
    walk.candidates.sort_by_key(|candidate| candidate.used);
    let now = clock::since_epoch();
    // Nine tenths, so that not every new file starts a removal.
    let goal = bounds.bytes_max.map(|max| (max, max / 10 * 9));
    let is_over = goal.is_some_and(|(max, _)| walk.bytes > max);
    for candidate in &walk.candidates {
        let age = now.saturating_sub(candidate.used);
        let left = swept.bytes_before - swept.bytes_removed;
        let is_old = bounds.age_max.is_some_and(|max| age > max);
        let is_surplus = is_over && goal.is_some_and(|(_, goal)| left > goal);
        if !is_old && !is_surplus {
            break;
        }
        let path = walk.dirs.get(candidate.dir);
        let Some(dir) = path.and_then(|path| open_below(&walk.root, path)) else {
            continue;
        };
        if age < SPARED_MAX || !remove(&dir, candidate) {
            swept.files_spared += 1;
            continue;
        }
        swept.files_removed += 1;
        swept.bytes_removed += candidate.bytes;
    }
    swept
}

struct Walk {
    root: OwnedFd,
    /// Paths of directories below the root; candidates name theirs by index. Paths and not
    /// descriptors: a cache may have more directories than a process may open files.
    dirs: Vec<Vec<u8>>,
    candidates: Vec<Candidate>,
    /// Files with several names that were counted already.
    linked: HashSet<FileIdentity>,
    bytes: u64,
}

/// Opens a directory below another, never over a link or into another file system.
fn open_below(dir: &OwnedFd, path: &[u8]) -> Option<OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = if path.is_empty() { b"." } else { path };
    rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve).ok()
}

impl Walk {
    /// Counts what lies in the directory of this index.
    fn enter(&mut self, fd: &OwnedFd, dir: usize, depth: usize) {
        for entry in Dir::read_from(fd).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || self.candidates.len() >= FILES_MAX {
                continue;
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let mask = rustix::fs::StatxFlags::BASIC_STATS;
            let Ok(statx) = rustix::fs::statx(fd, name, flags, mask) else {
                continue;
            };
            let attributes = Attributes::from_statx(&statx);
            match attributes.kind {
                FileKind::Directory if depth < DEPTH_MAX => {
                    if let Some(below) = open_below(fd, name.to_bytes()) {
                        let above = self.dirs.get(dir).map_or(&[][..], Vec::as_slice);
                        let parts = [above, name.to_bytes()];
                        let is_first = usize::from(above.is_empty());
                        let path = parts.get(is_first..).unwrap_or(&[]).join(&b'/');
                        self.dirs.push(path);
                        self.enter(&below, self.dirs.len() - 1, depth + 1);
                    }
                }
                FileKind::Regular => self.count(dir, name.to_owned(), &attributes),
                FileKind::Directory
                | FileKind::Symlink
                | FileKind::Block
                | FileKind::Character
                | FileKind::Fifo
                | FileKind::Socket => {}
            }
        }
    }

    fn count(&mut self, dir: usize, name: CString, attributes: &Attributes) {
        if attributes.links > 1 && !self.linked.insert(FileIdentity::of(attributes)) {
            return;
        }
        self.bytes += attributes.used;
        let time = attributes.accessed.max(attributes.modified);
        let used = Duration::from_secs(u64::try_from(time.seconds).unwrap_or(0));
        self.candidates.push(Candidate {
            dir,
            name,
            used,
            bytes: attributes.used,
        });
    }
}

/// Removes a file unless somebody has it open; whether it did.
fn remove(dir: &OwnedFd, candidate: &Candidate) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(dir, &candidate.name, flags, Mode::empty()) else {
        return false;
    };
    let is_regular = rustix::fs::fstat(&file)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    // Where leases are not supported, age alone decides.
    let is_open = files::is_open_elsewhere(file.as_fd()).unwrap_or(false);
    is_regular && !is_open && rustix::fs::unlinkat(dir, &candidate.name, AtFlags::empty()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::SystemTime;

    fn file(dir: &Path, name: &str, kib: usize, age: Duration) -> std::path::PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, vec![1; kib << 10]).unwrap();
        let when = SystemTime::now() - age;
        let times = std::fs::FileTimes::new()
            .set_accessed(when)
            .set_modified(when);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_times(times)
            .unwrap();
        path
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_least_recently_used_goes_first_and_no_more_than_needed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let oldest = file(dir.path(), "sub/oldest", 400, HOUR * 3);
        let older = file(dir.path(), "older", 400, HOUR * 2);
        let newer = file(dir.path(), "newer", 400, HOUR);
        let bounds = Bounds {
            bytes_max: Some(1000 << 10),
            age_max: None,
        };
        let swept = sweep(dir.path(), &bounds).unwrap();
        assert_eq!((swept.files_removed, swept.files_spared), (1, 0));
        assert!(!oldest.exists() && older.exists() && newer.exists());
        assert_eq!(sweep(dir.path(), &bounds).unwrap().files_removed, 0);
    }

    #[test]
    fn what_is_in_use_or_was_just_used_stays() {
        let dir = tempfile::tempdir().unwrap();
        let open = file(dir.path(), "open", 400, HOUR * 3);
        let held = File::open(&open).unwrap();
        let fresh = file(dir.path(), "fresh", 400, Duration::ZERO);
        let idle = file(dir.path(), "idle", 400, HOUR);
        let bounds = Bounds {
            bytes_max: Some(4096),
            age_max: None,
        };
        let swept = sweep(dir.path(), &bounds).unwrap();
        assert_eq!((swept.files_removed, swept.files_spared), (1, 2));
        assert!(open.exists() && fresh.exists() && !idle.exists());
        drop(held);
    }

    /// Directories past the 4,096th were not entered, so what lay there was never removed.
    #[test]
    fn a_cache_of_many_directories_is_swept_whole() {
        const DIRECTORIES: usize = 5_000;
        let dir = tempfile::tempdir().unwrap();
        for number in 0..DIRECTORIES {
            let below = dir.path().join(number.to_string());
            std::fs::create_dir(&below).unwrap();
            file(&below, "old", 0, HOUR * 50);
        }
        let bounds = Bounds {
            bytes_max: None,
            age_max: Some(HOUR * 24),
        };
        let swept = sweep(dir.path(), &bounds).unwrap();
        assert_eq!(swept.files_removed, DIRECTORIES as u64);
    }

    #[test]
    fn age_alone_removes_and_a_link_is_never_followed() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kept = file(outside.path(), "kept", 4, HOUR * 50);
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        let old = file(dir.path(), "old", 4, HOUR * 50);
        let bounds = Bounds {
            bytes_max: None,
            age_max: Some(HOUR * 24),
        };
        assert_eq!(sweep(dir.path(), &bounds).unwrap().files_removed, 1);
        assert!(!old.exists() && kept.exists());
    }
}
