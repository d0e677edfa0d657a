//! Bringing models from elsewhere: hubs, web servers, object stores, folders.
//!
//! A [`Source`](crate::Source) lists files with sizes and whatever hashes it promises, and gives
//! ranges of their bytes. The store's [`Arrival`] keeps what has come, over restarts too, so a pull
//! that was killed goes on where it stood. Invariant: a revision is published only when every
//! promise of its source was checked; a source that changes under the pull ends it. Not promised:
//! hashes where the source has none (a plain web server); then only lengths and entity tags are
//! compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use towline_api::Pull;
use towline_config::Secret;
use towline_http::Models;
use towline_store::{
    Arrival, ArrivalPlan, BusyFault, DirectorySource, PublishOptions, Published, RepoName, Signer,
    StoreError, TagName,
};

use crate::arriving::{Arriving, Shown};
use crate::error::TransferError;
use crate::fetch;
use crate::origin::Origin;
use crate::source::Source;
use crate::sources;
use crate::tally::Tally;
use crate::watch::Watch;

/// How often a pull asks whether another one of the same files has ended.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Where pulled models go.
pub struct Place {
    /// The store, and what of it is shown.
    pub models: Models,
    /// Readers of what is not here yet.
    pub arriving: Arc<Arriving>,
    /// What is counted.
    pub tally: Arc<Tally>,
    /// Whose key signs what was checked against its source.
    pub signer: Option<Arc<Signer>>,
}

/// What is to be pulled, checked.
pub struct Wanted {
    origin: Origin,
    name: RepoName,
    tag: TagName,
    token: Option<Secret>,
}

impl Wanted {
    /// Reads a request.
    ///
    /// # Errors
    /// [`TransferError::Usage`]: what is wrong with it.
    pub fn of(request: &Pull) -> Result<Self, TransferError> {
        let origin = Origin::parse(&request.source, request.endpoint.as_deref())?;
        let usage = |fault: towline_store::NameFault| TransferError::Usage(fault.to_string());
        let (name, tag) = (request.name.as_deref(), request.tag.as_deref());
        let name = match name.or(origin.name()) {
            Some(name) => name.parse().map_err(usage)?,
            None => {
                let why = "name the model that it becomes: towline pull SOURCE ORG/MODEL[:TAG]";
                return Err(TransferError::Usage(why.to_owned()));
            }
        };
        let tag = match (tag, origin.tag()) {
            (Some(tag), _) => tag.parse().map_err(usage)?,
            // A commit or a name that is no tag here: main.
            (None, Some(rev)) => rev.parse().unwrap_or_else(|_| TagName::main()),
            (None, None) => TagName::main(),
        };
        Ok(Self {
            origin,
            name,
            tag,
            token: request.token.clone().map(|token| Secret::new(token.0)),
        })
    }

    /// The model that it becomes.
    #[must_use]
    pub fn name(&self) -> &RepoName {
        &self.name
    }

    /// The tag that will name it.
    #[must_use]
    pub fn tag(&self) -> &TagName {
        &self.tag
    }

    /// Pulls it; what came of it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// Those of the source and of the store, or that it was stopped.
    pub fn run(self, place: &Place, watch: &dyn Watch) -> Result<Published, TransferError> {
        let _span = tracing::info_span!("pull", node = %self.name).entered();
        place.tally.begun.fetch_add(1, Ordering::Relaxed);
        let outcome = self.bring(place, watch);
        if outcome.is_err() {
            place.tally.failed.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Where bytes of this origin are counted.
    fn counter<'a>(&self, tally: &'a Tally) -> &'a AtomicU64 {
        tally.fetched(self.origin.kind())
    }

    fn bring(self, place: &Place, watch: &dyn Watch) -> Result<Published, TransferError> {
        let store = place.models.store();
        if let Origin::Folder(path) = &self.origin {
            // The store reads it itself, and clones where it can.
            return self.publish(place, path, watch);
        }
        let token = self.token.as_ref().map(Secret::expose);
        let mut source = sources::open(&self.origin, token)?;
        let listing = source.list()?;
        if listing.files.is_empty() {
            let why = format!("{} has no files", listing.origin);
            return Err(TransferError::Refused(why));
        }
        let catalog = store.catalog();
        let known = listing
            .rev
            .and_then(|rev| catalog.repo(&self.name)?.revisions.get(&rev));
        let plan = ArrivalPlan {
            repo: self.name.clone(),
            rev: listing.rev,
            parent: None,
            created: known.map(|known| known.created).or(listing.created),
            message: String::new(),
            origin: listing.origin,
            files: listing.files,
        };
        self.fetch(place, plan, source.as_ref(), watch)
    }

    fn fetch(
        &self,
        place: &Place,
        plan: ArrivalPlan,
        source: &dyn Source,
        watch: &dyn Watch,
    ) -> Result<Published, TransferError> {
        // A file that breaks its promise is missing again; once more may be luck, more is not.
        let mut attempts = 2;
        loop {
            let arrival = match place.models.store().begin(plan.clone()) {
                // Under another tag or from another hub: what it brings is here afterwards.
                Err(StoreError::Busy(BusyFault::Writing)) => {
                    if watch.is_stopped() {
                        return Err(TransferError::Stopped);
                    }
                    std::thread::sleep(ASK_AGAIN);
                    continue;
                }
                begun => begun?,
            };
            show(&arrival, watch);
            let shown = Shown::new(&place.arriving, &place.models, &arrival, &self.tag)?;
            let counts = (self.counter(&place.tally), &place.tally.retries);
            let fetched = fetch::all(&arrival, source, counts, watch);
            attempts -= 1;
            let finished = fetched.and_then(|()| {
                let signer = place.signer.as_deref();
                Ok(arrival.finish(Some(&self.tag), signer)?)
            });
            // Nobody else may hold the arrival when it begins again.
            watch.freeze();
            match finished {
                Ok(published) => {
                    shown.published();
                    return Ok(published);
                }
                Err(TransferError::Store(StoreError::Peer(fault))) if attempts > 0 => {
                    tracing::warn!(error = %fault, "a file is fetched once more");
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn publish(
        &self,
        place: &Place,
        path: &std::path::Path,
        watch: &dyn Watch,
    ) -> Result<Published, TransferError> {
        let source = DirectorySource::open(path)?;
        let origin = path.display().to_string();
        let options = PublishOptions {
            message: "pull",
            origin: Some(&origin),
            signer: place.signer.as_deref(),
            ..Default::default()
        };
        let store = place.models.store();
        let published =
            store.publish(&self.name, &self.tag, &source, &options, watch.progress())?;
        let counter = self.counter(&place.tally);
        counter.fetch_add(published.bytes, Ordering::Relaxed);
        Ok(published)
    }
}

/// Lets the task show how far an arrival is.
fn show(arrival: &Arrival, watch: &dyn Watch) {
    let arrival = arrival.clone();
    watch.show(Box::new(move || {
        let progress = arrival.progress();
        towline_store::ProgressView {
            bytes_total: progress.bytes_total,
            bytes_done: progress.bytes_present,
            files_total: progress.files_total,
            files_done: progress.files_present,
        }
    }));
}
