//! Why the store could not do something, sorted by whose fault it is, since that decides the
//! answer: tell the client, drop the peer, alarm the operator, or try again.
//!
//! Invariant: every message says what failed and on what; where a person can do something about
//! it, it says what. Not promised: that a storage error is the last one.

use rustix::io::Errno;

use crate::manifest::ManifestFault;
use crate::name::{ManifestId, NameFault, RepoName, RepoPath, RevisionId, TagName};
use crate::sign::PublicKey;
use crate::table::TableFault;

/// The outcome of an operation on the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why an operation failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// The caller asked for something that cannot be: answer with a status.
    #[error(transparent)]
    Client(#[from] ClientFault),
    /// A source or peer sent something else than it promised: drop it.
    #[error(transparent)]
    Peer(#[from] PeerFault),
    /// Our own disk failed or holds something else than was written: alarm.
    #[error(transparent)]
    Storage(#[from] StorageFault),
    /// Nobody's fault: pause or retry.
    #[error(transparent)]
    Busy(#[from] BusyFault),
}

/// What the caller should have asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClientFault {
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameFault),
    /// Files that cannot be one revision.
    #[error(transparent)]
    Manifest(#[from] ManifestFault),
    /// No such repository.
    #[error("no model {0} here; see 'towline models'")]
    NoRepo(RepoName),
    /// No such tag.
    #[error("no tag {tag} of {repo} here; see 'towline models show {repo}'")]
    NoTag {
        /// The repository.
        repo: RepoName,
        /// The tag.
        tag: TagName,
    },
    /// No such revision.
    #[error("no revision {rev} of {repo} here; see 'towline models show {repo}'")]
    NoRevision {
        /// The repository.
        repo: RepoName,
        /// The revision.
        rev: RevisionId,
    },
    /// Another repository's name is so near that clients would take one for the other.
    #[error("{repo} cannot be here beside {other}: {reason}. Use {other}, or take another name")]
    NameTaken {
        /// What was to be published.
        repo: RepoName,
        /// What is here.
        other: RepoName,
        /// Why not both.
        reason: &'static str,
    },
    /// A branch or tag whose name is the beginning of another's.
    #[error("{repo} has '{other}', so it cannot have '{tag}': one is a folder of the other")]
    TagTaken {
        /// The repository.
        repo: RepoName,
        /// What was to be set.
        tag: TagName,
        /// What is there.
        other: TagName,
    },
    /// A repository that others have signed cannot have another name.
    #[error(
        "{0} is signed for this name by keys that are not this node's: publish it under the new \
         name, and remove it here"
    )]
    SignedByOthers(RepoName),
    /// Nothing to publish.
    #[error("nothing to publish: the source has no files")]
    Empty,
    /// The source is not something that can be published.
    #[error("{path}: {reason}")]
    Source {
        /// What was read.
        path: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The source changed while it was read.
    #[error("{0} changed while it was read; push again when nobody writes to it")]
    SourceChanged(RepoPath),
    /// The head of the tag is not the one that the caller has seen.
    #[error("{repo}:{tag} has moved to {head}; look at it and publish again")]
    HeadMoved {
        /// The repository.
        repo: RepoName,
        /// The tag.
        tag: TagName,
        /// Where it points now.
        head: RevisionId,
    },
    /// The store demands a signature by a trusted key.
    #[error(
        "{repo}@{rev} is not signed by a key that this node trusts, and it requires that \
         (models.require_signature): sign it with 'towline models sign {repo}:{rev}', with a key \
         that is in models.trusted_keys"
    )]
    Unsigned {
        /// The repository.
        repo: RepoName,
        /// The revision.
        rev: RevisionId,
    },
    /// The store demands a signature, and nobody signs.
    #[error(
        "{0} would not be signed, and this node requires signatures (models.require_signature): \
         set models.signing_key on the node, or publish with 'towline push --sign-key FILE'"
    )]
    NoSigner(RepoName),
    /// The store demands a signature by a trusted key, and this one is not.
    #[error(
        "{repo} is signed by {key}, which is not among models.trusted_keys of the node; add it \
         there, or sign with a key that is"
    )]
    Untrusted {
        /// The repository.
        repo: RepoName,
        /// Whose signature it has.
        key: PublicKey,
    },
    /// A signature that is for something else.
    #[error(
        "the signature of {repo} by {key} is for other content than what is here; nothing was \
         changed. Publish again when nobody writes to the files"
    )]
    WrongSignature {
        /// The repository.
        repo: RepoName,
        /// Whose it claims to be.
        key: PublicKey,
    },
    /// The quota has no room for it.
    #[error(
        "needs {needed} bytes, {free} are free below the limit of {limit}, and evicting all that \
         may go would free {evictable}; remove or unpin models, or raise the limit"
    )]
    Quota {
        /// Bytes asked for.
        needed: u64,
        /// Bytes free now.
        free: u64,
        /// The limit: the quota, or the size of the file system.
        limit: u64,
        /// Bytes that eviction could free.
        evictable: u64,
    },
    /// The revision is pinned or leased.
    #[error("{repo}@{rev} is {held}; {remedy}")]
    Held {
        /// The repository.
        repo: RepoName,
        /// The revision.
        rev: RevisionId,
        /// `pinned`, or by whom it is leased.
        held: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Somebody else's folder stands where a revision or tag is to be shown.
    #[error(
        "{0} in the store's folder was not made by the store, and files in it would be lost; move \
         it away and try again"
    )]
    InTheWay(String),
    /// An arrival is finished before everything has come.
    #[error("{path} is not complete: {missing} bytes are missing")]
    Incomplete {
        /// The file.
        path: RepoPath,
        /// How many bytes.
        missing: u64,
    },
    /// The caller stopped it.
    #[error("stopped")]
    Stopped,
    /// An argument is out of range.
    #[error("{0}")]
    Argument(&'static str),
}

