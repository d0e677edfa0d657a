//! Tells whether two changes of one file overlapped on this node.
//!
//! `wcc_data` (RFC 1813 section 2.6) lets a client keep its cache if the attributes before a
//! WRITE are the ones it knows. That is only safe if nothing else came between `before` and
//! `after`, so `before` is sent only when [`Guard::was_alone`] says so. A table of counters,
//! chosen by the file's identity, is enough: two files that share a counter cost a cache hit,
//! never correctness. Invariant: a guard that was dropped is not counted as active. Not promised:
//! anything about programs on this host that write to the same file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use towline_volume::node::FileIdentity;

/// Counters in the table: at 64 files being written at once, one in sixteen shares its counter.
const COUNTERS: usize = 1024;

/// One change more in the upper half, one active more in the lower.
const BEGUN: u64 = (1 << 32) | 1;
const ACTIVE_MASK: u64 = u32::MAX as u64;

/// The counters of a node. Upper 32 bits: changes begun; lower 32 bits: changes active.
#[derive(Debug)]
pub(crate) struct Overlap {
    counters: Box<[AtomicU64]>,
}

/// One change under way.
#[derive(Debug)]
pub(crate) struct Guard {
    overlap: Arc<Overlap>,
    index: usize,
    /// Changes begun when this one began, itself included; `None` if another was active then.
    begun_alone: Option<u64>,
}

impl Overlap {
    pub(crate) fn new() -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        Self { counters }
    }

    /// Begins a change of a file. Read `before` after this and `after` before
    /// [`Guard::was_alone`].
    pub(crate) fn begin(self: &Arc<Self>, file: &FileIdentity) -> Guard {
        // Fibonacci hashing spreads consecutive inode numbers over the table.
        let mixed = (file.file_id ^ file.file_system).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let index = (mixed >> 32) as usize % COUNTERS;
        let former = self
            .counters
            .get(index)
            .map_or(1, |counter| counter.fetch_add(BEGUN, Ordering::AcqRel));
        let alone = former & ACTIVE_MASK == 0;
        let begun_alone = alone.then(|| former.wrapping_add(BEGUN) >> 32);
        Guard {
            overlap: self.clone(),
            index,
            begun_alone,
        }
    }
}

impl Guard {
    /// Whether no other change of this file was active since this one began.
    pub(crate) fn was_alone(&self) -> bool {
        let now = self
            .overlap
            .counters
            .get(self.index)
            .map(|counter| counter.load(Ordering::Acquire) >> 32);
        self.begun_alone.is_some() && self.begun_alone == now
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(counter) = self.overlap.counters.get(self.index) {
            counter.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_volume::Timestamp;

    fn file(file_id: u64) -> FileIdentity {
        FileIdentity {
            file_system: 1,
            file_id,
            born: Timestamp::default(),
        }
    }

    #[test]
    fn one_change_after_the_other_is_alone() {
        let overlap = Arc::new(Overlap::new());
        for _ in 0..3 {
            assert!(overlap.begin(&file(1)).was_alone());
        }
    }

    #[test]
    fn changes_that_overlap_are_not_alone_either_of_them() {
        let overlap = Arc::new(Overlap::new());
        let first = overlap.begin(&file(1));
        let second = overlap.begin(&file(1));
        assert!(!first.was_alone());
        drop(first);
        assert!(!second.was_alone());
    }

    /// A short change that began and ended within a longer one was still there.
    #[test]
    fn a_change_that_has_ended_is_not_forgotten() {
        let overlap = Arc::new(Overlap::new());
        let long = overlap.begin(&file(1));
        drop(overlap.begin(&file(1)));
        assert!(!long.was_alone());
        drop(long);
        assert!(overlap.begin(&file(1)).was_alone());
    }

    #[test]
    fn other_files_do_not_disturb() {
        let overlap = Arc::new(Overlap::new());
        let first = overlap.begin(&file(1));
        let _second = overlap.begin(&file(2));
        assert!(first.was_alone());
    }
}
