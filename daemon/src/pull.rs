//! Bringing models from elsewhere: hubs, web servers, object stores, folders.
//!
//! A [`Remote`] lists files with sizes and whatever hashes it promises, and gives ranges of their
//! bytes. The store's [`Arrival`] keeps what has come, over restarts too, so a pull that was
//! killed goes on where it stood. Invariant: a revision is published only when every promise of its
//! source was checked; a source that changes under the pull ends it. Not promised: hashes where
//! the source has none (a plain web server); then only lengths and entity tags are compared.

mod arriving;
mod fetch;
mod hub;
mod objects;
mod source;
mod web;
mod window;

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use towline_config::Secret;
use towline_http::Models;
use towline_store::{
    Arrival, ArrivalFile, ArrivalPlan, BusyFault, DirectorySource, PublishOptions, Published,
    RepoName, RevisionId, StoreError, TagName,
};

use crate::models::metrics::PullTally;
use crate::tasks::Doing;
use crate::uploads::Uploads;
use towline_api::{Fault, Pull};

pub(crate) use arriving::Arriving;
use arriving::Shown;
pub(crate) use source::Source;

/// How often a pull asks whether another one of the same files has ended.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Where pulled models go.
pub(crate) struct Place {
    pub(crate) models: Models,
    pub(crate) arriving: Arc<Arriving>,
    pub(crate) tally: Arc<PullTally>,
    /// Whose key signs what was checked against its source.
    pub(crate) uploads: Arc<Uploads>,
}

/// What a remote has.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The id of the revision there, if it has one.
    pub(crate) rev: Option<RevisionId>,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub(crate) created: Option<u64>,
    /// Where it can be had again: a URL below which its files lie, where there is one.
    pub(crate) origin: String,
    /// Its files.
    pub(crate) files: Vec<ArrivalFile>,
}

/// A place that files can be had from.
pub(crate) trait Remote: Send + Sync {
    /// What it has.
    fn list(&mut self) -> Result<Listing, PullError>;

    /// Bytes of the file of that number in the listing; the reader may end early.
    fn open(&self, file: usize, range: &Range<u64>) -> Result<Box<dyn Read + Send>, PullError>;
}

/// Bytes of a file below a URL, without a token.
pub(crate) fn read_below(
    base: &str,
    path: &str,
    range: &Range<u64>,
) -> Result<Box<dyn Read + Send>, PullError> {
    let url = format!("{base}{}", web::encode_path(path));
    web::ask_range(&web::Agent::new(None), &url, range, None)
}

/// Whether an object store still has an object of that length below a prefix.
pub(crate) fn has_object(url: &str, path: &str, size: u64) -> Result<(), PullError> {
    let listing = objects::Objects::new(url)?.list()?;
    let is_it = |file: &ArrivalFile| file.path.as_str() == path && file.size == size;
    if listing.files.iter().any(is_it) {
        return Ok(());
    }
    Err(PullError::Refused(format!("{url}: {path} is gone")))
}

/// Why a pull fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    /// The request makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The source refuses, or lacks what was asked for; trying again does not help.
    #[error("{0}")]
    Refused(String),
    /// The source cannot be reached, or broke off; it may work later.
    #[error("{0}")]
    Network(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody stopped it.
    #[error("stopped; what has arrived is kept, and the same pull goes on from there")]
    Stopped,
}

impl PullError {
    /// By whose fault.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => crate::models::fault(error),
            // A source that says no says it again.
            Self::Usage(_) | Self::Refused(_) => Fault::new("usage", self.to_string()),
            Self::Network(_) => Fault::new("peer", self.to_string()),
            Self::Stopped => Fault::new("busy", self.to_string()),
        }
    }
}

/// What is to be pulled, checked.
pub(crate) struct Wanted {
    source: Source,
    pub(crate) name: RepoName,
    pub(crate) tag: TagName,
    token: Option<Secret>,
}

impl Wanted {
    /// Reads a request.
    pub(crate) fn of(request: &Pull) -> Result<Self, PullError> {
        let source = Source::parse(&request.source, request.endpoint.as_deref())?;
        let usage = |fault: towline_store::NameFault| PullError::Usage(fault.to_string());
        let (name, tag) = (request.name.as_deref(), request.tag.as_deref());
        let name = match name.or(source.name()) {
            Some(name) => name.parse().map_err(usage)?,
            None => {
                let why = "name the model that it becomes: towline pull SOURCE ORG/MODEL[:TAG]";
                return Err(PullError::Usage(why.to_owned()));
            }
        };
        let tag = match (tag, source.tag()) {
            (Some(tag), _) => tag.parse().map_err(usage)?,
            // A commit or a name that is no tag here: main.
            (None, Some(rev)) => rev.parse().unwrap_or_else(|_| TagName::main()),
            (None, None) => TagName::main(),
        };
        Ok(Self {
            source,
            name,
            tag,
            token: request.token.clone().map(|token| Secret::new(token.0)),
        })
    }