/// What a source or peer did wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PeerFault {
    /// The bytes have another hash than was promised.
    #[error("{path}: the source sent other bytes than it promised ({what})")]
    Hash {
        /// The file.
        path: RepoPath,
        /// Which promise was broken.
        what: &'static str,
    },
    /// A chunk table that is none, or another than was promised.
    #[error("{path}: bad chunk table from the source: {fault}")]
    Table {
        /// The file.
        path: RepoPath,
        /// What is wrong with it.
        fault: TableFault,
    },
    /// Bytes outside the file.
    #[error("{path}: bytes outside the file were sent")]
    Range {
        /// The file.
        path: RepoPath,
    },
    /// A proof that does not prove its range.
    #[error("the proof of a range does not fit its chunk")]
    Proof,
}

/// What our own storage did wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StorageFault {
    /// A call failed.
    #[error("storage error on {path}: {what}: {errno}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what, relative to the store.
        path: String,
        /// What the system said.
        errno: Errno,
    },
    /// The file system is full.
    #[error("no space left on the file system of the store; remove models or run 'towline gc'")]
    Full,
    /// The index failed.
    #[error("the store's index failed: {0}; restart the node, which rebuilds it if need be")]
    Index(String),
    /// Something holds other bytes than were written.
    #[error("{path} is damaged: {reason}; run 'towline verify'")]
    Damaged {
        /// What, relative to the store.
        path: String,
        /// How that is known.
        reason: String,
    },
    /// A manifest that should be here is not.
    #[error("manifest {0} is missing; run 'towline verify'")]
    NoManifest(ManifestId),
    /// A collection found something whose removal it cannot account for.
    #[error("nothing was removed: {what}; {remedy}")]
    Unexplained {
        /// What it is.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The store was made by another version.
    #[error("the store at this place was made by version {0}; use that version of towline")]
    Version(u64),
    /// A thread could not be started or died.
    #[error("a thread of the store failed: {0}")]
    Thread(&'static str),
}

/// Why it may work later.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BusyFault {
    /// Another process has the store open.
    #[error("another process has the store open; stop it, or ask it instead")]
    Locked,
    /// The same revision is being pulled already.
    #[error("this revision is being written already")]
    Writing,
}

/// Puts a failed call on the backend into words; the file system's being full gets its own.
pub(crate) fn io(what: &'static str, path: &str) -> impl FnOnce(Errno) -> StoreError {
    let path = path.to_owned();
    move |errno| match errno {
        Errno::NOSPC | Errno::DQUOT => StorageFault::Full.into(),
        errno => StorageFault::Io { what, path, errno }.into(),
    }
}

impl From<NameFault> for StoreError {
    fn from(fault: NameFault) -> Self {
        ClientFault::Name(fault).into()
    }
}

impl From<ManifestFault> for StoreError {
    fn from(fault: ManifestFault) -> Self {
        ClientFault::Manifest(fault).into()
    }
}
