//! Good bytes for damaged files, from where their revision came.
//!
//! The origin of a revision is a URL below which its files lie, or a folder of this machine.
//! What comes is checked by the store before it takes a damaged place. Not promised: healing from
//! object stores, or from sources that want a token; what is damaged is quarantined then and the
//! next pull brings it back.

use std::io::Read;
use std::os::unix::fs::FileExt;

use towline_store::{ClientFault, Healer, StoreError, Wanted};

use crate::pull::{self, PullError};

/// Asks the origins of revisions.
#[derive(Default)]
pub(crate) struct Origins {}

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
