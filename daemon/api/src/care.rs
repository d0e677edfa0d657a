//! Looking after what is stored: verification, and collection of what nobody needs.
//!
//! Invariant: requests are refused with unknown keys; answers may grow.

use serde::{Deserialize, Serialize};

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
    /// What kind of thing: `data`, `length`, `missing`, `table`, `manifest`, `index`, `ledger`,
    /// `shown` or `signature`.
    pub kind: String,
    /// Where, relative to the store.
    pub path: String,
    /// How that is known.
    pub detail: String,
    /// Revisions that have it, as `org/model@revision`.
    pub revisions: Vec<String>,
    /// What was done about it: `healed`, `quarantined` or `left`.
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
    /// Revisions that went, as `org/model@revision`.
    pub revisions: Vec<String>,
    /// Files that went.
    pub files: u64,
    /// Bytes that went.
    pub bytes: u64,
    /// Revisions that were marked and go next time.
    pub revisions_marked: Vec<String>,
    /// Files that were marked and go next time, when the grace is over.
    pub files_marked: u64,
    /// Bytes of those files.
    pub bytes_marked: u64,
    /// Bytes of uploads that nobody published or went on with, which went.
    #[serde(default)]
    pub bytes_uploads: u64,
}
