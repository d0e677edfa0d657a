//! The one way in which bytes are asked for, whatever has them.
//!
//! Invariant: whoever asks a source knows nothing of its protocol, and what a source promises of a
//! file is checked by the store, not by the source. Not promised: that two questions see the same
//! state, unless [`Source::list`] came first.

use std::io::Read;
use std::ops::Range;

use towline_store::{ArrivalFile, RepoPath, RevisionId};

use crate::error::TransferError;

/// What a source has.
#[derive(Debug)]
pub struct Listing {
    /// The id of the revision there, if it has one.
    pub rev: Option<RevisionId>,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: Option<u64>,
    /// Where it can be had again, as its revision has it recorded: what
    /// [`Origin::parse`](crate::Origin::parse) reads.
    pub origin: String,
    /// Its files, with the hashes that it promises.
    pub files: Vec<ArrivalFile>,
}

/// A place that files can be had from. Every question may block for as long as its network takes.
pub trait Source: Send + Sync {
    /// What it has. From then on [`Source::open`] gives bytes of exactly what was listed, or fails:
    /// a commit, an entity tag, or whatever else the source tells versions by.
    ///
    /// # Errors
    /// Those of the source; [`TransferError::Network`] may pass.
    fn list(&mut self) -> Result<Listing, TransferError>;

    /// Bytes `range` of a file; the reader may end early, and its user asks again for the rest.
    /// Works without a listing where the source can name a file by its path alone.
    ///
    /// # Errors
    /// [`TransferError::Refused`] where it has no such file, or another one than was listed.
    fn open(
        &self,
        path: &RepoPath,
        range: &Range<u64>,
    ) -> Result<Box<dyn Read + Send>, TransferError>;

    /// Asks whether it has a file of `size` bytes, more than none, now, so that it could be had
    /// again. Here: whether it gives the first byte.
    ///
    /// # Errors
    /// Why not.
    fn has(&self, path: &RepoPath, _size: u64) -> Result<(), TransferError> {
        let mut reader = self.open(path, &(0..1))?;
        let read = reader.read_exact(&mut [0]);
        read.map_err(|error| TransferError::Network(error.to_string()))
    }
}
