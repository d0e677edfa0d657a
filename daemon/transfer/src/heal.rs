//! The origins of revisions: good bytes for damaged files, and whether a revision that is to be
//! evicted could be had again.
//!
//! The origin of a revision is a URL below which its files lie, or a folder of this machine.
//! What comes is checked by the store before it takes a damaged place. Not promised: healing from
//! object stores, or from sources that want a token; what is damaged is quarantined then and the
//! next pull brings it back.

use std::io::Read;
use std::ops::Range;

use towline_store::{CatalogRevision, ClientFault, Healer, RepoPath, StoreError, Wanted};

use crate::error::TransferError;
use crate::origin::Origin;
use crate::source::Source;
use crate::sources;

/// Asks the origins of revisions.
#[derive(Clone, Copy, Debug)]
pub struct Origins;

/// The source of a recorded origin, asked without a token.
fn recorded(origin: &str) -> Result<Box<dyn Source>, TransferError> {
    sources::open(&Origin::parse(origin, None)?, None)
}

impl towline_store::Origins for Origins {
    fn has(&self, revision: &CatalogRevision) -> bool {
        let first = revision.files.iter().find(|file| file.size > 0);
        let (Some(origin), Some(file)) = (&revision.origin, first) else {
            return false;
        };
        let asked = recorded(origin).and_then(|source| source.has(&file.path, file.size));
        if let Err(error) = &asked {
            tracing::info!(%error, "an origin does not answer: its model is not evicted");
        }
        asked.is_ok()
    }
}

impl Healer for Origins {
    fn read(&self, wanted: &Wanted<'_>, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let range = offset..offset + buffer.len() as u64;
        let read = match wanted.revision.origin.as_deref() {
            None => Err("published here: push it again".to_owned()),
            Some(origin) => {
                let read = fill(origin, &wanted.file.path, &range, buffer);
                read.map_err(|error| error.to_string())
            }
        };
        read.map_err(|why| {
            tracing::info!(error = why, offset, "an origin cannot heal a file");
            ClientFault::Argument("its origin does not give it").into()
        })
    }
}

/// Reads a range of a file where its revision came from.
fn fill(
    origin: &str,
    path: &RepoPath,
    range: &Range<u64>,
    buffer: &mut [u8],
) -> Result<(), TransferError> {
    let mut reader = recorded(origin)?.open(path, range)?;
    let read = reader.read_exact(buffer);
    read.map_err(|error| TransferError::Network(error.to_string()))
}
