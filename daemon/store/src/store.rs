//! The open store: what it holds together, and the parts that all operations share.
//!
//! Invariant: everything that [`Store::catalog`] shows is durable, and was when it first showed
//! it. Writers may work at once; the step that makes a revision known is taken by one at a time.
//! Not promised: two processes on one store; the second is refused.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use rustix::io::Errno;
use towline_io::backend::os::Directory;
use towline_io::backend::{Backend, Lock};

use crate::arrival::Shared;
use crate::books::{Books, Edit, RevisionRow};
use crate::catalog::{Catalog, CatalogRevision};
use crate::disk::{DiskAccess, Temporary};
use crate::error::{BusyFault, ClientFault, Result, StorageFault, StoreError, io};
use crate::index::{Changes, Index};
use crate::layout;
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::metrics::{Counters, StoreMetrics};
use crate::name::{FileId, ManifestId, RepoName, RevisionId};
use crate::sign::PublicKey;
use crate::space::{MARGIN_BYTES, Reservation, Space};
use crate::table::ChunkTable;

/// Longest chunk table that is read, in bytes: that of the largest file.
const TABLE_BYTES_MAX: usize = 1 << 30;

/// Most tables kept in memory.
const TABLES_MAX: usize = 16;

/// Where the store takes the time from: seconds since 1970-01-01 UTC.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a store is told when it is opened.
#[derive(Clone)]
pub struct Options {
    /// Most bytes that files may take together; `None`: the file system is the limit.
    pub quota: Option<u64>,
    /// Whether a revision must be signed by one of `trusted_keys` to be taken or shown.
    pub require_signature: bool,
    /// Keys whose signature counts.
    pub trusted_keys: Vec<PublicKey>,
    /// Whether revisions are shown in the layout of the hub's cache as well.
    pub hub_view: bool,
    /// Files that are read at once when publishing; `None`: half of the processors.
    pub workers: Option<usize>,
    /// The clock.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quota: None,
            require_signature: false,
            trusted_keys: Vec::new(),
            hub_view: true,
            workers: None,
            clock: Arc::new(|| towline_base::clock::since_epoch().as_secs()),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("quota", &self.quota)
            .field("require_signature", &self.require_signature)
            .field("trusted_keys", &self.trusted_keys)
            .field("hub_view", &self.hub_view)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

/// An open store. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) disk: DiskAccess,
    pub(crate) index: Index,
    pub(crate) options: Options,
    pub(crate) space: Space,
    /// Taken for every step that changes rows, and by nothing that waits for a source.
    pub(crate) state: Mutex<State>,
    catalog: RwLock<Arc<Catalog>>,
    holds: Mutex<HashMap<FileId, Held>>,
    tables: Mutex<Vec<(FileId, Arc<ChunkTable>)>>,
    arrivals: Mutex<Vec<Weak<Shared>>>,
    pub(crate) shares_blocks: AtomicBool,
    pub(crate) counters: Counters,
    _lock: Lock,
}

/// What is known of revisions.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) books: Books,
    /// Those that may be shown.
    pub(crate) shown: BTreeMap<(RepoName, RevisionId), Arc<CatalogRevision>>,
    /// Those that are here without the signature that the store demands.
    pub(crate) refused: BTreeMap<(RepoName, RevisionId), Arc<CatalogRevision>>,
    pictures: u64,
}

#[derive(Debug, Default)]
struct Held {
    count: usize,
    /// The bytes of a file that is in its place, though the index does not know it yet.
    fresh: Option<u64>,
}

/// Keeps a file from being collected. A file that no index has learnt of goes with its last hold.
#[derive(Debug)]
pub(crate) struct Hold {
    inner: Arc<Inner>,
    id: FileId,
}

