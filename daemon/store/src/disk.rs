//! The few ways in which the store changes its directories, each durable when it returns.
//!
//! Invariant: a file appears under its name whole or not at all: it is written beside, synced,
//! renamed, and the directory synced (threat S7). A file whose sync failed is removed and never
//! used. Not promised: that temporary files are gone after a crash; opening the store clears them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use towline_io::backend::{Backend, File, Kind, Open, split};

use crate::announce::Announce;
use crate::error::{Result, StorageFault, io};
use crate::layout;
use crate::name::FileId;
use crate::table::{ChunkTable, SHORT_BYTES_MAX};

/// Deepest directory that is removed with all it holds: the longest path has at most 512 names.
const DEPTH_MAX: usize = 600;

/// Files from this length on are written past the page cache, in bytes. What is shorter is likely
/// to be served soon and stays in memory; for what is longer the copy takes more than the hashes.
const LONG_BYTES_MIN: u64 = 64 << 20;

/// A backend with the store's habits.
#[derive(Clone, Debug)]
pub(crate) struct DiskAccess {
    pub(crate) backend: Arc<dyn Backend>,
    next: Arc<AtomicU64>,
    /// Who is told before something visible changes.
    pub(crate) announce: Announce,
}

/// A file that is removed again unless it is placed.
#[derive(Debug)]
pub(crate) struct Temporary {
    disk: DiskAccess,
    pub(crate) path: String,
    pub(crate) file: Arc<dyn File>,
    kept: bool,
}