    /// Pulls it; what came of it.
    pub(crate) fn run(self, place: &Place, doing: &Doing<'_>) -> Result<Published, PullError> {
        let _span = tracing::info_span!("pull", node = %self.name).entered();
        place.tally.begun.fetch_add(1, Ordering::Relaxed);
        let outcome = self.bring(place, doing);
        if outcome.is_err() {
            place.tally.failed.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Where bytes of this source are counted.
    fn counter<'a>(&self, tally: &'a PullTally) -> &'a AtomicU64 {
        match self.source {
            Source::Hub { .. } => &tally.hub,
            Source::Web(_) => &tally.web,
            Source::Objects(_) => &tally.objects,
            Source::Directory(_) => &tally.folder,
        }
    }

    fn bring(self, place: &Place, doing: &Doing<'_>) -> Result<Published, PullError> {
        let store = place.models.store();
        let mut remote: Box<dyn Remote> = match &self.source {
            Source::Directory(path) => return self.publish(place, path, doing),
            Source::Hub {
                endpoint,
                repo,
                rev,
            } => Box::new(hub::Hub::new(
                endpoint,
                repo,
                rev.as_deref(),
                self.token.as_ref().map(Secret::expose),
            )),
            Source::Web(url) => {
                Box::new(web::Web::new(url, self.token.as_ref().map(Secret::expose))?)
            }
            Source::Objects(url) => Box::new(objects::Objects::new(url)?),
        };
        let listing = remote.list()?;
        if listing.files.is_empty() {
            let why = format!("{} has no files", listing.origin);
            return Err(PullError::Refused(why));
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
        self.fetch(place, plan, &Arc::from(remote), doing)
    }

    fn fetch(
        &self,
        place: &Place,
        plan: ArrivalPlan,
        remote: &Arc<dyn Remote>,
        doing: &Doing<'_>,
    ) -> Result<Published, PullError> {
        // A file that breaks its promise is missing again; once more may be luck, more is not.
        let mut attempts = 2;
        loop {
            let arrival = match place.models.store().begin(plan.clone()) {
                // Under another tag or from another hub: what it brings is here afterwards.
                Err(StoreError::Busy(BusyFault::Writing)) => {
                    if doing.is_stopped() {
                        return Err(PullError::Stopped);
                    }
                    std::thread::sleep(ASK_AGAIN);
                    continue;
                }
                begun => begun?,
            };
            watch(&arrival, doing);
            let shown = Shown::new(&place.arriving, &place.models, &arrival, &self.tag)?;
            let counts = (self.counter(&place.tally), &place.tally.retries);
            let fetched = fetch::all(&arrival, remote.as_ref(), counts, doing);
            attempts -= 1;
            let finished = fetched.and_then(|()| {
                let signer = place.uploads.signer();
                Ok(arrival.finish(Some(&self.tag), signer)?)
            });
            // Nobody else may hold the arrival when it begins again.
            doing.freeze();
            match finished {
                Ok(published) => {
                    shown.published();
                    return Ok(published);
                }
                Err(PullError::Store(StoreError::Peer(fault))) if attempts > 0 => {
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
        doing: &Doing<'_>,
    ) -> Result<Published, PullError> {
        let source = DirectorySource::open(path)?;
        let origin = path.display().to_string();
        let options = PublishOptions {
            message: "pull",
            origin: Some(&origin),
            signer: place.uploads.signer(),
            ..Default::default()
        };
        let store = place.models.store();
        let published = store.publish(&self.name, &self.tag, &source, &options, doing.progress)?;
        let counter = self.counter(&place.tally);
        counter.fetch_add(published.bytes, Ordering::Relaxed);
        Ok(published)
    }
}

/// Lets the task show how far an arrival is.
fn watch(arrival: &Arrival, doing: &Doing<'_>) {
    let arrival = arrival.clone();
    doing.show(move || {
        let progress = arrival.progress();
        towline_store::ProgressView {
            bytes_total: progress.bytes_total,
            bytes_done: progress.bytes_present,
            files_total: progress.files_total,
            files_done: progress.files_present,
        }
    });
}
