//! Range headers: whatever a client asks, what is selected is sorted, disjoint and inside the
//! file, and is what a naive reading of RFC 9110 section 14 selects byte for byte.
//!
//! Input: eight bytes of file size, then the value of the field.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_http::range::{GAP_BYTES_MAX, RANGES_MAX, Selection, select};

fuzz_target!(|data: &[u8]| {
    let Some((size, value)) = data.split_first_chunk::<8>() else {
        return;
    };
    let wide = u64::from_le_bytes(*size);
    // Small sizes meet small numbers; the large one finds overflows.
    for size in [wide, wide % 1_000] {
        check(value, size);
    }
});

fn check(value: &[u8], size: u64) {
    let Selection::Parts(ranges) = select(value, size) else {
        return;
    };
    let ranges = ranges.as_slice();
    assert!((1..=RANGES_MAX).contains(&ranges.len()));
    let sum: u64 = ranges.iter().map(|range| range.length).sum();
    assert!(sum <= size, "more than the file");
    for range in ranges {
        assert!(range.length > 0 && range.end() <= size, "outside the file");
    }
    for pair in ranges.windows(2) {
        let [one, next] = pair else { continue };
        assert!(one.end() + GAP_BYTES_MAX < next.start, "not merged");
    }
    for (first, last) in naive(value, size) {
        let covered = |byte| ranges.iter().any(|r| r.start <= byte && byte < r.end());
        assert!(covered(first) && covered(last), "asked and not selected");
    }
}

/// First and last byte of every range that lies in the file, read in the simplest way.
fn naive(value: &[u8], size: u64) -> Vec<(u64, u64)> {
    let text = String::from_utf8_lossy(value.get(6..).unwrap_or(&[])).into_owned();
    let number = |text: &str| text.parse::<u128>().ok();
    let size = u128::from(size);
    text.split(',')
        .filter_map(|spec| {
            let (first, last) = spec
                .trim_matches(|c: char| c.is_ascii_whitespace())
                .split_once('-')?;
            let (first, last) = match (number(first), number(last)) {
                (None, Some(suffix)) if first.is_empty() => {
                    (size - suffix.min(size), size.checked_sub(1)?)
                }
                (Some(first), Some(last)) => (first, last.min(size.checked_sub(1)?)),
                (Some(first), None) if last.is_empty() => (first, size.checked_sub(1)?),
                _ => return None,
            };
            (first <= last && first < size).then_some((first as u64, last as u64))
        })
        .collect()
}
