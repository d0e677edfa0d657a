//! Room and who takes it: usage, garbage collection, eviction.
//!
//! Collection marks from tags, pins, leases, running work and stopped arrivals, in two phases: what
//! nothing refers to is first written down with the time, and removed by a later pass once the
//! grace time is over and still nothing refers to it. Eviction makes room for a writer at once,
//! but only from revisions that can be had again. Invariant: bytes that a shown revision has, or
//! that running work holds, are never removed. Not promised: that a removed revision's bytes come
//! free before the grace time is over.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use rustix::io::Errno;

use crate::books::{Edit, RevisionRow, Row};
use crate::error::{Result, io};
use crate::index::{Changes, IndexedFile};
use crate::layout;
use crate::metrics;
use crate::name::{FileId, ManifestId, RepoName, RevisionId};
use crate::store::{Inner, State, Store};
use crate::table::{ChunkTable, Format};

/// How long something must have been unused before its bytes go, unless told otherwise.
pub const GRACE_SECONDS: u64 = 24 * 3_600;

/// An origin that answered within this time can be trusted to answer again, in seconds.
pub const ORIGIN_FRESH_SECONDS: u64 = 3_600;

/// How a collection works.
#[derive(Clone, Copy, Debug)]
pub struct CollectOptions {
    /// Only tell what would go.
    pub dry_run: bool,
    /// How long something must have been unused, in seconds.
    pub grace_seconds: u64,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            grace_seconds: GRACE_SECONDS,
        }
    }
}

/// What a collection did, or would do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Collected {
    /// Revisions without tag, pin or lease that went.
    pub revisions: Vec<(RepoName, RevisionId)>,
    /// Revisions that were found unused now, and go when the grace time is over.
    pub revisions_marked: Vec<(RepoName, RevisionId)>,
    /// Files that went.
    pub files: u64,
    /// Bytes that came free.
    pub bytes: u64,
    /// Files that wait for the grace time.
    pub files_marked: u64,
    /// Their bytes.
    pub bytes_marked: u64,
    /// Files that an interrupted writer had left, which went as well.
    pub leftovers: u64,
}

/// Room that one revision takes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RevisionUsage {
    /// Length of its files together, each counted once.
    pub bytes: u64,
    /// Bytes of files that no other revision has: what removing it would free in the end.
    pub unique_bytes: u64,
    /// Bytes of files that other revisions have too.
    pub shared_bytes: u64,
}

/// Room in the store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Bytes of all files that are here.
    pub stored_bytes: u64,
    /// Bytes promised to writers.
    pub reserved_bytes: u64,
    /// Most bytes that files may take; `None`: what the file system has.
    pub quota: Option<u64>,
    /// Bytes free on the file system.
    pub free_bytes: u64,
    /// Files that are here.
    pub files: u64,
    /// Bytes of files that no revision has; collection frees them.
    pub unused_bytes: u64,
    /// What the revisions' files would take if nothing was shared.
    pub referred_bytes: u64,
    /// Each revision.
    pub revisions: BTreeMap<(RepoName, RevisionId), RevisionUsage>,
}

