//! What a source is as a revision: its files cut and hashed, and the manifest of them.
//!
//! The same cuts, names and order as publishing, so a publisher can compute the manifest on its own
//! machine, sign it there, and be sure that a store takes exactly that. Invariant: the same files
//! with the same outline give the same manifest on every machine. Not promised: that the files stay
//! as they were read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::cutting::{Nowhere, cut_file};
use crate::error::{ClientFault, Result, StorageFault};
use crate::git;
use crate::hasher::Hasher;

use crate::manifest::{Manifest, ManifestFile};
use crate::name::{RepoName, RevisionId};
use crate::progress::Progress;
use crate::source::{Source, SourceEntry};

/// Most files that are read at once.
const WORKERS_MAX: usize = 8;

/// What a manifest says beside its files.
#[derive(Clone, Copy, Debug)]
pub struct Outline<'a> {
    /// The repository.
    pub repo: &'a RepoName,
    /// The revision before it.
    pub parent: Option<RevisionId>,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// What is said about it; empty: `publish`.
    pub message: &'a str,
}

impl Outline<'_> {
    /// The manifest of these files, with the id that git would give the commit.
    ///
    /// # Errors
    /// [`ClientFault::Manifest`] if they cannot be one revision.
    pub(crate) fn manifest(&self, files: Vec<ManifestFile>) -> Result<Manifest> {
        let message = match self.message {
            "" => "publish",
            message => message,
        };
        let mut manifest = Manifest {
            repo: self.repo.clone(),
            kind: self.repo.kind(),
            rev: RevisionId([0; 20]),
            parent: self.parent,
            created: self.created,
            message: message.to_owned(),
            files,
        };
        manifest.arrange()?;
        let tree = manifest.trees().root();
        manifest.rev = git::commit_id(&tree, self.parent.as_ref(), self.created, message);
        Ok(manifest)
    }

    /// Reads every file of a source and makes the manifest that a store would make of it.
    ///
    /// # Errors
    /// [`ClientFault`] if the source cannot be one revision or changed while it was read.
    pub fn compose(&self, source: &dyn Source, progress: &Progress) -> Result<Manifest> {
        let entries = source.entries()?;
        if entries.is_empty() {
            return Err(ClientFault::Empty.into());
        }
        let bytes = entries.iter().map(|entry| entry.size).sum();
        progress.expect(entries.len() as u64, bytes);
        let files = each_file(&entries, None, |hasher, index, entry| {
            let read = |offset: u64, buffer: &mut [u8]| source.read_at(index, offset, buffer);
            let cut = cut_file(hasher, &read, entry, &mut Nowhere, progress)?;
            source.check(index)?;
            progress.finish_file();
            Ok(ManifestFile {
                path: entry.path.clone(),
                size: entry.size,
                git_oid: cut.git_oid,
                sha256: Some(cut.sha256),
                format: cut.format,
                table: cut.table.id(),
            })
        })?;
        self.manifest(files)
    }
}

/// Does something with every file, several at once, largest first; results in the files' order.
/// `workers`: how many at once; `None`: one for each processor.
pub(crate) fn each_file<T: Send>(
    entries: &[SourceEntry],
    workers: Option<usize>,
    one: impl Fn(&Hasher, usize, &SourceEntry) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(entries.get(*index).map(|entry| entry.size)));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        let hasher = Hasher::start()?;
        while let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(entry) = entries.get(*index) else {
                continue;
            };
            let result = one(&hasher, *index, entry)?;
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((*index, result));
        }
        Ok(())
    };
    let guarded = || {
        let result = work();
        if result.is_err() {
            // The others stop at their next file.
            next.store(entries.len(), Ordering::Relaxed);
        }
        result
    };
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let workers = workers.unwrap_or(processors);
    let workers = workers.clamp(1, WORKERS_MAX).min(entries.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..workers).map(|_| scope.spawn(guarded)).collect();
        let own = guarded();
        let all = threads.into_iter().map(|thread| {
            let died = || StorageFault::Thread("a publishing thread panicked").into();
            thread.join().unwrap_or_else(|_| Err(died()))
        });
        let results: Vec<Result<()>> = all.collect();
        results.into_iter().fold(own, Result::and)
    })?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
