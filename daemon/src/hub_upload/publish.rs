//! The commit: a branch moves to what its parent was, changed as the lines of the body say.
//!
//! Invariant: nothing is published unless the whole body was read and every file in it is here. Not
//! promised: that a commit that comes twice is told from two commits with the same content.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;
use towline_http::Sight;
use towline_store::{Parent, Progress, PublishOptions, RepoName, Sha256};

use super::answer::{MOVED, Outcome, bad, failed, good, missing};
use super::commit::{self, Commit};
use super::{UploadDesk, tag};
use crate::uploads::Operation;

impl UploadDesk {
    /// Reads and publishes a commit on a thread that may block.
    pub(super) async fn commit(
        self: Arc<Self>,
        sight: Sight,
        (repo, rev): (RepoName, String),
        body: Bytes,
        url: String,
    ) -> Outcome {
        let work = move || {
            let wrong = |why: String| bad(StatusCode::BAD_REQUEST, why);
            let commit = commit::parse(&body).map_err(wrong)?;
            drop(body);
            self.publish(&sight, (&repo, &rev), commit, &url)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome,
            Err(error) => Err(bad(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        }
    }

    /// Publishes a commit. Blocks.
    fn publish(
        &self,
        sight: &Sight,
        (repo, rev): (&RepoName, &str),
        commit: Commit,
        url: &str,
    ) -> Outcome {
        let tag = tag(rev.strip_prefix("refs/heads/").unwrap_or(rev))?;
        let head = self.head(sight, repo, tag.as_str());
        if head.is_none() && tag.as_str() != "main" {
            return Err(missing("RevisionNotFound", "there is no such branch"));
        }
        // A commit that comes again after a lost answer still names the parent of the first.
        let base = match commit.parent {
            Some(parent) => self.head(sight, repo, &parent.to_string()),
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
            "commitUrl": format!("{url}{repo}/commit/{rev}"),
            "hookOutput": "",
        })))
    }
}
