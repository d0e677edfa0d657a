//! The commit: a branch moves to what its parent was, changed as the lines of the body say.
//!
//! Invariant: nothing is published unless the whole body was read and every file in it is here. Not
//! promised: that a commit that comes twice is told from two commits with the same content.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;
use towline_store::{Parent, Progress, PublishOptions, RepoName, Sha256};

use super::UploadDesk;
use super::answer::{MOVED, Outcome, bad, failed, good, missing};
use super::asked::Asked;
use super::commit::{self, Commit};
use super::refs::tag;
use crate::uploads::Operation;

impl UploadDesk {
    /// Reads and publishes a commit. Blocks.
    pub(super) fn commit(
        &self,
        asked: &Asked,
        (repo, rev): (&RepoName, &str),
        body: Bytes,
    ) -> Outcome {
        let wrong = |why: String| bad(StatusCode::BAD_REQUEST, why);
        self.check_here(asked, repo)?;
        let commit = commit::parse(&body).map_err(wrong)?;
        drop(body);
        self.publish(asked, (repo, rev), commit)
    }

    fn publish(&self, asked: &Asked, (repo, rev): (&RepoName, &str), commit: Commit) -> Outcome {
        let sight = &asked.sight;
        let tag = tag(rev.strip_prefix("refs/heads/").unwrap_or(rev))?;
        let head = self.head(asked, repo, tag.as_str());
        if head.is_none() && !tag.is_main() {
            return Err(missing("RevisionNotFound", "there is no such branch"));
        }
        if self.is_branch(repo, &tag) == Some(false) {
            let why = format!(
                "{tag} is a tag, and commits move branches: commit to a branch, or move the tag \
                 with towline models tag"
            );
            return Err(bad(StatusCode::BAD_REQUEST, why));
        }
        // A commit that comes again after a lost answer still names the parent of the first.
        let base = match commit.parent {
            Some(parent) => self.head(asked, repo, &parent.to_string()),
            None => head,
        };
        if commit.parent.is_some() && base.is_none() {
            return Err(bad(StatusCode::PRECONDITION_FAILED, MOVED));
        }
        let parent = base.as_ref().map(|revision| revision.rev);
        let large: Vec<Sha256> = commit
            .operations
            .iter()
            .filter_map(Operation::large)
            .collect();
        let source = self
            .uploads
            .source(base.as_deref(), commit.operations, sight);
        let source = source.map_err(|why| bad(StatusCode::BAD_REQUEST, why))?;
        let options = PublishOptions {
            message: &commit.summary,
            parent: parent.map_or(Parent::Nothing, Parent::Exactly),
            signer: self.uploads.signer(),
            may_be_empty: true,
            ..Default::default()
        };
        let progress = Progress::default();
        let store = self.uploads.store();
        let published = store.publish(repo, &tag, &source, &options, &progress);
        let published = published.map_err(|error| failed(&error))?;
        self.uploads.published(&large, published.bytes, sight);
        let rev = published.rev.to_string();
        Ok(good(json!({
            "success": true,
            "commitOid": rev,
            "commitUrl": format!("{}/commit/{rev}", asked.shown.of(repo)),
            "hookOutput": "",
        })))
    }
}
