//! The limits that an operator may change, each with its unit, its default and the reason.
//!
//! Limits that a protocol fixes stand beside the code that enforces them. Invariant: every limit
//! has a lower and an upper bound, so no setting switches a protection off by accident.

use std::time::Duration;

use crate::effective::Setting;

/// Connections of all protocols at once. Default for a node of 50 clients with 16 connections
/// each and room for a flood of twenty times that; each costs about 1 KiB when idle.
pub const CONNECTIONS_DEFAULT: u64 = 16_384;

/// Connections from one address, so that one broken client leaves room for the others (threat
/// H5). A Linux NFS client opens at most 16, a download tool 16, a gateway many.
pub const CONNECTIONS_PER_ADDRESS_DEFAULT: u64 = 4_096;

/// Bytes of unfinished messages that all peers together may make the node hold (threat N7):
/// 128 messages of the largest size.
pub const RECEIVE_BUDGET_BYTES_DEFAULT: u64 = 128 << 20;

/// Threads for calls that may block (opening cold files, directory changes, fsync). A disk with
/// 32 requests in its queue is busy.
pub const POOL_THREADS_DEFAULT: u64 = 32;

/// Time for a request head to arrive whole (threat H5): slow links need two seconds.
pub const HEAD_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Time that an HTTP connection may stand between two requests; browsers keep theirs for a
/// minute.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Time that an NFS connection may stand idle. Linux drops its own after 5 minutes, so a longer
/// one closes only connections whose client is gone.
pub const NFS_IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);

/// Time for which the peer of a transfer may move nothing at all: a pipe whose reader works, a
/// paused player, a dump that thinks. A pause of a minute passes with as much again to spare; what
/// a peer holds meanwhile is one connection of its share, and no pipe, thread or buffer.
pub const STALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);

/// Bytes per second below which what moves counts as stuck and is closed (threats N7, H5): a
/// modem was faster. Pauses are no part of it.
pub const PROGRESS_BYTES_PER_S_DEFAULT: u64 = 1_024;

/// Largest file that an HTTP upload may make, in bytes; by default the disk decides.
pub const UPLOAD_BYTES_DEFAULT: u64 = i64::MAX as u64;

/// Bytes of a part of a large file that a hub client uploads; files that are no larger come in one
/// piece. A part that is lost is sent again whole: 64 MiB take half a second on a line of 1 Gbit/s.
pub const UPLOAD_PART_BYTES_DEFAULT: u64 = 64 << 20;

/// Time after which a resumable upload that nobody goes on with is removed: over a night and a day
/// of work.
pub const UPLOAD_AGE_DEFAULT: Duration = Duration::from_secs(86_400);

/// Time that a stopping node gives replies under way before it closes their connections.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// The limits in force.
#[derive(Clone, Debug)]
pub struct Limits {
    /// See [`CONNECTIONS_DEFAULT`]; 16 to 2^20.
    pub connections: Setting<u64>,
    /// See [`CONNECTIONS_PER_ADDRESS_DEFAULT`]; 1 to 2^20.
    pub connections_per_address: Setting<u64>,
    /// See [`RECEIVE_BUDGET_BYTES_DEFAULT`]; bytes, 4 MiB to 1 TiB.
    pub receive_budget: Setting<u64>,
    /// See [`POOL_THREADS_DEFAULT`]; 1 to 1,024.
    pub pool_threads: Setting<u64>,
    /// See [`HEAD_TIMEOUT_DEFAULT`]; 1 s to 1 h.
    pub head_timeout: Setting<Duration>,
    /// See [`IDLE_TIMEOUT_DEFAULT`]; 1 s to 1 d.
    pub idle_timeout: Setting<Duration>,
    /// See [`NFS_IDLE_TIMEOUT_DEFAULT`]; 1 min to 30 d.
    pub nfs_idle_timeout: Setting<Duration>,
    /// See [`STALL_TIMEOUT_DEFAULT`]; 1 s to 1 d.
    pub stall_timeout: Setting<Duration>,
    /// See [`PROGRESS_BYTES_PER_S_DEFAULT`]; bytes per second, 1 to 1 GiB.
    pub progress_per_s: Setting<u64>,
    /// See [`UPLOAD_BYTES_DEFAULT`]; bytes, 1 to 2^63-1.
    pub upload_size: Setting<u64>,
    /// See [`UPLOAD_PART_BYTES_DEFAULT`]; bytes, 1 MiB to 1 TiB.
    pub upload_part: Setting<u64>,
    /// See [`UPLOAD_AGE_DEFAULT`]; 1 min to 365 d.
    pub upload_age: Setting<Duration>,
    /// See [`DRAIN_TIMEOUT_DEFAULT`]; 0 s to 1 h.
    pub drain_timeout: Setting<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: Setting::default_of(CONNECTIONS_DEFAULT),
            connections_per_address: Setting::default_of(CONNECTIONS_PER_ADDRESS_DEFAULT),
            receive_budget: Setting::default_of(RECEIVE_BUDGET_BYTES_DEFAULT),
            pool_threads: Setting::default_of(POOL_THREADS_DEFAULT),
            head_timeout: Setting::default_of(HEAD_TIMEOUT_DEFAULT),
            idle_timeout: Setting::default_of(IDLE_TIMEOUT_DEFAULT),
            nfs_idle_timeout: Setting::default_of(NFS_IDLE_TIMEOUT_DEFAULT),
            stall_timeout: Setting::default_of(STALL_TIMEOUT_DEFAULT),
            progress_per_s: Setting::default_of(PROGRESS_BYTES_PER_S_DEFAULT),
            upload_size: Setting::default_of(UPLOAD_BYTES_DEFAULT),
            upload_part: Setting::default_of(UPLOAD_PART_BYTES_DEFAULT),
            upload_age: Setting::default_of(UPLOAD_AGE_DEFAULT),
            drain_timeout: Setting::default_of(DRAIN_TIMEOUT_DEFAULT),
        }
    }
}
