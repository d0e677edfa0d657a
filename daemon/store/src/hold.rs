//! Files that somebody needs: those that running work holds, and those that have their place but
//! are not known to the index yet.
//!
//! A new file gets its name at once, so that others recognise it, and is made durable later,
//! together with the rest of its revision: a few files one by one, many at once. While it gets its
//! place nobody else can give it the same one: whoever wants that waits, and finds it there.
//! Invariant: the index learns of a file only after its bytes, its table and both names are
//! durable; what a sync has failed for is never used. After a crash a file that neither the index
//! nor a manifest knows is not trusted. Not promised: that a new file survives its last hold.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use towline_io::backend::File;

use crate::disk::Temporary;
use crate::error::{Result, StorageFault, io};
use crate::layout;
use crate::name::FileId;
use crate::store::Inner;
use crate::table::ChunkTable;

/// Files at least this long are synced one by one, in bytes: waiting for the whole file system
/// instead would wait for others' writes too.
const LARGE_BYTES: u64 = 1 << 20;

/// Most shorter files that are synced one by one; with more of them the whole file system is.
const SMALL_FILES_MAX: usize = 16;

/// Most files that are kept open until they are synced.
const OPEN_FILES_MAX: usize = 256;

/// Every file that is held. Under its lock the index is asked, and room counted; nothing waits.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    held: Mutex<HeldFiles>,
    /// Woken when a file has got its place, or has not.
    placed: Condvar,
}

impl Holds {
    fn lock(&self) -> MutexGuard<'_, HeldFiles> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody needs a file.
    pub(crate) fn has(&self, id: &FileId) -> bool {
        self.lock().files.contains_key(id)
    }
}

#[derive(Debug, Default)]
struct HeldFiles {
    files: HashMap<FileId, Held>,
    open: usize,
    open_small: usize,
}

#[derive(Debug, Default)]
struct Held {
    count: usize,
    /// Somebody is about to give it its place.
    is_placing: bool,
    /// Set for a file that is in its place, though the index does not know it yet.
    fresh: Option<Fresh>,
}

#[derive(Debug)]
struct Fresh {
    size: u64,
    state: Durable,
}

/// What is known of a new file's being on the disk.
#[derive(Debug)]
enum Durable {
    /// All of it is.
    Yes,
    /// Its data, and its table if it has one, are still to be synced.
    Open(Files),
    /// It is to be synced with everything else.
    Later,
    /// A sync has failed.
    Lost,
}

/// Data, and the table where there is one.
type Files = Vec<Arc<dyn File>>;

/// Keeps a file from being collected. A file that no index has learnt of goes with its last hold.
#[derive(Debug)]
pub(crate) struct Hold {
    inner: Arc<Inner>,
    id: FileId,
}

impl HeldFiles {
    fn is_fresh(&self, id: &FileId) -> bool {
        self.files.get(id).is_some_and(|held| held.fresh.is_some())
    }

    /// Notes a file that has just got its place.
    fn add_fresh(&mut self, id: FileId, size: u64, files: Files) {
        let small = size < LARGE_BYTES;
        let fits = self.open < OPEN_FILES_MAX && (!small || self.open_small < SMALL_FILES_MAX);
        let state = if fits {
            self.open += 1;
            self.open_small += usize::from(small);
            Durable::Open(files)
        } else {
            Durable::Later
        };
        self.files.entry(id).or_default().fresh = Some(Fresh { size, state });
    }

    fn set_state(&mut self, id: &FileId, state: Durable) {
        let Some(fresh) = self.files.get_mut(id).and_then(|held| held.fresh.as_mut()) else {
            return;
        };
        let was_open = matches!(fresh.state, Durable::Open(_));
        fresh.state = state;
        let small = fresh.size < LARGE_BYTES;
        if was_open {
            self.open -= 1;
            self.open_small -= usize::from(small);
        }
    }

    /// Nothing that is not durable yet can be trusted any more.
    fn lose(&mut self) {
        let is_waiting = |held: &Held| {
            let fresh = held.fresh.as_ref();
            fresh.is_some_and(|fresh| !matches!(fresh.state, Durable::Yes))
        };
        let waiting = self.files.iter().filter(|(_, held)| is_waiting(held));
        let waiting: Vec<FileId> = waiting.map(|(id, _)| *id).collect();
        waiting
            .iter()
            .for_each(|id| self.set_state(id, Durable::Lost));
    }
}

