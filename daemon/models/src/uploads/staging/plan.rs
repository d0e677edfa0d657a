//! How a file is cut into parts: all of one size, the last one of what is left.
//!
//! Invariant: the same file and setting give the same cut, so an upload that begins again finds its
//! parts; there are never more than [`PARTS_MAX`]. No I/O happens here.

/// Most parts of one file, so that the answer which names the place of each stays below 64 KiB for
/// a file: larger files get larger parts.
pub(crate) const PARTS_MAX: u64 = 256;

/// Parts are cut at multiples of this, in bytes: whole pages and whole megabytes for whoever looks.
const STEP_BYTES: u64 = 1 << 20;

/// A cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Plan {
    size: u64,
    part_bytes: u64,
}

impl Plan {
    /// The cut of a file into parts of at least so many bytes; `None`: it is no larger than one.
    pub(crate) fn of(size: u64, part_bytes_min: u64) -> Option<Self> {
        if size <= part_bytes_min {
            return None;
        }
        let enough = size.div_ceil(PARTS_MAX);
        let part_bytes = match enough > part_bytes_min {
            true => enough.checked_next_multiple_of(STEP_BYTES)?,
            false => part_bytes_min,
        };
        Self::cut(size, part_bytes)
    }

    /// A cut that was made before.
    pub(super) fn cut(size: u64, part_bytes: u64) -> Option<Self> {
        let is_sane = part_bytes > 0 && size.div_ceil(part_bytes) <= PARTS_MAX;
        is_sane.then_some(Self { size, part_bytes })
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of every part but the last.
    pub(crate) fn part_bytes(&self) -> u64 {
        self.part_bytes
    }

    /// How many parts there are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.size.div_ceil(self.part_bytes)).unwrap_or(u32::MAX)
    }

    /// Bytes of a part, counted from 1; `None`: there is no such part.
    pub(crate) fn length(&self, number: u32) -> Option<u64> {
        let before = u64::from(number.checked_sub(1)?).checked_mul(self.part_bytes)?;
        let left = self.size.checked_sub(before)?;
        (left > 0).then_some(left.min(self.part_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_file_and_are_never_too_many() {
        for (size, least) in [
            (2 << 20, 1 << 20),
            ((2 << 20) + 1, 1 << 20),
            (50 << 30, 64 << 20),
            (1 << 44, 1 << 20),
        ] {
            let plan = Plan::of(size, least).unwrap();
            assert!(u64::from(plan.count()) <= PARTS_MAX);
            let sum: u64 = (1..=plan.count()).map(|n| plan.length(n).unwrap()).sum();
            assert_eq!(sum, size);
            assert_eq!(plan.length(0), None);
            assert_eq!(plan.length(plan.count() + 1), None);
            assert_eq!(Plan::of(size, least), Some(plan));
        }
        assert_eq!(Plan::of(1 << 20, 1 << 20), None, "exactly one part");
        assert!(Plan::of((1 << 20) + 1, 1 << 20).is_some());
        assert_eq!(Plan::cut(10, 0), None);
        assert!(Plan::cut(PARTS_MAX, 1).is_some());
        assert_eq!(Plan::cut(PARTS_MAX + 1, 1), None);
    }
}
