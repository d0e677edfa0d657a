//! How far a long piece of work has come, for whoever watches it, and the way to stop it.
//!
//! Invariant: counters only grow, and a stop is noticed within one chunk. Not promised: that the
//! work is undone at once when it was stopped; what is half done is removed before it returns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{ClientFault, Result};

/// Counters of one piece of work.
#[derive(Debug, Default)]
pub struct Progress {
    bytes_total: AtomicU64,
    bytes_done: AtomicU64,
    files_total: AtomicU64,
    files_done: AtomicU64,
    stopped: AtomicBool,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ProgressView {
    /// Bytes to look at.
    pub bytes_total: u64,
    /// Bytes looked at.
    pub bytes_done: u64,
    /// Files to look at.
    pub files_total: u64,
    /// Files finished.
    pub files_done: u64,
}

impl Progress {
    /// The counters now.
    #[must_use]
    pub fn view(&self) -> ProgressView {
        ProgressView {
            bytes_total: self.bytes_total.load(Ordering::Relaxed),
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            files_total: self.files_total.load(Ordering::Relaxed),
            files_done: self.files_done.load(Ordering::Relaxed),
        }
    }

    /// Asks the work to stop; it ends with [`ClientFault::Stopped`].
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn expect(&self, files: u64, bytes: u64) {
        self.files_total.fetch_add(files, Ordering::Relaxed);
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, bytes: u64) -> Result<()> {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
        if self.stopped.load(Ordering::Relaxed) {
            return Err(ClientFault::Stopped.into());
        }
        Ok(())
    }

    pub(crate) fn finish_file(&self) {
        self.files_done.fetch_add(1, Ordering::Relaxed);
    }
}
