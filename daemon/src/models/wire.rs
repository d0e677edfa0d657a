//! What the node and its command line say to each other about models, as JSON.
//!
//! Requests are refused with unknown keys, so a newer command line is told and not half obeyed;
//! answers may grow. Sizes are in bytes, times in seconds since 1970-01-01 UTC, hashes in hex.

use serde::{Deserialize, Serialize};
use towline_config::Secret;

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
    /// What its publisher signed; the folder must be exactly that.
    #[serde(default)]
    pub signed: Option<Signed>,
}

/// What a publisher signed beside the files.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The revision before it; `None`: none.
    #[serde(default)]
    pub parent: Option<String>,
    /// When it was made.
    pub created: u64,
    /// Over the manifest.
    pub signature: SignatureText,
}

/// A signature.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureText {
    /// Whose: `ed25519:` and 64 hex digits.
    pub key: String,
    /// The signature of RFC 8032: 128 hex digits.
    pub bytes: String,
}

/// `POST /v1/models/missing`: which of these files must be sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Having {
    /// `org/model`.
    pub name: String,
    /// Whose signature will come with it; `None`: the node's own, if it has a key.
    #[serde(default)]
    pub key: Option<String>,
    /// The files that it is to have.
    pub files: Vec<HavingFile>,
}

/// A file by its hash.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HavingFile {
    /// SHA-256 in hex.
    pub sha256: String,
    /// Its length.
    pub size: u64,
}

/// The files that must be sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Missing {
    /// Each; those that are not listed are here.
    pub files: Vec<MissingFile>,
}

/// A file that must be sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MissingFile {
    /// SHA-256 in hex.
    pub sha256: String,
    /// Its length.
    pub size: u64,
    /// Bytes of its beginning that have come already.
    pub held: u64,
    /// The path to which the rest goes by PUT; good for an hour.
    pub place: String,
}

/// `POST /v1/models/publish`: make a revision of files that are here or were sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// `org/model`.
    pub name: String,
    /// The tag to move.
    pub tag: String,
    /// What is said about the revision.
    pub message: String,
    /// All files of the revision.
    pub files: Vec<PublishFile>,
    /// What its publisher signed.
    #[serde(default)]
    pub signed: Option<Signed>,
}

/// A file of a revision to be.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PublishFile {
    /// Where it lies.
    pub path: String,
    /// SHA-256 in hex.
    pub sha256: String,
}

/// `POST /v1/models/sign`: add a signature to a revision that is here.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// `org/model`.
    pub name: String,
    /// A tag, or a revision in forty hex digits; `main` if left out.
    #[serde(default)]
    pub revision: Option<String>,
    /// A signature that was made elsewhere; the node's own key signs if left out.
    #[serde(default)]
    pub signature: Option<SignatureText>,
}

/// `POST /v1/models/pull`: bring a model from elsewhere.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pull {
    /// `hf://org/model@rev`, a URL, `s3://bucket/prefix`, or a folder.
    pub source: String,
    /// The hub that `hf://` means.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The source's token. Kept for this pull only, never logged: it shows itself as `***`.
    #[serde(default, serialize_with = "exposed")]
    pub token: Option<Secret>,
    /// `org/model`; the source's own name if left out.
    #[serde(default)]
    pub name: Option<String>,
    /// The tag to move.
    #[serde(default)]
    pub tag: Option<String>,
}

/// The one place where a token is written out: on its way to the node.
fn exposed<S: serde::Serializer>(token: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(Secret::expose).serialize(to)
}

/// `POST /v1/models/verify`: read and hash everything.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// One model; everything if left out.
    #[serde(default)]
    pub name: Option<String>,
    /// One of its tags or revisions.
    #[serde(default)]
    pub revision: Option<String>,
    /// Repair nothing.
    #[serde(default)]
    pub look_only: bool,
}

/// What a verification found.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Verified {
    /// Revisions that were looked at.
    pub revisions: u64,
    /// Files that were read.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong, or was.
    pub damages: Vec<Damage>,
}

/// Something that is wrong.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Damage {
    /// What kind of thing.
    pub kind: String,
    /// Where, relative to the store.
    pub path: String,
    /// How that is known.
    pub detail: String,
    /// Revisions that have it.
    pub revisions: Vec<String>,
    /// What was done about it.
    pub remedy: String,
}

/// `POST /v1/models/gc`: free what nothing refers to.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Gc {
    /// Only tell what would go.
    #[serde(default)]
    pub dry_run: bool,
    /// How long something must have been unused, in seconds; a day if left out.
    #[serde(default)]
    pub grace: Option<u64>,
}

/// What was collected.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Collected {
    /// Only told, nothing done.
    pub dry_run: bool,
    /// Revisions that went.
    pub revisions: Vec<String>,
    /// Files that went.
    pub files: u64,
    /// Bytes that went.
    pub bytes: u64,
    /// Revisions that were marked and go next time.
    pub revisions_marked: Vec<String>,
    /// Files that were marked and go next time, when the grace is over.
    pub files_marked: u64,
    /// Their bytes.
    pub bytes_marked: u64,
    /// Bytes of uploads that nobody published or went on with, which went.
    #[serde(default)]
    pub bytes_uploads: u64,
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
    /// Most bytes that files may take.
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

impl Fault {
    /// A fault of this culprit.
    #[must_use]
    pub fn new(culprit: &str, error: impl Into<String>) -> Self {
        Self {
            culprit: culprit.to_owned(),
            error: error.into(),
        }
    }
}

/// What a push or pull did.
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
    /// Its length.
    pub size: u64,
    /// What the hub sends as ETag.
    pub etag: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_a_pull_is_sent_and_never_shown() {
        let text = r#"{"source":"hf://a/b","token":"hunter2hunter2"}"#;
        let pull: Pull = serde_json::from_str(text).unwrap();
        assert!(!format!("{pull:?}").contains("hunter2"), "{pull:?}");
        let sent = serde_json::to_string(&pull).unwrap();
        assert!(sent.contains("hunter2hunter2"), "{sent}");
    }
}
