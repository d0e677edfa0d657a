//! The files of a commit as a source to publish from: those of the revision before, less what was
//! deleted, with what is new.
//!
//! Invariant: unchanged files are named by their hashes and not read again; a large file is found
//! in the store or among the uploads before anything is published. Not promised: an order.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use towline_store::git::is_lfs;
use towline_store::{
    CatalogRevision, ClientFault, GitId, RepoPath, Sha256, Source, SourceEntry, StoreError,
};

use super::Known;

/// What becomes of a path.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    /// A file with these bytes.
    File(RepoPath, Vec<u8>),
    /// A file that was uploaded before, or that the store has.
    Large(RepoPath, Sha256),
    /// No file there.
    Deleted(RepoPath),
    /// No file below there.
    DeletedFolder(RepoPath),
}

impl Operation {
    /// The hash of a file that was uploaded before.
    pub(crate) fn large(&self) -> Option<Sha256> {
        match self {
            Self::Large(_, oid) => Some(*oid),
            Self::File(..) | Self::Deleted(_) | Self::DeletedFolder(_) => None,
        }
    }
}

/// Where the bytes of a file are.
enum Content {
    /// In the store.
    Stored,
    Bytes(Vec<u8>),
    /// In a file: one that was uploaded, or the store's own.
    Opened(File),
}

struct Entry {
    content: Content,
    size: u64,
    sha256: Option<Sha256>,
    git_oid: Option<GitId>,
}

/// A source of the files of one commit.
pub(crate) struct CommitSource {
    files: Vec<(RepoPath, Entry)>,
}

impl CommitSource {
    /// The files after these operations; `known` finds a file by its hash.
    ///
    /// # Errors
    /// What is missing, for the client.
    pub(super) fn new(
        before: Option<&CatalogRevision>,
        operations: Vec<Operation>,
        known: impl Fn(&Sha256) -> Option<Known>,
    ) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for file in before.iter().flat_map(|revision| &revision.files) {
            let entry = Entry {
                content: Content::Stored,
                size: file.size,
                sha256: file.sha256,
                git_oid: Some(file.git_oid),
            };
            files.insert(file.path.clone(), entry);
        }
        for operation in operations {
            match operation {
                Operation::File(path, bytes) => {
                    let entry = Entry {
                        size: bytes.len() as u64,
                        content: Content::Bytes(bytes),
                        sha256: None,
                        git_oid: None,
                    };
                    files.insert(path, entry);
                }
                Operation::Large(path, oid) => {
                    let entry = known(&oid).and_then(|known| large(&path, oid, known));
                    let entry = entry.ok_or_else(|| {
                        format!("{path}: {oid} was not uploaded: upload it again")
                    })?;
                    files.insert(path, entry);
                }
                Operation::Deleted(path) => {
                    files.remove(&path);
                }
                Operation::DeletedFolder(folder) => {
                    let start = format!("{folder}/");
                    files.retain(|path, _| !path.as_str().starts_with(&start));
                }
            }
        }
        let files = files.into_iter().collect();
        Ok(Self { files })
    }
}

/// A file that is named by its hash alone. Of a file of the store the git id must be known, or be
/// that of a pointer; else its bytes are read for it.
fn large(path: &RepoPath, oid: Sha256, known: Known) -> Option<Entry> {
    let (content, size, git_oid) = match known {
        Known::Uploaded(place) => {
            let file = File::open(place).ok()?;
            let size = file.metadata().ok()?.len();
            (Content::Opened(file), size, None)
        }
        Known::Stored(file, _) if is_lfs(path, file.size) => (Content::Stored, file.size, None),
        Known::Stored(file, _) if !file.lfs => (Content::Stored, file.size, Some(file.git_oid)),
        Known::Stored(file, place) => (Content::Opened(File::open(place).ok()?), file.size, None),
    };
    Some(Entry {
        content,
        size,
        sha256: Some(oid),
        git_oid,
    })
}

impl Source for CommitSource {
    fn entries(&self) -> Result<Vec<SourceEntry>, StoreError> {
        let entries = self.files.iter().map(|(path, entry)| SourceEntry {
            path: path.clone(),
            size: entry.size,
            sha256: entry.sha256,
            git_oid: entry.git_oid,
        });
        Ok(entries.collect())
    }

    fn read_at(&self, index: usize, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let Some((path, entry)) = self.files.get(index) else {
            return Ok(());
        };
        let changed = || StoreError::Client(ClientFault::SourceChanged(path.clone()));
        match &entry.content {
            // It was there when the commit began, and is not any more.
            Content::Stored => Err(changed()),
            Content::Bytes(bytes) => {
                let start = usize::try_from(offset).map_err(|_| changed())?;
                let end = start.checked_add(buffer.len()).ok_or_else(changed)?;
                let part = bytes.get(start..end).ok_or_else(changed)?;
                buffer.copy_from_slice(part);
                Ok(())
            }
            Content::Opened(file) => file.read_exact_at(buffer, offset).map_err(|_| changed()),
        }
    }
}
