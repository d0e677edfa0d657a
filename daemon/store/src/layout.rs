//! Where everything lies below the store's root.
//!
//! ```text
//! <org>/<model>/<tag or revision>/...      what clients see; hard links, real directories
//! <model>/<tag or revision>/...            a model without an organisation
//! datasets/..., spaces/...                 the same below the word for other kinds
//! .towline/files/<2 hex>/<id>.data, .table the bytes and the cuts of each file, mode 0444; a file
//!                                          of one chunk up to 64 KiB has no table beside it
//! .towline/manifests/<id>, <id>.sig        each revision, and who signed it
//! .towline/arrivals/<n>/                   what is still being pulled
//! .towline/index.redb, ledger              the index, and a second copy of its small tables
//! .towline/hub/models--org--name/          the same revisions in the layout of the hub's cache
//! .towline/hub/datasets--org--name/ ...    and of the other kinds
//! .towline/tmp/, quarantine/, lock
//! ```
//! Invariant: nothing outside [`INTERNAL`] is ever written but real directories and hard links,
//! and a name outside it never starts with a dot. Not promised: that these paths stay; only what
//! is outside `.towline`, and the hub's layout, is for others.

use crate::name::{FileId, ManifestId, RepoName, RevisionId, TagName};

/// The one reserved name in the store's root.
pub const INTERNAL: &str = ".towline";
/// The view in the layout of the hub's cache, which may be exported as a volume of its own.
pub const HUB: &str = ".towline/hub";
pub(crate) const FILES: &str = ".towline/files";
pub(crate) const MANIFESTS: &str = ".towline/manifests";
pub(crate) const ARRIVALS: &str = ".towline/arrivals";
pub(crate) const TEMPORARY: &str = ".towline/tmp";
pub(crate) const QUARANTINE: &str = ".towline/quarantine";
pub(crate) const INDEX: &str = ".towline/index.redb";
pub(crate) const LEDGER: &str = ".towline/ledger";
pub(crate) const LOCK: &str = ".towline/lock";

/// The internal directories, parents first.
pub(crate) const DIRECTORIES: [&str; 7] = [
    INTERNAL, FILES, MANIFESTS, ARRIVALS, TEMPORARY, QUARANTINE, HUB,
];

/// The directory of a file's data and table.
pub(crate) fn file_directory(id: &FileId) -> String {
    format!("{FILES}/{:02x}", id.0.first().copied().unwrap_or_default())
}

/// The bytes of a file, relative to the store's root.
#[must_use]
pub fn data(id: &FileId) -> String {
    format!("{}/{id}.data", file_directory(id))
}

/// The chunk table of a file, relative to the store's root; not there for a short one
/// ([`crate::table::ChunkTable::is_short`]).
#[must_use]
pub fn table(id: &FileId) -> String {
    format!("{}/{id}.table", file_directory(id))
}

pub(crate) fn manifest(id: &ManifestId) -> String {
    format!("{MANIFESTS}/{id}")
}

pub(crate) fn signatures(id: &ManifestId) -> String {
    format!("{MANIFESTS}/{id}.sig")
}

/// The directory that shows a revision, relative to the store's root.
#[must_use]
pub fn revision(repo: &RepoName, rev: &RevisionId) -> String {
    format!("{repo}/{rev}")
}

/// The directory that shows a tag, relative to the store's root.
#[must_use]
pub fn tag(repo: &RepoName, tag: &TagName) -> String {
    format!("{repo}/{}", tag.directory())
}

/// A repository's folder in the hub's layout, relative to the store's root.
#[must_use]
pub fn hub_repo(repo: &RepoName) -> String {
    let bare = repo.bare().replace('/', "--");
    format!("{HUB}/{}--{bare}", repo.kind().plural())
}
