//! Bringing a revision to a node: a folder of its own machine, or files that are sent.
//!
//! `push` names a folder. `missing` asks which files must be sent, each goes by PUT to the place
//! that is told, and `publish` names all of them. Invariant: requests are refused with unknown
//! keys. Not promised: that a place is good for longer than an hour.

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
    /// When it was made, in seconds since 1970-01-01 UTC.
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
    /// Its length in bytes.
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
    /// Its length in bytes.
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

/// What a push or pull did.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Published {
    /// `org/model`.
    pub name: String,
    /// The tag.
    pub tag: String,
    /// The revision, forty hex digits.
    pub revision: String,
    /// How many files it has.
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
