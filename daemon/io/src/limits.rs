//! The bounds of a worker that an operator may change, with their defaults.
//!
//! Invariant: nothing a peer does makes a worker hold more than these say. Not promised: that any
//! setting suits any machine; the defaults suit two cores and 16 GiB as well as 64 and 512.

use std::time::Duration;

/// Bounds of one worker.
#[derive(Clone, Copy, Debug)]
pub struct WorkerLimits {
    /// Bytes of unfinished requests that all connections of the worker may hold together. Past
    /// it connections wait, except the one whose request is the oldest.
    pub receive_bytes_max: usize,
    /// The time over which it is judged whether a request or reply under way moves fast enough.
    pub progress_window: Duration,
    /// Slowest transfer that is not closed, in bytes per second: in windows in which anything
    /// moves at all.
    pub progress_bytes_per_s: u64,
    /// Time for which the peer of a request or reply under way may move nothing at all.
    pub stall_max: Duration,
    /// Most pipes of the worker in use: cold reads under way. An ordinary user may have 64 MiB of
    /// pipes, each takes two descriptors and up to 1 MiB.
    pub pipes_max: usize,
    /// How long connections may go on after the node was told to stop.
    pub drain_max: Duration,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            receive_bytes_max: 64 << 20,
            progress_window: Duration::from_secs(10),
            progress_bytes_per_s: 1024,
            stall_max: Duration::from_secs(120),
            pipes_max: 32,
            drain_max: Duration::from_secs(10),
        }
    }
}

/// Bytes that one turn moves for one connection before the next one gets its turn. With 8 MiB a
/// large hot GET took 18 % more CPU than nginx, with 2 MiB 9 %: what a turn sends is still in the
/// cache when its receiver reads it.
pub(crate) const TURN_BYTES: usize = 2 << 20;

/// Bytes asked from a socket at a time when requests are small: a window of 64 calls.
pub(crate) const RECEIVE_BYTES_MIN: usize = 8 << 10;

/// Bytes of small requests that are answered before the answers are sent: about a dozen NFS
/// calls. With 8 KiB peer and node took turns instead of working at the same time.
pub(crate) const SLICE_BYTES: usize = 2 << 10;

/// Bytes asked from a socket at a time when it keeps filling the buffer.
pub(crate) const RECEIVE_BYTES_MAX: usize = 256 << 10;

/// A connection with more unsent bytes than this in memory is not read from.
pub(crate) const UNSENT_BYTES_MAX: usize = 1 << 20;

/// A connection with more unsent pieces than this is not read from.
pub(crate) const UNSENT_ITEMS_MAX: usize = 256;

/// A connection with more deferred jobs and cold reads than this is not read from.
pub(crate) const UNDER_WAY_MAX: usize = 128;

/// Longest span of a framed reply that is copied into the reply instead of sent as a file: below
/// it one copy costs less than the two system calls that it saves.
pub(crate) const INLINE_BYTES_MAX: u64 = 32 << 10;

/// Shortest rest of a payload that is spliced instead of copied.
pub(crate) const SPLICE_BYTES_MIN: u64 = 16 << 10;

/// Bytes of a file that one residency test answers for, and so the largest piece that one
/// sendfile sends: with 1 MiB it took 8 % more CPU than with 2 MiB.
pub(crate) const WINDOW_BYTES: u64 = 2 << 20;

/// After so many bytes without a gap in memory a file is tested at every fourth place only.
pub(crate) const TRUSTED_BYTES: u64 = 8 << 20;

/// Distance of the bytes that a residency test touches. Read-ahead fills gaps of this size.
pub(crate) const PROBE_STEP_BYTES: u64 = 256 << 10;

/// Shortest span for which the socket is corked: below it the head's MSG_MORE is enough.
pub(crate) const CORK_BYTES_MIN: u64 = 256 << 10;

/// Connections accepted in one turn.
pub(crate) const ACCEPTS_MAX: usize = 64;

/// Bytes thrown away after a reply that closes, so that the reply is not lost to a reset.
pub(crate) const LINGER_BYTES_MAX: usize = 1 << 20;
