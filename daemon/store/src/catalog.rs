//! What can be read from the store right now: an immutable picture for those who serve it.
//!
//! Invariant: a catalog never changes; a new one replaces it as a whole after every change, so
//! a reader sees a tag and its files from the same moment. A revision in it is complete, its
//! manifest was hashed when it was loaded, and where the store demands a signature it has one.
//! Not promised: that a file named here still exists a second later; hold a lease for that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::books::{Books, ReferenceRow, RevisionRow};
use crate::layout;
use crate::manifest::Manifest;
use crate::name::{FileId, GitId, ManifestId, RepoName, RepoPath, RevisionId, Sha256, TagName};
use crate::sign::PublicKey;

/// Everything that can be read.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Which picture this is: grows with every change of this process.
    pub generation: u64,
    /// The repositories.
    pub repos: BTreeMap<RepoName, CatalogRepo>,
    /// Revisions that are here without the signature that the store demands, and the tags that
    /// point to them: nobody may read them, and an owner must know of them.
    pub refused: BTreeMap<RepoName, CatalogRepo>,
}

/// One repository.
#[derive(Clone, Debug, Default)]
pub struct CatalogRepo {
    /// Its tags, and where they point.
    pub tags: BTreeMap<TagName, CatalogTag>,
    /// Its revisions.
    pub revisions: BTreeMap<RevisionId, Arc<CatalogRevision>>,
}

/// One tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CatalogTag {
    /// The revision that it points to.
    pub rev: RevisionId,
    /// How often it was moved.
    pub seq: u64,
    /// When it was moved last, in seconds since 1970-01-01 UTC.
    pub time: u64,
    /// It is a branch: hub clients commit to it.
    pub is_branch: bool,
}

/// One revision.
#[derive(Clone, Debug)]
pub struct CatalogRevision {
    /// Its repository.
    pub repo: RepoName,
    /// Its id.
    pub rev: RevisionId,
    /// Its content.
    pub manifest: ManifestId,
    /// The revision before it.
    pub parent: Option<RevisionId>,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// What was said about it.
    pub message: String,
    /// Where it came from; `None`: published here.
    pub origin: Option<String>,
    /// Length of all files together, in bytes.
    pub bytes: u64,
    /// When it was used last; whoever serves it says so.
    pub last_use: LastUse,
    /// Who signed it, trusted or not.
    pub signed_by: Vec<PublicKey>,
    /// Its files, sorted by path bytes.
    pub files: Vec<CatalogFile>,
    /// The git tree ids of its directories, sorted by path; "" is the root.
    pub directories: BTreeMap<Box<str>, GitId>,
}

/// When something was used last, in seconds since 1970-01-01 UTC. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct LastUse(Arc<AtomicU64>);

