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
mod control_metrics;
mod data_lock;
mod datagrams;
mod description;
mod error;
mod eviction;
mod face;
mod key_file;
mod measuring;
mod nfs_desk;
mod node;
mod process;
mod registration;
mod silent_clients;
mod sockets;
mod standing;
mod tls;
pub mod trace;
mod tuning_peer;
mod volumes;
mod workers;

pub use error::NodeError;
pub use node::run;
