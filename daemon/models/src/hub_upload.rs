//! Publishing as hub clients do it: `hf upload`, over HTTP, without Xet.
//!
//! Governed by the calls of huggingface_hub 0.36 to 2.4: create, delete, move, settings, preupload,
//! LFS batch, PUT, commit, branch, tag, squash. Whoever changes anything sends a token of
//! `[[models.tokens]]` that may publish the model; nobody publishes without one, and a PUT goes
//! only where such a client was sent. Invariant: a commit is published whole or not at all, and
//! moves its branch in one step; what a call asks for and this node does not do refuses the call.
//! Not promised: pull requests, discussions, gates, and Xet.

mod answer;
mod asked;
mod commit;
mod files;
mod publish;
mod refs;
mod repos;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use hyper::{Method, Request, StatusCode, Uri, header};
use serde_json::json;
use towline_http::hub::route;
use towline_http::{Keyring, Sight};
use towline_store::{RepoKind, RepoName};

use crate::uploads::{COMPLETION_BYTES_MAX, Ended, Inflow, PutFault, Tally, Uploads};
pub use answer::Answer;
use answer::{Outcome, bad, good};
use asked::{Asked, Shown};
use commit::BODY_BYTES_MAX;

/// Longest body of a question other than a commit, in bytes: 256 files with their samples.
const QUESTION_BYTES_MAX: usize = 4 << 20;

/// The hub's face for those who publish.
pub struct UploadDesk {
    uploads: Arc<Uploads>,
    keyring: Arc<Keyring>,
}

impl UploadDesk {
    pub(crate) fn new(uploads: Arc<Uploads>, keyring: Arc<Keyring>) -> Self {
        Self { uploads, keyring }
    }

