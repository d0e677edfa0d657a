//! Which arrivals are under way, so that none is twice.
//!
//! Invariant: of one key at most one arrival begins or is under way. Not promised: that one which
//! ended a moment ago can begin again; whoever still has a clone of it keeps it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::shared::Shared;
use crate::error::{BusyFault, Result};

/// Arrivals under way, and those that begin.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    known: Mutex<Known>,
    count: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    live: Vec<Weak<Shared>>,
    starting: BTreeSet<String>,
}

impl Known {
    fn has(&self, key: &str) -> bool {
        let mut live = self.live.iter().filter_map(Weak::upgrade);
        self.starting.contains(key) || live.any(|other| other.key == key)
    }
}

impl Arrivals {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an arrival of this key is under way or begins.
    pub(super) fn has(&self, key: &str) -> bool {
        self.known().has(key)
    }

    /// Keeps others from beginning the same arrival, until it is under way or has failed.
    pub(super) fn start<'a>(&'a self, key: &'a str) -> Result<Starting<'a>> {
        let mut known = self.known();
        known.live.retain(|shared| shared.strong_count() > 0);
        if known.has(key) {
            return Err(BusyFault::Writing.into());
        }
        known.starting.insert(key.to_owned());
        drop(known);
        let arrivals = self;
        Ok(Starting { arrivals, key })
    }

    /// One is under way.
    pub(super) fn add(&self, shared: &Arc<Shared>) {
        self.known().live.push(Arc::downgrade(shared));
    }

    /// How many are under way.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn count_begun(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_ended(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An arrival that begins.
pub(super) struct Starting<'a> {
    arrivals: &'a Arrivals,
    key: &'a str,
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.arrivals.known().starting.remove(self.key);
    }
}
