//! What the control plane does with the store of models: `/v1/models`.
//!
//! Reading needs what every page of the control plane needs. Changing is for the node's owner on
//! this machine: root, or the user that the node runs as, which the kernel tells of a loopback
//! connection. Invariant: a request with an unknown key or a bad name changes nothing. Whatever
//! takes longer than a moment is a task with a number. Not promised: that two changes of one tag
//! keep the order in which they were sent.

pub(crate) mod metrics;
pub mod wire;

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use towline_http::Models;
use towline_store::{
    CatalogRepo, CatalogRevision, DirectorySource, PublishOptions, RepoName, Store, StoreError,
    TagName,
};

use crate::pull::{Arriving, Place, Wanted};
use crate::tasks::{Doing, Tasks};
use metrics::PullTally;
use wire::{Fault, Gc, Pull, Push, Target, Verify};

/// The store with the tasks that work on it.
pub(crate) struct ModelDesk {
    models: Models,
    arriving: Arc<Arriving>,
    tasks: Arc<Tasks>,
    pulls: Arc<PullTally>,
}

/// An answer: a status code and JSON.
pub(crate) type Answer = (u16, Value);

impl ModelDesk {
    pub(crate) fn new(models: Models, arriving: Arc<Arriving>) -> Self {
        Self {
            models,
            arriving,
            tasks: Arc::default(),
            pulls: Arc::default(),
        }
    }

    /// What goes to `/metrics`.
    pub(crate) fn metrics(&self) -> Vec<metrics::Line> {
        metrics::lines(self.store(), &self.pulls)
    }

    /// Lets the store write down what was used.
    pub(crate) fn note_uses(&self) {
        if let Err(error) = self.store().note_uses() {
            tracing::warn!(%error, "when models were used last is not written down");
        }
    }

    pub(crate) fn stop(&self) {
        self.tasks.stop_all();
    }

    /// Answers `GET /v1/models{below}`.
    pub(crate) fn read(&self, below: &str) -> Answer {
        if let Some(number) = below.strip_prefix("/tasks/") {
            let task = number
                .parse()
                .ok()
                .and_then(|number| self.tasks.get(number));
            return match task {
                Some(task) => json(&task),
                None => refuse(404, "usage", "there is no task of that number (any more)"),
            };
        }
        match below {
            "" | "/" => json(&self.list()),
            "/usage" => self.usage(),
            _ => self.show(below.trim_start_matches('/')),
        }
    }

    /// Answers `POST /v1/models/{verb}` and `DELETE /v1/models/tasks/N` (verb `stop`).
    pub(crate) fn change(&self, verb: &str, body: &[u8]) -> Answer {
        let done = match verb {
            "push" => parse(body).and_then(|push| self.push(push)),
            "pull" => parse(body).and_then(|pull| self.pull(&pull)),
            "verify" => parse(body).and_then(|verify| self.verify(verify)),
            "gc" => parse(body).and_then(|gc| self.gc(gc)),
            "tag" => parse(body).and_then(|target| self.tag(&target)),
            "untag" => parse(body).and_then(|target| self.untag(&target)),
            "pin" => parse(body).and_then(|target| self.pin(&target, true)),
            "unpin" => parse(body).and_then(|target| self.pin(&target, false)),
            "remove" => parse(body).and_then(|target| self.remove(&target)),
            _ => match verb.strip_prefix("stop/").map(str::parse) {
                Some(Ok(number)) if self.tasks.stop(number) => Ok(json(&())),
                _ => Ok(refuse(404, "usage", "there is no such request")),
            },
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    fn store(&self) -> &Store {
        self.models.store()
    }

    fn list(&self) -> wire::Models {
        let catalog = self.models.catalog();
        let models = catalog.repos.iter();
        wire::Models {
            models: models
                .map(|(name, repo)| self.model(name, repo, false))
                .collect(),
        }
    }

    fn show(&self, name: &str) -> Answer {
        let catalog = self.models.catalog();
        let found = name.parse::<RepoName>().ok();
        let found = found.and_then(|name| Some((name.clone(), catalog.repo(&name)?)));
        match found {
            Some((name, repo)) => json(&self.model(&name, repo, true)),
            None => refuse(
                404,
                "usage",
                "there is no model of that name; see towline models",
            ),
        }
    }

    fn model(&self, name: &RepoName, repo: &CatalogRepo, with_files: bool) -> wire::Model {
        let mut revisions: Vec<wire::Revision> = repo
            .revisions
            .values()
            .map(|revision| self.revision(repo, revision, with_files))
            .collect();
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.created));
        wire::Model {
            name: name.to_string(),
            revisions,
        }
    }