impl Store {
    /// Opens the store in a directory of this machine, which must exist.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_directory(root: &Path, options: Options) -> Result<Self> {
        let shown = root.display().to_string();
        let directory = Directory::open(root).map_err(io("open", &shown))?;
        Self::open(Arc::new(directory), options)
    }

    /// Opens the store on a backend: takes its lock, clears what was half done, and brings the
    /// directories in line with the index.
    ///
    /// # Errors
    /// [`BusyFault::Locked`] if another process has it; [`StorageFault`] if it cannot be read.
    pub fn open(backend: Arc<dyn Backend>, options: Options) -> Result<Self> {
        crate::recover::open(backend, options)
    }

    /// What can be read now. Cheap; the picture never changes.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(
            &self
                .inner
                .catalog
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// What it has done since it was opened.
    #[must_use]
    pub fn metrics(&self) -> StoreMetrics {
        self.inner.counters.view()
    }

    /// What it was told when it was opened.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.inner.options
    }
}

impl Inner {
    pub(crate) fn new(disk: DiskAccess, index: Index, options: Options, lock: Lock) -> Arc<Self> {
        Arc::new(Self {
            disk,
            index,
            options,
            space: Space::default(),
            state: Mutex::default(),
            catalog: RwLock::default(),
            holds: Mutex::default(),
            tables: Mutex::default(),
            arrivals: Mutex::default(),
            shares_blocks: AtomicBool::new(true),
            counters: Counters::default(),
            _lock: lock,
        })
    }

    pub(crate) fn now(&self) -> u64 {
        (self.options.clock)()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Arrivals under way.
    pub(crate) fn arrivals(&self) -> MutexGuard<'_, Vec<Weak<Shared>>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self) -> MutexGuard<'_, HashMap<FileId, Held>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change of rows durable, in the index and then in the ledger.
    pub(crate) fn commit(&self, state: &mut State, changes: &Changes) -> Result<()> {
        let mut books = state.books.clone();
        books.generation += 1;
        changes.edits.iter().for_each(|edit| books.apply(edit));
        let outcome = self.index.commit(changes, books.generation, true);
        // Even if it failed the index may know these files after the next start.
        self.settle(changes.files.iter().map(|file| &file.id));
        outcome?;
        state.books = books;
        // The change is durable. The second copy is made good by the next change or start.
        let ledger = state.books.to_ledger();
        if let Err(error) = self.disk.write_whole(layout::LEDGER, &ledger) {
            tracing::error!(%error, "the ledger could not be written");
        }
        Ok(())
    }

    /// Makes a change that may be lost in a crash, because opening finds it again.
    pub(crate) fn note(&self, state: &mut State, edits: Vec<Edit>) -> Result<()> {
        edits.iter().for_each(|edit| state.books.apply(edit));
        let changes = Changes {
            edits,
            ..Changes::default()
        };
        self.index.commit(&changes, state.books.generation, false)
    }

    /// Replaces the picture that readers see.
    pub(crate) fn publish_catalog(&self, state: &mut State) {
        state.pictures += 1;
        let catalog = Catalog::build(state.pictures, &state.books, (&state.shown, &state.refused));
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
    }

    /// Holds a file that the index knows, whatever has become of its bytes.
    pub(crate) fn hold_indexed(self: &Arc<Self>, id: &FileId) -> Result<Option<Hold>> {
        let mut holds = self.holds();
        if self.index.size_of(id)?.is_none() {
            return Ok(None);
        }
        holds.entry(*id).or_default().count += 1;
        Ok(Some(Hold {
            inner: Arc::clone(self),
            id: *id,
        }))
    }

    /// Holds a file if it is in the store.
    pub(crate) fn hold_known(self: &Arc<Self>, id: &FileId) -> Result<Option<Hold>> {
        let mut holds = self.holds();
        let is_fresh = holds.get(id).is_some_and(|held| held.fresh.is_some());
        if !is_fresh && !self.is_stored(id)? {
            return Ok(None);
        }
        holds.entry(*id).or_default().count += 1;
        Ok(Some(Hold {
            inner: Arc::clone(self),
            id: *id,
        }))
    }

    /// Whether the index knows a file and its bytes are there.
    fn is_stored(&self, id: &FileId) -> Result<bool> {
        let Some(size) = self.index.size_of(id)? else {
            return Ok(false);
        };
        let found = self.disk.backend.metadata(&layout::data(id));
        Ok(found.is_ok_and(|metadata| metadata.length == size))
    }

    pub(crate) fn is_held(&self, id: &FileId) -> bool {
        self.holds().contains_key(id)
    }

    /// Gives a new file its place, and keeps it until the index knows it. Data and table are
    /// durable then, their names not yet: see [`Inner::sync_files`].
    pub(crate) fn place_file(
        self: &Arc<Self>,
        id: &FileId,
        table: &[u8],
        data: Temporary,
        reservation: Reservation,
    ) -> Result<Hold> {
        let directory = layout::file_directory(id);
        self.disk.make_directories(&directory)?;
        let written = self.disk.temporary()?;
        written
            .file
            .write_at(table, 0)
            .map_err(io("write", &written.path))?;
        data.file.sync_data().map_err(io("sync", &data.path))?;
        let size = data.file.length().map_err(io("read", &data.path))?;
        // Under this lock nobody else can place or remove the same file.
        let mut holds = self.holds();
        let is_fresh = holds.get(id).is_some_and(|held| held.fresh.is_some());
        let is_here = is_fresh || self.is_stored(id)?;
        if !is_here {
            written.place(&layout::table(id))?;
            data.place(&layout::data(id))?;
            self.space.add_stored(size);
        }
        let held = holds.entry(*id).or_default();
        held.count += 1;
        if !is_here {
            held.fresh = Some(size);
        }
        drop(reservation);
        Ok(Hold {
            inner: Arc::clone(self),
            id: *id,
        })
    }

    /// Makes the names of files durable.
    pub(crate) fn sync_files<'a>(&self, files: impl Iterator<Item = &'a FileId>) -> Result<()> {
        let directories: std::collections::BTreeSet<String> =
            files.map(layout::file_directory).collect();
        for directory in &directories {
            self.disk
                .backend
                .sync_directory(directory)
                .map_err(io("sync", directory))?;
        }
        Ok(())
    }

