//! The wire of a node's control calls: every request and answer of `/v1/*`, as types of serde.
//!
//! One shape for the node and its clients, so that neither needs the other's code. Sizes are in
//! bytes, times in seconds since 1970-01-01 UTC, hashes in hex. Invariant: while the paths say
//! `v1`, fields are only added to answers, never renamed or removed, and a client ignores what it
//! does not know; requests are refused with unknown keys, so that a newer client is told and not
//! half obeyed. `tests/wire.rs` has each as text: who changes one sees it. Not promised: logic;
//! there is none.

#![forbid(unsafe_code)]

pub mod care;
pub mod fault;
pub mod listing;
pub mod nfs;
pub mod publish;
pub mod pull;
pub mod status;
pub mod task;
pub mod tune;

pub use care::{Collected, Damage, Gc, Verified, Verify};
pub use fault::Fault;
pub use listing::{File, Model, Models, Revision, RevisionUsage, SignedBy, Target, Usage};
pub use publish::{
    Having, HavingFile, Missing, MissingFile, Publish, PublishFile, Published, Push, Sign,
    SignatureText, Signed,
};
pub use pull::{Pull, Token};
pub use status::Status;
pub use task::{Task, TaskState};

/// The version that the paths name: `/v1/...`.
pub const VERSION: u32 = 1;

/// `GET`: [`status::Status`].
pub const STATUS: &str = "/v1/status";

/// `GET`: [`tune::Report`].
pub const TUNE: &str = "/v1/tune";

/// `GET`: [`listing::Models`]; and what all calls about models begin with.
pub const MODELS: &str = "/v1/models";

/// `GET`: [`nfs::Clients`].
pub const NFS_CLIENTS: &str = "/v1/nfs/clients";

/// `GET`: [`nfs::Locks`].
pub const NFS_LOCKS: &str = "/v1/nfs/locks";

/// `POST` of a [`nfs::Revoke`]: [`nfs::Revoked`].
pub const NFS_REVOKE: &str = "/v1/nfs/revoke";