impl LastUse {
    /// Says that it is used at a time. Waits for nobody.
    pub fn note(&self, now: u64) {
        self.0.fetch_max(now, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One file of a revision.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CatalogFile {
    /// Where it lies in the revision.
    pub path: RepoPath,
    /// Length in bytes.
    pub size: u64,
    /// Its git blob id; for an LFS file that of the pointer.
    pub git_oid: GitId,
    /// SHA-256 of its bytes, where it is known.
    pub sha256: Option<Sha256>,
    /// Whether git would hold a pointer in its place.
    pub lfs: bool,
    /// Its identity in the store.
    pub id: FileId,
}

impl CatalogFile {
    /// What a hub sends as ETag, without quotes: SHA-256 of an LFS file, else the blob id.
    #[must_use]
    pub fn etag(&self) -> String {
        match (self.lfs, self.sha256) {
            (true, Some(sha256)) => sha256.to_string(),
            _ => self.git_oid.to_string(),
        }
    }
}

impl CatalogRevision {
    pub(crate) fn new(row: &RevisionRow, manifest: Manifest, signed_by: Vec<PublicKey>) -> Self {
        let directories = manifest.trees().directories;
        let bytes = manifest.bytes();
        let files = manifest.files.into_iter().map(|file| CatalogFile {
            lfs: file.is_lfs(),
            path: file.path,
            size: file.size,
            git_oid: file.git_oid,
            sha256: file.sha256,
            id: file.table,
        });
        Self {
            repo: manifest.repo,
            rev: manifest.rev,
            manifest: row.manifest,
            parent: manifest.parent,
            created: manifest.created,
            message: manifest.message,
            origin: row.origin.clone(),
            bytes,
            last_use: LastUse::default(),
            signed_by,
            files: files.collect(),
            directories,
        }
    }

    /// The file at a path.
    #[must_use]
    pub fn file(&self, path: &RepoPath) -> Option<&CatalogFile> {
        let at = self
            .files
            .binary_search_by(|file| file.path.cmp(path))
            .ok()?;
        self.files.get(at)
    }

    /// Where a file of this revision lies, relative to the store's root.
    #[must_use]
    pub fn place(&self, file: &CatalogFile) -> String {
        format!("{}/{}", layout::revision(&self.repo, &self.rev), file.path)
    }
}

impl CatalogRepo {
    /// The revision that a tag or forty hex digits name.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&Arc<CatalogRevision>> {
        let rev = match name.parse::<RevisionId>() {
            Ok(rev) => rev,
            Err(_) => self.tags.get(&name.parse::<TagName>().ok()?)?.rev,
        };
        self.revisions.get(&rev)
    }
}

impl Catalog {
    /// A repository.
    #[must_use]
    pub fn repo(&self, repo: &RepoName) -> Option<&CatalogRepo> {
        self.repos.get(repo)
    }

    /// The name of a repository that is here and is written like this, or else like this but for
    /// capital and small letters, or for the mark of a name without an organisation.
    #[must_use]
    pub fn spelled(&self, repo: &RepoName) -> RepoName {
        if self.repos.contains_key(repo) || self.refused.contains_key(repo) {
            return repo.clone();
        }
        let mut names = self.repos.keys().chain(self.refused.keys());
        match (names.find(|name| name.is_alike(repo)), repo.without_mark()) {
            (Some(name), _) => name.clone(),
            (None, Some(bare)) => self.spelled(&bare),
            (None, None) => repo.clone(),
        }
    }

    /// The revision that a tag or forty hex digits name.
    #[must_use]
    pub fn resolve(&self, repo: &RepoName, name: &str) -> Option<&Arc<CatalogRevision>> {
        self.repos.get(repo)?.resolve(name)
    }

    pub(crate) fn build(
        generation: u64,
        books: &Books,
        (shown, refused): (&Revisions, &Revisions),
    ) -> Self {
        Self {
            generation,
            repos: repos(books, shown),
            refused: repos(books, refused),
        }
    }
}

/// Revisions by repository and id.
type Revisions = BTreeMap<(RepoName, RevisionId), Arc<CatalogRevision>>;

/// The repositories of these revisions, with the tags that point to one of them.
fn repos(books: &Books, revisions: &Revisions) -> BTreeMap<RepoName, CatalogRepo> {
    let mut repos: BTreeMap<RepoName, CatalogRepo> = BTreeMap::new();
    for ((repo, rev), revision) in revisions {
        let repo = repos.entry(repo.clone()).or_default();
        repo.revisions.insert(*rev, Arc::clone(revision));
    }
    for row in books.references() {
        let ReferenceRow { reference, .. } = row;
        let Some(repo) = repos.get_mut(&reference.repo) else {
            continue;
        };
        if !repo.revisions.contains_key(&reference.rev) {
            continue;
        }
        let tag = CatalogTag {
            rev: reference.rev,
            seq: reference.seq,
            time: reference.time,
            is_branch: row.is_branch || reference.tag.is_main(),
        };
        repo.tags.insert(reference.tag.clone(), tag);
    }
    repos
}
