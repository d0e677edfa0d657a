//! Opening a store, after a clean stop or a crash alike: there is only this one way.
//!
//! Every durable step leaves either nothing that counts or all of it, so opening has little to
//! repair: temporary things are cleared, the index is rebuilt from tables, manifests and ledger if
//! it is damaged or not that of the ledger, manifests that no row knows are taken up again, and
//! directories that clients see are brought in line. Invariant: a revision that was acknowledged is
//! shown, complete; one that was not is shown whole or not at all. Not promised: that every byte is
//! read; `verify` does that.

use std::sync::Arc;

use towline_io::backend::Backend;

use crate::books::{Books, Edit, Row};
use crate::catalog::CatalogRevision;
use crate::disk::DiskAccess;
use crate::error::{Result, StorageFault, StoreError, io};
use crate::index::Index;
use crate::layout;
use crate::store::{Inner, Options, State, Store, lock};
use crate::strangers;
use crate::visible::{self, Staged, StagedHub};

mod orphans;
mod rebuild;

pub(crate) use orphans::{adopt, orphans};
pub(crate) use rebuild::{files_on_disk, rebuild_index};

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
        inner.finish_drops(&mut state)?;
        adopt(&inner, &mut state)?;
        load_revisions(&inner, &mut state);
        orphans::complete_index(&inner, &mut state)?;
        show(&inner, &mut state)?;
        inner.publish_catalog(&mut state);
    }
    let stored = inner.index.files()?.iter().map(|(_, size)| size).sum();
    inner.space.set_stored(stored);
    Ok(Store { inner })
}

/// The ledger as far as it is whole, and whether that is all of it.
pub(crate) fn read_ledger(disk: &DiskAccess) -> Option<(Books, bool)> {
    let bytes = disk.read_whole(layout::LEDGER, LEDGER_BYTES_MAX).ok()?;
    Books::from_ledger(&bytes)
}

fn open_index(disk: &DiskAccess) -> Result<(Index, Books)> {
    let ledger = read_ledger(disk).map(|(ledger, _)| ledger);
    let reason = match Index::open(&*disk.backend) {
        Ok((index, books, 0)) => match &ledger {
            // Someone put an old index back.
            Some(ledger) if ledger.generation > books.generation => "it is older than the ledger",
            Some(ledger) if ledger.generation == books.generation => {
                if ledger.names_the_same(&books) {
                    return Ok((index, books));
                }
                "it has not the rows of the ledger"
            }
            // Nothing was ever written, or all of it was lost but the manifests.
            None if books.generation == 0 && rebuild::has_manifests(disk)? => "it is empty",
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