    /// What was counted since the start.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        self.uploads.tally()
    }

    /// Revisions that are here and not served for want of a trusted signature.
    #[must_use]
    pub fn unsigned_revisions(&self) -> u64 {
        let catalog = self.uploads.store().catalog();
        let refused = catalog.refused.values();
        refused.map(|repo| repo.revisions.len() as u64).sum()
    }

    /// Answers a request below [`PREFIX`]. `base` is the URL before the paths of this client. What
    /// blocks does so on other threads. Dropping it ends an upload where it stands.
    pub async fn answer(self: Arc<Self>, request: Request<Inflow>, base: String) -> Answer {
        let desk = self.clone();
        let outcome = self.dispatch(request, base).await;
        let answer = outcome.unwrap_or_else(|refusal| refusal);
        if matches!(
            answer.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            desk.tally().refused.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    async fn dispatch(self: Arc<Self>, request: Request<Inflow>, base: String) -> Outcome {
        let path = request.uri().path().strip_prefix(PREFIX).unwrap_or("");
        let path = path.to_owned();
        if let Some(place) = path.strip_prefix("/lfs/") {
            let place = place.to_owned();
            return self.put(request, &place).await;
        }
        if path == "/api/validate-yaml" && *request.method() == Method::POST {
            // It changes nothing, so anybody may ask; cards are read when they are shown.
            self.read(request, QUESTION_BYTES_MAX).await?;
            return Ok(good(json!({ "errors": [], "warnings": [] })));
        }
        let sight = self.sight(&request)?;
        let shown = match (is_old(&request), base.ends_with(PREFIX)) {
            (true, true) => Shown::Name,
            (true, false) => Shown::PlainUrl(base.clone()),
            (false, _) => Shown::Url(base.clone()),
        };
        let query = request.uri().query().unwrap_or("");
        let call = (request.method().clone(), path.as_str(), query);
        let asked = Asked::new(call, sight, (base, shown));
        asked.check_query()?;
        let is_commit = asked.parts.iter().any(|part| part == "commit");
        let limit = match is_commit && asked.sight.may_publish_some() {
            true => BODY_BYTES_MAX,
            false => QUESTION_BYTES_MAX,
        };
        let body = self.read(request, limit).await?;
        // The store reads and syncs files, so a thread that may block does it.
        let done = tokio::task::spawn_blocking(move || self.change(&asked, body));
        let died = |error: tokio::task::JoinError| {
            Err(bad(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
        };
        done.await.unwrap_or_else(died)
    }

    /// Does what a call asks for. Blocks.
    fn change(&self, asked: &Asked, body: Bytes) -> Outcome {
        let parts: Vec<&str> = asked.parts.iter().map(String::as_str).collect();
        let posts = asked.method == Method::POST;
        let deletes = asked.method == Method::DELETE;
        match parts.as_slice() {
            ["api", "repos", "create"] if posts => self.create(asked, &body),
            ["api", "repos", "delete"] if deletes => self.delete(asked, &body),
            ["api", "repos", "move"] if posts => self.rename(asked, &body),
            ["api", word, rest @ ..] => {
                let kind = RepoKind::ALL
                    .into_iter()
                    .find(|kind| kind.plural() == *word);
                let kind = kind.ok_or_else(no_call)?;
                let (bare, rest) = route::cut(rest);
                let repo = self.may_publish(asked, kind, &bare)?;
                match rest {
                    ["preupload", rev] if posts => self.preupload(asked, (&repo, rev), &body),
                    ["commit", rev] if posts => self.commit(asked, (&repo, rev), body),
                    ["branch", name] if posts => self.make_branch(asked, (&repo, name), &body),
                    ["branch", name] if deletes => self.delete_ref(asked, (&repo, name), true),
                    ["tag", rev] if posts => self.make_tag(asked, (&repo, rev), &body),
                    ["tag", name] if deletes => self.delete_ref(asked, (&repo, name), false),
                    ["super-squash", name] if posts => self.squash(asked, (&repo, name), &body),
                    ["settings"] if asked.method == Method::PUT => {
                        self.settings(asked, &repo, &body)
                    }
                    ["discussions", ..] => {
                        let why = "this node has no discussions and no pull requests: commit to \
                                   a branch instead";
                        Err(bad(StatusCode::BAD_REQUEST, why))
                    }
                    _ => Err(no_call()),
                }
            }
            [name @ .., "info", "lfs", "objects", "batch"] if posts => {
                let name = name.join("/");
                let name = name.strip_suffix(".git").unwrap_or(&name);
                let (kind, bare) = match name.parse::<RepoName>() {
                    Ok(name) => (name.kind(), name.bare().to_owned()),
                    Err(fault) => return Err(bad(StatusCode::BAD_REQUEST, fault.to_string())),
                };
                let repo = self.may_publish(asked, kind, &bare)?;
                self.check_here(asked, &repo)?;
                self.batch(asked, &body)
            }
            _ => Err(no_call()),
        }
    }

    /// Takes the bytes of a large file, or of a part of one, where a batch has sent them; or the
    /// word that all parts are here.
    async fn put(self: Arc<Self>, request: Request<Inflow>, place: &str) -> Outcome {
        let taken = match *request.method() {
            Method::PUT => self.uploads.put(request, place).await,
            Method::POST => {
                let body = self.read(request, COMPLETION_BYTES_MAX).await?;
                self.uploads.complete(place, &body).await.map(|()| None)
            }
            _ => {
                let why = "files are sent with PUT, and completed with POST";
                return Err(bad(StatusCode::METHOD_NOT_ALLOWED, why));
            }
        };
        match taken {
            Ok(etag) => Ok(Answer {
                etag,
                ..good(json!({}))
            }),
            Err(PutFault::Place) => Err(bad(
                StatusCode::FORBIDDEN,
                "the address of the upload is not of this node, or too old: begin again",
            )),
            Err(PutFault::Bytes(why)) => Err(bad(StatusCode::BAD_REQUEST, why)),
            Err(PutFault::Full(why)) => Err(bad(StatusCode::INSUFFICIENT_STORAGE, why)),
            Err(PutFault::Idle(why)) => Err(bad(StatusCode::REQUEST_TIMEOUT, why)),
            Err(PutFault::Busy(why)) => Err(bad(StatusCode::SERVICE_UNAVAILABLE, why)),
            Err(PutFault::Thread(why)) => Err(bad(StatusCode::INTERNAL_SERVER_ERROR, why)),
        }
    }

    /// The whole body of a request.
    async fn read(&self, request: Request<Inflow>, limit: usize) -> Result<Bytes, Answer> {
        let (mut body, mut pace) = (request.into_body(), self.uploads.pace());
        let mut bytes = BytesMut::new();
        loop {
            match pace.next(&mut body).await {
                Ok(None) => return Ok(bytes.freeze()),
                Ok(Some(piece)) if bytes.len() + piece.len() <= limit => {
                    bytes.extend_from_slice(&piece);
                }
                Ok(Some(_)) => {
                    let why = format!("the body is longer than {limit} bytes: ask in parts");
                    return Err(bad(StatusCode::PAYLOAD_TOO_LARGE, why));
                }
                Err(Ended::Broken(why)) => return Err(bad(StatusCode::BAD_REQUEST, why)),
                Err(Ended::Slow(why)) => {
                    self.tally().slow.fetch_add(1, Ordering::Relaxed);
                    return Err(bad(StatusCode::REQUEST_TIMEOUT, why));
                }
            }
        }
    }

    /// What the token of a request may publish.
    fn sight(&self, request: &Request<Inflow>) -> Result<Sight, Answer> {
        let sent = request.headers().get(header::AUTHORIZATION);
        let sight = self.keyring.sight(sent.map(header::HeaderValue::as_bytes));
        if sight.is_known() {
            return Ok(sight);
        }
        // Clients look for exactly these words.
        let why = "Invalid credentials in Authorization header";
        Err(bad(StatusCode::UNAUTHORIZED, why))
    }

    /// The name of a repository that a token may publish, as it is written here.
    fn may_publish(&self, asked: &Asked, kind: RepoKind, bare: &str) -> Result<RepoName, Answer> {
        let name = RepoName::of_kind(kind, bare);
        let name = name.map_err(|fault| bad(StatusCode::BAD_REQUEST, fault.to_string()))?;
        let seen = self.uploads.models().seen(asked.sight.clone());
        let name = seen.spelled(&name);
        match asked.sight.may_publish(&name) {
            true => Ok(name),
            false => Err(no_right()),
        }
    }
}

/// The path that every hub's path has on the port that others share.
pub const PREFIX: &str = "/hf";

/// A request to the port of the hub's own, as it would be on the one that others share.
#[must_use]
pub fn below_prefix<Body>(mut request: Request<Body>) -> Request<Body> {
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    if let Ok(uri) = format!("{PREFIX}{path}").parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request
}

/// Whether the client is huggingface_hub before 1.0, which takes the path of an endpoint for a type
/// of repository when it reads a URL; it reads a name alone instead.
fn is_old(request: &Request<Inflow>) -> bool {
    let agent = request.headers().get(header::USER_AGENT);
    let agent = agent.and_then(|value| value.to_str().ok());
    agent.is_some_and(|agent| agent.contains("hf_hub/0."))
}

/// What is said of a name that a token does not cover.
fn no_right() -> Answer {
    let why = "the token may not publish models of that name: see its prefix and rights in \
               [[models.tokens]] on the node";
    bad(StatusCode::FORBIDDEN, why)
}

/// What is said of a call that is not known.
fn no_call() -> Answer {
    let why = "this node does not know that call of the hub. It takes uploads over HTTP: set \
               HF_HUB_DISABLE_XET=1";
    bad(StatusCode::NOT_FOUND, why)
}
