//! The origins of revisions: good bytes for damaged files, and whether a revision that is to be
//! evicted could be had again.
//!
//! The origin of a revision is a URL below which its files lie, or a folder of this machine.
//! What comes is checked by the store before it takes a damaged place. Not promised: healing from
//! object stores, or from sources that want a token; what is damaged is quarantined then and the
//! next pull brings it back.

use std::io::Read;
use std::os::unix::fs::FileExt;

use towline_store::{CatalogRevision, ClientFault, Healer, StoreError, Wanted};

use crate::pull::{self, PullError};

/// Asks the origins of revisions.
pub(crate) struct Origins;

impl towline_store::Origins for Origins {
    fn has(&self, revision: &CatalogRevision) -> bool {
        let first = revision.files.iter().find(|file| file.size > 0);
        let (Some(origin), Some(file)) = (&revision.origin, first) else {
            return false;
        };
        let path = file.path.as_str();
        if origin.starts_with('/') {
            let found = std::fs::metadata(format!("{origin}/{path}"));
            return found.is_ok_and(|found| found.len() == file.size);
        }
        let asked = match origin.starts_with("http") {
            true => pull::read_below(origin, path, &(0..1)).and_then(|mut reader| {
                let read = reader.read_exact(&mut [0]);
                read.map_err(|error| PullError::Network(error.to_string()))
            }),
            false => pull::has_object(origin, path, file.size),
        };
        if let Err(error) = &asked {
            tracing::info!(%error, "an origin does not answer: its model is not evicted");
        }
        asked.is_ok()
    }
}

impl Healer for Origins {
    fn read(&self, wanted: &Wanted<'_>, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let path = wanted.file.path.as_str();
        let failed = |why: String| {
            tracing::info!(error = why, offset, "an origin cannot heal a file");
            StoreError::from(ClientFault::Argument("its origin does not give it"))
        };
        match wanted.revision.origin.as_deref() {
            None => Err(failed("published here: push it again".to_owned())),
            Some(origin) if origin.starts_with('/') => {
                let file = std::fs::File::open(format!("{origin}/{path}"));
                let read = file.and_then(|file| file.read_exact_at(buffer, offset));
                read.map_err(|error| failed(error.to_string()))
            }
            Some(origin) if origin.starts_with("http") => {
                let range = offset..offset + buffer.len() as u64;
                let read = pull::read_below(origin, path, &range).and_then(|mut reader| {
                    let read = reader.read_exact(buffer);
                    read.map_err(|error| PullError::Network(error.to_string()))
                });
                read.map_err(|error| failed(error.to_string()))
            }
            Some(origin) => Err(failed(format!("{origin}: pull it again"))),
        }
    }
}