    /// The index knows these files now.
    pub(crate) fn settle<'a>(&self, files: impl Iterator<Item = &'a FileId>) {
        let mut holds = self.holds();
        for id in files {
            if let Some(held) = holds.get_mut(id) {
                held.fresh = None;
            }
        }
    }

    /// The cuts of a file that is here, checked against its identity.
    pub(crate) fn table(&self, id: &FileId) -> Result<Arc<ChunkTable>> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = tables.iter().position(|(of, _)| of == id) {
            let found = tables.remove(at);
            let table = Arc::clone(&found.1);
            tables.push(found);
            return Ok(table);
        }
        drop(tables);
        let table = Arc::new(self.read_table(id)?);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.len() == TABLES_MAX {
            tables.remove(0);
        }
        tables.push((*id, Arc::clone(&table)));
        Ok(table)
    }

    pub(crate) fn forget_table(&self, id: &FileId) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|(of, _)| of != id);
    }

    pub(crate) fn read_table(&self, id: &FileId) -> Result<ChunkTable> {
        let path = layout::table(id);
        let bytes = self.disk.read_whole(&path, TABLE_BYTES_MAX)?;
        let damaged = |reason: String| StorageFault::Damaged {
            path: path.clone(),
            reason,
        };
        if ChunkTable::id_of(&bytes) != *id {
            return Err(damaged("its BLAKE3 is another".into()).into());
        }
        ChunkTable::decode(&bytes).map_err(|fault| damaged(fault.to_string()).into())
    }

    /// A manifest, from its file or else from the index, checked against its id.
    pub(crate) fn manifest(&self, id: &ManifestId) -> Result<Manifest> {
        let file = self
            .disk
            .read_whole(&layout::manifest(id), MANIFEST_BYTES_MAX)
            .ok();
        let good = |bytes: &Vec<u8>| Manifest::id_of(bytes) == *id;
        let bytes = match file.filter(good) {
            Some(bytes) => Some(bytes),
            None => self.index.manifest(id)?.filter(good),
        };
        let bytes = bytes.ok_or(StorageFault::NoManifest(*id))?;
        Ok(Manifest::decode(&bytes)?)
    }

    /// Loads a revision for the catalog, trusted or not.
    pub(crate) fn load(&self, row: &RevisionRow) -> Result<Arc<CatalogRevision>> {
        let manifest = self.manifest(&row.manifest)?;
        if manifest.repo != row.repo || manifest.rev != row.rev {
            let path = layout::manifest(&row.manifest);
            let reason = format!("it is of {}@{}", manifest.repo, manifest.rev);
            return Err(StorageFault::Damaged { path, reason }.into());
        }
        let keys: Vec<PublicKey> = self
            .signatures(&row.manifest)
            .iter()
            .map(|signature| signature.key)
            .collect();
        Ok(Arc::new(CatalogRevision::new(row, manifest, keys)))
    }

    /// Takes room for `bytes` before the first of them is written; evicts what may go for it.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation> {
        if let Some(room) = self.try_reserve(bytes)? {
            return Ok(room);
        }
        let (free, limit) = self.room()?;
        let wanted = bytes.saturating_sub(free);
        if self.evict(wanted)? >= wanted
            && let Some(room) = self.try_reserve(bytes)?
        {
            return Ok(room);
        }
        Err(ClientFault::Quota {
            needed: bytes,
            free,
            limit,
            evictable: self.evictable_bytes(),
        }
        .into())
    }

    fn try_reserve(&self, bytes: u64) -> Result<Option<Reservation>> {
        // What is reserved may be allocated already, so the file system is only asked for this.
        let space = self
            .disk
            .backend
            .space()
            .map_err(io("ask for room on", ""))?;
        if bytes > 0 && bytes.saturating_add(MARGIN_BYTES) > space.free {
            return Ok(None);
        }
        Ok(self
            .space
            .reserve(bytes, self.options.quota.unwrap_or(u64::MAX)))
    }

    /// Bytes that are free, and the limit that makes it so.
    fn room(&self) -> Result<(u64, u64)> {
        let limit = self.options.quota.unwrap_or(u64::MAX);
        let space = self
            .disk
            .backend
            .space()
            .map_err(io("ask for room on", ""))?;
        let (stored, reserved) = self.space.counts();
        let on_disk = space.free.saturating_sub(MARGIN_BYTES);
        let free = limit
            .saturating_sub(stored.saturating_add(reserved))
            .min(on_disk);
        Ok((free, limit.min(space.total)))
    }

    /// Removes a file that the index does not know, unless somebody holds it.
    pub(crate) fn remove_unheld(&self, id: &FileId) -> bool {
        let holds = self.holds();
        if holds.contains_key(id) {
            return false;
        }
        let data = self.disk.backend.remove_file(&layout::data(id)).is_ok();
        let table = self.disk.backend.remove_file(&layout::table(id)).is_ok();
        data || table
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        self.inner.holds().entry(self.id).or_default().count += 1;
        Self {
            inner: Arc::clone(&self.inner),
            id: self.id,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = self.inner.holds();
        let Some(held) = holds.get_mut(&self.id) else {
            return;
        };
        held.count -= 1;
        if held.count > 0 {
            return;
        }
        let fresh = held.fresh;
        holds.remove(&self.id);
        // Nobody will ever know of it: the work that brought it has failed.
        if let Some(size) = fresh {
            let _ = self.inner.disk.backend.remove_file(&layout::data(&self.id));
            let _ = self
                .inner
                .disk
                .backend
                .remove_file(&layout::table(&self.id));
            self.inner.space.remove_stored(size);
        }
    }
}

/// Takes the lock of a store.
pub(crate) fn lock(backend: &dyn Backend) -> Result<Lock> {
    backend.lock(layout::LOCK).map_err(|errno| match errno {
        Errno::WOULDBLOCK => StoreError::Busy(BusyFault::Locked),
        errno => io("lock", layout::LOCK)(errno),
    })
}
