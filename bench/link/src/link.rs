//! Measures the way between two hosts: the sockets, threads and clocks around [`crate::iperf3`].
//!
//! [`client::run`] and [`server::Server`] drive the protocol; a [`session::Session`] moves the
//! data, one thread per stream, on blocking sockets that its owner can shut down. Promised: one
//! test at a time, bounded in streams, time and memory; what is counted was really moved. Not
//! promised: that a receiver copies what it receives: by default it lets the kernel throw the
//! bytes away (`MSG_TRUNC`), and the report says so.

pub mod budget;
pub mod client;
pub mod control;
pub mod document;
pub mod error;
pub mod flow;
pub mod host;
mod open;
pub mod pacing;
pub mod probe;
pub mod report;
pub mod run;
pub mod server;
pub mod session;
mod summary;
pub mod surroundings;
pub mod tcp;
pub mod text;
pub mod udp;
pub mod verdict;
pub mod wake;
pub mod way;

pub use error::LinkError;
pub use run::{LinkRun, Side};
pub use way::Way;
