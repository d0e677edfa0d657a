//! Where files are, for a node that may not open them by kernel handle.
//!
//! Every handle that is given out is recorded here with the directory and name that it was found
//! under. After a restart, or when somebody else has renamed a file, the name is not known; one
//! walk over the whole tree then finds every file again. Invariant: the index is a hint; what it
//! leads to is used only if its key is the one asked for. Not promised: that a walk is quick (a
//! million files take seconds), so walks are at least [`WALK_INTERVAL`] apart.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Dir, FileType, Mode, OFlags};
use towline_base::{Name, Recent, clock};

use crate::handle::FileKey;
use crate::volume::Result;

use super::ground::Ground;

/// Most files that are remembered: about 200 bytes each, so 800 MB. Past it those go that were not
/// asked for of late; a walk brings back what is asked for.
const FILES_MAX: usize = 4_000_000;

/// Deepest directory that a path is made for, and that a walk enters.
const DEPTH_MAX: usize = 512;

/// Least time between two walks over the tree: a client that keeps asking for a deleted file
/// costs one walk in that time, not one per call.
const WALK_INTERVAL: Duration = Duration::from_secs(5);

/// Directory and name by file.
#[derive(Debug)]
pub(super) struct Index {
    places: Mutex<Recent<FileKey, (FileKey, Name)>>,
    walked: Mutex<Option<Instant>>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            places: Mutex::new(Recent::new(FILES_MAX)),
            walked: Mutex::default(),
        }
    }
}

impl Index {
    /// Remembers that `file` is called `name` in `dir`.
    pub(super) fn record(&self, file: FileKey, dir: FileKey, name: &Name) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.insert(file, (dir, name.clone()));
    }

    /// The path of a file below the root, if the way is known.
    pub(super) fn path_of(&self, file: &FileKey) -> Option<Vec<u8>> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = Vec::new();
        let mut at = *file;
        while at != FileKey::root() {
            let (dir, name) = places.get(&at)?;
            names.push(name.as_bytes().to_vec());
            at = *dir;
            if names.len() > DEPTH_MAX {
                return None;
            }
        }
        names.reverse();
        Some(names.join(&b'/'))
    }

    /// Walks the tree and records every file. `false` if the last walk was too recent.
    pub(super) fn rebuild(&self, ground: &Ground, root: &OwnedFd) -> Result<bool> {
        let mut walked = self.walked.lock().unwrap_or_else(PoisonError::into_inner);
        if walked.is_some_and(|at| clock::now() - at < WALK_INTERVAL) {
            return Ok(false);
        }
        let started = clock::now();
        let mut files = 0_u64;
        let mut stack = vec![(rustix::io::dup(root)?, FileKey::root(), 0_usize)];
        while let Some((dir, key, depth)) = stack.pop() {
            files += self.record_entries(ground, &dir, key, |fd, key| {
                if depth < DEPTH_MAX {
                    stack.push((fd, key, depth + 1));
                }
            })?;
        }
        *walked = Some(clock::now());
        let elapsed_us = started.elapsed().as_micros() as u64;
        tracing::info!(
            volume = ground.id.0,
            elapsed_us,
            offset = files,
            "walked a volume"
        );
        Ok(true)
    }

    fn record_entries(
        &self,
        ground: &Ground,
        dir: &OwnedFd,
        dir_key: FileKey,
        mut enter: impl FnMut(OwnedFd, FileKey),
    ) -> Result<u64> {
        let mut files = 0;
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let Ok(name) = Name::new(entry.file_name().to_bytes()) else {
                continue;
            };
            let c_name = CString::from(entry.file_name());
            let Ok(key) = ground.key_of_fd(dir.as_fd(), &c_name) else {
                continue;
            };
            self.record(key, dir_key, &name);
            files += 1;
            if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                if let Ok(fd) = rustix::fs::openat(dir, &c_name, flags, Mode::empty()) {
                    enter(fd, key);
                }
            }
        }
        Ok(files)
    }
}