impl DiskAccess {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            next: Arc::new(AtomicU64::new(0)),
            announce: Announce::default(),
        }
    }

    /// A path in the directory for temporary things that nobody else uses.
    pub(crate) fn temporary_path(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}/{number}", layout::TEMPORARY)
    }

    pub(crate) fn temporary(&self) -> Result<Temporary> {
        let path = self.temporary_path();
        self.create(&path).map_err(io("create", &path))
    }

    /// The same for a file of this length.
    pub(crate) fn temporary_of(&self, size: u64) -> Result<Temporary> {
        let path = self.temporary_path();
        let how = match size {
            LONG_BYTES_MIN.. => Open::CreateLong,
            _ => Open::Create,
        };
        self.create_as(&path, how).map_err(io("create", &path))
    }

    /// A new file at a path where nothing may be.
    pub(crate) fn create(&self, path: &str) -> std::result::Result<Temporary, Errno> {
        self.create_as(path, Open::Create)
    }

    fn create_as(&self, path: &str, how: Open) -> std::result::Result<Temporary, Errno> {
        let file = self.backend.open(path, how)?;
        Ok(Temporary {
            disk: self.clone(),
            path: path.to_owned(),
            file,
            kept: false,
        })
    }

    /// A file that is there already and will be placed. It stays if that fails.
    pub(crate) fn existing(&self, path: &str, file: Arc<dyn File>) -> Temporary {
        Temporary {
            disk: self.clone(),
            path: path.to_owned(),
            file,
            kept: true,
        }
    }

    /// Writes a small file so that it is there whole, or as it was before, and gives it. The
    /// directory is synced too.
    pub(crate) fn write_whole(&self, path: &str, bytes: &[u8]) -> Result<Arc<dyn File>> {
        let temporary = self.temporary()?;
        temporary
            .file
            .write_at(bytes, 0)
            .map_err(io("write", path))?;
        let file = Arc::clone(&temporary.file);
        temporary.place(path)?;
        self.sync_parent(path)?;
        Ok(file)
    }

    /// All of a file, which may be at most `limit` bytes long.
    pub(crate) fn read_whole(&self, path: &str, limit: usize) -> Result<Vec<u8>> {
        let file = self
            .backend
            .open(path, Open::Read)
            .map_err(io("open", path))?;
        let length = file.length().map_err(io("read", path))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limit {
            let (path, reason) = (path.to_owned(), format!("{length} bytes, too long"));
            return Err(StorageFault::Damaged { path, reason }.into());
        }
        let mut bytes = vec![0; length];
        let count = file.read_at(&mut bytes, 0).map_err(io("read", path))?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// The table of a short file, made again from its bytes, if they are good.
    pub(crate) fn short_table(&self, id: &FileId) -> Option<ChunkTable> {
        let bytes = self.read_whole(&layout::data(id), SHORT_BYTES_MAX as usize);
        ChunkTable::of_short(id, &bytes.ok()?)
    }

    pub(crate) fn sync_parent(&self, path: &str) -> Result<()> {
        let (directory, _) = split(path);
        self.backend
            .sync_directory(directory)
            .map_err(io("sync", directory))
    }

    /// Makes a directory and those above it; `true` if it was not there.
    pub(crate) fn make_directories(&self, path: &str) -> Result<bool> {
        match self.backend.make_directory(path) {
            Ok(()) => {
                self.sync_parent(path)?;
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(Errno::NOENT) => {
                let (parent, _) = split(path);
                if parent.is_empty() {
                    return Err(io("make directory", path)(Errno::NOENT));
                }
                self.make_directories(parent)?;
                self.make_directories(path)
            }
            Err(errno) => Err(io("make directory", path)(errno)),
        }
    }

    /// Removes whatever is at a path; nothing there is fine.
    pub(crate) fn remove_all(&self, path: &str) -> Result<()> {
        self.remove_below(path, DEPTH_MAX)
    }

    fn remove_below(&self, path: &str, depth: usize) -> Result<()> {
        let kind = match self.backend.metadata(path) {
            Ok(metadata) => metadata.kind,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(io("look at", path)(errno)),
        };
        if kind != Kind::Directory {
            return self.backend.remove_file(path).map_err(io("remove", path));
        }
        if depth == 0 {
            return Err(io("remove", path)(Errno::NAMETOOLONG));
        }
        for entry in self.backend.list(path).map_err(io("list", path))? {
            self.remove_below(&format!("{path}/{}", entry.name), depth - 1)?;
        }
        self.backend
            .remove_directory(path)
            .map_err(io("remove", path))
    }

    /// Whether removing a directory would lose no byte: every file below has another name. What
    /// the store shows is like that; what somebody else has put there is not.
    pub(crate) fn is_only_links(&self, path: &str) -> bool {
        self.only_links_below(path, DEPTH_MAX)
    }

    fn only_links_below(&self, path: &str, depth: usize) -> bool {
        let Ok(found) = self.backend.metadata(path) else {
            return false;
        };
        match found.kind {
            Kind::File => found.links >= 2,
            Kind::Other => false,
            Kind::Directory => self.backend.list(path).is_ok_and(|entries| {
                depth > 0
                    && entries.iter().all(|entry| {
                        self.only_links_below(&format!("{path}/{}", entry.name), depth - 1)
                    })
            }),
        }
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.backend.metadata(path).is_ok()
    }
}

impl Temporary {
    /// Makes the bytes durable and moves the file to its name. The directory is not synced.
    pub(crate) fn place(self, path: &str) -> Result<()> {
        self.seal(path)?;
        self.file.sync_data().map_err(io("sync", path))?;
        self.rename(path)
    }

    /// Moves the file to its name. Nothing of it is durable.
    pub(crate) fn place_unsynced(self, path: &str) -> Result<()> {
        self.seal(path)?;
        self.rename(path)
    }

    fn seal(&self, path: &str) -> Result<()> {
        self.file
            .make_read_only()
            .map_err(io("change the mode of", path))
    }

    fn rename(mut self, path: &str) -> Result<()> {
        if self.path != path {
            self.disk
                .backend
                .rename(&self.path, path)
                .map_err(io("rename", path))?;
        }
        self.kept = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = self.disk.backend.remove_file(&self.path);
        }
    }
}
