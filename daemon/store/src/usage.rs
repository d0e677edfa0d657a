//! Room, and which revision takes how much of it.
//!
//! Invariant: every file counts once in what is stored, however many revisions have it. Not
//! promised: blocks that a file system shares between files; each file counts with its length.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Result, io};
use crate::name::{FileId, RepoName, RevisionId};
use crate::store::Store;

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
}