impl Store {
    /// Room, by revision.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn usage(&self) -> Result<Usage> {
        let inner = &self.inner;
        let (stored_bytes, reserved_bytes) = inner.space.counts();
        let state = inner.state();
        let mut owners: HashMap<FileId, u64> = HashMap::new();
        let mut distinct = BTreeMap::new();
        for (key, revision) in state.shown.iter().chain(&state.refused) {
            let files: BTreeMap<FileId, u64> = revision
                .files
                .iter()
                .map(|file| (file.id, file.size))
                .collect();
            for id in files.keys() {
                *owners.entry(*id).or_default() += 1;
            }
            distinct.insert(key.clone(), files);
        }
        let files = inner.index.files()?;
        let unused = files.iter().filter(|(id, _)| !owners.contains_key(id));
        let mut usage = Usage {
            stored_bytes,
            reserved_bytes,
            quota: inner.options.quota,
            free_bytes: inner
                .disk
                .backend
                .space()
                .map_err(io("ask for room on", ""))?
                .free,
            files: files.len() as u64,
            unused_bytes: unused.map(|(_, size)| size).sum(),
            ..Usage::default()
        };
        for (key, files) in distinct {
            let mut of = RevisionUsage::default();
            for (id, size) in files {
                of.bytes += size;
                if owners.get(&id) == Some(&1) {
                    of.unique_bytes += size;
                } else {
                    of.shared_bytes += size;
                }
            }
            usage.referred_bytes += of.bytes;
            usage.revisions.insert(key, of);
        }
        Ok(usage)
    }

    /// Says that a revision was used now, for eviction. Cheap; written down once a minute.
    ///
    /// # Errors
    /// Those of the index.
    pub fn touch(&self, repo: &RepoName, rev: &RevisionId) -> Result<()> {
        self.stamp(repo, rev, |row, now| {
            let due = now >= row.last_use.saturating_add(crate::space::USE_GRAIN_SECONDS);
            due.then(|| row.last_use = now).is_some()
        })
    }

    /// Says that the origin of a revision has answered now, so that it could be had again.
    ///
    /// # Errors
    /// Those of the index.
    pub fn origin_answered(&self, repo: &RepoName, rev: &RevisionId) -> Result<()> {
        self.stamp(repo, rev, |row, now| {
            let due = now
                >= row
                    .origin_seen
                    .saturating_add(crate::space::USE_GRAIN_SECONDS);
            due.then(|| row.origin_seen = now).is_some()
        })
    }

    fn stamp(
        &self,
        repo: &RepoName,
        rev: &RevisionId,
        change: impl FnOnce(&mut RevisionRow, u64) -> bool,
    ) -> Result<()> {
        let mut state = self.inner.state();
        let Some(mut row) = state.books.revision(repo, rev).cloned() else {
            return Ok(());
        };
        if !change(&mut row, self.inner.now()) {
            return Ok(());
        }
        self.inner
            .note(&mut state, vec![Edit::Put(Row::Revision(row))])
    }

    /// Collects what nothing refers to.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn gc(&self, options: &CollectOptions) -> Result<Collected> {
        let mut state = self.inner.state();
        let mut collected = Collected::default();
        self.collect_revisions(&mut state, options, &mut collected)?;
        collect_files(&self.inner, &mut state, options, &mut collected)?;
        if !options.dry_run {
            metrics::add(&self.inner.counters.bytes_collected, collected.bytes);
            collected.leftovers = self.inner.remove_leftovers()?;
        }
        Ok(collected)
    }

    fn collect_revisions(
        &self,
        state: &mut State,
        options: &CollectOptions,
        collected: &mut Collected,
    ) -> Result<()> {
        let now = self.inner.now();
        let tagged: HashSet<_> = state
            .books
            .references()
            .map(|row| (row.reference.repo.clone(), row.reference.rev))
            .collect();
        let rows: Vec<RevisionRow> = state.books.revisions().cloned().collect();
        let mut edits = Vec::new();
        for mut row in rows {
            let key = (row.repo.clone(), row.rev);
            let used = tagged.contains(&key)
                || state.books.pinned(&row.repo, &row.rev).is_some()
                || state
                    .books
                    .leases(&row.repo, &row.rev, now)
                    .next()
                    .is_some();
            let since = row.unused_since;
            // A clock may stand at zero in a test; zero means used.
            let mark = now.max(1);
            if used {
                if since != 0 {
                    row.unused_since = 0;
                    edits.push(Edit::Put(Row::Revision(row)));
                }
            } else if since == 0 {
                row.unused_since = mark;
                edits.push(Edit::Put(Row::Revision(row)));
                collected.revisions_marked.push(key);
            } else if now >= since.saturating_add(options.grace_seconds) {
                collected.revisions.push(key);
            } else {
                collected.revisions_marked.push(key);
            }
        }
        if options.dry_run {
            return Ok(());
        }
        if !edits.is_empty() {
            self.edit(state, edits)?;
        }
        for (repo, rev) in &collected.revisions {
            self.drop_revision(state, repo, rev)?;
        }
        Ok(())
    }
}

