//! How much may still be sent, shared by all senders of one end (`-n` and `-k`).
//!
//! Invariant: once a budget is opened, senders together take whole blocks until its bytes or blocks
//! are reached, and not one block more. Before that, and without one, blocks are free.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes and blocks that may be taken; 0 means no bound.
#[derive(Debug)]
pub struct Budget {
    bytes_max: u64,
    blocks_max: u64,
    open: AtomicBool,
    bytes: AtomicU64,
    blocks: AtomicU64,
}

impl Budget {
    /// A budget that does not count yet.
    #[must_use]
    pub fn new(bytes_max: u64, blocks_max: u64) -> Self {
        Self {
            bytes_max,
            blocks_max,
            open: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
        }
    }

    /// Whether there is a bound at all.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.bytes_max > 0 || self.blocks_max > 0
    }

    /// Counts from now on.
    pub fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// Takes a block of `bytes`; false when nothing is left.
    pub fn take(&self, bytes: u64) -> bool {
        if !self.is_bounded() || !self.open.load(Ordering::Relaxed) {
            return true;
        }
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let blocks_before = self.blocks.fetch_add(1, Ordering::Relaxed);
        (self.bytes_max == 0 || bytes_before < self.bytes_max)
            && (self.blocks_max == 0 || blocks_before < self.blocks_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_are_taken_until_the_bound_is_reached() {
        let budget = Budget::new(250, 0);
        assert!(budget.take(100), "free before it is opened");
        budget.open();
        let taken = (0..10).filter(|_| budget.take(100)).count();
        assert_eq!(taken, 3);
        let budget = Budget::new(0, 5);
        budget.open();
        assert_eq!((0..10).filter(|_| budget.take(100)).count(), 5);
        let free = Budget::new(0, 0);
        free.open();
        assert!((0..1000).all(|_| free.take(1)));
    }
}
