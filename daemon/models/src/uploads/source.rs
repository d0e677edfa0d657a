//! The files of a commit as a source to publish from: those of the revision before, less what was
//! deleted, with what is new.
//!
//! Invariant: unchanged files are named by their hashes and not read again; a large file is found
//! in the store or among the uploads before anything is published. Not promised: an order.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

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
    /// In parts, all but the last with so many bytes. They are opened when they are read: a commit
    /// may name more of them than a process may hold open.
    Parts(Vec<PathBuf>, u64),
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
        Known::Uploaded(places) => match places.as_slice() {
            [place] => {
                let file = File::open(place).ok()?;
                let size = file.metadata().ok()?.len();
                (Content::Opened(file), size, None)
            }
            places => {
                let bytes = |at: Option<&PathBuf>| Some(fs::metadata(at?).ok()?.len());
                let part_bytes = bytes(places.first())?.max(1);
                let before = part_bytes.checked_mul(places.len() as u64 - 1)?;
                let size = before + bytes(places.last())?;
                (Content::Parts(places.to_vec(), part_bytes), size, None)
            }
        },
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

/// Reads bytes of a file that lies in parts.
fn read_parts(
    (places, part_bytes): (&[PathBuf], u64),
    mut offset: u64,
    mut buffer: &mut [u8],
) -> io::Result<()> {
    while !buffer.is_empty() {
        let (number, from) = (offset / part_bytes, offset % part_bytes);
        let place = usize::try_from(number).ok().and_then(|at| places.get(at));
        let place = place.ok_or(io::ErrorKind::UnexpectedEof)?;
        let left = usize::try_from(part_bytes - from).unwrap_or(usize::MAX);
        let here;
        (here, buffer) = buffer.split_at_mut(left.min(buffer.len()));
        File::open(place)?.read_exact_at(here, from)?;
        offset += here.len() as u64;
    }
    Ok(())
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
            Content::Parts(places, part_bytes) => {
                read_parts((places, *part_bytes), offset, buffer).map_err(|_| changed())
            }
        }
    }
}
