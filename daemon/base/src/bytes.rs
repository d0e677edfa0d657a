//! Counts of bytes, written and read the way people write them.
//!
//! `64KiB`, `1.5GiB`, `10GB` and plain numbers are read; binary units are printed. A count
//! never overflows silently: arithmetic is checked where a peer's number takes part.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ByteCount(pub u64);

/// Text that is not a byte count.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{0}' is not a size: write a number and a unit, like 512MiB, 20GB or 4096")]
pub struct ByteCountError(String);

const UNITS: [(&str, u64); 11] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl FromStr for ByteCount {
    type Err = ByteCountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ByteCountError(text.to_owned());
        let trimmed = text.trim();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| Some((trimmed.strip_suffix(suffix)?, *unit)))
            .unwrap_or((trimmed, 1));
        let number = number.trim();
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(unit).map(ByteCount).ok_or_else(error);
        }
        let value: f64 = number.parse().map_err(|_| error())?;
        let bytes = value * unit as f64;
        // 2^53: above it a fraction of a unit is not exact, and nobody writes one.
        let in_range = bytes.is_finite() && (0.0..9_007_199_254_740_992.0).contains(&bytes);
        if in_range {
            Ok(ByteCount(bytes as u64))
        } else {
            Err(error())
        }
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (suffix, unit) = UNITS[..5]
            .iter()
            .rev()
            .find(|(_, unit)| self.0 >= *unit)
            .copied()
            .unwrap_or(("B", 1));
        let text = match self.0 % unit {
            0 => format!("{} {suffix}", self.0 / unit),
            _ => format!("{:.1} {suffix}", self.0 as f64 / unit as f64),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_the_way_people_write_them() {
        for (text, bytes) in [
            ("4096", 4096),
            ("64KiB", 65_536),
            ("1.5 GiB", 1_610_612_736),
        ] {
            assert_eq!(text.parse(), Ok(ByteCount(bytes)), "{text}");
        }
        assert_eq!("20GB".parse(), Ok(ByteCount(20_000_000_000)));
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "",
            "-1",
            "lots",
            "1e30TiB",
            "99999999999999999999",
            "20000PiB",
            "NaN",
        ] {
            assert!(text.parse::<ByteCount>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_binary_units() {
        assert_eq!(ByteCount(1 << 20).to_string(), "1 MiB");
        assert_eq!(ByteCount(1_500).to_string(), "1.5 KiB");
        assert_eq!(ByteCount(7).to_string(), "7 B");
    }
}