/// Files that some revision has, shown or not.
fn referred(inner: &Inner, state: &State, leaving: &[(RepoName, RevisionId)]) -> Result<Marked> {
    let mut marked = Marked::default();
    for row in state.books.revisions() {
        let key = (row.repo.clone(), row.rev);
        if leaving.contains(&key) {
            continue;
        }
        marked.manifests.insert(row.manifest);
        match state.shown.get(&key) {
            Some(revision) => marked
                .files
                .extend(revision.files.iter().map(|file| file.id)),
            None => match inner.manifest(&row.manifest) {
                Ok(manifest) => marked
                    .files
                    .extend(manifest.files.iter().map(|file| file.table)),
                // What it has cannot be known, so nothing may go.
                Err(_) => marked.unknown = true,
            },
        }
    }
    marked.files.extend(crate::arrival::kept_files(inner)?);
    Ok(marked)
}

#[derive(Default)]
struct Marked {
    files: HashSet<FileId>,
    manifests: BTreeSet<ManifestId>,
    unknown: bool,
}

fn collect_files(
    inner: &Arc<Inner>,
    state: &mut State,
    options: &CollectOptions,
    collected: &mut Collected,
) -> Result<()> {
    let leaving = if options.dry_run {
        collected.revisions.clone()
    } else {
        Vec::new()
    };
    let marked = referred(inner, state, &leaving)?;
    if marked.unknown {
        return Ok(());
    }
    let now = inner.now();
    let since: HashMap<FileId, u64> = state.books.unused().collect();
    let mut edits = Vec::new();
    let mut going = Vec::new();
    for (id, size) in inner.index.files()? {
        let used = marked.files.contains(&id) || inner.is_held(&id);
        match (used, since.get(&id)) {
            (true, Some(time)) => edits.push(Edit::Remove(unused(id, *time))),
            (true, None) => {}
            (false, Some(time)) if now >= time.saturating_add(options.grace_seconds) => {
                going.push((id, size));
                edits.push(Edit::Remove(unused(id, *time)));
            }
            (false, found) => {
                if found.is_none() {
                    edits.push(Edit::Put(unused(id, now)));
                }
                collected.files_marked += 1;
                collected.bytes_marked += size;
            }
        }
    }
    collected.files = going.len() as u64;
    collected.bytes = going.iter().map(|(_, size)| size).sum();
    if options.dry_run {
        return Ok(());
    }
    inner.remove_files(state, &going, edits)?;
    remove_manifests(inner, state, &marked.manifests)
}

fn unused(file: FileId, time: u64) -> Row {
    Row::Unused { file, time }
}

/// Removes manifests that no row names.
fn remove_manifests(inner: &Inner, state: &mut State, kept: &BTreeSet<ManifestId>) -> Result<()> {
    let entries = inner.disk.backend.list(layout::MANIFESTS);
    let mut removed = Vec::new();
    for entry in entries.map_err(io("list", layout::MANIFESTS))? {
        let stem = entry.name.strip_suffix(".sig").unwrap_or(&entry.name);
        let Ok(id) = stem.parse::<ManifestId>() else {
            continue;
        };
        if !kept.contains(&id) {
            let path = format!("{}/{}", layout::MANIFESTS, entry.name);
            inner
                .disk
                .backend
                .remove_file(&path)
                .map_err(io("remove", &path))?;
            removed.push(id);
        }
    }
    if removed.is_empty() {
        return Ok(());
    }
    let changes = Changes {
        manifests_removed: removed,
        ..Changes::default()
    };
    inner.commit(state, &changes)
}

