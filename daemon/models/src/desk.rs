//! What the control plane does with the store of models: `/v1/models`.
//!
//! Reading needs what every page of the control plane needs, and for private models a token. What
//! takes the node's own files or its time as a whole is for the node's owner on this machine: root,
//! or the user that the node runs as, which the kernel tells of a loopback connection. Publishing
//! and what belongs to it is for tokens that publish, too. Invariant: a request with an unknown key
//! or a bad name changes nothing, and nobody is told of a model that it may not see. Whatever takes
//! longer than a moment is a task with a number. Not promised: that two changes of one tag keep the
//! order in which they were sent.

mod answer;
mod listing;
mod publish;
mod report;

use std::sync::Arc;

use ring::digest;
use serde_json::Value;
use towline_http::{Keyring, Sight};
use towline_store::{DirectorySource, PublicKey, PublishOptions, RepoName, Signer, Store};

use towline_api::{self as api, Fault, Gc, Pull, Push, Target, Verify};
use towline_transfer::{Arriving, Origins, Place, Wanted};

use crate::metrics;
use crate::tasks::{Doing, Tasks};
use crate::uploads::{KEPT, Staged, Uploads};
pub use answer::Answer;
use answer::{
    done, failed, fault, json, parse, refuse, repo, required, tag, transfer_fault, value,
};
use report::{describe, verified};

/// The store with the tasks that work on it.
pub struct ModelDesk {
    uploads: Arc<Uploads>,
    keyring: Arc<Keyring>,
    /// Whose signatures count, and what the operator calls them.
    trusted: Vec<(PublicKey, String)>,
    arriving: Arc<Arriving>,
    tasks: Arc<Tasks>,
    pulls: Arc<towline_transfer::Tally>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What may be seen and published.
    pub sight: Sight,
    /// Whether it is root or the node's own user, on this machine.
    pub is_owner: bool,
}

/// What whoever is not the owner is told.
const OWNER_ONLY: &str = "only root and the user that the node runs as may do that, on the node's \
                          own machine";

impl ModelDesk {
    pub(crate) fn new(
        uploads: Arc<Uploads>,
        keyring: Arc<Keyring>,
        trusted: Vec<(PublicKey, String)>,
        arriving: Arc<Arriving>,
    ) -> Self {
        Self {
            uploads,
            keyring,
            trusted,
            arriving,
            tasks: Arc::default(),
            pulls: Arc::default(),
        }
    }

    /// What goes to `/metrics`.
    pub(crate) fn metrics(&self) -> Vec<metrics::Line> {
        metrics::lines(self.store(), &self.uploads.staged(), &self.pulls)
    }

    /// Lets the store write down what was used.
    pub fn note_uses(&self) {
        if let Err(error) = self.store().note_uses() {
            tracing::warn!(%error, "when models were used last is not written down");
        }
    }

    /// Removes uploads that nobody has published for a day.
    pub fn sweep_uploads(&self) {
        self.uploads.sweep(KEPT);
    }

    /// How much was uploaded and is not published.
    #[must_use]
    pub fn staged(&self) -> Staged {
        self.uploads.staged()
    }

    /// Tells all tasks to stop; what they have done is kept.
    pub fn stop(&self) {
        self.tasks.stop_all();
    }

    /// Who sends this Authorization field, or is the owner; a token that is none of ours is told.
    ///
    /// # Errors
    /// The answer to a token that is not known.
    pub fn caller(&self, sent: Option<&[u8]>, is_owner: bool) -> Result<Caller, Answer> {
        let sight = if is_owner {
            self.keyring.sight_of_owner()
        } else {
            self.keyring.sight(sent)
        };
        if sent.is_some() && !sight.is_known() {
            let why = "the token is none of [[models.tokens]] of the node";
            return Err(refuse(401, "usage", why));
        }
        Ok(Caller { sight, is_owner })
    }

    /// Answers `GET /v1/models{below}`.
    #[must_use]
    pub fn read(&self, below: &str, caller: &Caller) -> Answer {
        if let Some(number) = below.strip_prefix("/tasks/") {
            let task = number
                .parse()
                .ok()
                .and_then(|number| self.tasks.get(number, &caller.sight));
            return match task {
                Some(task) => json(&task),
                None => refuse(404, "usage", "there is no task of that number (any more)"),
            };
        }
        match below {
            "" | "/" => json(&self.list(&caller.sight)),
            "/usage" => self.usage(&caller.sight),
            _ => self.show(below.trim_start_matches('/'), &caller.sight),
        }
    }

