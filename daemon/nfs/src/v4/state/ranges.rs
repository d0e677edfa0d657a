//! The byte-range locks of one file (RFC 8881 sections 9.1 to 9.6, 18.10 to 18.12).
//!
//! POSIX rules: an owner's locks never conflict with each other; locking again changes the kind of
//! what is locked, splitting and merging as needed; unlocking takes away what is there. Ranges are
//! kept sorted, disjoint and merged for each owner. Invariant: no byte is locked for writing by one
//! owner and at all by another. Not promised: an order among those that wait.

use super::stateid::Other;

/// Most ranges of one file: with 32 bytes each, 512 KiB.
pub const RANGES_MAX: usize = 16_384;

/// The last byte that can be locked: a range "to the end" holds it.
const LAST: u64 = u64::MAX;

/// A range of bytes, both ends included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// First byte.
    pub first: u64,
    /// Last byte.
    pub last: u64,
}

impl Span {
    /// The span of an offset and a length; `length` 2^64-1 is "to the end". `None`: it is no
    /// range (RFC 8881 section 18.10.3).
    #[must_use]
    pub fn new(offset: u64, length: u64) -> Option<Self> {
        let last = match length {
            0 => return None,
            u64::MAX => LAST,
            length => offset.checked_add(length - 1)?,
        };
        Some(Self {
            first: offset,
            last,
        })
    }

    /// As LOCK4denied says it.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self.last {
            LAST => u64::MAX,
            last => last - self.first + 1,
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// One locked range.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lock {
    /// Whose: the stateid of its owner's locks.
    pub owner: Other,
    /// Where.
    pub span: Span,
    /// Whether it is for writing.
    pub is_write: bool,
}

/// The locks of one file, sorted by where they begin.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    list: Vec<Lock>,
}

impl Ranges {
    /// A lock that stands in the way; `owner` is `None` for an owner without any locks here.
    #[must_use]
    pub fn conflict(&self, owner: Option<&Other>, span: Span, is_write: bool) -> Option<&Lock> {
        self.list.iter().find(|lock| {
            let is_other = Some(&lock.owner) != owner;
            is_other && lock.span.overlaps(&span) && (is_write || lock.is_write)
        })
    }

    /// Locks a range. Ask [`Ranges::conflict`] first. `false`: there are too many ranges.
    pub fn lock(&mut self, wanted: Lock) -> bool {
        if self.list.len() + 2 > RANGES_MAX {
            return false;
        }
        let mut merged = wanted;
        self.cut(&wanted.owner, wanted.span);
        self.list.retain(|lock| {
            let is_like = lock.owner == wanted.owner && lock.is_write == wanted.is_write;
            // What touches it becomes part of it; nothing overlaps any more.
            let is_before = lock.span.last.checked_add(1) == Some(merged.span.first);
            let is_behind = merged.span.last.checked_add(1) == Some(lock.span.first);
            match is_like && (is_before || is_behind) {
                true => {
                    merged.span.first = merged.span.first.min(lock.span.first);
                    merged.span.last = merged.span.last.max(lock.span.last);
                    false
                }
                false => true,
            }
        });
        self.put(merged);
        true
    }

    /// Unlocks a range of an owner. `false`: that would split into too many ranges.
    pub fn unlock(&mut self, owner: &Other, span: Span) -> bool {
        if self.list.len() + 1 > RANGES_MAX {
            return false;
        }
        self.cut(owner, span);
        true
    }

    /// Takes all locks of an owner away.
    pub fn forget(&mut self, owner: &Other) {
        self.list.retain(|lock| lock.owner != *owner);
    }

    /// Whether an owner has locks.
    #[must_use]
    pub fn has(&self, owner: &Other) -> bool {
        self.list.iter().any(|lock| lock.owner == *owner)
    }

    /// Whether there are no locks at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Everything that is locked.
    #[must_use]
    pub fn all(&self) -> &[Lock] {
        &self.list
    }

    /// Takes `span` out of what an owner has.
    fn cut(&mut self, owner: &Other, span: Span) {
        let mut rest = Vec::new();
        self.list.retain(|lock| {
            if lock.owner != *owner || !lock.span.overlaps(&span) {
                return true;
            }
            if lock.span.first < span.first {
                let last = span.first - 1;
                let part = Span { last, ..lock.span };
                rest.push(Lock {
                    span: part,
                    ..*lock
                });
            }
            if lock.span.last > span.last {
                let first = span.last + 1;
                let part = Span { first, ..lock.span };
                rest.push(Lock {
                    span: part,
                    ..*lock
                });
            }
            false
        });
        rest.into_iter().for_each(|lock| self.put(lock));
    }

