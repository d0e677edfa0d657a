//! The open store: what it holds together, and the parts that all operations share.
//!
//! Invariant: everything that [`Store::catalog`] shows is durable, and was when it first showed
//! it. Writers may work at once; the step that makes a revision known is taken by one at a time.
//!
//! Locks, in the order in which a thread may take them: `state`; `arrivals`; those of one arrival
//! (its flush, its turn, its files); `holds`; the database of the index; and the last ones, under
//! which no other is taken: `space`, `tables`, the catalog's. None but `state` is held while the
//! disk is waited for longer than a look-up takes.
//!
//! Not promised: two processes on one store; the second is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rustix::io::Errno;
use towline_io::backend::os::Directory;
use towline_io::backend::{Backend, Lock};

use crate::arrival::Arrivals;
use crate::books::{Books, Edit, Ledger, RevisionRow};
use crate::catalog::{Catalog, CatalogRevision};
use crate::disk::DiskAccess;
use crate::error::{BusyFault, Result, StorageFault, StoreError, io};
use crate::evict::Origins;
use crate::hold::Holds;
use crate::index::{Changes, Index};
use crate::layout;
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::metrics::{Counters, StoreGauges, StoreMetrics};
use crate::name::{ManifestId, RepoName, RevisionId};
use crate::sign::PublicKey;
use crate::space::Space;
use crate::tables::Tables;

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
    /// Files that are read at once when publishing; `None`: one for each processor.
    pub workers: Option<usize>,
    /// Whoever can ask the origins of revisions before they are evicted; `None`: only an origin
    /// that answered within the hour is counted on.
    pub origins: Option<Arc<dyn Origins>>,
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
            origins: None,
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
    pub(crate) holds: Holds,
    pub(crate) tables: Tables,
    pub(crate) arrivals: Arrivals,
    pub(crate) shares_blocks: AtomicBool,
    pub(crate) counters: Counters,
    _lock: Lock,
}

/// What is known of revisions.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) books: Books,
    pub(crate) ledger: Ledger,
    /// Those that may be shown.
    pub(crate) shown: BTreeMap<(RepoName, RevisionId), Arc<CatalogRevision>>,
    /// Those that are here without the signature that the store demands.
    pub(crate) refused: BTreeMap<(RepoName, RevisionId), Arc<CatalogRevision>>,
    pictures: u64,
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

    /// Tells `listener` from now on before something visible goes or is replaced, and waits for it.
    /// The first listener stays.
    pub fn announce_to(&self, listener: Arc<crate::announce::Listener>) {
        self.inner.disk.announce.to(listener);
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

    /// How full it is.
    #[must_use]
    pub fn gauges(&self) -> StoreGauges {
        let (bytes_stored, bytes_reserved) = self.inner.space.counts();
        let arrivals = self.inner.arrivals.count();
        let catalog = self.catalog();
        let revisions = catalog.repos.values();
        StoreGauges {
            bytes_stored,
            bytes_reserved,
            quota: self.inner.options.quota,
            arrivals,
            revisions: revisions.map(|repo| repo.revisions.len() as u64).sum(),
        }
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
            holds: Holds::default(),
            tables: Tables::default(),
            arrivals: Arrivals::default(),
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

    /// Makes a change of rows durable, in the index and then in the ledger.
    pub(crate) fn commit(&self, state: &mut State, changes: &Changes) -> Result<()> {
        let generation = state.books.generation + 1;
        let outcome = self.index.commit(changes, generation, true);
        // Even if it failed the index may know these files after the next start.
        self.settle(changes.files.iter().map(|file| &file.id));
        if let Err(error) = outcome {
            self.reopen_index(state);
            return Err(error);
        }
        state.books.generation = generation;
        changes
            .edits
            .iter()
            .for_each(|edit| state.books.apply(edit));
        // The change is durable. The second copy is made good by the next change or start.
        let State { books, ledger, .. } = state;
        if let Err(error) = ledger.write(&self.disk, books, &changes.edits) {
            tracing::error!(%error, "the ledger could not be written");
        }
        Ok(())
    }

    /// After a failed write the index takes no other until it is opened again; what it knows then
    /// is what counts.
    fn reopen_index(&self, state: &mut State) {
        if !self.index.is_stuck() {
            return;
        }
        match Index::open(&*self.disk.backend) {
            Ok((index, books, 0)) => {
                self.index.replace(index);
                state.books = books;
                state.ledger.forget();
            }
            Ok((.., damaged)) => {
                let error = format!("{damaged} damaged rows");
                tracing::error!(error, "the index cannot be used again; run verify");
            }
            Err(error) => {
                tracing::error!(%error, "the index cannot be opened again; restart the node");
            }
        }
    }

    /// Makes a change that may be lost in a crash, because opening finds it again.
    pub(crate) fn note(&self, state: &mut State, edits: Vec<Edit>) -> Result<()> {
        edits.iter().for_each(|edit| state.books.apply(edit));
        state.ledger.note(&edits);
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
}

/// Takes the lock of a store.
pub(crate) fn lock(backend: &dyn Backend) -> Result<Lock> {
    backend.lock(layout::LOCK).map_err(|errno| match errno {
        Errno::WOULDBLOCK => StoreError::Busy(BusyFault::Locked),
        errno => io("lock", layout::LOCK)(errno),
    })
}
