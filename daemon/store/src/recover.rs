//! Opening a store, after a clean stop or a crash alike: there is only this one way.
//!
//! Every durable step leaves either nothing that counts or all of it, so opening has little to
//! repair: temporary things are cleared, the index is rebuilt from tables, manifests and ledger if
//! it is damaged or older than the ledger, and directories that clients see are brought in line.
//! Invariant: a revision that was acknowledged is shown, complete; one that was not is shown whole
//! or not at all. Not promised: that every byte is read; `verify` does that.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustix::io::Errno;
use towline_io::backend::{Backend, Open};

use crate::books::{Books, Edit, Row};
use crate::catalog::CatalogRevision;
use crate::disk::DiskAccess;
use crate::error::{Result, StorageFault, StoreError, io};
use crate::index::{Changes, Index, IndexedFile};
use crate::layout;
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::name::{FileId, ManifestId};
use crate::store::{Inner, Options, State, Store, lock};
use crate::strangers;
use crate::table::{CHUNK_BYTES_MAX, Chunk, ChunkTable};
use crate::verify;
use crate::visible::{self, Staged, StagedHub};

/// Longest ledger that is read, in bytes: a million rows.
pub(crate) const LEDGER_BYTES_MAX: usize = 512 << 20;

pub(crate) fn open(backend: Arc<dyn Backend>, options: Options) -> Result<Store> {
    let disk = DiskAccess::new(Arc::clone(&backend));
    for directory in layout::DIRECTORIES {
        disk.make_directories(directory)?;
    }
    let lock = lock(&*backend)?;
    for entry in backend
        .list(layout::TEMPORARY)
        .map_err(io("list", layout::TEMPORARY))?
    {
        disk.remove_all(&format!("{}/{}", layout::TEMPORARY, entry.name))?;
    }
    let (index, books) = open_index(&disk)?;
    let inner = Inner::new(disk, index, options, lock);
    {
        let mut state = inner.state();
        state.books = books;
        load_revisions(&inner, &mut state);
        show(&inner, &mut state)?;
        inner.publish_catalog(&mut state);
    }
    let stored = inner.index.files()?.iter().map(|(_, size)| size).sum();
    inner.space.set_stored(stored);
    Ok(Store { inner })
}

/// The ledger, if it is whole.
pub(crate) fn read_ledger(disk: &DiskAccess) -> Option<Books> {
    let bytes = disk.read_whole(layout::LEDGER, LEDGER_BYTES_MAX).ok()?;
    Books::from_ledger(&bytes)
}

fn open_index(disk: &DiskAccess) -> Result<(Index, Books)> {
    let ledger = read_ledger(disk);
    let reason = match Index::open(&*disk.backend) {
        Ok((index, books, 0)) => match &ledger {
            // Someone put an old index back.
            Some(ledger) if ledger.generation > books.generation => "it is older than the ledger",
            Some(ledger) if ledger.generation == books.generation => return Ok((index, books)),
            _ if books.generation == 0 => return Ok((index, books)),
            // A crash came between the two: the ledger is written last.
            _ => {
                disk.write_whole(layout::LEDGER, &books.to_ledger())?;
                return Ok((index, books));
            }
        },
        Ok(_) => "rows in it are damaged",
        Err(error @ StoreError::Storage(StorageFault::Version(_) | StorageFault::Full)) => {
            return Err(error);
        }
        Err(error @ StoreError::Storage(StorageFault::Io { .. })) => return Err(error),
        Err(_) => "it cannot be read",
    };
    tracing::warn!(error = reason, "the store's index is rebuilt");
    rebuild_index(disk, ledger)
}

/// Sets a damaged index aside and makes a new one from what lies beside it.
pub(crate) fn rebuild_index(disk: &DiskAccess, ledger: Option<Books>) -> Result<(Index, Books)> {
    let aside = format!("{}/index.redb", layout::QUARANTINE);
    disk.remove_all(&aside)?;
    match disk.backend.rename(layout::INDEX, &aside) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(io("rename", layout::INDEX)(errno)),
    }
    disk.sync_parent(layout::INDEX)?;
    let (index, ..) = Index::open(&*disk.backend)?;
    let mut changes = Changes::default();
    let mut digests = std::collections::HashMap::new();
    let mut named = BTreeSet::new();
    let mut found = Vec::new();
    for (id, bytes, manifest) in manifests_on_disk(disk)? {
        for file in &manifest.files {
            named.insert(file.table);
            if let Some(sha256) = file.sha256 {
                digests.insert(file.table, sha256);
            }
        }
        found.push((id, manifest));
        changes.manifests.push((id, bytes));
    }
    let books = ledger.unwrap_or_else(|| books_from(&found));
    changes.edits = books.rows().cloned().map(Edit::Put).collect();
    let generation = books.generation.max(1);
    index.commit(&changes, generation, true)?;
    for id in files_on_disk(disk)? {
        let path = layout::table(&id);
        let bytes = disk.read_whole(&path, 1 << 30)?;
        let Ok(table) = ChunkTable::decode(&bytes) else {
            continue;
        };
        if ChunkTable::id_of(&bytes) != id || !disk.exists(&layout::data(&id)) {
            continue;
        }
        // A file is durable before a manifest names it. The rest may be what a crash has left.
        if !named.contains(&id) && !is_whole(disk, &id, &table) {
            continue;
        }
        let files = vec![IndexedFile {
            id,
            sha256: digests.get(&id).copied(),
            table: Arc::new(table),
        }];
        let changes = Changes {
            files,
            ..Changes::default()
        };
        index.commit(&changes, generation, true)?;
    }
    let mut books = books;
    books.generation = generation;
    disk.write_whole(layout::LEDGER, &books.to_ledger())?;
    Ok((index, books))
}

