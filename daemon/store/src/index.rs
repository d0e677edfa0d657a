//! The index: which chunk lies where, which file has which SHA-256, every manifest, and the rows
//! of the [`Books`], in one redb database.
//!
//! Everything in it can be rebuilt from what lies beside it: tables, manifests and the ledger.
//! Invariant: a change is there whole or not at all, and a look-up only ever *suggests*: whoever
//! uses a location checks the bytes or the table it leads to. Not promised: that damaged pages
//! are noticed on a look-up; [`Index::is_sound`] reads and checks them all.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition};
use towline_io::backend::{Backend, File, Open};

use crate::books::{Books, Edit, Row};
use crate::error::{Result, StorageFault, StoreError, io};
use crate::layout;
use crate::name::{ChunkId, FileId, ManifestId, Sha256};
use crate::table::ChunkTable;

mod storage;

use storage::Storage;

/// Memory that the index may use for its pages, in bytes.
const CACHE_BYTES: usize = 64 << 20;

type Bytes = &'static [u8];
type Id = &'static [u8; 32];
type NumberAndChunk = (u64, u32);

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const ROWS: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("rows");
const MANIFESTS: TableDefinition<'static, Id, Bytes> = TableDefinition::new("manifests");
const FILES: TableDefinition<'static, Id, (u64, u64)> = TableDefinition::new("files");
const NUMBERS: TableDefinition<'static, u64, Id> = TableDefinition::new("numbers");
const DIGESTS: TableDefinition<'static, Id, Id> = TableDefinition::new("sha256");
const CHUNKS: TableDefinition<'static, Id, NumberAndChunk> = TableDefinition::new("chunks");

/// Tables of short files, which have none beside them.
const TABLES: TableDefinition<'static, Id, Bytes> = TableDefinition::new("tables");

const VERSION: u64 = 1;

/// A file that joins or leaves the index.
#[derive(Clone, Debug)]
pub(crate) struct IndexedFile {
    /// Its identity.
    pub(crate) id: FileId,
    /// Its SHA-256, where known.
    pub sha256: Option<Sha256>,
    /// Its cuts.
    pub(crate) table: Arc<ChunkTable>,
}

/// One change of the index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// Rows of the books.
    pub(crate) edits: Vec<Edit>,
    /// Manifests that are added.
    pub(crate) manifests: Vec<(ManifestId, Vec<u8>)>,
    /// Manifests that go.
    pub(crate) manifests_removed: Vec<ManifestId>,
    /// Files that are added.
    pub(crate) files: Vec<IndexedFile>,
    /// Files that go.
    pub(crate) files_removed: Vec<IndexedFile>,
}

impl Changes {
    /// Lets manifests go with these changes, and says so until they are gone from the disk.
    pub(crate) fn drop_manifests(&mut self, ids: impl IntoIterator<Item = ManifestId>) {
        for manifest in ids {
            self.manifests_removed.push(manifest);
            self.edits.push(Edit::Put(Row::Dropped { manifest }));
        }
    }
}

/// The open index.
pub(crate) struct Index {
    database: RwLock<Database>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Index")
    }
}

fn failed(error: impl Into<redb::Error>) -> StoreError {
    let error = error.into();
    if let redb::Error::Io(inner) = &error
        && matches!(
            inner.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        )
    {
        return StorageFault::Full.into();
    }
    StorageFault::Index(error.to_string()).into()
}

