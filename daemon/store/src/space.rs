//! Room: what is stored, what is promised to writers, and the limit for both.
//!
//! Invariant: stored and reserved bytes together never pass the quota, and a reservation is given
//! back when it is dropped. Room is judged before the first byte is written. Not promised: that
//! the file system has the room that the quota allows; its own limit is asked as well.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{ClientFault, Result, io};
use crate::metrics;
use crate::store::Inner;

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

impl crate::Store {
    /// Whether `bytes` could be stored now, with all evicted that may go.
    ///
    /// # Errors
    /// [`ClientFault::Quota`] if not.
    pub fn judge_room(&self, bytes: u64) -> Result<()> {
        let (free, limit) = self.inner.room()?;
        if bytes <= free {
            return Ok(());
        }
        let evictable = self.inner.evictable_bytes();
        if bytes.saturating_sub(free) <= evictable {
            return Ok(());
        }
        Err(ClientFault::Quota {
            needed: bytes,
            free,
            limit,
            evictable,
        }
        .into())
    }
}

impl Inner {
    /// Takes room for `bytes` before the first of them is written; evicts what may go for it.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation> {
        if let Some(room) = self.try_reserve(bytes)? {
            return Ok(room);
        }
        let (free, limit) = self.room()?;
        let wanted = bytes.saturating_sub(free);
        if self.evictable_bytes() < wanted {
            self.ask_origins(wanted)?;
        }
        if self.evict(wanted)? >= wanted
            && let Some(room) = self.try_reserve(bytes)?
        {
            return Ok(room);
        }
        metrics::add(&self.counters.room_refused, 1);
        Err(ClientFault::Quota {
            needed: bytes,
            free,
            limit,
            evictable: self.evictable_bytes(),
        }
        .into())
    }

    /// Takes room without evicting anything for it.
    pub(crate) fn try_reserve(&self, bytes: u64) -> Result<Option<Reservation>> {
        // What is reserved may be allocated already, so the file system is only asked for this.
        let space = self
            .disk
            .backend
            .space()
            .map_err(io("ask for room on", ""))?;
        if bytes > 0 && bytes.saturating_add(MARGIN_BYTES) > space.free {
            return Ok(None);
        }
        Ok(self
            .space
            .reserve(bytes, self.options.quota.unwrap_or(u64::MAX)))
    }

    /// Bytes that are free, and the limit that makes it so.
    fn room(&self) -> Result<(u64, u64)> {
        let limit = self.options.quota.unwrap_or(u64::MAX);
        let space = self
            .disk
            .backend
            .space()
            .map_err(io("ask for room on", ""))?;
        let (stored, reserved) = self.space.counts();
        let on_disk = space.free.saturating_sub(MARGIN_BYTES);
        let free = limit
            .saturating_sub(stored.saturating_add(reserved))
            .min(on_disk);
        Ok((free, limit.min(space.total)))
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