    /// Answers `POST /v1/models/{verb}` and `DELETE /v1/models/tasks/N` (verb `stop`).
    #[must_use]
    pub fn change(&self, verb: &str, body: &[u8], caller: &Caller) -> Answer {
        let done = match verb {
            "push" | "pull" | "verify" | "gc" if !caller.is_owner => {
                Err(refuse(403, "usage", OWNER_ONLY))
            }
            "push" => parse(body).and_then(|push| self.push(push)),
            "pull" => parse(body).and_then(|pull| self.pull(&pull)),
            "verify" => parse(body).and_then(|verify| self.verify(verify)),
            "gc" => parse(body).and_then(|gc| self.gc(gc)),
            "missing" => parse(body).and_then(|asked| self.missing(&asked, caller)),
            "publish" => parse(body).and_then(|publish| self.publish(publish, caller)),
            "sign" => parse(body).and_then(|sign| self.sign(&sign, caller)),
            "tag" => parse(body).and_then(|target| self.tag(&target, caller)),
            "untag" => parse(body).and_then(|target| self.untag(&target, caller)),
            "pin" => parse(body).and_then(|target| self.pin(&target, true, caller)),
            "unpin" => parse(body).and_then(|target| self.pin(&target, false, caller)),
            "remove" => parse(body).and_then(|target| self.remove(&target, caller)),
            _ => match verb.strip_prefix("stop/").map(str::parse) {
                Some(Ok(number)) if self.tasks.stop(number, &caller.sight) => Ok(json(&())),
                _ => Ok(refuse(404, "usage", "there is no such request")),
            },
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    /// The name of a model that this caller may change. One that it may not know of is not there.
    fn own(&self, name: &str, caller: &Caller) -> Result<RepoName, Answer> {
        let name = repo(name)?;
        if caller.sight.may_publish(&name) {
            return Ok(name);
        }
        let why = if caller.sight.is_known() {
            "the token may not publish models of that name: see its prefix and rights in \
             [[models.tokens]] on the node"
        } else {
            "only root and the user that the node runs as may change its models, on its own \
             machine; elsewhere a token of [[models.tokens]] is needed: --token, TOWLINE_TOKEN"
        };
        Err(refuse(403, "usage", why))
    }

    fn store(&self) -> &Store {
        self.uploads.store()
    }

    fn push(&self, push: Push) -> Result<Answer, Answer> {
        let (name, tag) = (repo(&push.name)?, tag(&push.tag)?);
        let source = DirectorySource::open(&push.directory).map_err(|error| failed(&error))?;
        let signed = push.signed.as_ref().map(publish::Signed::of).transpose()?;
        let (store, uploads) = (self.store().clone(), self.uploads.clone());
        let what = format!("push {name}:{tag}");
        let about = name.clone();
        let work = move |doing: &Doing<'_>| {
            let signatures = signed.as_ref().map(|signed| signed.signature);
            let options = PublishOptions {
                message: &push.message,
                signatures: signatures.as_slice(),
                ..publish::options(signed.as_ref(), uploads.signer())
            };
            let published = store
                .publish(&name, &tag, &source, &options, doing.progress)
                .map_err(|error| fault(&error))?;
            Ok(value(&describe(&name, &tag, &published)))
        };
        self.begin(what, Some(about), work)
    }

    fn pull(&self, pull: &Pull) -> Result<Answer, Answer> {
        let wanted = Wanted::of(pull).map_err(|error| (400, value(&transfer_fault(&error))))?;
        let place = Place {
            models: self.uploads.models().clone(),
            arriving: self.arriving.clone(),
            tally: self.pulls.clone(),
            signer: self.uploads.shared_signer(),
        };
        let key = self.uploads.signer().map(Signer::public_key);
        let checked = self.store().check_key(key, wanted.name());
        checked.map_err(|error| failed(&error))?;
        let (name, tag) = (wanted.name().clone(), wanted.tag().clone());
        let what = (format!("pull {name}:{tag}"), Some(name.clone()));
        // The same pull at the same time is one transfer, for all who asked.
        let number = self.tasks.begin_once(pull_key(pull), what, move |doing| {
            let published = wanted.run(&place, doing);
            let published = published.map_err(|error| transfer_fault(&error))?;
            Ok(value(&describe(&name, &tag, &published)))
        });
        self.begun(number)
    }

    fn verify(&self, verify: Verify) -> Result<Answer, Answer> {
        let name = verify.name.as_deref().map(repo).transpose()?;
        let rev = match (&name, verify.revision.as_deref()) {
            (Some(name), Some(revision)) => {
                let rev = self.store().resolve_known(name, revision);
                Some(rev.map_err(|error| failed(&error))?)
            }
            _ => None,
        };
        let store = self.store().clone();
        let what = match &name {
            Some(name) => format!("verify {name}"),
            None => "verify all models".to_owned(),
        };
        self.begin(what, name.clone(), move |doing| {
            let options = towline_store::VerifyOptions {
                repo: name.as_ref(),
                rev: rev.as_ref(),
                look_only: verify.look_only,
                healer: Some(&Origins),
            };
            let report = store
                .verify(&options, doing.progress)
                .map_err(|error| fault(&error))?;
            Ok(value(&verified(&report)))
        })
    }

    fn gc(&self, gc: Gc) -> Result<Answer, Answer> {
        let default = towline_store::CollectOptions::default();
        let options = towline_store::CollectOptions {
            dry_run: gc.dry_run,
            grace_seconds: gc.grace.unwrap_or(default.grace_seconds),
        };
        let kept = std::time::Duration::from_secs(options.grace_seconds);
        let uploads = match gc.dry_run {
            true => 0,
            false => self.uploads.sweep(kept),
        };
        let collected = self.store().gc(&options);
        let collected = collected.map_err(|error| failed(&error))?;
        let names = |list: &[(RepoName, towline_store::RevisionId)]| {
            list.iter()
                .map(|(name, rev)| format!("{name}@{rev}"))
                .collect()
        };
        Ok(json(&api::Collected {
            dry_run: gc.dry_run,
            revisions: names(&collected.revisions),
            files: collected.files,
            bytes: collected.bytes,
            revisions_marked: names(&collected.revisions_marked),
            files_marked: collected.files_marked,
            bytes_marked: collected.bytes_marked,
            bytes_uploads: uploads,
        }))
    }

    fn begin(
        &self,
        what: String,
        about: Option<RepoName>,
        work: impl FnOnce(&Doing<'_>) -> Result<Value, Fault> + Send + 'static,
    ) -> Result<Answer, Answer> {
        self.begun(self.tasks.begin((what, about), work))
    }

    fn begun(&self, number: Option<u64>) -> Result<Answer, Answer> {
        let number = number.ok_or_else(|| {
            refuse(
                503,
                "busy",
                "eight tasks run already; wait until one has ended",
            )
        })?;
        match self.tasks.get(number, &self.keyring.sight_of_owner()) {
            Some(task) => Ok((202, value(&task))),
            None => Err(refuse(503, "busy", "the task is gone already")),
        }
    }

    fn tag(&self, target: &Target, caller: &Caller) -> Result<Answer, Answer> {
        let name = self.own(&target.name, caller)?;
        let tag = tag(required(target.tag.as_deref(), "tag")?)?;
        let rev = self.resolve(&name, target.revision.as_deref())?;
        let signer = self.uploads.signer();
        done(self.store().tag(&name, &tag, &rev, signer))
    }

    fn untag(&self, target: &Target, caller: &Caller) -> Result<Answer, Answer> {
        let name = self.own(&target.name, caller)?;
        let tag = tag(required(target.tag.as_deref(), "tag")?)?;
        done(self.store().untag(&name, &tag))
    }

    fn pin(&self, target: &Target, pins: bool, caller: &Caller) -> Result<Answer, Answer> {
        let name = self.own(&target.name, caller)?;
        let rev = self.resolve(&name, target.revision.as_deref())?;
        done(if pins {
            self.store().pin(&name, &rev)
        } else {
            self.store().unpin(&name, &rev)
        })
    }

    fn remove(&self, target: &Target, caller: &Caller) -> Result<Answer, Answer> {
        let name = self.own(&target.name, caller)?;
        let wanted = required(target.revision.as_deref(), "revision")?;
        // What is out of sight, because something of it is lost, must be removable.
        let rev = self.store().resolve_known(&name, wanted);
        let rev = rev.map_err(|error| failed(&error))?;
        done(self.store().remove(&name, &rev))
    }

    fn resolve(
        &self,
        name: &RepoName,
        revision: Option<&str>,
    ) -> Result<towline_store::RevisionId, Answer> {
        let revision = revision.unwrap_or("main");
        let found = self.store().resolve(name, revision);
        found.map_err(|error| failed(&error))
    }
}

/// What tells one pull from another, its source's token included.
fn pull_key(pull: &Pull) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    let parts = [
        Some(pull.source.as_str()),
        pull.endpoint.as_deref(),
        pull.token.as_ref().map(|token| token.0.as_str()),
        pull.name.as_deref(),
        pull.tag.as_deref(),
    ];
    for part in parts {
        let bytes = part.unwrap_or("").as_bytes();
        hash.update(&[u8::from(part.is_some())]);
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    let mut key = [0; 32];
    key.copy_from_slice(hash.finish().as_ref());
    key
}
