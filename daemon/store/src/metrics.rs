//! What the store has done since it was opened, counted for whoever watches.
//!
//! Invariant: counters only grow. Not promised: that they survive a restart.

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
    /// Bytes of files that were written for them.
    bytes_written,
    /// Bytes of files that were here already and were linked.
    bytes_linked,
    /// Bytes whose blocks are shared with other files.
    bytes_cloned,
    /// Bytes that verifications have read and hashed.
    bytes_verified,
    /// Things that verifications have found wrong.
    damages_found,
    /// Of those, the ones that were repaired.
    damages_healed,
    /// Bytes that garbage collection has freed.
    bytes_collected,
    /// Bytes that eviction has freed.
    bytes_evicted,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
