//! What the store has done since it was opened, and how full it is, for whoever watches.
//!
//! Invariant: counters only grow, and asking waits for no writer. Not promised: that they survive
//! a restart.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct StoreMetrics {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn view(&self) -> StoreMetrics {
                StoreMetrics {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

counters! {
    /// Revisions that became known.
    revisions_published,
    /// Bytes of the files of those, however they came to be here.
    bytes_published,
    /// Bytes of files that were written for them.
    bytes_written,
    /// Bytes of files that were here already and were linked.
    bytes_linked,
    /// Bytes whose blocks are shared with other files.
    bytes_cloned,
    /// Bytes that were here, and were written again where blocks could not be shared.
    bytes_known_written,
    /// Bytes that verifications have read and hashed.
    bytes_verified,
    /// Things that verifications have found wrong.
    damages_found,
    /// Of those, the ones that were repaired.
    damages_healed,
    /// Chunks that repairs have brought back from elsewhere.
    chunks_healed,
    /// Bytes that garbage collection has freed.
    bytes_collected,
    /// Bytes that eviction has freed.
    bytes_evicted,
    /// Writers that were refused for want of room.
    room_refused,
}

/// How full the store is at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StoreGauges {
    /// Bytes of all files that are here.
    pub bytes_stored: u64,
    /// Bytes promised to writers.
    pub bytes_reserved: u64,
    /// Most bytes that files may take; `None`: what the file system has.
    pub quota: Option<u64>,
    /// Arrivals under way.
    pub arrivals: u64,
    /// Revisions that can be read.
    pub revisions: u64,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
