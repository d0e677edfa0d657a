//! One node: from checked settings to running parts, and back to a clean stop.
//!
//! The order is fixed: settings, volumes, sockets, workers, control plane, ready. Nothing
//! listens before everything that can be wrong has been checked, and what fails says so with an
//! exit code ([`NodeError::exit_code`]). Promised: after [`run`] has returned no thread of the
//! node is left and every acknowledged write is where it was promised to be. Not promised: more
//! than one node per process (umask, descriptor limit and signals are the process's).

#![forbid(unsafe_code)]

mod budget;
mod control;
mod data_lock;
mod data_plane;
mod datagrams;
mod description;
mod error;
mod eviction;
mod face;
mod https;
mod key_file;
mod measuring;
mod models;
mod nfs_desk;
mod node;
mod part;
mod process;
mod protocols;
mod registration;
mod sockets;
mod standing;
pub mod trace;
mod tuning;
mod vitals;
mod volumes;
mod workers;

pub use error::NodeError;
pub use node::run;