    fn put(&mut self, lock: Lock) {
        let place = self
            .list
            .partition_point(|other| other.span.first < lock.span.first);
        self.list.insert(place, lock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(number: u8) -> Other {
        [number; 12]
    }

    fn span(first: u64, last: u64) -> Span {
        Span { first, last }
    }

    #[test]
    fn lengths_are_judged() {
        assert_eq!(Span::new(5, 0), None);
        assert_eq!(Span::new(5, 1), Some(span(5, 5)));
        assert_eq!(Span::new(5, u64::MAX), Some(span(5, LAST)));
        assert_eq!(Span::new(u64::MAX, 1), Some(span(LAST, LAST)));
        assert_eq!(Span::new(u64::MAX, 2), None);
        assert_eq!(span(5, LAST).length(), u64::MAX);
        assert_eq!(span(0, LAST - 1).length(), u64::MAX);
    }

    #[test]
    fn ranges_are_bounded() {
        let mut ranges = Ranges::default();
        for number in 0..RANGES_MAX as u64 - 1 {
            let lock = Lock {
                owner: owner(1),
                span: span(number * 2, number * 2),
                is_write: true,
            };
            assert!(ranges.lock(lock));
        }
        let one_more = Lock {
            owner: owner(1),
            span: span(LAST, LAST),
            is_write: true,
        };
        assert!(!ranges.lock(one_more));
    }

    /// Random locks and unlocks of three owners against 64 bytes with a kind for each owner.
    #[test]
    fn ranges_agree_with_a_model_of_bytes() {
        const BYTES: u64 = 64;
        for seed in 1..=2_000_u64 {
            let mut state = seed;
            let mut random = move |bound: u64| {
                // Knuth's MMIX generator; the high bits are the good ones.
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % bound
            };
            let mut ranges = Ranges::default();
            let mut model = [[0_u8; BYTES as usize]; 3];
            for _ in 0..60 {
                let who = random(3) as usize;
                let first = random(BYTES);
                let last = first + random(BYTES - first);
                let (wanted, bytes) = (span(first, last), first as usize..=last as usize);
                let name = owner(who as u8);
                match random(3) {
                    0 => {
                        assert!(ranges.unlock(&name, wanted));
                        model[who][bytes].fill(0);
                    }
                    kind => {
                        let is_write = kind == 2;
                        let clash = (0..3).filter(|other| *other != who).any(|other| {
                            model[other][bytes.clone()]
                                .iter()
                                .any(|held| *held == 2 || (is_write && *held == 1))
                        });
                        let found = ranges.conflict(Some(&name), wanted, is_write);
                        assert_eq!(found.is_some(), clash, "seed {seed}");
                        if !clash {
                            let lock = Lock {
                                owner: name,
                                span: wanted,
                                is_write,
                            };
                            assert!(ranges.lock(lock));
                            model[who][bytes].fill(kind as u8);
                        }
                    }
                }
                check(&ranges, &model, seed);
            }
        }
    }

    fn check(ranges: &Ranges, model: &[[u8; 64]; 3], seed: u64) {
        let mut shown = [[0_u8; 64]; 3];
        for lock in ranges.all() {
            let who = usize::from(lock.owner[0]);
            for byte in lock.span.first..=lock.span.last {
                let cell = &mut shown[who][byte as usize];
                assert_eq!(*cell, 0, "seed {seed}: a byte is listed twice");
                *cell = if lock.is_write { 2 } else { 1 };
            }
        }
        assert_eq!(shown, *model, "seed {seed}");
        let starts: Vec<u64> = ranges.all().iter().map(|lock| lock.span.first).collect();
        assert!(starts.is_sorted(), "seed {seed}");
        for pair in ranges.all().windows(2) {
            let touches = pair[0].span.last + 1 == pair[1].span.first;
            let alike = pair[0].owner == pair[1].owner && pair[0].is_write == pair[1].is_write;
            assert!(!(touches && alike), "seed {seed}: not merged");
        }
    }
}