impl Index {
    /// Opens the index, or makes an empty one, and reads its rows; the number is of those that
    /// cannot be read back.
    ///
    /// # Errors
    /// [`StorageFault::Index`] if it is damaged, [`StorageFault::Version`] if it is of another
    /// version.
    pub(crate) fn open(backend: &dyn Backend) -> Result<(Self, Books, usize)> {
        let path = layout::INDEX;
        let file = match backend.open(path, Open::Write) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => {
                let file = backend
                    .open(path, Open::Create)
                    .map_err(io("create", path))?;
                backend
                    .sync_directory(layout::INTERNAL)
                    .map_err(io("sync", path))?;
                file
            }
            Err(errno) => return Err(io("open", path)(errno)),
        };
        Self::guarded(file, false)
    }

    /// Makes an empty index at another path, which must not exist; its rows come later.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub(crate) fn create(backend: &dyn Backend, path: &str) -> Result<Self> {
        let file = backend.open(path, Open::Create);
        let file = file.map_err(io("create", path))?;
        let (index, ..) = Self::guarded(file, false)?;
        Ok(index)
    }

    /// Opens the index file at another path, with every page read and checked.
    pub(crate) fn check(backend: &dyn Backend, path: &str) -> Result<(Self, Books, usize)> {
        let file = backend.open(path, Open::Write).map_err(io("open", path))?;
        Self::guarded(file, true)
    }

    /// redb promises errors, not panics, only for what it checks on opening.
    fn guarded(file: Arc<dyn File>, checked: bool) -> Result<(Self, Books, usize)> {
        let start = std::panic::AssertUnwindSafe(|| {
            let index = Self::start(file, checked)?;
            let (books, damaged) = index.books()?;
            Ok((index, books, damaged))
        });
        let opened = std::panic::catch_unwind(start);
        opened.unwrap_or_else(|_| Err(StorageFault::Index("its pages make no sense".into()).into()))
    }

    fn start(file: Arc<dyn File>, checked: bool) -> Result<Self> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(checked)
            .create_with_backend(Storage(file))
            .map_err(failed)?;
        let index = Self {
            database: RwLock::new(database),
        };
        match index.meta("version")? {
            None => index.lay_out()?,
            Some(VERSION) => {}
            Some(other) => return Err(StorageFault::Version(other).into()),
        }
        Ok(index)
    }

    fn database(&self) -> RwLockReadGuard<'_, Database> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with another database.
    pub(crate) fn replace(&self, other: Self) {
        let other = other
            .database
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        *self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner) = other;
    }

    /// Whether a write that failed keeps it from taking any other: it must be opened again then.
    pub(crate) fn is_stuck(&self) -> bool {
        let begun = self.database().begin_write();
        matches!(
            begun,
            Err(redb::TransactionError::Storage(
                redb::StorageError::PreviousIo
            ))
        )
    }

    fn meta(&self, key: &str) -> Result<Option<u64>> {
        let read = self.database().begin_read().map_err(failed)?;
        match read.open_table(META) {
            Ok(table) => Ok(table.get(key).map_err(failed)?.map(|value| value.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn lay_out(&self) -> Result<()> {
        let write = self.database().begin_write().map_err(failed)?;
        write
            .open_table(META)
            .map_err(failed)?
            .insert("version", VERSION)
            .map_err(failed)?;
        write.open_table(ROWS).map_err(failed)?;
        write.open_table(MANIFESTS).map_err(failed)?;
        write.open_table(FILES).map_err(failed)?;
        write.open_table(NUMBERS).map_err(failed)?;
        write.open_table(DIGESTS).map_err(failed)?;
        write.open_table(CHUNKS).map_err(failed)?;
        write.open_table(TABLES).map_err(failed)?;
        write.commit().map_err(failed)
    }

    /// Makes a change. With `durable` it is on the disk when this returns; without, a crash may
    /// take it back, and everything after it.
    ///
    /// # Errors
    /// [`StorageFault`]; whether the change is there is then not known until the next start.
    pub(crate) fn commit(&self, changes: &Changes, generation: u64, durable: bool) -> Result<()> {
        let mut write = self.database().begin_write().map_err(failed)?;
        // The allocator's state is saved with each commit, so that opening after a crash does
        // not walk the whole index.
        write.set_quick_repair(durable);
        if !durable {
            write.set_durability(Durability::None).map_err(failed)?;
        }
        {
            let mut meta = write.open_table(META).map_err(failed)?;
            meta.insert("generation", generation).map_err(failed)?;
            let mut rows = write.open_table(ROWS).map_err(failed)?;
            for edit in &changes.edits {
                match edit {
                    Edit::Put(row) => rows
                        .insert(row.key().as_slice(), row.encode().as_slice())
                        .map_err(failed)?,
                    Edit::Remove(row) => rows.remove(row.key().as_slice()).map_err(failed)?,
                };
            }
            let mut manifests = write.open_table(MANIFESTS).map_err(failed)?;
            for (id, bytes) in &changes.manifests {
                manifests.insert(&id.0, bytes.as_slice()).map_err(failed)?;
            }
            for id in &changes.manifests_removed {
                manifests.remove(&id.0).map_err(failed)?;
            }
        }
        if !changes.files.is_empty() || !changes.files_removed.is_empty() {
            let mut tables = FileTables::open(&write)?;
            for file in &changes.files {
                tables.add(file)?;
            }
            for file in &changes.files_removed {
                tables.remove(file)?;
            }
        }
        write.commit().map_err(failed)
    }

    /// The rows, and the keys of those that cannot be read back.
    ///
    /// # Errors
    /// [`StorageFault::Index`].
    pub(crate) fn books(&self) -> Result<(Books, usize)> {
        let read = self.database().begin_read().map_err(failed)?;
        let table = read.open_table(ROWS).map_err(failed)?;
        let mut books = Books {
            generation: self.meta("generation")?.unwrap_or(0),
            ..Books::default()
        };
        let mut damaged = 0;
        for entry in table.iter().map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            match Row::decode(value.value()) {
                Some(row) if row.key() == key.value() => books.apply(&Edit::Put(row)),
                Some(_) | None => damaged += 1,
            }
        }
        Ok((books, damaged))
    }

    /// Where a chunk with this name lies, if anywhere: the file, and which of its chunks.
    ///
    /// # Errors
    /// [`StorageFault::Index`].
    pub(crate) fn locate(&self, chunk: &ChunkId) -> Result<Option<(FileId, u32)>> {
        let places = self.locate_all(std::slice::from_ref(chunk))?;
        Ok(places.into_iter().next().flatten())
    }

    /// The same for many chunks, as they were at one moment.
    ///
    /// # Errors
    /// [`StorageFault::Index`].
    pub(crate) fn locate_all(&self, wanted: &[ChunkId]) -> Result<Vec<Option<(FileId, u32)>>> {
        let read = self.database().begin_read().map_err(failed)?;
        let chunks = read.open_table(CHUNKS).map_err(failed)?;
        let numbers = read.open_table(NUMBERS).map_err(failed)?;
        let place = |chunk: &ChunkId| {
            let found = chunks.get(&chunk.0).map_err(failed)?;
            let Some((number, at)) = found.map(|found| found.value()) else {
                return Ok(None);
            };
            let file = numbers.get(number).map_err(failed)?;
            Ok(file.map(|id| (FileId(*id.value()), at)))
        };
        wanted.iter().map(place).collect()
    }

    /// The file with this SHA-256, if it is here.
    ///
    /// # Errors
    /// [`StorageFault::Index`].
    pub(crate) fn by_sha256(&self, sha256: &Sha256) -> Result<Option<FileId>> {
        let read = self.database().begin_read().map_err(failed)?;
        let digests = read.open_table(DIGESTS).map_err(failed)?;
        let found = digests.get(&sha256.0).map_err(failed)?;
        let Some(id) = found.map(|id| FileId(*id.value())) else {
            return Ok(None);
        };
        let files = read.open_table(FILES).map_err(failed)?;
        let is_here = files.get(&id.0).map_err(failed)?.is_some();
        Ok(is_here.then_some(id))
    }

    /// The length of a file that is here.
    ///
    /// # Errors
    /// [`StorageFault::Index`].
    pub(crate) fn size_of(&self, file: &FileId) -> Result<Option<u64>> {
        let read = self.database().begin_read().map_err(failed)?;
        let files = read.open_table(FILES).map_err(failed)?;
        let found = files.get(&file.0).map_err(failed)?;
        Ok(found.map(|found| found.value().1))
    }

    /// The table of a short file, as it was written.
    ///
    /// # Errors
    /// [`StorageFault::Index`].
    pub(crate) fn table(&self, file: &FileId) -> Result<Option<Vec<u8>>> {
        let read = self.database().begin_read().map_err(failed)?;
        let tables = match read.open_table(TABLES) {
            // An index that was made before there were such files.
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            tables => tables.map_err(failed)?,
        };
        let found = tables.get(&file.0).map_err(failed)?;
        Ok(found.map(|bytes| bytes.value().to_vec()))
    }

    /// Every file that is here, with its length.
    ///
    /// # Errors
    /// [`StorageFault::Index`].
    pub(crate) fn files(&self) -> Result<Vec<(FileId, u64)>> {
        let read = self.database().begin_read().map_err(failed)?;
        let files = read.open_table(FILES).map_err(failed)?;
        let mut found = Vec::new();
        for entry in files.iter().map_err(failed)? {
            let (id, value) = entry.map_err(failed)?;
            found.push((FileId(*id.value()), value.value().1));
        }
        Ok(found)
    }

    /// The index's own copy of a manifest.
    ///
    /// # Errors
    /// [`StorageFault::Index`].
    pub(crate) fn manifest(&self, id: &ManifestId) -> Result<Option<Vec<u8>>> {
        let read = self.database().begin_read().map_err(failed)?;
        let manifests = read.open_table(MANIFESTS).map_err(failed)?;
        let found = manifests.get(&id.0).map_err(failed)?;
        Ok(found.map(|bytes| bytes.value().to_vec()))
    }
}

/// The tables that are about files, opened once for a change: a revision may have thousands.
struct FileTables<'t> {
    files: Table<'t, Id, (u64, u64)>,
    numbers: Table<'t, u64, Id>,
    digests: Table<'t, Id, Id>,
    chunks: Table<'t, Id, NumberAndChunk>,
    tables: Table<'t, Id, Bytes>,
}

impl<'t> FileTables<'t> {
    fn open(write: &'t redb::WriteTransaction) -> Result<Self> {
        Ok(Self {
            files: write.open_table(FILES).map_err(failed)?,
            numbers: write.open_table(NUMBERS).map_err(failed)?,
            digests: write.open_table(DIGESTS).map_err(failed)?,
            chunks: write.open_table(CHUNKS).map_err(failed)?,
            tables: write.open_table(TABLES).map_err(failed)?,
        })
    }

    fn add(&mut self, file: &IndexedFile) -> Result<()> {
        let known = self.files.get(&file.id.0).map_err(failed)?;
        let known = known.map(|found| found.value().0);
        let number = match known {
            Some(number) => number,
            None => {
                let last = self.numbers.last().map_err(failed)?;
                last.map_or(0, |(number, _)| number.value()) + 1
            }
        };
        let row = (number, file.table.size);
        self.files.insert(&file.id.0, row).map_err(failed)?;
        self.numbers.insert(number, &file.id.0).map_err(failed)?;
        if let Some(sha256) = &file.sha256 {
            let added = self.digests.insert(&sha256.0, &file.id.0);
            added.map_err(failed)?;
        }
        if file.table.is_short() {
            let encoded = file.table.encode();
            let added = self.tables.insert(&file.id.0, encoded.as_slice());
            added.map_err(failed)?;
        }
        for (at, chunk) in file.table.chunks.iter().enumerate() {
            let added = self.chunks.insert(&chunk.id.0, (number, at as u32));
            added.map_err(failed)?;
        }
        Ok(())
    }

    fn remove(&mut self, file: &IndexedFile) -> Result<()> {
        let known = self.files.remove(&file.id.0).map_err(failed)?;
        let Some((number, _)) = known.map(|found| found.value()) else {
            return Ok(());
        };
        self.numbers.remove(number).map_err(failed)?;
        self.tables.remove(&file.id.0).map_err(failed)?;
        if let Some(sha256) = &file.sha256 {
            let found = self.digests.get(&sha256.0).map_err(failed)?;
            let found = found.map(|id| *id.value());
            if found == Some(file.id.0) {
                self.digests.remove(&sha256.0).map_err(failed)?;
            }
        }
        for chunk in &file.table.chunks {
            let found = self.chunks.get(&chunk.id.0).map_err(failed)?;
            let found = found.map(|found| found.value().0);
            if found == Some(number) {
                self.chunks.remove(&chunk.id.0).map_err(failed)?;
            }
        }
        Ok(())
    }
}
