//! Manifests that no row knows, and files that the index should know.
//!
//! A manifest is written before its row and removed right after it, one at a time, so a crash
//! leaves one manifest without a row at most: of a publishing or a removal that nobody was told
//! of. More of them mean that rows were lost. Invariant: what a whole manifest names is taken up
//! again with all its files, not thrown away; where rows were lost it is pinned, for a person to
//! judge. Not promised: tags and origins of what is taken up.

use std::collections::{BTreeMap, BTreeSet};

use crate::books::{Edit, Row};
use crate::disk::DiskAccess;
use crate::error::Result;
use crate::index::{Changes, IndexedFile};
use crate::layout;
use crate::manifest::Manifest;
use crate::name::{ManifestId, RepoName, RevisionId};
use crate::recover::rebuild::{manifest_names, manifest_on_disk, row_of, table_on_disk};
use crate::store::{Inner, State};

/// Manifests on the disk that no row names.
#[derive(Default)]
pub(crate) struct Orphans {
    /// Whole ones of revisions that no row knows, with files here.
    pub(crate) whole: Vec<(ManifestId, Vec<u8>, Manifest)>,
    /// Whole ones that nothing is lost with: their revision has another one, or none of their
    /// files is here.
    pub(crate) spent: Vec<ManifestId>,
    /// Those that are not what their names say.
    pub(crate) damaged: Vec<ManifestId>,
}

/// Finds manifests that no row names.
pub(crate) fn orphans(disk: &DiskAccess, state: &State) -> Result<Orphans> {
    let rows = state.books.revisions();
    let named: BTreeSet<ManifestId> = rows.map(|row| row.manifest).collect();
    let dropped: BTreeSet<ManifestId> = state.books.dropped().collect();
    let mut found = Orphans::default();
    let mut newest: BTreeMap<(RepoName, RevisionId), (ManifestId, Vec<u8>, Manifest)> =
        BTreeMap::new();
    for id in manifest_names(disk)? {
        if named.contains(&id) {
            continue;
        }
        if dropped.contains(&id) {
            found.spent.push(id);
            continue;
        }
        let Some((bytes, manifest)) = manifest_on_disk(disk, &id) else {
            found.damaged.push(id);
            continue;
        };
        let mut files = manifest.files.iter();
        let has_some = files.any(|file| disk.exists(&layout::data(&file.table)));
        let is_known = state
            .books
            .revision(&manifest.repo, &manifest.rev)
            .is_some();
        if is_known || !has_some {
            found.spent.push(id);
            continue;
        }
        let key = (manifest.repo.clone(), manifest.rev);
        let created = manifest.created;
        let before = newest.get(&key).map(|(.., before)| before.created);
        if before.is_none_or(|before| before < created) {
            let older = newest.insert(key, (id, bytes, manifest));
            found.spent.extend(older.map(|(id, ..)| id));
        } else {
            found.spent.push(id);
        }
    }
    found.whole = newest.into_values().collect();
    Ok(found)
}

/// Gives a row to every whole manifest that has none; how many there were.
pub(crate) fn adopt(inner: &Inner, state: &mut State) -> Result<usize> {
    let found = orphans(&inner.disk, state)?;
    let count = found.whole.len();
    if count == 0 {
        return Ok(0);
    }
    let mut changes = Changes::default();
    for (id, bytes, manifest) in found.whole {
        let (repo, rev) = (manifest.repo.clone(), manifest.rev);
        let name = format!("{repo}@{rev}");
        let row = Row::Revision(row_of(id, &manifest));
        changes.edits.push(Edit::Put(row));
        if count == 1 {
            tracing::warn!(
                node = name,
                "a revision whose last step broke off is taken up"
            );
        } else {
            let time = inner.now();
            tracing::error!(
                node = name,
                "rows were lost: a revision is taken up and pinned"
            );
            changes.edits.push(Edit::Put(Row::Pin { repo, rev, time }));
        }
        changes.manifests.push((id, bytes));
    }
    inner.commit(state, &changes)?;
    Ok(count)
}

/// Lets the index know of files that revisions have and it lacks: what a version that did not
/// build it beside has left when it was killed.
pub(super) fn complete_index(inner: &Inner, state: &mut State) -> Result<()> {
    let revisions = state.shown.values().chain(state.refused.values());
    let files = revisions.flat_map(|revision| &revision.files);
    let wanted: BTreeMap<_, _> = files.map(|file| (file.id, file.sha256)).collect();
    let mut changes = Changes::default();
    for (id, sha256) in wanted {
        if inner.index.size_of(&id)?.is_some() {
            continue;
        }
        match table_on_disk(&inner.disk, &id) {
            Some(table) => changes.files.push(IndexedFile {
                id,
                sha256,
                table: std::sync::Arc::new(table),
            }),
            None => tracing::warn!(chunk = %id, "a file without a good table; run towline verify"),
        }
    }
    if changes.files.is_empty() {
        return Ok(());
    }
    let job = changes.files.len();
    tracing::warn!(
        job,
        "the index lacked files of revisions; it knows them again"
    );
    inner.commit(state, &changes)
}
