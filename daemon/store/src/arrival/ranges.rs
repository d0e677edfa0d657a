//! Sets of bytes of a file, as few ranges.
//!
//! Invariant: ranges are disjoint, do not touch each other, and there are at most [`RANGES_MAX`].
//! Not promised: cheap sets of scattered bytes; streams write in order.

use std::collections::BTreeMap;
use std::ops::Range;

/// Most separate ranges of one file: some for each of many streams.
pub(super) const RANGES_MAX: usize = 4_096;

/// A set of byte offsets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct RangeSet(BTreeMap<u64, u64>);

impl RangeSet {
    /// Adds a range; `false` if that would make too many pieces.
    pub(super) fn add(&mut self, range: Range<u64>) -> bool {
        let (mut start, mut end) = (range.start, range.end);
        if start >= end {
            return true;
        }
        // Every range that starts at or before the end, last first, as long as it reaches us.
        while let Some((at, until)) = self.0.range(..=end).next_back().map(|(a, b)| (*a, *b))
            && until >= start
        {
            start = start.min(at);
            end = end.max(until);
            self.0.remove(&at);
        }
        if self.0.len() >= RANGES_MAX {
            return false;
        }
        self.0.insert(start, end);
        true
    }

    /// Whether all of a range is in the set.
    pub(super) fn covers(&self, range: &Range<u64>) -> bool {
        range.start >= range.end
            || self
                .0
                .range(..=range.start)
                .next_back()
                .is_some_and(|(_, until)| *until >= range.end)
    }

    /// What of `[0, size)` is not in the set.
    pub(super) fn missing(&self, size: u64) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut at = 0;
        for (start, end) in &self.0 {
            if at < *start {
                missing.push(at..(*start).min(size));
            }
            at = *end;
        }
        if at < size {
            missing.push(at..size);
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with a plain array of bits.
    #[test]
    fn ranges_are_what_a_bitmap_would_be() {
        let mut set = RangeSet::default();
        let mut bits = [false; 64];
        let mut state = 7u64;
        for _ in 0..5_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let start = (state >> 33) % 64;
            let end = (start + (state >> 50) % 9).min(64);
            if (state >> 40).is_multiple_of(12) {
                (set, bits) = (RangeSet::default(), [false; 64]);
            }
            assert!(set.add(start..end));
            bits[start as usize..end as usize].fill(true);
            let missing = set.missing(64);
            for (at, bit) in bits.iter().enumerate() {
                let at = at as u64;
                assert_eq!(*bit, !missing.iter().any(|range| range.contains(&at)));
                assert_eq!(*bit, set.covers(&(at..at + 1)));
            }
        }
    }

    #[test]
    fn the_last_range_that_fits_is_taken_and_one_more_is_not() {
        let mut set = RangeSet::default();
        for at in 0..RANGES_MAX as u64 {
            assert!(set.add(at * 2..at * 2 + 1));
        }
        assert!(!set.add(1_000_000..1_000_001));
        assert!(set.add(1..2), "joins two");
        assert!(set.add(1_000_000..1_000_001));
    }
}
