//! NFS version 3 (RFC 1813): its 22 procedures, one file for each or for a few that are alike.
//!
//! A procedure reads nothing from the wire ([`args`] did) and writes its whole result. Those that
//! a worker may answer from memory are generic over [`crate::ground::Ground`]; the others run on
//! a pool thread only. Not promised: locking (NLM) and access control lists (NFSACL).

pub mod args;
pub mod procedure;

pub use args::Arguments;
pub use procedure::Procedure;

/// Program number of NFS (RFC 1813 section 1.2).
pub const PROGRAM: u32 = 100_003;

/// The version that we serve (RFC 1813 section 1.2).
pub const VERSION: u32 = 3;

/// Longest READ and WRITE that FSINFO offers, in bytes: 1 MiB is the most that Linux and macOS
/// clients take, and what one pooled pipe of the driver holds (RFC 1813 section 3.3.19 `rtmax`).
pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;
