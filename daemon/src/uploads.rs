//! What comes in over the network to be published, whichever protocol brings it.
//!
//! Files come by PUT under their SHA-256, to places that were signed for whoever asked; a revision
//! is put together from them and from files that the store has. Invariant: nobody publishes a file
//! by its hash alone unless it was uploaded by the same holder or lies in a model that the holder
//! may read, so a hash is no key to bytes. Not promised: uploads of one file in parallel parts.

mod source;
mod staging;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, header};
use towline_http::{Models, Sight};
use towline_store::{CatalogFile, CatalogRevision, Sha256, Signer, Store, layout};

pub(crate) use source::{CommitSource, Operation};
pub(crate) use staging::{Expected, Staging};

/// Most pieces of an upload that wait for the disk, each as large as hyper's buffer.
const PIECES_WAITING_MAX: usize = 8;

/// What uploads need.
pub(crate) struct Uploads {
    models: Models,
    staging: Staging,
    size_max: u64,
    signer: Option<Arc<Signer>>,
    tally: Tally,
}

/// What was published, counted since the node started.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Commits.
    pub(crate) commits: AtomicU64,
    /// Bytes of large files that were taken in.
    pub(crate) bytes: AtomicU64,
    /// Requests without a good token or address.
    pub(crate) refused: AtomicU64,
}

/// Where a file is that is named by its hash.
pub(crate) enum Known {
    /// In the store, and there.
    Stored(CatalogFile, PathBuf),
    /// Among the uploads.
    Uploaded(PathBuf),
}

/// Why a PUT fails, by whose fault.
pub(crate) enum PutFault {
    /// The place is none of ours, or too old.
    Place,
    /// The bytes are not what was announced, or do not follow what is here.
    Bytes(String),
    /// A thread died.
    Thread(String),
}

impl Uploads {
    pub(crate) fn new(
        models: Models,
        staging: Staging,
        size_max: u64,
        signer: Option<Arc<Signer>>,
    ) -> Self {
        Self {
            models,
            staging,
            size_max,
            signer,
            tally: Tally::default(),
        }
    }

    pub(crate) fn models(&self) -> &Models {
        &self.models
    }

    pub(crate) fn store(&self) -> &Store {
        self.models.store()
    }

    /// The key with which the node signs what is published here.
    pub(crate) fn signer(&self) -> Option<&Signer> {
        self.signer.as_deref()
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Largest file that is taken, in bytes.
    pub(crate) fn size_max(&self) -> u64 {
        self.size_max
    }

    /// A file by its hash, among those that this sight may use.
    pub(crate) fn known(&self, oid: &Sha256, sight: &Sight) -> Option<Known> {
        let seen = self.models.seen(sight.clone());
        let mut revisions = seen.repos().flat_map(|(_, repo)| repo.revisions.values());
        let file = revisions.find_map(|revision| {
            let mut files = revision.files.iter();
            files.find(|file| file.sha256.as_ref() == Some(oid))
        });
        if let Some(file) = file {
            let place = self.models.root().join(layout::data(&file.id));
            return Some(Known::Stored(file.clone(), place));
        }
        let uploaded = self.staging.find(&sight.holder(), oid);
        uploaded.map(Known::Uploaded)
    }

    /// The place to send a file to, behind the hub's prefix, and how many bytes of it are here.
    pub(crate) fn place(&self, oid: &Sha256, size: u64, sight: &Sight) -> (String, u64) {
        let holder = sight.holder();
        let held = self.staging.held(&holder, oid);
        let oid = *oid;
        let expected = Expected { holder, oid, size };
        (self.staging.place(&expected), held)
    }

    /// The files of a revision after these operations.
    pub(crate) fn source(
        &self,
        before: Option<&CatalogRevision>,
        operations: Vec<Operation>,
        sight: &Sight,
    ) -> Result<CommitSource, String> {
        CommitSource::new(before, operations, |oid| self.known(oid, sight))
    }

    /// Counts what was published, and forgets the uploads that it was made of.
    pub(crate) fn published(&self, large: &[Sha256], bytes: u64, sight: &Sight) {
        self.staging.forget(&sight.holder(), large.iter().copied());
        self.tally.commits.fetch_add(1, Ordering::Relaxed);
        tracing::info!(volume = "models", bytes, "a commit was published");
    }

    /// Takes the bytes of a file where its sender was told to put them; a thread that may block
    /// writes them. With `Content-Range` it goes on behind what is here.
    pub(crate) async fn put(
        self: &Arc<Self>,
        request: Request<Incoming>,
        place: &str,
    ) -> Result<(), PutFault> {
        let expected = self.staging.judge(place).ok_or(PutFault::Place)?;
        let size = expected.size;
        let range = request.headers().get(header::CONTENT_RANGE);
        let from = match range.map(|range| begins_at(range.as_bytes(), size)) {
            None => 0,
            Some(Some(from)) => from,
            Some(None) => {
                let why = "write Content-Range: bytes FIRST-LAST/SIZE, up to the end of the file";
                return Err(PutFault::Bytes(why.to_owned()));
            }
        };
        let (send, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(PIECES_WAITING_MAX);
        let uploads = self.clone();
        let writer = tokio::task::spawn_blocking(move || {
            let mut arriving = uploads.staging.begin(expected, from)?;
            while let Some(bytes) = pieces.blocking_recv() {
                arriving.write(&bytes)?;
            }
            arriving.finish()
        });
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| PutFault::Bytes(error.to_string()))?;
            if let Ok(bytes) = frame.into_data()
                && send.send(bytes).await.is_err()
            {
                break;
            }
        }
        drop(send);
        match writer.await {
            Ok(Ok(())) => {
                self.tally.bytes.fetch_add(size - from, Ordering::Relaxed);
                Ok(())
            }
            Ok(Err(error)) => Err(PutFault::Bytes(error.to_string())),
            Err(error) => Err(PutFault::Thread(error.to_string())),
        }
    }
}

/// The first byte of a range that reaches to the end of a file of this size.
fn begins_at(range: &[u8], size: u64) -> Option<u64> {
    let text = std::str::from_utf8(range).ok()?;
    let (span, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let ends = whole.parse() == Ok(size) && last.checked_add(1) == Some(size);
    (ends && first <= last).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_goes_to_the_end_or_is_none() {
        assert_eq!(begins_at(b"bytes 3-9/10", 10), Some(3));
        for wrong in [
            "bytes 3-8/10",
            "bytes 3-9/11",
            "bytes 10-9/10",
            "3-9/10",
            "bytes */10",
            "bytes -1-9/10",
        ] {
            assert_eq!(begins_at(wrong.as_bytes(), 10), None, "{wrong}");
        }
        assert_eq!(begins_at(b"bytes 0-18446744073709551615/0", 0), None);
    }
}
