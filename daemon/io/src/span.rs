//! A file span: bytes that are named, not held.
//!
//! Invariant: a span keeps its file open, so the bytes stay reachable after a rename or an
//! unlink. Not promised: that the file still has them when they are sent; [`SpanFault`] says
//! what the driver found.

use std::fs::File;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// An open regular file, with what is asked of the kernel once and for all when it is opened.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    lives_in_memory: bool,
}

impl OpenFile {
    /// Asks the kernel what kind of file system the file lies on.
    #[must_use]
    pub fn new(file: File) -> Self {
        let lives_in_memory = is_on_tmpfs(&file);
        Self {
            file,
            lives_in_memory,
        }
    }

    /// Whether the file lies on tmpfs: there is no disk to wait for, and before Linux 6.6 no
    /// RWF_NOWAIT either. Pages that were swapped out are read while the worker waits.
    #[must_use]
    pub fn lives_in_memory(&self) -> bool {
        self.lives_in_memory
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn is_on_tmpfs(file: &File) -> bool {
    /// `TMPFS_MAGIC`, statfs(2).
    const TMPFS: u64 = 0x0102_1994;
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type as u64 == TMPFS)
}

/// `length` bytes of `file` from `offset`, both in bytes.
#[derive(Clone, Debug)]
pub struct FileSpan {
    /// The open file. Shared: the same descriptor serves many spans, so its cursor is not used.
    pub file: Arc<OpenFile>,
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
