//! What comes in over the network to be published, whichever protocol brings it.
//!
//! Files come by PUT under their SHA-256, whole or in parts, to places that were signed for whoever
//! asked; a revision is put together from them and from files that the store has. Invariant: nobody
//! publishes a file by its hash alone unless it was uploaded by the same holder or lies in a model
//! that the holder may read, so a hash is no key to bytes. A sender that is slow holds a connection
//! and a little memory and no thread. Not promised: that parts need fewer reads of the disk.

mod pace;
mod parts;
mod receiving;
mod source;
mod staging;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use towline_http::{Models, Sight};
use towline_store::{CatalogFile, CatalogRevision, Sha256, Signer, Store, layout};

pub use pace::Inflow;
pub(crate) use pace::{Bounds as PaceBounds, Ended, Pace};
pub(crate) use parts::COMPLETION_BYTES_MAX;
pub(crate) use receiving::PutFault;
pub(crate) use source::{CommitSource, Operation};
pub use staging::Staged;
pub(crate) use staging::{Expected, KEPT, Place, Plan, Staging};

/// What uploads are held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Largest file that is taken, in bytes.
    pub(crate) size_max: u64,
    /// Bytes of a part of a file that comes in parts; one that is no larger comes whole.
    pub(crate) part_bytes: u64,
    /// How fast bytes must come.
    pub(crate) pace: PaceBounds,
}

/// What uploads need.
pub(crate) struct Uploads {
    models: Models,
    staging: Staging,
    bounds: Bounds,
    signer: Option<Arc<Signer>>,
    tally: Tally,
    /// Threads that uploads may hold while their bytes are written.
    writers: Arc<Semaphore>,
}

/// What was published, counted since the node started.
#[derive(Debug, Default)]
pub struct Tally {
    /// Commits.
    pub commits: AtomicU64,
    /// Bytes of large files that were taken in.
    pub bytes: AtomicU64,
    /// Requests without a good token or address.
    pub refused: AtomicU64,
    /// Uploads that there was no room for.
    pub full: AtomicU64,
    /// Parts of files that were taken in.
    pub parts: AtomicU64,
    /// Uploads that were cut because they were too slow.
    pub slow: AtomicU64,
}

/// Where a file is that is named by its hash.
pub(crate) enum Known {
    /// In the store, and there.
    Stored(CatalogFile, PathBuf),
    /// Among the uploads: the files that make it, all but the last of one size.
    Uploaded(Vec<PathBuf>),
}

impl Uploads {
    pub(crate) fn new(
        models: Models,
        staging: Staging,
        bounds: Bounds,
        signer: Option<Arc<Signer>>,
    ) -> Self {
        Self {
            models,
            staging,
            bounds,
            signer,
            tally: Tally::default(),
            writers: Arc::new(Semaphore::new(receiving::WRITERS_MAX)),
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

    /// The same key, for who outlives this.
    pub(crate) fn shared_signer(&self) -> Option<Arc<Signer>> {
        self.signer.clone()
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Largest file that is taken, in bytes.
    pub(crate) fn size_max(&self) -> u64 {
        self.bounds.size_max
    }

    /// How fast bytes must come.
    pub(crate) fn pace(&self) -> Pace {
        Pace::new(self.bounds.pace)
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
        (self.staging.place(&Place::Whole(expected)), held)
    }

    /// The places of the parts of a file, in order, and that of the word that all are here.
    pub(crate) fn places(&self, oid: &Sha256, plan: &Plan, sight: &Sight) -> (Vec<String>, String) {
        let expected = Expected {
            holder: sight.holder(),
            oid: *oid,
            size: plan.size(),
        };
        let part = |number| Place::Part(expected.clone(), *plan, number);
        let parts = (1..=plan.count()).map(|number| self.staging.place(&part(number)));
        let parts = parts.collect();
        let complete = Place::Complete(expected, *plan);
        (parts, self.staging.place(&complete))
    }

    /// Whether a file could come in now, in parts or whole: told before its sender begins.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn judge_room(
        &self,
        (oid, size): (&Sha256, u64),
        plan: Option<&Plan>,
        sight: &Sight,
    ) -> Result<(), String> {
        let (holder, oid) = (sight.holder(), *oid);
        let held = match plan {
            None => self.staging.held(&holder, &oid),
            Some(plan) => {
                let expected = Expected { holder, oid, size };
                self.staging.held_in_parts(&expected, plan)
            }
        };
        let judged = self.staging.judge_room(size, held.min(size));
        let judged = judged.map_err(|error| error.to_string());
        let judged = judged.and_then(|()| {
            let room = self.store().judge_room(size);
            room.map_err(|error| error.to_string())
        });
        if judged.is_err() {
            self.tally.full.fetch_add(1, Ordering::Relaxed);
        }
        judged
    }

    /// How much lies here that is not published.
    pub(crate) fn staged(&self) -> Staged {
        self.staging.staged()
    }

    /// Removes what nobody has published or gone on with for so long, at most a day; bytes that
    /// came free. Blocks.
    pub(crate) fn sweep(&self, kept: Duration) -> u64 {
        self.staging.sweep(kept.min(KEPT))
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
}
