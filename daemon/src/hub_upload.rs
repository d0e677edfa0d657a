//! Publishing as hub clients do it: `hf upload`, over HTTP, without Xet.
//!
//! Governed by the calls of huggingface_hub 0.36 to 2.4: create, preupload, LFS batch, PUT, commit,
//! branch. Whoever changes anything sends a bearer token of `[[models.tokens]]` whose prefix covers
//! the model; nobody publishes without one, and a PUT goes only where such a client was sent.
//! Invariant: a commit is published whole or not at all, and moves its branch in one step. Not
//! promised: pull requests, Xet, and LFS uploads in parts.

mod commit;
mod source;
mod staging;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use towline_config::ModelToken;
use towline_http::Models;
use towline_store::{
    CatalogRevision, ClientFault, Parent, Progress, PublishOptions, RepoName, RepoPath, Sha256,
    Store, StoreError, TagName,
};

use commit::{BODY_BYTES_MAX, Commit};
use source::CommitSource;
pub(crate) use staging::Staging;

/// Most pieces of an upload that wait for the disk, each as large as hyper's buffer.
const PIECES_WAITING_MAX: usize = 8;

/// Longest body of a question other than a commit, in bytes: 256 files with their samples.
const QUESTION_BYTES_MAX: usize = 4 << 20;

/// What clients are told when somebody else was faster.
const MOVED: &str = "A commit has happened since. Please refresh and try again.";

/// What uploads need.
pub(crate) struct UploadDesk {
    models: Models,
    tokens: Vec<ModelToken>,
    staging: Staging,
    size_max: u64,
    tally: Tally,
}

/// What was published, counted since the node started.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Commits.
    pub(crate) commits: AtomicU64,
    /// Bytes of large files that were taken in.
    pub(crate) bytes: AtomicU64,
    /// Requests without a good token or address.
    pub(crate) refused: AtomicU64,
}

/// A reply: status, body, and what says why not.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    /// For `X-Error-Code`.
    pub(crate) code: Option<&'static str>,
}

type Outcome = Result<Answer, Answer>;

fn good(body: Value) -> Answer {
    let status = StatusCode::OK;
    Answer {
        status,
        body,
        code: None,
    }
}

fn bad(status: StatusCode, why: impl Into<String>) -> Answer {
    Answer {
        status,
        body: json!({ "error": why.into() }),
        code: None,
    }
}

fn missing(code: &'static str, why: &str) -> Answer {
    Answer {
        code: Some(code),
        ..bad(StatusCode::NOT_FOUND, why)
    }
}

impl UploadDesk {
    pub(crate) fn new(
        models: Models,
        tokens: Vec<ModelToken>,
        staging: Staging,
        size_max: u64,
    ) -> Self {
        Self {
            models,
            tokens,
            staging,
            size_max,
            tally: Tally::default(),
        }
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
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
            desk.tally.refused.fetch_add(1, Ordering::Relaxed);
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
        let token = self.token(&request)?;
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
            ["api", "repos", "create"] => self.create(token, &body, &shown),
            ["api", "validate-yaml"] => Ok(good(json!({ "errors": [], "warnings": [] }))),
            ["api", "models", one, other, "preupload", rev] => {
                let repo = self.repo(token, one, other)?;
                self.preupload(&repo, rev, &body)
            }
            ["api", "models", one, other, "branch", name] => {
                let repo = self.repo(token, one, other)?;
                self.branch(&repo, name, &body)
            }
            ["api", "models", one, other, "commit", rev] => {
                let repo = self.repo(token, one, other)?;
                self.commit(repo, (*rev).to_owned(), body, shown).await
            }
            [one, other, "info", "lfs", "objects", "batch"] => {
                self.repo(token, one, other.trim_end_matches(".git"))?;
                self.batch(&body, &url)
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
        let signed = self.staging.judge(place);
        let (oid, size) = signed.ok_or_else(|| {
            bad(
                StatusCode::FORBIDDEN,
                "the address of the upload is not of this node, or too old: begin again",
            )
        })?;
        self.receive(request, oid, size).await
    }

    /// The token of a request, looking at every token whichever matches.
    fn token(&self, request: &Request<Incoming>) -> Result<&ModelToken, Answer> {
        let sent = request.headers().get(header::AUTHORIZATION);
        let sent = sent.and_then(|value| value.to_str().ok()).unwrap_or("");
        let sent = match sent.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            Some(_) | None => "",
        };
        let found = self.tokens.iter().fold(None, |found, token| {
            if same(token.secret.expose().as_bytes(), sent.as_bytes()) {
                Some(token)
            } else {
                found
            }
        });
        // Clients look for exactly these words.
        found.ok_or_else(|| {
            let why = "Invalid credentials in Authorization header";
            bad(StatusCode::UNAUTHORIZED, why)
        })
    }

