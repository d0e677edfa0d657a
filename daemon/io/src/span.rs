//! A file span: bytes that are named, not held.
//!
//! Invariant: a span keeps its file open, so the bytes stay reachable after a rename or an
//! unlink. Not promised: that the file still has them when they are sent; [`SpanFault`] says
//! what the driver found.

use std::fs::File;
use std::sync::Arc;

/// `length` bytes of `file` from `offset`, both in bytes.
#[derive(Clone, Debug)]
pub struct FileSpan {
    /// The open file. Shared: the same descriptor serves many spans, so its cursor is not used.
    pub file: Arc<File>,
    /// Bytes from the start of the file, at most 2^63-1 (`off_t`).
    pub offset: u64,
    /// Bytes to move.
    pub length: u64,
}

/// Why a span could not be sent as announced.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SpanFault {
    /// The file ended early: it shrank after the reply was made.
    #[error("the file ended after {bytes} of the announced bytes")]
    Short {
        /// Bytes that were there.
        bytes: u64,
    },
    /// The storage failed to read.
    #[error("reading the file failed: {0}")]
    Read(rustix::io::Errno),
}

/// Why a payload was not stored. The rest of it was read and thrown away, so the stream
/// stands behind it and the peer can be answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PayloadFault {
    /// The storage refused a write (no space, quota, I/O error).
    #[error("writing the file failed: {0}")]
    Write(rustix::io::Errno),
}