/// Whether every chunk of a file is what its table says.
fn is_whole(disk: &DiskAccess, id: &FileId, table: &ChunkTable) -> bool {
    let Ok(file) = disk.backend.open(&layout::data(id), Open::Read) else {
        return false;
    };
    let mut buffer = vec![0; CHUNK_BYTES_MAX as usize];
    let mut is_good = |chunk: &Chunk| {
        let (bytes, _) = buffer.split_at_mut(chunk.length as usize);
        verify::is_good(&*file, chunk, bytes)
    };
    file.length() == Ok(table.size) && table.chunks.iter().all(&mut is_good)
}

/// Without index and ledger only the manifests tell what there was; tags and pins are lost then.
fn books_from(manifests: &[(ManifestId, Manifest)]) -> Books {
    let mut books = Books::default();
    for (id, manifest) in manifests {
        books.apply(&Edit::Put(Row::Revision(crate::books::RevisionRow {
            repo: manifest.repo.clone(),
            rev: manifest.rev,
            manifest: *id,
            origin: None,
            origin_seen: 0,
            published: manifest.created,
            last_use: manifest.created,
            visible: false,
            unused_since: 0,
        })));
    }
    books
}

/// Every whole manifest on the disk.
fn manifests_on_disk(disk: &DiskAccess) -> Result<Vec<(ManifestId, Vec<u8>, Manifest)>> {
    let mut found = Vec::new();
    let entries = disk
        .backend
        .list(layout::MANIFESTS)
        .map_err(io("list", layout::MANIFESTS))?;
    for entry in entries {
        let Ok(id) = entry.name.parse::<ManifestId>() else {
            continue;
        };
        let bytes = disk.read_whole(&layout::manifest(&id), MANIFEST_BYTES_MAX)?;
        if Manifest::id_of(&bytes) == id
            && let Ok(manifest) = Manifest::decode(&bytes)
        {
            found.push((id, bytes, manifest));
        }
    }
    Ok(found)
}

/// Every file that has a table on the disk.
pub(crate) fn files_on_disk(disk: &DiskAccess) -> Result<BTreeSet<FileId>> {
    let mut found = BTreeSet::new();
    for directory in disk
        .backend
        .list(layout::FILES)
        .map_err(io("list", layout::FILES))?
    {
        let path = format!("{}/{}", layout::FILES, directory.name);
        for entry in disk.backend.list(&path).map_err(io("list", &path))? {
            let stem = entry.name.strip_suffix(".table");
            found.extend(stem.and_then(|stem| stem.parse::<FileId>().ok()));
        }
    }
    Ok(found)
}

/// Loads every revision that may be shown. One that cannot be read is left out, and said.
fn load_revisions(inner: &Inner, state: &mut State) {
    let rows: Vec<_> = state.books.revisions().cloned().collect();
    for row in rows {
        let name = format!("{}@{}", row.repo, row.rev);
        match inner.load(&row) {
            Ok(revision) if !inner.is_trusted(&revision.signed_by) => {
                tracing::warn!(
                    node = name,
                    "a revision without a trusted signature is not shown"
                );
                state.refused.insert((row.repo, row.rev), revision);
            }
            Ok(revision) if has_files(inner, &revision) => {
                state.shown.insert((row.repo, row.rev), revision);
            }
            Ok(_) => {
                tracing::error!(node = name, "a file of a revision is missing; run verify");
            }
            Err(error) => {
                tracing::error!(node = name, %error, "a revision cannot be read and is not shown");
            }
        }
    }
}

pub(crate) fn has_files(inner: &Inner, revision: &CatalogRevision) -> bool {
    revision.files.iter().all(|file| {
        let found = inner.disk.backend.metadata(&layout::data(&file.id));
        found.is_ok_and(|metadata| metadata.length == file.size)
    })
}

/// Brings what clients see in line with the rows.
pub(crate) fn show(inner: &Inner, state: &mut State) -> Result<()> {
    strangers::hide(inner, state)?;
    let disk = &inner.disk;
    let mut edits = Vec::new();
    for row in state.books.revisions() {
        let shown = state.shown.contains_key(&(row.repo.clone(), row.rev));
        let place = layout::revision(&row.repo, &row.rev);
        if !shown || (row.visible && disk.exists(&place)) {
            continue;
        }
        let manifest = inner.manifest(&row.manifest)?;
        Staged::revision(disk, &manifest)?.place(&place)?;
        if inner.options.hub_view {
            StagedHub::new(disk, &manifest)?.place(&manifest)?;
        }
        let mut row = row.clone();
        row.visible = true;
        edits.push(Edit::Put(Row::Revision(row)));
    }
    for row in state.books.references() {
        let at = &row.reference;
        let shown = state.shown.contains_key(&(at.repo.clone(), at.rev));
        let place = layout::tag(&at.repo, &at.tag);
        if !shown || (row.visible && disk.exists(&place)) {
            continue;
        }
        let manifest = inner.manifest(&at.manifest)?;
        Staged::revision(disk, &manifest)?.place(&place)?;
        if inner.options.hub_view {
            visible::point(disk, &at.repo, &at.tag, &at.rev)?;
        }
        let mut row = row.clone();
        row.visible = true;
        edits.push(Edit::Put(Row::Reference(row)));
    }
    if edits.is_empty() {
        return Ok(());
    }
    inner.note(state, edits)
}