    /// The name of a model that a token may publish.
    fn repo(&self, token: &ModelToken, one: &str, other: &str) -> Result<RepoName, Answer> {
        let name: RepoName =
            format!("{one}/{other}")
                .parse()
                .map_err(|fault: towline_store::NameFault| {
                    bad(StatusCode::BAD_REQUEST, fault.to_string())
                })?;
        if name.as_str().starts_with(&token.prefix.value) {
            return Ok(name);
        }
        let why = "the token may not publish models of that name: see its prefix in \
                   [[models.tokens]] on the node";
        Err(bad(StatusCode::FORBIDDEN, why))
    }

    fn store(&self) -> &Store {
        self.models.store()
    }

    fn head(&self, repo: &RepoName, rev: &str) -> Option<Arc<CatalogRevision>> {
        self.models.catalog().resolve(repo, rev).cloned()
    }

    fn create(&self, token: &ModelToken, body: &[u8], url: &str) -> Outcome {
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
        let repo = self.repo(token, one, other)?;
        let answer = good(json!({ "url": format!("{url}{repo}"), "name": repo.as_str() }));
        if self.models.catalog().repo(&repo).is_none() {
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

    fn preupload(&self, repo: &RepoName, rev: &str, body: &[u8]) -> Outcome {
        let asked: Value = parse(body)?;
        let head = self.head(repo, rev);
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

    fn branch(&self, repo: &RepoName, name: &str, body: &[u8]) -> Outcome {
        let asked: Value = parse(body)?;
        let start = asked.get("startingPoint").and_then(Value::as_str);
        let revision = self.head(repo, start.unwrap_or("main")).ok_or_else(|| {
            missing(
                "RevisionNotFound",
                "there is nothing to begin the branch from",
            )
        })?;
        let tag: TagName = tag(name)?;
        if self.head(repo, name).is_some() {
            return Err(bad(StatusCode::CONFLICT, "Reference already exists"));
        }
        let done = self.store().tag(repo, &tag, &revision.rev, None);
        done.map_err(|error| failed(&error))?;
        Ok(good(json!({})))
    }

    /// Tells where the bytes of large files go; of files that are here, nowhere.
    fn batch(&self, body: &[u8], url: &str) -> Outcome {
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
            let is_here = self.known(&oid).is_some() || self.staging.find(&oid).is_some();
            let added = if size > self.size_max {
                let message = "larger than limits.upload_size of the node";
                Some(("error", json!({ "code": 413, "message": message })))
            } else if is_here {
                None
            } else {
                let href = format!("{url}{}", self.staging.place(&oid, size));
                Some(("actions", json!({ "upload": { "href": href } })))
            };
            if let (Some((key, value)), Some(object)) = (added, answer.as_object_mut()) {
                object.insert(key.to_owned(), value);
            }
            answers.push(answer);
        }
        Ok(good(json!({ "transfer": "basic", "objects": answers })))
    }

    /// The size of a file of some revision, by its hash.
    fn known(&self, oid: &Sha256) -> Option<u64> {
        let catalog = self.models.catalog();
        let revisions = catalog
            .repos
            .values()
            .flat_map(|repo| repo.revisions.values());
        let mut files = revisions.flat_map(|revision| &revision.files);
        let found = files.find(|file| file.sha256.as_ref() == Some(oid));
        found.map(|file| file.size)
    }

    /// Takes the bytes of a large file; a thread that may block writes them.
    async fn receive(
        self: Arc<Self>,
        request: Request<Incoming>,
        oid: Sha256,
        size: u64,
    ) -> Outcome {
        let (send, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(PIECES_WAITING_MAX);
        let desk = self.clone();
        let writer = tokio::task::spawn_blocking(move || {
            let mut arriving = desk.staging.begin(oid, size)?;
            while let Some(bytes) = pieces.blocking_recv() {
                arriving.write(&bytes)?;
            }
            arriving.finish()
        });
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| bad(StatusCode::BAD_REQUEST, error.to_string()))?;
            if let Ok(bytes) = frame.into_data()
                && send.send(bytes).await.is_err()
            {
                break;
            }
        }
        drop(send);
        match writer.await {
            Ok(Ok(())) => {
                self.tally.bytes.fetch_add(size, Ordering::Relaxed);
                Ok(good(json!({})))
            }
            Ok(Err(error)) => Err(bad(StatusCode::BAD_REQUEST, error.to_string())),
            Err(error) => Err(bad(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        }
    }

    async fn commit(
        self: Arc<Self>,
        repo: RepoName,
        rev: String,
        body: Bytes,
        url: String,
    ) -> Outcome {
        let work = move || {
            let wrong = |why: String| bad(StatusCode::BAD_REQUEST, why);
            let commit = commit::parse(&body).map_err(wrong)?;
            drop(body);
            self.publish(&repo, &rev, commit, &url)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome,
            Err(error) => Err(bad(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        }
    }

    /// Publishes a commit. Blocks.
    fn publish(&self, repo: &RepoName, rev: &str, commit: Commit, url: &str) -> Outcome {
        let tag = tag(rev.strip_prefix("refs/heads/").unwrap_or(rev))?;
        let head = self.head(repo, tag.as_str());
        if head.is_none() && tag.as_str() != "main" {
            return Err(missing("RevisionNotFound", "there is no such branch"));
        }
        // A commit that comes again after a lost answer still names the parent of the first.
        let base = match commit.parent {
            Some(parent) => self.head(repo, &parent.to_string()),
            None => head,
        };
        if commit.parent.is_some() && base.is_none() {
            return Err(bad(StatusCode::PRECONDITION_FAILED, MOVED));
        }
        let parent = base.as_ref().map(|revision| revision.rev);
        let large: Vec<Sha256> = commit.operations.iter().filter_map(large).collect();
        let (before, known) = (base.as_deref(), |oid: &Sha256| self.known(oid));
        let source = CommitSource::new(before, commit.operations, &self.staging, known);
        let source = source.map_err(|why| bad(StatusCode::BAD_REQUEST, why))?;
        let options = PublishOptions {
            message: &commit.summary,
            parent: parent.map_or(Parent::Nothing, Parent::Exactly),
            ..Default::default()
        };
        let progress = Progress::default();
        let published = self
            .store()
            .publish(repo, &tag, &source, &options, &progress);
        let published = published.map_err(|error| failed(&error))?;
        self.staging.forget(large.into_iter());
        let rev = published.rev.to_string();
        self.tally.commits.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            volume = "models",
            bytes = published.bytes,
            "a commit was published"
        );
        Ok(good(json!({
            "success": true,
            "commitOid": rev,
            "commitUrl": format!("{url}{repo}/commit/{rev}"),
            "hookOutput": "",
        })))
    }
}

/// Whether the client is huggingface_hub before 1.0, which takes the path of an endpoint for a type
/// of repository when it reads a URL; it reads a name alone instead.
fn is_old(request: &Request<Incoming>) -> bool {
    let agent = request.headers().get(header::USER_AGENT);
    let agent = agent.and_then(|value| value.to_str().ok());
    agent.is_some_and(|agent| agent.contains("hf_hub/0."))
}

fn large(operation: &commit::Operation) -> Option<Sha256> {
    match operation {
        commit::Operation::Large(_, oid) => Some(*oid),
        commit::Operation::File(..)
        | commit::Operation::Deleted(_)
        | commit::Operation::DeletedFolder(_) => None,
    }
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

fn failed(error: &StoreError) -> Answer {
    let status = match error {
        StoreError::Client(ClientFault::HeadMoved { .. }) => {
            return bad(StatusCode::PRECONDITION_FAILED, MOVED);
        }
        StoreError::Client(_) => StatusCode::BAD_REQUEST,
        StoreError::Peer(_) => StatusCode::BAD_GATEWAY,
        StoreError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
        StoreError::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    bad(status, error.to_string())
}

/// A segment of a path; one that cannot be decoded names nothing.
fn decoded(segment: &str) -> String {
    let bytes = towline_http::path::decode(segment.as_bytes()).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// Compares without stopping at the first difference. Lengths may show.
fn same(secret: &[u8], sent: &[u8]) -> bool {
    let difference = secret.iter().zip(sent).fold(0, |sum, (one, other)| {
        std::hint::black_box(sum | (one ^ other))
    });
    difference == 0 && secret.len() == sent.len() && !secret.is_empty()
}
