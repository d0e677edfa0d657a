//! Publishing as hub clients do it: `hf upload`, over HTTP, without Xet.
//!
//! Governed by the calls of huggingface_hub 0.36 to 2.4: create, preupload, LFS batch, PUT, commit,
//! branch. Whoever changes anything sends a token of `[[models.tokens]]` that may publish the
//! model; nobody publishes without one, and a PUT goes only where such a client was sent.
//! Invariant: a commit is published whole or not at all, and moves its branch in one step. Not
//! promised: pull requests, Xet, and LFS uploads in parts.

mod answer;
mod commit;
mod publish;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use towline_http::{Keyring, Sight};
use towline_store::{CatalogRevision, RepoName, RepoPath, Sha256, TagName};

use crate::uploads::{PutFault, Tally, Uploads};
pub(crate) use answer::Answer;
use answer::{Outcome, bad, failed, good, missing};
use commit::BODY_BYTES_MAX;

/// Longest body of a question other than a commit, in bytes: 256 files with their samples.
const QUESTION_BYTES_MAX: usize = 4 << 20;

/// The hub's face for those who publish.
pub(crate) struct UploadDesk {
    uploads: Arc<Uploads>,
    keyring: Arc<Keyring>,
}

impl UploadDesk {
    pub(crate) fn new(uploads: Arc<Uploads>, keyring: Arc<Keyring>) -> Self {
        Self { uploads, keyring }
    }

    pub(crate) fn tally(&self) -> &Tally {
        self.uploads.tally()
    }

    /// Revisions that are here and not served for want of a trusted signature.
    pub(crate) fn unsigned_revisions(&self) -> u64 {
        let catalog = self.uploads.store().catalog();
        let refused = catalog.refused.values();
        refused.map(|repo| repo.revisions.len() as u64).sum()
    }