impl Inner {
    /// Takes files out of the index, then off the disk.
    fn remove_files(
        &self,
        state: &mut State,
        files: &[(FileId, u64)],
        edits: Vec<Edit>,
    ) -> Result<()> {
        if files.is_empty() && edits.is_empty() {
            return Ok(());
        }
        let removed = files.iter().map(|(id, size)| {
            let table = self.table(id).unwrap_or_else(|_| {
                Arc::new(ChunkTable {
                    size: *size,
                    format: Format::Fixed,
                    chunks: Vec::new(),
                    tensors: Vec::new(),
                })
            });
            IndexedFile {
                id: *id,
                sha256: None,
                table,
            }
        });
        let changes = Changes {
            edits,
            files_removed: removed.collect(),
            ..Changes::default()
        };
        // Nobody can take hold of them from here on: the index does not know them any more.
        self.commit(state, &changes)?;
        for (id, size) in files {
            self.forget_table(id);
            for path in [layout::data(id), layout::table(id)] {
                match self.disk.backend.remove_file(&path) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(io("remove", &path)(errno)),
                }
            }
            self.space.remove_stored(*size);
        }
        Ok(())
    }

    /// Removes files that a writer has placed and never told the index of.
    fn remove_leftovers(&self) -> Result<u64> {
        let mut removed = 0;
        for id in crate::recover::files_on_disk(&self.disk)? {
            if self.index.size_of(&id)?.is_some() {
                continue;
            }
            removed += u64::from(self.remove_unheld(&id));
        }
        Ok(removed)
    }

    /// Revisions that may go to make room, cheapest loss first, with the bytes that each frees.
    fn evictable(&self, state: &State) -> Vec<(RepoName, RevisionId, u64)> {
        let now = self.now();
        let mut owners: HashMap<FileId, u64> = HashMap::new();
        for revision in state.shown.values() {
            let distinct: HashSet<FileId> = revision.files.iter().map(|file| file.id).collect();
            distinct
                .into_iter()
                .for_each(|id| *owners.entry(id).or_default() += 1);
        }
        let mut found = Vec::new();
        for row in state.books.revisions() {
            let Some(revision) = state.shown.get(&(row.repo.clone(), row.rev)) else {
                continue;
            };
            let fresh = now <= row.origin_seen.saturating_add(ORIGIN_FRESH_SECONDS);
            let held = row.origin.is_none()
                || !fresh
                || state.books.pinned(&row.repo, &row.rev).is_some()
                || state
                    .books
                    .leases(&row.repo, &row.rev, now)
                    .next()
                    .is_some();
            if held {
                continue;
            }
            let mut own = HashMap::new();
            for file in &revision.files {
                if owners.get(&file.id) == Some(&1) && !self.is_held(&file.id) {
                    own.insert(file.id, file.size);
                }
            }
            let open = revision.files.iter().any(|file| {
                self.disk
                    .backend
                    .is_open(&layout::data(&file.id))
                    .unwrap_or(true)
            });
            let bytes: u64 = own.values().sum();
            if !open && bytes > 0 {
                // Fetching costs time for each byte, so per byte of room all cost alike: what
                // tells them apart is how soon they may be needed again.
                let idle = now.saturating_sub(row.last_use);
                found.push((idle, row.repo.clone(), row.rev, bytes));
            }
        }
        found.sort_by_key(|(idle, _, _, bytes)| std::cmp::Reverse((*idle, *bytes)));
        found
            .into_iter()
            .map(|(_, repo, rev, bytes)| (repo, rev, bytes))
            .collect()
    }

    /// Bytes that [`Inner::evict`] could free.
    pub(crate) fn evictable_bytes(&self) -> u64 {
        self.evictable(&self.state())
            .iter()
            .map(|(_, _, bytes)| bytes)
            .sum()
    }

    /// Frees at least `bytes` if it can; gives what it freed.
    pub(crate) fn evict(self: &Arc<Self>, bytes: u64) -> Result<u64> {
        let store = Store {
            inner: Arc::clone(self),
        };
        let mut state = self.state();
        let candidates = self.evictable(&state);
        if candidates.iter().map(|(_, _, bytes)| bytes).sum::<u64>() < bytes {
            return Ok(0);
        }
        let mut freed = 0;
        for (repo, rev, _) in candidates {
            if freed >= bytes {
                break;
            }
            let Some(gone) = state.shown.get(&(repo.clone(), rev)).cloned() else {
                continue;
            };
            store.drop_revision(&mut state, &repo, &rev)?;
            let kept = referred(self, &state, &[])?;
            if kept.unknown {
                break;
            }
            let own: BTreeMap<FileId, u64> = gone
                .files
                .iter()
                .filter(|file| !kept.files.contains(&file.id) && !self.is_held(&file.id))
                .map(|file| (file.id, file.size))
                .collect();
            let own: Vec<_> = own.into_iter().collect();
            self.remove_files(&mut state, &own, Vec::new())?;
            freed += own.iter().map(|(_, size)| size).sum::<u64>();
            let name = format!("{repo}@{rev}");
            tracing::info!(
                node = name,
                bytes = freed,
                "a model was evicted to make room"
            );
        }
        metrics::add(&self.counters.bytes_evicted, freed);
        Ok(freed)
    }
}
