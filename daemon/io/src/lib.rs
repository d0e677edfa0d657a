//! The data plane: one worker thread per core, each with its own listeners, connections and
//! engine: epoll for sockets, io_uring (or threads where that is forbidden) for cold file data.
//!
//! Promised: a protocol core ([`Protocol`]) never sees a socket; it takes bytes and answers with
//! bytes and [`FileSpan`]s, and this crate alone moves them. Workers share nothing but the pool
//! of threads for calls that may block ([`Output::defer`]). Everything that a peer can make this
//! crate hold is bounded by a named limit. Not promised: fairness finer than one turn of the
//! loop, and zero copies on kernels or file systems that do not splice.
#![forbid(unsafe_code)]

pub mod admission;
pub mod backend;
mod connection;
mod engine;
pub mod handle;
pub mod limits;
pub mod listener;
mod mailbox;
pub mod metrics;
mod outbox;
pub mod peer_owner;
mod pipes;
pub mod pool;
pub mod protocol;
pub mod span;
mod token;
mod worker;

pub use admission::Admission;
pub use engine::{EngineChoice, uring_works};
pub use handle::{Address, WorkerHandle};
pub use limits::WorkerLimits;
pub use listener::{Congestion, listen_all};
pub use metrics::WorkerMetrics;
pub use pool::{Pool, PoolLimits};
pub use protocol::{
    Demand, Framed, HandOff, Output, Payload, PayloadSink, Peer, Protocol, Service,
};
pub use span::{FileSpan, Gate, OpenFile, Passage, PayloadFault, SpanFault};
pub use worker::{Listening, Patience, Worker, WorkerParts};