    /// Answers a request below `/hf`. `host` is what the client calls this node.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>, host: &str) -> Answer {
        let desk = self.clone();
        let outcome = self.dispatch(request, host).await;
        let answer = outcome.unwrap_or_else(|refusal| refusal);
        if matches!(
            answer.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            desk.tally().refused.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    async fn dispatch(self: Arc<Self>, request: Request<Incoming>, host: &str) -> Outcome {
        let path = request
            .uri()
            .path()
            .strip_prefix("/hf")
            .unwrap_or("")
            .to_owned();
        if let Some(place) = path.strip_prefix("/lfs/") {
            let place = place.to_owned();
            return self.put(request, &place).await;
        }
        let sight = self.sight(&request)?;
        let parts: Vec<String> = path.split('/').skip(1).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let limit = match parts.as_slice() {
            ["api", "models", _, _, "commit", _] => BODY_BYTES_MAX,
            _ => QUESTION_BYTES_MAX,
        };
        let method = request.method().clone();
        let is_old = is_old(&request);
        let body = Limited::new(request.into_body(), limit).collect().await;
        let body = body
            .map_err(|error| bad(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))?
            .to_bytes();
        if method != Method::POST {
            return Err(bad(
                StatusCode::METHOD_NOT_ALLOWED,
                "this is asked with POST",
            ));
        }
        let url = format!("http://{host}/hf");
        let shown = if is_old {
            String::new()
        } else {
            format!("{url}/")
        };
        match parts.as_slice() {
            ["api", "repos", "create"] => self.create(&sight, &body, &shown),
            ["api", "validate-yaml"] => Ok(good(json!({ "errors": [], "warnings": [] }))),
            ["api", "models", one, other, "preupload", rev] => {
                let repo = repo(&sight, one, other)?;
                self.preupload(&sight, &repo, rev, &body)
            }
            ["api", "models", one, other, "branch", name] => {
                let repo = repo(&sight, one, other)?;
                self.branch(&sight, &repo, name, &body)
            }
            ["api", "models", one, other, "commit", rev] => {
                let repo = repo(&sight, one, other)?;
                self.commit(sight, (repo, (*rev).to_owned()), body, shown)
                    .await
            }
            [one, other, "info", "lfs", "objects", "batch"] => {
                repo(&sight, one, other.trim_end_matches(".git"))?;
                self.batch(&sight, &body, &url)
            }
            _ => Err(bad(
                StatusCode::NOT_FOUND,
                "this node takes uploads of models over HTTP: set HF_HUB_DISABLE_XET=1",
            )),
        }
    }

    /// Takes the bytes of a large file where a batch has sent them.
    async fn put(self: Arc<Self>, request: Request<Incoming>, place: &str) -> Outcome {
        if *request.method() != Method::PUT {
            return Err(bad(
                StatusCode::METHOD_NOT_ALLOWED,
                "files are sent with PUT",
            ));
        }
        match self.uploads.put(request, place).await {
            Ok(()) => Ok(good(json!({}))),
            Err(PutFault::Place) => Err(bad(
                StatusCode::FORBIDDEN,
                "the address of the upload is not of this node, or too old: begin again",
            )),
            Err(PutFault::Bytes(why)) => Err(bad(StatusCode::BAD_REQUEST, why)),
            Err(PutFault::Full(why)) => Err(bad(StatusCode::INSUFFICIENT_STORAGE, why)),
            Err(PutFault::Idle(why)) => Err(bad(StatusCode::REQUEST_TIMEOUT, why)),
            Err(PutFault::Thread(why)) => Err(bad(StatusCode::INTERNAL_SERVER_ERROR, why)),
        }
    }

    /// What the token of a request may publish.
    fn sight(&self, request: &Request<Incoming>) -> Result<Sight, Answer> {
        let sent = request.headers().get(header::AUTHORIZATION);
        let sight = self.keyring.sight(sent.map(header::HeaderValue::as_bytes));
        if sight.is_known() {
            return Ok(sight);
        }
        // Clients look for exactly these words.
        let why = "Invalid credentials in Authorization header";
        Err(bad(StatusCode::UNAUTHORIZED, why))
    }

    fn head(&self, sight: &Sight, repo: &RepoName, rev: &str) -> Option<Arc<CatalogRevision>> {
        let seen = self.uploads.models().seen(sight.clone());
        seen.resolve(repo, rev).cloned()
    }

    fn create(&self, sight: &Sight, body: &[u8], url: &str) -> Outcome {
        let asked: Value = parse(body)?;
        let text = |key: &str| asked.get(key).and_then(Value::as_str);
        if text("type").is_some_and(|kind| kind != "model") {
            return Err(bad(StatusCode::BAD_REQUEST, "this node keeps models only"));
        }
        let name = text("name").unwrap_or("");
        let (one, other) = match text("organization") {
            Some(organisation) => (organisation, name),
            None => name.split_once('/').unwrap_or(("", name)),
        };
        let repo = repo(sight, one, other)?;
        let answer = good(json!({ "url": format!("{url}{repo}"), "name": repo.as_str() }));
        let seen = self.uploads.models().seen(sight.clone());
        if seen.repo(&repo).is_none() {
            // It begins to exist with its first commit.
            return Ok(answer);
        }
        let mut answer = answer;
        answer.status = StatusCode::CONFLICT;
        if let Some(object) = answer.body.as_object_mut() {
            object.insert("error".into(), "You already created this model repo".into());
        }
        Ok(answer)
    }

    fn preupload(&self, sight: &Sight, repo: &RepoName, rev: &str, body: &[u8]) -> Outcome {
        let asked: Value = parse(body)?;
        let head = self.head(sight, repo, rev);
        let files = asked.get("files").and_then(Value::as_array);
        let mut answers = Vec::new();
        for file in files.into_iter().flatten() {
            let path = file.get("path").and_then(Value::as_str).unwrap_or("");
            let size = file.get("size").and_then(Value::as_u64).unwrap_or(0);
            let path: RepoPath = path.parse().map_err(|fault: towline_store::NameFault| {
                bad(StatusCode::BAD_REQUEST, fault.to_string())
            })?;
            let is_large = towline_store::git::is_lfs(&path, size);
            let known = head.as_ref().and_then(|revision| revision.file(&path));
            answers.push(json!({
                "path": path.as_str(),
                "uploadMode": if is_large { "lfs" } else { "regular" },
                "shouldIgnore": false,
                "oid": known.map(|file| file.git_oid.to_string()),
            }));
        }
        Ok(good(json!({ "files": answers })))
    }

    fn branch(&self, sight: &Sight, repo: &RepoName, name: &str, body: &[u8]) -> Outcome {
        let asked: Value = parse(body)?;
        let start = asked.get("startingPoint").and_then(Value::as_str);
        let revision = self
            .head(sight, repo, start.unwrap_or("main"))
            .ok_or_else(|| {
                missing(
                    "RevisionNotFound",
                    "there is nothing to begin the branch from",
                )
            })?;
        let tag: TagName = tag(name)?;
        if self.head(sight, repo, name).is_some() {
            return Err(bad(StatusCode::CONFLICT, "Reference already exists"));
        }
        let (store, signer) = (self.uploads.store(), self.uploads.signer());
        let done = store.tag(repo, &tag, &revision.rev, signer);
        done.map_err(|error| failed(&error))?;
        Ok(good(json!({})))
    }

    /// Tells where the bytes of large files go; of files that are here, nowhere.
    fn batch(&self, sight: &Sight, body: &[u8], url: &str) -> Outcome {
        let asked: Value = parse(body)?;
        if asked.get("operation").and_then(Value::as_str) != Some("upload") {
            let why = "files are downloaded from /resolve/, not by LFS";
            return Err(bad(StatusCode::BAD_REQUEST, why));
        }
        let objects = asked.get("objects").and_then(Value::as_array);
        let mut answers = Vec::new();
        for object in objects.into_iter().flatten() {
            let oid = object.get("oid").and_then(Value::as_str).unwrap_or("");
            let oid: Sha256 = oid.parse().map_err(|fault: towline_store::NameFault| {
                bad(StatusCode::BAD_REQUEST, fault.to_string())
            })?;
            let size = object.get("size").and_then(Value::as_u64).unwrap_or(0);
            let mut answer = json!({ "oid": oid.to_string(), "size": size });
            let is_here = self.uploads.known(&oid, sight).is_some();
            let added = if size > self.uploads.size_max() {
                let message = "larger than limits.upload_size of the node";
                Some(("error", json!({ "code": 413, "message": message })))
            } else if is_here {
                None
            } else if let Err(message) = self.uploads.judge_room(&oid, size, sight) {
                Some(("error", json!({ "code": 507, "message": message })))
            } else {
                let (place, _) = self.uploads.place(&oid, size, sight);
                let href = format!("{url}{place}");
                Some(("actions", json!({ "upload": { "href": href } })))
            };
            if let (Some((key, value)), Some(object)) = (added, answer.as_object_mut()) {
                object.insert(key.to_owned(), value);
            }
            answers.push(answer);
        }
        Ok(good(json!({ "transfer": "basic", "objects": answers })))
    }
}

/// Whether the client is huggingface_hub before 1.0, which takes the path of an endpoint for a type
/// of repository when it reads a URL; it reads a name alone instead.
fn is_old(request: &Request<Incoming>) -> bool {
    let agent = request.headers().get(header::USER_AGENT);
    let agent = agent.and_then(|value| value.to_str().ok());
    agent.is_some_and(|agent| agent.contains("hf_hub/0."))
}

/// The name of a model that a token may publish.
fn repo(sight: &Sight, one: &str, other: &str) -> Result<RepoName, Answer> {
    let name: RepoName =
        format!("{one}/{other}")
            .parse()
            .map_err(|fault: towline_store::NameFault| {
                bad(StatusCode::BAD_REQUEST, fault.to_string())
            })?;
    if sight.may_publish(&name) {
        return Ok(name);
    }
    let why = "the token may not publish models of that name: see its prefix and rights in \
               [[models.tokens]] on the node";
    Err(bad(StatusCode::FORBIDDEN, why))
}

fn parse(body: &[u8]) -> Result<Value, Answer> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| bad(StatusCode::BAD_REQUEST, error.to_string()))
}

fn tag(text: &str) -> Result<TagName, Answer> {
    text.parse()
        .map_err(|fault: towline_store::NameFault| bad(StatusCode::BAD_REQUEST, fault.to_string()))
}

/// A segment of a path; one that cannot be decoded names nothing.
fn decoded(segment: &str) -> String {
    let bytes = towline_http::path::decode(segment.as_bytes()).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}
