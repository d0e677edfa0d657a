//! A file span: bytes that are named, not held.
//!
//! Invariant: a span keeps its file open, so the bytes stay reachable after a rename or an
//! unlink. Not promised: that the file still has them when they are sent; [`SpanFault`] says
//! what the driver found.

use std::fs::File;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use towline_sys::mapping::{Mappable, MappedSpan};

/// Tells which bytes of a file have arrived, for files that are still on their way.
pub trait Gate: std::fmt::Debug + Send + Sync {
    /// How many of the `length` bytes from `offset` may be read now, without a gap. Bytes that
    /// were there once stay.
    fn passage(&self, offset: u64, length: u64) -> Passage;

    /// Asks that these bytes come next. May be called again while they are awaited.
    fn want(&self, offset: u64, length: u64);
}

/// What a [`Gate`] says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Passage {
    /// So many bytes may be read; more than 0.
    Open(u64),
    /// Not even the first byte is here yet.
    Closed,
    /// They will not come: whatever brought them has stopped.
    Lost,
}

/// An open regular file, with what is asked of the kernel once and for all when it is opened.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    lives_in_memory: bool,
    gate: Option<Arc<dyn Gate>>,
    mappable: Mappable,
    /// Looks at the page cache in a row that found everything there.
    hits: AtomicU32,
}

/// Looks in a row after which a file counts as held in memory: a second's worth of a busy file.
const HITS_TRUSTED: u32 = 1024;

impl OpenFile {
    /// Asks the kernel what kind of file system the file lies on.
    #[must_use]
    pub fn new(file: File) -> Self {
        let lives_in_memory = is_on_tmpfs(&file);
        Self {
            file,
            lives_in_memory,
            gate: None,
            mappable: Mappable::default(),
            hits: AtomicU32::new(0),
        }
    }

    /// The same file, of which only what the gate lets pass is read.
    #[must_use]
    pub fn behind(self, gate: Option<Arc<dyn Gate>>) -> Self {
        Self { gate, ..self }
    }

    /// How many of the `length` bytes from `offset` have arrived, without a gap.
    #[must_use]
    pub fn passage(&self, offset: u64, length: u64) -> Passage {
        match &self.gate {
            None => Passage::Open(length),
            Some(gate) => gate.passage(offset, length),
        }
    }

    /// Whether the last looks at the page cache all found what they looked for. Then the end of a
    /// short span stands for all of it: what is wrong about that costs one read from the disk.
    pub(crate) fn is_held(&self) -> bool {
        self.hits.load(Ordering::Relaxed) >= HITS_TRUSTED
    }

    /// Notes what a look has found.
    pub(crate) fn note_look(&self, is_there: bool) {
        if !is_there {
            self.hits.store(0, Ordering::Relaxed);
        } else if !self.is_held() {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks that bytes arrive next.
    pub(crate) fn want(&self, offset: u64, length: u64) {
        if let Some(gate) = &self.gate {
            gate.want(offset, length);
        }
    }

    /// Bytes of a file that lives in memory, to be sent from where they lie.
    pub(crate) fn mapped(&self, offset: u64, length: u64) -> Option<MappedSpan> {
        if !self.lives_in_memory {
            return None;
        }
        self.mappable.span(&self.file, offset, length)
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
    /// The bytes have not arrived in time; they still may.
    #[error("the bytes are still on their way")]
    Late,
    /// The bytes will not arrive.
    #[error("the rest of the file stopped on its way here")]
    Lost,
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
