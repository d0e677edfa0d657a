//! The NFS face of a node: ONC RPC, portmap, MOUNT, NFSv3 and NFSv4 as protocol cores without
//! I/O.
//!
//! A worker has a [`Desk`], which makes a [`Connection`] for each socket; all desks share one
//! [`Server`]. What a worker's view has in memory is answered inline, without a lock and without
//! an allocation; the rest runs on a pool thread, from the first check to the finished reply.
//!
//! Promised: a handle is believed only with its MAC, an address opens an export and a uid never
//! does, nobody's uid 0 is root unless the export says so, a read-only export changes for nobody,
//! nothing is allocated from a length that a peer claimed, a call is answered at most once even
//! if it is sent twice. Not promised: NFSv4.0, locking for version 3 (NLM), access control lists
//! (NFSACL), NFS over UDP, durability on volumes that promise none, and replies in the order of
//! their calls.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod access;
mod blocking;
mod caller;
pub mod connection;
pub mod datagram;
pub mod desk;
mod ground;
pub mod line;
pub mod metrics;
pub mod mount;
pub mod mounts;
mod overlap;
pub mod portmap;
pub mod route;
pub mod rpc;
pub mod server;
mod statuses;
pub mod v3;
pub mod v4;
pub mod xdr;

pub use connection::{Connection, Done};
pub use datagram::datagram;
pub use desk::Desk;
pub use line::Line;
pub use metrics::Snapshot;
pub use route::Programs;
pub use server::{LocalPorts, Ports, Server, Settings};
pub use v3::Status;
