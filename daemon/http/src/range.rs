//! The Range field: which parts of a file a client wants, bounded before anything is done.
//!
//! Governed by RFC 9110 section 14. A request may name at most [`RANGES_MAX`] ranges; they are
//! sorted, and merged where they overlap or lie so near that a part head would cost more than
//! the gap. Invariant: selected ranges are sorted, disjoint and inside the file, so their sum
//! is never more than the file (CVE-2011-3192 is that sum without a bound). Nothing is
//! allocated. Not promised: the order in which the client asked.

/// Most ranges in one request; more means the whole file. Download tools ask for one, video
/// players for one, PDF viewers for a few (RFC 9110 section 14.2 lets a server ignore the rest).
pub const RANGES_MAX: usize = 16;

/// Ranges nearer than this many bytes are sent as one: about the size of the head of a part,
/// which the gap saves (RFC 9110 section 15.3.7.2).
pub const GAP_BYTES_MAX: u64 = 128;

/// `length` bytes from `start`, never empty.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ByteRange {
    /// Bytes from the start of the file.
    pub start: u64,
    /// Bytes in the range, at least 1.
    pub length: u64,
}

impl ByteRange {
    /// The byte behind the last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// Up to [`RANGES_MAX`] ranges, sorted and disjoint.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ranges {
    list: [ByteRange; RANGES_MAX],
    count: usize,
}

impl Ranges {
    /// The ranges, at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[ByteRange] {
        self.list.get(..self.count).unwrap_or(&[])
    }

    /// Whether there was room.
    fn push(&mut self, range: ByteRange) -> bool {
        let Some(slot) = self.list.get_mut(self.count) else {
            return false;
        };
        *slot = range;
        self.count += 1;
        true
    }

    fn merge(&mut self) {
        let Some(asked) = self.list.get_mut(..self.count) else {
            return;
        };
        asked.sort_unstable_by_key(|range| range.start);
        let mut merged = Self::default();
        for range in self.as_slice() {
            let last = merged
                .count
                .checked_sub(1)
                .and_then(|i| merged.list.get_mut(i));
            match last {
                Some(last) if range.start <= last.end().saturating_add(GAP_BYTES_MAX) => {
                    last.length = last.end().max(range.end()) - last.start;
                }
                _ => {
                    merged.push(*range);
                }
            }
        }
        *self = merged;
    }
}

/// What to send.
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for one call; a box would allocate on the way of every read"
)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Selection {
    /// The whole file with status 200: no range was asked, or none that we follow.
    Whole,
    /// These parts with status 206.
    Parts(Ranges),
    /// None of the ranges lies in the file: status 416.
    Unsatisfiable,
}

/// Reads the value of a Range field for a file of `size` bytes. A unit other than bytes, broken
/// syntax and more than [`RANGES_MAX`] ranges mean the whole file (RFC 9110 section 14.2).
#[must_use]
pub fn select(value: &[u8], size: u64) -> Selection {
    match parse(value, size) {
        None => Selection::Whole,
        // Whoever begins with a range does not know the size, and of an empty file no range can
        // be sent: the whole of it is the answer (RFC 9110 section 14.2 lets a server ignore it).
        Some(_) if size == 0 => Selection::Whole,
        Some(Found { parts }) if parts.count == 0 => Selection::Unsatisfiable,
        Some(Found { mut parts }) => {
            parts.merge();
            Selection::Parts(parts)
        }
    }
}

#[derive(Default)]
struct Found {
    parts: Ranges,
}

