//! A folder of the node's own machine, read file by file.
//!
//! A pull from a folder hands it to the store instead, which clones where it can. Invariant: only
//! files below the folder are read, by paths without `..` ([`RepoPath`]). Not promised: that a file
//! stays what it was when it was listed; the store checks what comes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use towline_store::{ArrivalFile, DirectorySource, RepoPath, Source as _};

use crate::error::TransferError;
use crate::source::{Listing, Source};

/// A folder.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    fn failed(&self, path: &RepoPath, error: &std::io::Error) -> TransferError {
        TransferError::Refused(format!("{}/{path}: {error}", self.path.display()))
    }
}

impl Source for Folder {
    fn list(&mut self) -> Result<Listing, TransferError> {
        let entries = DirectorySource::open(&self.path)?.entries()?;
        let files = entries.into_iter().map(|entry| ArrivalFile {
            path: entry.path,
            size: entry.size,
            sha256: entry.sha256,
            git_oid: entry.git_oid,
        });
        Ok(Listing {
            rev: None,
            created: None,
            origin: self.path.display().to_string(),
            files: files.collect(),
        })
    }

    fn open(
        &self,
        path: &RepoPath,
        range: &Range<u64>,
    ) -> Result<Box<dyn Read + Send>, TransferError> {
        let opened = File::open(self.path.join(path.as_str())).and_then(|mut file| {
            file.seek(SeekFrom::Start(range.start))?;
            Ok(file)
        });
        let file = opened.map_err(|error| self.failed(path, &error))?;
        Ok(Box::new(file.take(range.end.saturating_sub(range.start))))
    }

    fn has(&self, path: &RepoPath, size: u64) -> Result<(), TransferError> {
        let found = std::fs::metadata(self.path.join(path.as_str()));
        let found = found.map_err(|error| self.failed(path, &error))?;
        if found.len() == size {
            return Ok(());
        }
        let why = format!("{}/{path} has another length", self.path.display());
        Err(TransferError::Refused(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lists_what_it_has_and_gives_ranges_of_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.bin"), b"0123456789").unwrap();
        let mut source = Folder::new(folder.path());
        let listing = source.list().unwrap();
        let [file] = listing.files.as_slice() else {
            panic!("one file");
        };
        assert_eq!((file.path.as_str(), file.size), ("a.bin", 10));
        let mut text = String::new();
        let mut reader = source.open(&file.path, &(3..6)).unwrap();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "345");
        assert!(source.has(&file.path, 10).is_ok());
        assert!(source.has(&file.path, 11).is_err());
        let gone = "b.bin".parse().unwrap();
        assert!(source.has(&gone, 10).is_err());
        assert!(source.open(&gone, &(0..1)).is_err());
    }
}
