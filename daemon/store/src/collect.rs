//! Garbage collection: what nothing refers to any more.
//!
//! It marks from tags, pins, leases, readers, running work and stopped arrivals, in two phases:
//! what nothing refers to is first written down with the time, and removed by a later pass once the
//! grace time is over and still nothing refers to it. Invariant: bytes that a revision has, shown
//! or not, that any manifest on the disk names, or that running work holds, are never removed; what
//! cannot be accounted for stops a pass before it removes anything. Not promised: that a removed
//! revision's bytes come free before the grace time is over.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustix::io::Errno;

use crate::books::{Edit, RevisionRow, Row};
use crate::error::{Result, StorageFault, io};
use crate::index::{Changes, IndexedFile};
use crate::layout;
use crate::metrics;
use crate::name::{FileId, ManifestId, RepoName, RevisionId};
use crate::recover::{files_on_disk, orphans};
use crate::store::{Inner, State, Store};
use crate::table::{ChunkTable, Format};

/// How long something must have been unused before its bytes go, unless told otherwise.
pub const GRACE_SECONDS: u64 = 24 * 3_600;

/// How long a revision that a face has served is kept after that, in seconds, whatever its tags
/// are: a client that downloads it asks for the next file within this time, and a pause of a
/// quarter of an hour is a client that has gone.
pub const READ_LEASE_SECONDS: u64 = 900;

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

impl Store {
    /// Collects what nothing refers to.
    ///
    /// # Errors
    /// [`StorageFault::Unexplained`] if it finds what it cannot account for; nothing is removed
    /// then. Those of the disk.
    pub fn gc(&self, options: &CollectOptions) -> Result<Collected> {
        let _span = tracing::info_span!("collect").entered();
        let mut state = self.inner.state();
        let mut collected = Collected::default();
        explain(&self.inner, &state)?;
        self.collect_revisions(&mut state, options, &mut collected)?;
        collect_files(&self.inner, &mut state, options, &mut collected)?;
        if !options.dry_run {
            metrics::add(&self.inner.counters.bytes_collected, collected.bytes);
            let named = referred(&self.inner, &state, &[])?;
            collected.leftovers = self.inner.remove_leftovers(&named)?;
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
                    .is_some()
                || self.inner.is_read(state, &key, now);
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
pub(crate) fn referred(
    inner: &Inner,
    state: &State,
    leaving: &[(RepoName, RevisionId)],
) -> Result<Marked> {
    let mut marked = Marked::default();
    for row in state.books.revisions() {
        let key = (row.repo.clone(), row.rev);
        if leaving.contains(&key) {
            continue;
        }
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
    // Manifests that no row knows may be all that is left of a revision.
    let orphans = orphans(&inner.disk, state)?;
    marked.unknown |= !orphans.damaged.is_empty();
    let named = orphans.whole.iter().flat_map(|(.., one)| &one.files);
    marked.files.extend(named.map(|file| file.table));
    marked.files.extend(crate::arrival::kept_files(inner)?);
    Ok(marked)
}

/// Stops a pass that would remove what it cannot account for.
fn explain(inner: &Inner, state: &State) -> Result<()> {
    let unexplained = |what: String, remedy| Err(StorageFault::Unexplained { what, remedy }.into());
    for row in state.books.revisions() {
        let is_shown = state.shown.contains_key(&(row.repo.clone(), row.rev));
        if !is_shown && inner.manifest(&row.manifest).is_err() {
            let what = format!(
                "the manifest of {}@{} cannot be read, so which files it has is not known",
                row.repo, row.rev
            );
            let remedy = "run 'towline verify', and push or pull that revision again, or remove \
                          it with 'towline models rm'";
            return unexplained(what, remedy);
        }
    }
    let orphans = orphans(&inner.disk, state)?;
    if let Some((id, _, manifest)) = orphans.whole.first() {
        let (repo, rev) = (&manifest.repo, manifest.rev);
        let what = format!("neither index nor ledger knows manifest {id}, of {repo}@{rev}");
        return unexplained(what, "run 'towline verify', which takes it up again");
    }
    if let Some(id) = orphans.damaged.first() {
        let what = format!("nothing knows manifest {id}, and it cannot be read");
        return unexplained(what, "run 'towline verify', which sets it aside");
    }
    if state.books.generation == 0 {
        let held = crate::arrival::kept_files(inner)?;
        let files = files_on_disk(&inner.disk)?.into_iter();
        let nameless = files.filter(|id| !held.contains(id) && !inner.holds.has(id));
        let count = nameless.count();
        if count > 0 {
            let what = format!(
                "{count} files lie in {}, and neither index, ledger nor a manifest knows of any",
                layout::FILES
            );
            let remedy = "if a first push or pull broke off, begin it again; if this store had \
                          models, bring back .towline from a backup, or publish them anew";
            return unexplained(what, remedy);
        }
    }
    Ok(())
}

/// What is in use.
#[derive(Default)]
pub(crate) struct Marked {
    pub(crate) files: HashSet<FileId>,
    /// Something is in use that cannot be told.
    pub(crate) unknown: bool,
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
        let used = marked.files.contains(&id) || inner.holds.has(&id);
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
    remove_spent(inner, state)
}

fn unused(file: FileId, time: u64) -> Row {
    Row::Unused { file, time }
}

/// Removes manifests of which nothing is left to lose, and signatures without a manifest.
fn remove_spent(inner: &Inner, state: &State) -> Result<()> {
    let mut spent = orphans(&inner.disk, state)?.spent;
    let entries = inner.disk.backend.list(layout::MANIFESTS);
    for entry in entries.map_err(io("list", layout::MANIFESTS))? {
        let stem = entry.name.strip_suffix(".sig");
        if let Some(id) = stem.and_then(|stem| stem.parse::<ManifestId>().ok())
            && !inner.disk.exists(&layout::manifest(&id))
            && !state.books.revisions().any(|row| row.manifest == id)
        {
            spent.push(id);
        }
    }
    if spent.is_empty() {
        return Ok(());
    }
    inner.remove_manifests(&spent)
}

impl Inner {
    /// Whether somebody reads a revision: a face has served it lately, or a file of it is open.
    fn is_read(&self, state: &State, key: &(RepoName, RevisionId), now: u64) -> bool {
        let Some(revision) = state.shown.get(key) else {
            return false;
        };
        let served = revision.last_use.get();
        let lately = served > 0 && now < served.saturating_add(READ_LEASE_SECONDS);
        let backend = &self.disk.backend;
        let is_open = |file: &crate::CatalogFile| {
            let open = backend.is_open(&layout::data(&file.id));
            open.unwrap_or(false)
        };
        lately || revision.files.iter().any(is_open)
    }

    /// Takes files out of the index, then off the disk.
    pub(crate) fn remove_files(
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
            self.tables.forget(id);
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

    /// Removes files that a writer has placed and never told the index of, and nothing names.
    fn remove_leftovers(&self, named: &Marked) -> Result<u64> {
        let mut removed = 0;
        if named.unknown {
            return Ok(0);
        }
        for id in files_on_disk(&self.disk)? {
            if named.files.contains(&id) || self.index.size_of(&id)?.is_some() {
                continue;
            }
            removed += u64::from(self.remove_unheld(&id));
        }
        Ok(removed)
    }
}