fn parse(value: &[u8], size: u64) -> Option<Found> {
    let (unit, set) = value.split_at_checked(b"bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut found = Found::default();
    let mut specs = 0;
    for spec in set.split(|byte| *byte == b',') {
        let spec = spec.trim_ascii();
        // Empty elements are allowed and mean nothing (RFC 9110 section 5.6.1.2).
        if spec.is_empty() {
            continue;
        }
        specs += 1;
        if specs > RANGES_MAX {
            return None;
        }
        match parse_spec(spec, size)? {
            Spec::Inside(range) => {
                found.parts.push(range);
            }
            Spec::Outside => {}
        }
    }
    (specs > 0).then_some(found)
}

enum Spec {
    Inside(ByteRange),
    Outside,
}

/// `first-last`, `first-` or `-suffix`; `None` is broken syntax.
fn parse_spec(spec: &[u8], size: u64) -> Option<Spec> {
    let dash = spec.iter().position(|byte| *byte == b'-')?;
    let (first, rest) = spec.split_at_checked(dash)?;
    let last = rest.get(1..)?;
    if first.is_empty() {
        let suffix = digits(last)?.min(size);
        return Some(match suffix {
            0 => Spec::Outside,
            _ => Spec::Inside(ByteRange {
                start: size - suffix,
                length: suffix,
            }),
        });
    }
    let first = digits(first)?;
    let last = if last.is_empty() {
        u64::MAX
    } else {
        digits(last)?
    };
    if last < first {
        return None;
    }
    if first >= size {
        return Some(Spec::Outside);
    }
    let length = last.min(size - 1) - first + 1;
    Some(Spec::Inside(ByteRange {
        start: first,
        length,
    }))
}

/// Decimal digits only; a number past 2^64-1 is as good as 2^64-1.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value: &str, size: u64) -> Vec<(u64, u64)> {
        match select(value.as_bytes(), size) {
            Selection::Parts(ranges) => ranges
                .as_slice()
                .iter()
                .map(|range| (range.start, range.length))
                .collect(),
            other => panic!("{value}: {other:?}"),
        }
    }

    #[test]
    fn first_last_open_and_suffix_ranges_are_understood() {
        assert_eq!(parts("bytes=0-0", 10), [(0, 1)]);
        assert_eq!(parts("bytes=2-5", 10), [(2, 4)]);
        assert_eq!(parts("bytes=2-500", 10), [(2, 8)]);
        assert_eq!(parts("bytes=9-", 10), [(9, 1)]);
        assert_eq!(parts("bytes=-3", 10), [(7, 3)]);
        assert_eq!(parts("bytes=-300", 10), [(0, 10)]);
        assert_eq!(parts("BYTES=5-99999999999999999999999", 10), [(5, 5)]);
        assert_eq!(
            parts("bytes= 0-0 ,, 5000-5000 ", 10_000),
            [(0, 1), (5000, 1)]
        );
    }

    #[test]
    fn ranges_outside_the_file_are_unsatisfiable() {
        for value in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=10-,-0"] {
            assert_eq!(
                select(value.as_bytes(), 10),
                Selection::Unsatisfiable,
                "{value}"
            );
        }
        assert_eq!(select(b"bytes=0-", 0), Selection::Whole);
        assert_eq!(select(b"bytes=-5", 0), Selection::Whole);
        assert_eq!(parts("bytes=50-,0-0", 10), [(0, 1)]);
    }

    #[test]
    fn broken_syntax_means_the_whole_file() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2-3",
            "items=0-1",
            "bytes=0x1-2",
            "bytes=0-1;2-3",
            "bytes 0-1",
        ] {
            assert_eq!(select(value.as_bytes(), 10), Selection::Whole, "{value}");
        }
    }

    #[test]
    fn near_and_overlapping_ranges_become_one() {
        assert_eq!(parts("bytes=0-9,5-19", 1000), [(0, 20)]);
        assert_eq!(parts("bytes=500-599,0-9", 1000), [(0, 10), (500, 100)]);
        let near = format!("bytes=0-0,{}-{}", 1 + GAP_BYTES_MAX, 1 + GAP_BYTES_MAX);
        assert_eq!(parts(&near, 1000), [(0, 2 + GAP_BYTES_MAX)]);
        let far = format!("bytes=0-0,{}-{}", 2 + GAP_BYTES_MAX, 2 + GAP_BYTES_MAX);
        assert_eq!(parts(&far, 1000), [(0, 1), (2 + GAP_BYTES_MAX, 1)]);
    }

    /// Threat H1: many overlapping ranges cost no more than the file once.
    #[test]
    fn sixteen_ranges_pass_and_seventeen_mean_the_whole_file() {
        let many = |count: u64| {
            let list: Vec<String> = (0..count)
                .map(|i| format!("{}-{}", i * 1000, i * 1000))
                .collect();
            format!("bytes={}", list.join(","))
        };
        assert_eq!(parts(&many(16), 1 << 20).len(), RANGES_MAX);
        assert_eq!(select(many(17).as_bytes(), 1 << 20), Selection::Whole);
        let bomb = format!("bytes={}", vec!["0-"; 16].join(","));
        assert_eq!(parts(&bomb, 1 << 40), [(0, 1 << 40)]);
    }
}