    fn revision(
        &self,
        repo: &CatalogRepo,
        revision: &CatalogRevision,
        with_files: bool,
    ) -> wire::Revision {
        let tags = repo.tags.iter().filter(|(_, tag)| tag.rev == revision.rev);
        let contents = revision.files.iter().filter(|_| with_files);
        wire::Revision {
            revision: revision.rev.to_string(),
            tags: tags.map(|(name, _)| name.to_string()).collect(),
            created: revision.created,
            message: revision.message.clone(),
            origin: revision.origin.clone(),
            bytes: revision.bytes,
            files: revision.files.len() as u64,
            pinned: self.store().pinned_since(&revision.repo, &revision.rev),
            leases: self.store().leases(&revision.repo, &revision.rev),
            signed_by: revision.signed_by.iter().map(ToString::to_string).collect(),
            contents: contents
                .map(|file| wire::File {
                    path: file.path.to_string(),
                    size: file.size,
                    etag: file.etag(),
                })
                .collect(),
        }
    }

    fn push(&self, push: Push) -> Result<Answer, Answer> {
        let (name, tag) = (repo(&push.name)?, tag(&push.tag)?);
        let source = DirectorySource::open(&push.directory).map_err(|error| failed(&error))?;
        let store = self.store().clone();
        let what = format!("push {name}:{tag}");
        let work = move |doing: &Doing<'_>| {
            let options = PublishOptions {
                message: &push.message,
                ..Default::default()
            };
            let published = store
                .publish(&name, &tag, &source, &options, doing.progress)
                .map_err(|error| fault(&error))?;
            Ok(value(&describe(&name, &tag, &published)))
        };
        self.begin(what, work)
    }

    fn pull(&self, pull: &Pull) -> Result<Answer, Answer> {
        let wanted = Wanted::of(pull).map_err(|error| (400, value(&error.fault())))?;
        let place = Place {
            models: self.models.clone(),
            arriving: self.arriving.clone(),
            tally: self.pulls.clone(),
        };
        let (name, tag) = (wanted.name.clone(), wanted.tag.clone());
        self.begin(format!("pull {name}:{tag}"), move |doing| {
            let published = wanted.run(&place, doing).map_err(|error| error.fault())?;
            Ok(value(&describe(&name, &tag, &published)))
        })
    }

    fn verify(&self, verify: Verify) -> Result<Answer, Answer> {
        let name = verify.name.as_deref().map(repo).transpose()?;
        let rev = match (&name, verify.revision.as_deref()) {
            (Some(name), Some(revision)) => Some(self.resolve(name, Some(revision))?),
            _ => None,
        };
        let store = self.store().clone();
        let what = match &name {
            Some(name) => format!("verify {name}"),
            None => "verify all models".to_owned(),
        };
        self.begin(what, move |doing| {
            let options = towline_store::VerifyOptions {
                repo: name.as_ref(),
                rev: rev.as_ref(),
                look_only: verify.look_only,
                healer: Some(&crate::heal::Origins),
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
        let collected = self.store().gc(&options);
        let collected = collected.map_err(|error| failed(&error))?;
        let names = |list: &[(RepoName, towline_store::RevisionId)]| {
            list.iter()
                .map(|(name, rev)| format!("{name}@{rev}"))
                .collect()
        };
        Ok(json(&wire::Collected {
            dry_run: gc.dry_run,
            revisions: names(&collected.revisions),
            files: collected.files,
            bytes: collected.bytes,
            revisions_marked: names(&collected.revisions_marked),
            files_marked: collected.files_marked,
            bytes_marked: collected.bytes_marked,
        }))
    }

    fn usage(&self) -> Answer {
        match self.store().usage() {
            Ok(usage) => json(&wire::Usage {
                stored: usage.stored_bytes,
                referred: usage.referred_bytes,
                unused: usage.unused_bytes,
                reserved: usage.reserved_bytes,
                quota: usage.quota,
                free: usage.free_bytes,
                revisions: usage
                    .revisions
                    .iter()
                    .map(|((name, rev), usage)| wire::RevisionUsage {
                        name: name.to_string(),
                        revision: rev.to_string(),
                        bytes: usage.bytes,
                        unique: usage.unique_bytes,
                        shared: usage.shared_bytes,
                    })
                    .collect(),
            }),
            Err(error) => failed(&error),
        }
    }

    fn begin(
        &self,
        what: String,
        work: impl FnOnce(&Doing<'_>) -> Result<Value, Fault> + Send + 'static,
    ) -> Result<Answer, Answer> {
        let number = self.tasks.begin(what, work).ok_or_else(|| {
            refuse(
                503,
                "busy",
                "eight tasks run already; wait until one has ended",
            )
        })?;
        match self.tasks.get(number) {
            Some(task) => Ok((202, value(&task))),
            None => Err(refuse(503, "busy", "the task is gone already")),
        }
    }

    fn tag(&self, target: &Target) -> Result<Answer, Answer> {
        let name = repo(&target.name)?;
        let tag = tag(required(target.tag.as_deref(), "tag")?)?;
        let rev = self.resolve(&name, target.revision.as_deref())?;
        done(self.store().tag(&name, &tag, &rev, None))
    }

    fn untag(&self, target: &Target) -> Result<Answer, Answer> {
        let name = repo(&target.name)?;
        let tag = tag(required(target.tag.as_deref(), "tag")?)?;
        done(self.store().untag(&name, &tag))
    }

    fn pin(&self, target: &Target, pins: bool) -> Result<Answer, Answer> {
        let name = repo(&target.name)?;
        let rev = self.resolve(&name, target.revision.as_deref())?;
        done(if pins {
            self.store().pin(&name, &rev)
        } else {
            self.store().unpin(&name, &rev)
        })
    }

    fn remove(&self, target: &Target) -> Result<Answer, Answer> {
        let name = repo(&target.name)?;
        let wanted = required(target.revision.as_deref(), "revision")?;
        let rev = self.resolve(&name, Some(wanted))?;
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

fn verified(report: &towline_store::VerifyReport) -> wire::Verified {
    let damages = report.damages.iter().map(|damage| wire::Damage {
        kind: kind(damage.kind).to_owned(),
        path: damage.path.clone(),
        detail: damage.detail.clone(),
        revisions: damage
            .revisions
            .iter()
            .map(|(name, rev)| format!("{name}@{rev}"))
            .collect(),
        remedy: match damage.remedy {
            towline_store::Remedy::Healed => "healed",
            towline_store::Remedy::Quarantined => "quarantined",
            towline_store::Remedy::Left => "left",
        }
        .to_owned(),
    });
    wire::Verified {
        revisions: report.revisions,
        files: report.files,
        bytes: report.bytes,
        damages: damages.collect(),
    }
}

fn kind(kind: towline_store::DamageKind) -> &'static str {
    use towline_store::DamageKind;
    match kind {
        DamageKind::Data => "data",
        DamageKind::Length => "length",
        DamageKind::Missing => "missing",
        DamageKind::Table => "table",
        DamageKind::Manifest => "manifest",
        DamageKind::Index => "index",
        DamageKind::Ledger => "ledger",
        DamageKind::Shown => "shown",
    }
}

fn describe(
    name: &RepoName,
    tag: &TagName,
    published: &towline_store::Published,
) -> wire::Published {
    let stored = &published.stored;
    wire::Published {
        name: name.to_string(),
        tag: tag.to_string(),
        revision: published.rev.to_string(),
        files: published.files,
        bytes: published.bytes,
        bytes_written: stored.written,
        bytes_linked: stored.linked,
        bytes_cloned: stored.cloned,
        bytes_known_written: stored.known_written,
        bytes_zero: stored.zero,
        unchanged: published.unchanged,
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|error| {
        refuse(
            400,
            "usage",
            &format!("the request cannot be read: {error}"),
        )
    })
}

fn repo(text: &str) -> Result<RepoName, Answer> {
    text.parse()
        .map_err(|fault: towline_store::NameFault| refuse(400, "usage", &fault.to_string()))
}

fn tag(text: &str) -> Result<TagName, Answer> {
    text.parse()
        .map_err(|fault: towline_store::NameFault| refuse(400, "usage", &fault.to_string()))
}

fn required<'a>(value: Option<&'a str>, key: &str) -> Result<&'a str, Answer> {
    value.ok_or_else(|| refuse(400, "usage", &format!("the request lacks '{key}'")))
}

fn done<T>(result: towline_store::Result<T>) -> Result<Answer, Answer> {
    match result {
        Ok(_) => Ok(json(&())),
        Err(error) => Err(failed(&error)),
    }
}

fn value(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

fn json(answer: &impl Serialize) -> Answer {
    (200, value(answer))
}

fn refuse(code: u16, culprit: &str, error: &str) -> Answer {
    (code, value(&Fault::new(culprit, error)))
}

/// What a failure of the store is called.
pub(crate) fn fault(error: &StoreError) -> Fault {
    let culprit = match error {
        StoreError::Client(_) => "usage",
        StoreError::Peer(_) => "peer",
        StoreError::Storage(_) => "storage",
        StoreError::Busy(_) => "busy",
    };
    Fault::new(culprit, error.to_string())
}

fn failed(error: &StoreError) -> Answer {
    let code = match error {
        StoreError::Client(_) => 400,
        StoreError::Peer(_) => 502,
        StoreError::Storage(_) => 500,
        StoreError::Busy(_) => 503,
    };
    (code, value(&fault(error)))
}
