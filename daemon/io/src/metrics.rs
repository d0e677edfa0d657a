//! Counters of one worker: written by its thread alone, read by whoever renders them.
//!
//! Invariant: a counter only grows, a gauge says what is now; each has one writer, so relaxed
//! stores are exact. Not promised: that two counters are read at the same moment.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::outbox::Moved;

/// A number that one thread changes and others read.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: u64) {
        self.0
            .store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, count: u64) {
        self.0
            .store(self.get().wrapping_sub(count), Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Connections taken in since the start.
    pub connections_accepted: Gauge,
    /// Connections closed at once because of a limit or a rule.
    pub connections_refused: Gauge,
    /// Connections open now.
    pub connections_open: Gauge,
    /// Bytes read from sockets.
    pub bytes_received: Gauge,
    /// Bytes sent from memory.
    pub bytes_sent_copied: Gauge,
    /// Bytes sent by sendfile.
    pub bytes_sent_sendfile: Gauge,
    /// Bytes sent through pipes after a cold read.
    pub bytes_sent_splice: Gauge,
    /// Cold reads begun.
    pub cold_reads: Gauge,
    /// Jobs given to the pool.
    pub jobs: Gauge,
    /// Replies that ended early because their file failed.
    pub span_faults: Gauge,
    /// Transfers closed because their peer paused too long or was too slow.
    pub timed_out: Gauge,
    /// Bytes of unfinished requests held now.
    pub receive_bytes_held: Gauge,
}

impl WorkerMetrics {
    pub(crate) fn sent(&self, moved: &Moved) {
        self.bytes_sent_copied.add(moved.copied);
        self.bytes_sent_sendfile.add(moved.by_sendfile);
        self.bytes_sent_splice.add(moved.by_splice);
    }
}
