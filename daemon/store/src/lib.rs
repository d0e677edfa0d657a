//! Content-addressed models: published or pulled once, cut into named chunks, kept as contiguous
//! files that everything can read in place, and checked against their names.
//!
//! Promised: a revision that was acknowledged survives a crash of process or machine; what is
//! shown of it is complete and hashed to its names when it was stored, and again whenever
//! [`Store::verify`] passes; no name from outside leads out of the store; a limit of room is
//! judged before the first byte. Not promised: that a read of a materialised file checks its
//! bytes (they go from the page cache to the network without passing through here), and that
//! damage is found before a verification looks.
//!
//! Hard links: what is shown shares its inode with the store's own file, so whoever may write
//! below the store's root as root can damage it; the mode is 0444, and `verify` tells.
#![forbid(unsafe_code)]

pub mod align;
pub mod announce;
pub mod arrival;
mod books;
mod buffer;
pub mod catalog;
pub mod chunks;
pub mod collect;
pub mod compose;
pub mod cut;
mod cutting;
mod disk;
pub mod error;
pub mod evict;
pub mod git;
pub mod group;
mod hasher;
mod hold;
mod index;
mod ingest;
mod keep;
pub mod layout;
pub mod manifest;
mod metrics;
pub mod name;
mod naming;
pub mod progress;
pub mod publish;
mod recover;
mod reflink;
mod repository;
pub mod sign;
pub mod signing_key;
pub mod source;
mod space;
mod store;
mod strangers;
pub mod survey;
pub mod table;
mod tables;
pub mod usage;
pub mod verify;
mod visible;
mod vouch;

pub use arrival::{Arrival, ArrivalFile, ArrivalPlan, ArrivalProgress};
pub use catalog::{Catalog, CatalogFile, CatalogRepo, CatalogRevision, CatalogTag, LastUse};
pub use collect::{CollectOptions, Collected};
pub use compose::Outline;
pub use error::{BusyFault, ClientFault, PeerFault, Result, StorageFault, StoreError};
pub use evict::Origins;
pub use ingest::Stored;
pub use metrics::{StoreGauges, StoreMetrics};
pub use name::{
    ChunkId, FileId, GitId, ManifestId, NameFault, RepoKind, RepoName, RepoPath, RevisionId,
    Sha256, TagName,
};
pub use progress::{Progress, ProgressView};
pub use publish::{Parent, PublishOptions, Published};
pub use sign::{PublicKey, Signature, Signer};
pub use source::{DirectorySource, Source, SourceEntry};
pub use store::{Clock, Options, Store};
pub use usage::{RevisionUsage, Usage};
pub use verify::{Damage, DamageKind, Healer, Remedy, VerifyOptions, VerifyReport, Wanted};
