//! Branches and tags: made, deleted, and a branch's history made one commit.
//!
//! Invariant: a branch moves with commits and a tag does not; what is one is never made or deleted
//! as the other, and `main` stays. Not promised: messages of tags.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::json;
use towline_store::{CatalogRevision, Parent, Progress, PublishOptions, RepoName, TagName};

use super::UploadDesk;
use super::answer::{Answer, Outcome, bad, failed, good, missing};
use super::asked::{Asked, object, text};

/// What is said of a revision that is not here.
fn no_revision() -> Answer {
    missing("RevisionNotFound", "there is no such branch, tag or commit")
}

/// A name without what git puts before those of branches and tags.
pub(super) fn short(rev: &str) -> &str {
    let rev = rev.strip_prefix("refs/heads/").unwrap_or(rev);
    rev.strip_prefix("refs/tags/").unwrap_or(rev)
}

pub(super) fn tag(text: &str) -> Result<TagName, Answer> {
    text.parse()
        .map_err(|fault: towline_store::NameFault| bad(StatusCode::BAD_REQUEST, fault.to_string()))
}

impl UploadDesk {
    /// What a branch, tag or commit names.
    pub(super) fn head(
        &self,
        asked: &Asked,
        repo: &RepoName,
        rev: &str,
    ) -> Option<Arc<CatalogRevision>> {
        let seen = self.uploads.models().seen(asked.sight.clone());
        seen.resolve(repo, short(rev)).cloned()
    }

    /// Whether a name is that of a branch; `None` if nothing has it.
    pub(super) fn is_branch(&self, repo: &RepoName, name: &TagName) -> Option<bool> {
        let catalog = self.uploads.store().catalog();
        let both = [catalog.repo(repo), catalog.refused.get(repo)];
        let mut both = both.into_iter().flatten();
        both.find_map(|repo| repo.tags.get(name).map(|tag| tag.is_branch))
    }

    pub(super) fn make_branch(
        &self,
        asked: &Asked,
        (repo, name): (&RepoName, &str),
        body: &[u8],
    ) -> Outcome {
        let body = object(body, &["startingPoint"])?;
        self.check_here(asked, repo)?;
        let start = text(&body, "startingPoint").unwrap_or("main");
        let revision = self.head(asked, repo, start).ok_or_else(no_revision)?;
        let branch = tag(name)?;
        if self.is_branch(repo, &branch).is_some() {
            return Err(bad(StatusCode::CONFLICT, "Reference already exists"));
        }
        let (store, signer) = (self.uploads.store(), self.uploads.signer());
        let made = store.branch(repo, &branch, &revision.rev, signer);
        made.map_err(|error| failed(&error))?;
        Ok(good(json!({})))
    }

    pub(super) fn make_tag(
        &self,
        asked: &Asked,
        (repo, rev): (&RepoName, &str),
        body: &[u8],
    ) -> Outcome {
        let body = object(body, &["tag", "message"])?;
        self.check_here(asked, repo)?;
        if text(&body, "message").is_some_and(|message| !message.is_empty()) {
            let why = "tags have no message here: leave tag_message out";
            return Err(bad(StatusCode::BAD_REQUEST, why));
        }
        let name = tag(text(&body, "tag").unwrap_or(""))?;
        let revision = self.head(asked, repo, rev).ok_or_else(no_revision)?;
        if self.is_branch(repo, &name).is_some() {
            return Err(bad(StatusCode::CONFLICT, "Tag reference exists already"));
        }
        let (store, signer) = (self.uploads.store(), self.uploads.signer());
        let made = store.tag(repo, &name, &revision.rev, signer);
        made.map_err(|error| failed(&error))?;
        Ok(good(json!({})))
    }

    /// Deletes a branch, or else a tag.
    pub(super) fn delete_ref(
        &self,
        asked: &Asked,
        (repo, name): (&RepoName, &str),
        is_branch: bool,
    ) -> Outcome {
        self.check_here(asked, repo)?;
        let name = tag(short(name))?;
        if name.is_main() {
            let why = "main cannot be deleted: delete the repository, or the files in it";
            return Err(bad(StatusCode::BAD_REQUEST, why));
        }
        if self.is_branch(repo, &name) != Some(is_branch) {
            return Err(no_revision());
        }
        let done = self.uploads.store().untag(repo, &name);
        done.map_err(|error| failed(&error))?;
        Ok(good(json!({})))
    }

    /// Makes a branch one commit with the files that it has now.
    pub(super) fn squash(
        &self,
        asked: &Asked,
        (repo, name): (&RepoName, &str),
        body: &[u8],
    ) -> Outcome {
        let body = object(body, &["message"])?;
        self.check_here(asked, repo)?;
        let branch = tag(short(name))?;
        let head = self.head(asked, repo, branch.as_str());
        let head = head.ok_or_else(no_revision)?;
        if self.is_branch(repo, &branch) != Some(true) {
            let why = "only a branch has a history to squash, and this is a tag";
            return Err(bad(StatusCode::BAD_REQUEST, why));
        }
        let source = self.uploads.source(Some(&head), Vec::new(), &asked.sight);
        let source = source.map_err(|why| bad(StatusCode::BAD_REQUEST, why))?;
        let options = PublishOptions {
            message: text(&body, "message").unwrap_or(""),
            parent: Parent::NothingAfter(head.rev),
            signer: self.uploads.signer(),
            may_be_empty: true,
            ..Default::default()
        };
        let store = self.uploads.store();
        let done = store.publish(repo, &branch, &source, &options, &Progress::default());
        done.map_err(|error| failed(&error))?;
        Ok(good(json!({})))
    }
}