/// Keeps a place for whoever is about to fill it.
struct Placing<'a> {
    inner: &'a Inner,
    id: &'a FileId,
}

impl Drop for Placing<'_> {
    fn drop(&mut self) {
        let mut holds = self.inner.holds.lock();
        if let Some(held) = holds.files.get_mut(self.id) {
            held.is_placing = false;
        }
        drop(holds);
        self.inner.holds.placed.notify_all();
    }
}

/// What has to be synced for some files.
#[derive(Default)]
struct Unsynced {
    open: Vec<(FileId, Files)>,
    later: Vec<FileId>,
}

impl Inner {
    fn hold(self: &Arc<Self>, holds: &mut HeldFiles, id: &FileId) -> Hold {
        holds.files.entry(*id).or_default().count += 1;
        Hold {
            inner: Arc::clone(self),
            id: *id,
        }
    }

    /// Holds a file that the index knows, whatever has become of its bytes.
    pub(crate) fn hold_indexed(self: &Arc<Self>, id: &FileId) -> Result<Option<Hold>> {
        let mut holds = self.holds.lock();
        if self.index.size_of(id)?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.hold(&mut holds, id)))
    }

    /// Holds a file if it is in the store.
    pub(crate) fn hold_known(self: &Arc<Self>, id: &FileId) -> Result<Option<Hold>> {
        let mut holds = self.holds.lock();
        if !holds.is_fresh(id) && !self.is_stored(id)? {
            return Ok(None);
        }
        Ok(Some(self.hold(&mut holds, id)))
    }

    /// Whether the index knows a file and its bytes are there.
    fn is_stored(&self, id: &FileId) -> Result<bool> {
        let Some(size) = self.index.size_of(id)? else {
            return Ok(false);
        };
        let found = self.disk.backend.metadata(&layout::data(id));
        Ok(found.is_ok_and(|metadata| metadata.length == size))
    }

    /// Gives a file its place, unless it is here already, and keeps it until the index knows it.
    /// `make` brings its bytes and its table; nothing of them is durable before
    /// [`Inner::sync_files`].
    pub(crate) fn place_file(
        self: &Arc<Self>,
        (id, size): (&FileId, u64),
        make: impl FnOnce() -> Result<(Temporary, Option<Temporary>)>,
    ) -> Result<Hold> {
        let (hold, is_here) = self.begin_placing(id)?;
        if is_here {
            return Ok(hold);
        }
        // Whatever happens, those who wait go on; what was made for nothing is gone by then.
        let _placing = Placing { inner: self, id };
        let (data, table) = make()?;
        if data.path != layout::data(id) {
            self.make_file_directory(&layout::file_directory(id))?;
        }
        let mut files = vec![Arc::clone(&data.file)];
        if let Some(table) = table {
            files.push(Arc::clone(&table.file));
            table.place_unsynced(&layout::table(id))?;
        }
        data.place_unsynced(&layout::data(id))?;
        self.space.add_stored(size);
        self.holds.lock().add_fresh(*id, size, files);
        Ok(hold)
    }

    /// Holds a file, and says whether it is here; if not, its place is the caller's to fill.
    fn begin_placing(self: &Arc<Self>, id: &FileId) -> Result<(Hold, bool)> {
        let mut holds = self.holds.lock();
        while holds.files.get(id).is_some_and(|held| held.is_placing) {
            let woken = self.holds.placed.wait(holds);
            holds = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let is_here = holds.is_fresh(id) || self.is_stored(id)?;
        let hold = self.hold(&mut holds, id);
        if let Some(held) = holds.files.get_mut(id) {
            held.is_placing = !is_here;
        }
        Ok((hold, is_here))
    }

    /// A file that is written where it will stay; if something that nobody knows lies there, it is
    /// written beside and takes its place.
    pub(crate) fn create_in_place(&self, path: &str) -> Result<Temporary> {
        let disk = &self.disk;
        let made = match disk.create(path) {
            Err(Errno::NOENT) => {
                let (directory, _) = towline_io::backend::split(path);
                self.make_file_directory(directory)?;
                disk.create(path)
            }
            made => made,
        };
        match made {
            Ok(file) => Ok(file),
            Err(Errno::EXIST) => disk.temporary(),
            Err(errno) => Err(io("create", path)(errno)),
        }
    }

    fn make_file_directory(&self, path: &str) -> Result<()> {
        match self.disk.backend.make_directory(path) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(io("make directory", path)(errno)),
        }
    }

    /// The table of a new file, to be placed with it; a short one has none, which halves what
    /// thousands of them cost.
    pub(crate) fn write_table(
        &self,
        id: &FileId,
        (table, encoded): (&ChunkTable, &[u8]),
    ) -> Result<Option<Temporary>> {
        if table.is_short() {
            return Ok(None);
        }
        let path = layout::table(id);
        let written = self.create_in_place(&path)?;
        let outcome = written.file.write_at(encoded, 0);
        outcome.map_err(io("write", &path))?;
        Ok(Some(written))
    }

    /// Makes files durable that have got their place: bytes, tables and names.
    pub(crate) fn sync_files<'a>(&self, files: impl Iterator<Item = &'a FileId>) -> Result<()> {
        let unsynced = self.unsynced(files)?;
        let outcome = self.sync(&unsynced);
        let mut holds = self.holds.lock();
        if outcome.is_err() {
            // Which of all the writes under way has failed is not known for certain.
            holds.lose();
            return outcome;
        }
        let open = unsynced.open.iter().map(|(id, _)| id);
        for id in open.chain(&unsynced.later) {
            holds.set_state(id, Durable::Yes);
        }
        Ok(())
    }

    fn unsynced<'a>(&self, files: impl Iterator<Item = &'a FileId>) -> Result<Unsynced> {
        let mut unsynced = Unsynced::default();
        let holds = self.holds.lock();
        for id in files {
            let Some(fresh) = holds.files.get(id).and_then(|held| held.fresh.as_ref()) else {
                continue;
            };
            match &fresh.state {
                Durable::Yes => {}
                Durable::Open(files) => unsynced.open.push((*id, files.clone())),
                Durable::Later => unsynced.later.push(*id),
                Durable::Lost => {
                    let (path, reason) = (layout::data(id), "writing it has failed".to_owned());
                    return Err(StorageFault::Damaged { path, reason }.into());
                }
            }
        }
        Ok(unsynced)
    }

    fn sync(&self, unsynced: &Unsynced) -> Result<()> {
        let backend = &self.disk.backend;
        if !unsynced.later.is_empty() {
            // One wait for all of them.
            return backend
                .sync_everything()
                .map_err(io("sync the file system of", layout::FILES));
        }
        for (id, files) in &unsynced.open {
            let mut files = files.iter();
            let synced = files.try_for_each(|file| file.sync_data());
            synced.map_err(io("sync", &layout::data(id)))?;
        }
        let open = unsynced.open.iter();
        let mut directories: BTreeSet<String> =
            open.map(|(id, _)| layout::file_directory(id)).collect();
        if !directories.is_empty() {
            directories.insert(layout::FILES.to_owned());
        }
        for directory in &directories {
            backend
                .sync_directory(directory)
                .map_err(io("sync", directory))?;
        }
        Ok(())
    }

    /// The index knows these files now.
    pub(crate) fn settle<'a>(&self, files: impl Iterator<Item = &'a FileId>) {
        let mut holds = self.holds.lock();
        for id in files {
            holds.set_state(id, Durable::Yes);
            if let Some(held) = holds.files.get_mut(id) {
                held.fresh = None;
            }
        }
    }

    /// Removes a file that the index does not know, unless somebody holds it.
    pub(crate) fn remove_unheld(&self, id: &FileId) -> bool {
        let holds = self.holds.lock();
        if holds.files.contains_key(id) {
            return false;
        }
        let data = self.disk.backend.remove_file(&layout::data(id)).is_ok();
        let table = self.disk.backend.remove_file(&layout::table(id)).is_ok();
        data || table
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        let mut holds = self.inner.holds.lock();
        self.inner.hold(&mut holds, &self.id)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = self.inner.holds.lock();
        let Some(held) = holds.files.get_mut(&self.id) else {
            return;
        };
        held.count -= 1;
        if held.count > 0 {
            return;
        }
        holds.set_state(&self.id, Durable::Lost);
        let fresh = holds.files.remove(&self.id).and_then(|held| held.fresh);
        // Nobody will ever know of it: the work that brought it has failed.
        if let Some(Fresh { size, .. }) = fresh {
            let backend = &self.inner.disk.backend;
            let _ = backend.remove_file(&layout::data(&self.id));
            let _ = backend.remove_file(&layout::table(&self.id));
            self.inner.space.remove_stored(size);
        }
    }
}
