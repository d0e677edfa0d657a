//! What the node and its command line say to each other about models, as JSON.
//!
//! Requests are refused with unknown keys, so a newer command line is told and not half obeyed;
//! answers may grow. Sizes are in bytes, times in seconds since 1970-01-01 UTC, hashes in hex.

use serde::{Deserialize, Serialize};

/// `POST /v1/models/push`: publish a folder of the node's own machine.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The folder, absolute.
    pub directory: std::path::PathBuf,
    /// `org/model`.
    pub name: String,
    /// The tag to move.
    pub tag: String,
    /// What is said about the revision.
    pub message: String,
}

/// A request that names a repository, and where it must, one of its tags or revisions.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `org/model`.
    pub name: String,
    /// A tag, or a revision in forty hex digits.
    #[serde(default)]
    pub revision: Option<String>,
    /// The tag to set.
    #[serde(default)]
    pub tag: Option<String>,
}

/// A task that takes a while.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Task {
    /// Its number, for `GET /v1/models/tasks/N`.
    pub task: u64,
    /// What it does.
    pub what: String,
    /// How far it is.
    pub state: TaskState,
    /// Bytes that are done.
    pub bytes_done: u64,
    /// Bytes that there are, as far as is known.
    pub bytes_total: u64,
    /// Files that are done.
    pub files_done: u64,
    /// Files that there are.
    pub files_total: u64,
    /// Seconds since it began.
    pub elapsed: f64,
    /// What came of it.
    pub result: Option<serde_json::Value>,
    /// Why it failed.
    pub error: Option<Fault>,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It runs.
    Running,
    /// It has ended well.
    Done,
    /// It has failed.
    Failed,
}

/// Why something was refused or failed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Fault {
    /// Whose fault: `usage`, `storage`, `peer`, `busy`.
    pub culprit: String,
    /// What happened and what to do.
    pub error: String,
}

/// What a push did.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Published {
    /// `org/model`.
    pub name: String,
    /// The tag.
    pub tag: String,
    /// The revision, forty hex digits.
    pub revision: String,
    /// Files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes that had to be written.
    pub bytes_written: u64,
    /// Bytes of whole files that were here.
    pub bytes_linked: u64,
    /// Bytes of chunks that share blocks with others.
    pub bytes_cloned: u64,
    /// Bytes of chunks that were here and had to be written again.
    pub bytes_known_written: u64,
    /// Bytes of zeros.
    pub bytes_zero: u64,
    /// Nothing was new: the tag pointed there already.
    pub unchanged: bool,
}

/// `GET /v1/models`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Models {
    /// The repositories.
    pub models: Vec<Model>,
}

/// A repository.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Model {
    /// `org/model`.
    pub name: String,
    /// Its revisions, newest first.
    pub revisions: Vec<Revision>,
}

/// A revision.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Revision {
    /// Forty hex digits.
    pub revision: String,
    /// Tags that point to it.
    pub tags: Vec<String>,
    /// When it was made.
    pub created: u64,
    /// What was said about it.
    pub message: String,
    /// Where it came from; `None`: published here.
    pub origin: Option<String>,
    /// Bytes of all files.
    pub bytes: u64,
    /// How many files it has.
    pub files: u64,
    /// Since when it is pinned.
    pub pinned: Option<u64>,
    /// Who holds it, and until when.
    pub leases: Vec<(String, u64)>,
    /// Keys that signed it.
    pub signed_by: Vec<String>,
    /// Its files; only where one model was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<File>,
}

/// A file of a revision.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct File {
    /// Its path.
    pub path: String,
    /// Its length.
    pub size: u64,
    /// What the hub sends as ETag.
    pub etag: String,
}
