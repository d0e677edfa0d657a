//! Repositories: created, deleted, moved, and their settings.
//!
//! Invariant: what is to be private is private by the node's own rules already, or the call is
//! refused with the line that makes it so; a repository does not leave a private prefix by being
//! moved. Not promised: settings that the Hub keeps and this node has no use for.

use hyper::StatusCode;
use serde_json::{Map, Value, json};
use towline_store::{RepoKind, RepoName};

use super::UploadDesk;
use super::answer::{Outcome, bad, failed, good, missing};
use super::asked::{Asked, object, text};

/// What `create_repo` may send. `sdk` tells what a space is made with, which its card says too.
const CREATE_KEYS: [&str; 6] = [
    "name",
    "organization",
    "type",
    "private",
    "visibility",
    "sdk",
];

impl UploadDesk {
    pub(super) fn create(&self, asked: &Asked, body: &[u8]) -> Outcome {
        let body = object(body, &CREATE_KEYS)?;
        let repo = self.named(asked, &body)?;
        self.check_visibility(asked, &repo, &body)?;
        let answer = json!({
            "url": asked.shown.of(&repo),
            "name": repo.bare(),
            "id": repo.bare(),
        });
        if self.is_here(asked, &repo) {
            let mut answer = good(answer);
            answer.status = StatusCode::CONFLICT;
            let why = format!("You already created this {} repo", repo.kind().word());
            if let Some(object) = answer.body.as_object_mut() {
                object.insert("error".into(), why.into());
            }
            return Ok(answer);
        }
        let made = self.uploads.store().create(&repo, self.uploads.signer());
        made.map_err(|error| failed(&error))?;
        tracing::info!(node = %repo, "a repository was created");
        Ok(good(answer))
    }

    pub(super) fn delete(&self, asked: &Asked, body: &[u8]) -> Outcome {
        let body = object(body, &["name", "organization", "type"])?;
        let repo = self.named(asked, &body)?;
        self.check_here(asked, &repo)?;
        let removed = self.uploads.store().remove_repository(&repo);
        removed.map_err(|error| failed(&error))?;
        tracing::info!(node = %repo, "a repository was removed");
        Ok(good(json!({})))
    }

    pub(super) fn rename(&self, asked: &Asked, body: &[u8]) -> Outcome {
        let body = object(body, &["fromRepo", "toRepo", "type"])?;
        let kind = kind(&body)?;
        let name = |key: &str| self.may_publish(asked, kind, text(&body, key).unwrap_or(""));
        let (from, to) = (
            name("fromRepo")?,
            RepoName::of_kind(kind, text(&body, "toRepo").unwrap_or("")),
        );
        let to = to.map_err(|fault| bad(StatusCode::BAD_REQUEST, fault.to_string()))?;
        if !asked.sight.may_publish(&to) {
            return Err(super::no_right());
        }
        self.check_here(asked, &from)?;
        if asked.sight.is_private(&from) && !asked.sight.is_private(&to) {
            let why = format!(
                "{from} is private and {to} would not be: add [[models.tokens]] with prefix = \
                 '{to}' and rights = 'read' to the node's configuration first"
            );
            return Err(bad(StatusCode::BAD_REQUEST, why));
        }
        let signer = self.uploads.signer();
        let moved = self.uploads.store().rename_repository(&from, &to, signer);
        moved.map_err(|error| failed(&error))?;
        tracing::info!(node = %to, "a repository was moved");
        Ok(good(json!({ "url": asked.shown.of(&to) })))
    }

    pub(super) fn settings(&self, asked: &Asked, repo: &RepoName, body: &[u8]) -> Outcome {
        let body = object(body, &["private", "visibility", "gated", "xetEnabled"])?;
        self.check_here(asked, repo)?;
        self.check_visibility(asked, repo, &body)?;
        let is_set = |key: &str| {
            body.get(key)
                .is_some_and(|value| *value != Value::Bool(false))
        };
        if is_set("gated") {
            let why = "this node has no gates: who may read is said by [[models.tokens]] with \
                       rights = 'read' in its configuration";
            return Err(bad(StatusCode::BAD_REQUEST, why));
        }
        if is_set("xetEnabled") {
            let why = "this node does not speak Xet: leave xet_enabled out";
            return Err(bad(StatusCode::BAD_REQUEST, why));
        }
        Ok(good(json!({})))
    }

    /// Refuses what would be seen by more than was asked for. What is private here stays so, even
    /// where a client writes that it need not be.
    fn check_visibility(
        &self,
        asked: &Asked,
        repo: &RepoName,
        body: &Map<String, Value>,
    ) -> Result<(), super::Answer> {
        let wrong = |why: String| Err(bad(StatusCode::BAD_REQUEST, why));
        let visibility = match body.get("visibility") {
            None | Some(Value::Null) => "public",
            Some(value) => value.as_str().unwrap_or("neither"),
        };
        let private = match body.get("private") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => return wrong("'private' is true or false".to_owned()),
        };
        if !matches!(visibility, "public" | "private") {
            return wrong(format!(
                "this node knows public and private, not '{}'",
                visibility.chars().take(32).collect::<String>()
            ));
        }
        if (private || visibility == "private") && !asked.sight.is_private(repo) {
            return wrong(format!(
                "{repo} would be public: private here is what a token that reads has a prefix \
                 for. Add [[models.tokens]] with prefix = '{repo}' and rights = 'read' to the \
                 node's configuration, start it again, and then create it; or leave private out"
            ));
        }
        Ok(())
    }

    /// The repository that a body names by organisation, name and type.
    fn named(&self, asked: &Asked, body: &Map<String, Value>) -> Result<RepoName, super::Answer> {
        let name = text(body, "name").unwrap_or("");
        let bare = match text(body, "organization") {
            Some(organisation) => format!("{organisation}/{name}"),
            None => name.to_owned(),
        };
        self.may_publish(asked, kind(body)?, &bare)
    }

    pub(super) fn is_here(&self, asked: &Asked, repo: &RepoName) -> bool {
        let seen = self.uploads.models().seen(asked.sight.clone());
        seen.repo(repo).is_some() || seen.refused(repo).is_some()
    }

    /// Refuses a repository that is not here.
    pub(super) fn check_here(&self, asked: &Asked, repo: &RepoName) -> Result<(), super::Answer> {
        if self.is_here(asked, repo) {
            return Ok(());
        }
        let why = "this node has no such repository: create it first (create_repo, hf repo create)";
        Err(missing("RepoNotFound", why))
    }
}

/// The kind that a body names; a model if none.
fn kind(body: &Map<String, Value>) -> Result<RepoKind, super::Answer> {
    match body.get("type") {
        None | Some(Value::Null) => Ok(RepoKind::Model),
        Some(value) => {
            let kind = value.as_str().and_then(RepoKind::of_word);
            let why = "this node keeps models, datasets and spaces only";
            kind.ok_or_else(|| bad(StatusCode::BAD_REQUEST, why))
        }
    }
}
