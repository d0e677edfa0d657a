//! What there is: models with their revisions and files, and the room that they take.
//!
//! Invariant: answers may grow; a client ignores what it does not know.

use serde::{Deserialize, Serialize};

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
    /// `model`, `dataset` or `space`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Only tokens for it show it.
    #[serde(default)]
    pub private: bool,
    /// Its revisions, newest first.
    pub revisions: Vec<Revision>,
}

/// A revision.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Revision {
    /// Forty hex digits.
    pub revision: String,
    /// BLAKE3 of its manifest: what is signed.
    #[serde(default)]
    pub manifest: String,
    /// Tags that point to it.
    pub tags: Vec<String>,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// What was said about it.
    pub message: String,
    /// Where it came from; `None`: published here.
    pub origin: Option<String>,
    /// Bytes of all files.
    pub bytes: u64,
    /// How many files it has.
    pub files: u64,
    /// Since when it is pinned, in seconds since 1970-01-01 UTC; `None`: it is not.
    pub pinned: Option<u64>,
    /// Who holds it, and until when, in seconds since 1970-01-01 UTC.
    pub leases: Vec<(String, u64)>,
    /// Keys that signed it.
    pub signed_by: Vec<SignedBy>,
    /// It is not served: the node demands a signature by a key that it trusts.
    #[serde(default)]
    pub refused: bool,
    /// Its files; only where one model was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<File>,
}

/// A key that signed a revision.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SignedBy {
    /// `ed25519:` and 64 hex digits.
    pub key: String,
    /// What the node's operator calls it; empty if it is not trusted or has no name.
    pub name: String,
    /// Whether the node trusts it.
    pub trusted: bool,
}

/// A file of a revision.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct File {
    /// Its path.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// What the hub sends as ETag: SHA-256 of a large file, else its git id; in hex.
    pub etag: String,
}

/// `GET /v1/models/usage`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Usage {
    /// Bytes of all files that are here.
    pub stored: u64,
    /// What they would take if nothing was shared.
    pub referred: u64,
    /// Bytes that no revision has; collection frees them.
    pub unused: u64,
    /// Bytes promised to pulls and pushes under way.
    pub reserved: u64,
    /// Most bytes that files may take; `None`: what the file system has.
    pub quota: Option<u64>,
    /// Bytes free on the file system.
    pub free: u64,
    /// Each revision.
    pub revisions: Vec<RevisionUsage>,
}

/// Room of a revision.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RevisionUsage {
    /// `org/model`.
    pub name: String,
    /// Forty hex digits.
    pub revision: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Bytes that only it has.
    pub unique: u64,
    /// Bytes that others have too.
    pub shared: u64,
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
