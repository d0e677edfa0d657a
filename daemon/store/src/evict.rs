//! Making room for a writer at once, from revisions that can be had again.
//!
//! What was used longest ago goes first. A use is what a face serves ([`crate::LastUse`]), and
//! what anybody reads of the files, as the file system's access times tell it. Invariant: nothing
//! goes that is pinned, leased, open, held by running work, published here, or whose origin has
//! not answered within [`ORIGIN_FRESH_SECONDS`]; and nothing goes at all where all of it together
//! would not be enough. Not promised: uses within a day, where the file system keeps times no
//! finer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::books::{Edit, RevisionRow, Row};
use crate::catalog::CatalogRevision;
use crate::collect::referred;
use crate::error::Result;
use crate::layout;
use crate::metrics;
use crate::name::{FileId, RepoName, RevisionId};
use crate::store::{Inner, State, Store};

/// An origin that answered within this time can be trusted to answer again, in seconds.
pub const ORIGIN_FRESH_SECONDS: u64 = 3_600;

/// Most origins that are asked for one writer: each may take seconds to answer.
const ASKED_MAX: usize = 32;

/// Whoever can tell whether a revision could be had again.
pub trait Origins: Send + Sync {
    /// Whether its origin gives its bytes now.
    fn has(&self, revision: &CatalogRevision) -> bool;
}

impl Store {
    /// Says that the origin of a revision has answered now, so that it could be had again.
    ///
    /// # Errors
    /// Those of the index.
    pub fn origin_answered(&self, repo: &RepoName, rev: &RevisionId) -> Result<()> {
        let mut state = self.inner.state();
        let Some(mut row) = state.books.revision(repo, rev).cloned() else {
            return Ok(());
        };
        row.origin_seen = self.inner.now();
        let edits = vec![Edit::Put(Row::Revision(row))];
        self.inner.note(&mut state, edits)
    }

    /// Writes down when each revision was used last, so that it is known after a restart.
    ///
    /// # Errors
    /// Those of the index.
    pub fn note_uses(&self) -> Result<()> {
        let mut state = self.inner.state();
        let used = |row: &RevisionRow| {
            let key = (row.repo.clone(), row.rev);
            let used = state.shown.get(&key)?.last_use.get();
            let due = used >= row.last_use.saturating_add(crate::space::USE_GRAIN_SECONDS);
            due.then(|| {
                let mut row = row.clone();
                row.last_use = used;
                Edit::Put(Row::Revision(row))
            })
        };
        let edits: Vec<Edit> = state.books.revisions().filter_map(used).collect();
        if edits.is_empty() {
            return Ok(());
        }
        self.inner.note(&mut state, edits)
    }
}

impl Inner {
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
            if !self.may_go(state, row, now) || !is_fresh(row, now) {
                continue;
            }
            let mut own = HashMap::new();
            for file in &revision.files {
                if owners.get(&file.id) == Some(&1) && !self.holds.has(&file.id) {
                    own.insert(file.id, file.size);
                }
            }
            let (mut open, mut last_use) = (false, row.last_use.max(revision.last_use.get()));
            for file in &revision.files {
                let path = layout::data(&file.id);
                let backend = &self.disk.backend;
                open |= backend.is_open(&path).unwrap_or(true);
                let accessed = backend.metadata(&path).map_or(0, |found| found.accessed);
                last_use = last_use.max(accessed.min(now));
            }
            let bytes: u64 = own.values().sum();
            if !open && bytes > 0 {
                // Fetching costs time for each byte, so per byte of room all cost alike: what
                // tells them apart is how soon they may be needed again.
                let idle = now.saturating_sub(last_use);
                found.push((idle, row.repo.clone(), row.rev, bytes));
            }
        }
        found.sort_by_key(|(idle, _, _, bytes)| std::cmp::Reverse((*idle, *bytes)));
        found
            .into_iter()
            .map(|(_, repo, rev, bytes)| (repo, rev, bytes))
            .collect()
    }

    /// Whether neither a pin nor a lease keeps a revision, and it has an origin.
    fn may_go(&self, state: &State, row: &RevisionRow, now: u64) -> bool {
        let (repo, rev) = (&row.repo, &row.rev);
        let is_leased = state.books.leases(repo, rev, now).next().is_some();
        row.origin.is_some() && state.books.pinned(repo, rev).is_none() && !is_leased
    }

    /// Asks origins that were not heard of lately, until `bytes` could be freed.
    pub(crate) fn ask_origins(self: &Arc<Self>, bytes: u64) -> Result<()> {
        let Some(origins) = &self.options.origins else {
            return Ok(());
        };
        let silent: Vec<Arc<CatalogRevision>> = {
            let (state, now) = (self.state(), self.now());
            let rows = state.books.revisions();
            let silent = rows.filter(|row| self.may_go(&state, row, now) && !is_fresh(row, now));
            let mut silent: Vec<&RevisionRow> = silent.collect();
            silent.sort_by_key(|row| row.last_use);
            let silent = silent.into_iter();
            let shown = silent.filter_map(|row| state.shown.get(&(row.repo.clone(), row.rev)));
            shown.take(ASKED_MAX).cloned().collect()
        };
        let store = Store {
            inner: Arc::clone(self),
        };
        for revision in silent {
            if self.evictable_bytes() >= bytes {
                return Ok(());
            }
            if origins.has(&revision) {
                store.origin_answered(&revision.repo, &revision.rev)?;
            }
        }
        Ok(())
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
                .filter(|file| !kept.files.contains(&file.id) && !self.holds.has(&file.id))
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

/// Whether the origin of a revision has answered lately.
fn is_fresh(row: &RevisionRow, now: u64) -> bool {
    now <= row.origin_seen.saturating_add(ORIGIN_FRESH_SECONDS)
}
