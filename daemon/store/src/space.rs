//! Room: what is stored, what is promised to writers, and the limit for both.
//!
//! Invariant: stored and reserved bytes together never pass the quota, and a reservation is given
//! back when it is dropped. Room is judged before the first byte is written. Not promised: that
//! the file system has the room that the quota allows; its own limit is asked as well.

use std::sync::{Arc, Mutex, PoisonError};

/// How exactly a last use is kept, in seconds: a use is written down at most this often.
pub(crate) const USE_GRAIN_SECONDS: u64 = 60;

/// Bytes that are left free on the file system for the index, manifests and directories.
pub(crate) const MARGIN_BYTES: u64 = 16 << 20;

#[derive(Debug, Default)]
struct Counts {
    stored: u64,
    reserved: u64,
}

/// The counters of one store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    counts: Arc<Mutex<Counts>>,
}

/// Bytes that nobody else may take.
#[derive(Debug)]
pub(crate) struct Reservation {
    counts: Arc<Mutex<Counts>>,
    bytes: u64,
}

impl Space {
    fn with<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        act(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_stored(&self, bytes: u64) {
        self.with(|counts| counts.stored = bytes);
    }

    pub(crate) fn add_stored(&self, bytes: u64) {
        self.with(|counts| counts.stored += bytes);
    }

    pub(crate) fn remove_stored(&self, bytes: u64) {
        self.with(|counts| counts.stored = counts.stored.saturating_sub(bytes));
    }

    /// Stored and reserved bytes.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.with(|counts| (counts.stored, counts.reserved))
    }

    /// Takes room for `bytes`, if they fit below `limit`.
    pub(crate) fn reserve(&self, bytes: u64, limit: u64) -> Option<Reservation> {
        self.with(|counts| {
            let sum = counts
                .stored
                .checked_add(counts.reserved)?
                .checked_add(bytes)?;
            (sum <= limit).then(|| counts.reserved += bytes)
        })?;
        Some(Reservation {
            counts: Arc::clone(&self.counts),
            bytes,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.reserved = counts.reserved.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_up_to_the_limit_is_given_and_comes_back() {
        let space = Space::default();
        space.set_stored(10);
        let held = space.reserve(90, 100).unwrap();
        assert!(space.reserve(1, 100).is_none());
        assert!(space.reserve(u64::MAX, u64::MAX).is_none());
        drop(held);
        assert!(space.reserve(91, 100).is_none());
        assert!(space.reserve(90, 100).is_some());
    }
}
