//! Lengths of time the way people write them: `500ms`, `30s`, `10min`, `12h`, `7d`.
//!
//! Invariant: a period is a whole number of milliseconds and at most a hundred years, so sums
//! with the clock do not overflow. A number without a unit is refused: of what?

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("min", 60_000),
    ("s", 1_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// A hundred years in milliseconds.
const PERIOD_MS_MAX: u64 = 100 * 365 * 86_400_000;

/// Reads a period; `None` if the text is none.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))?;
    let number: u64 = number.trim_end().parse().ok()?;
    let milliseconds = number.checked_mul(unit)?;
    (milliseconds <= PERIOD_MS_MAX).then(|| Duration::from_millis(milliseconds))
}

/// Writes a period in the largest unit that divides it.
#[must_use]
pub fn format(period: Duration) -> String {
    let milliseconds = period.as_millis() as u64;
    let by_size = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("min", 60_000),
        ("s", 1_000),
    ];
    by_size
        .iter()
        .find(|(_, unit)| milliseconds > 0 && milliseconds.is_multiple_of(*unit))
        .map_or_else(
            || format!("{milliseconds}ms"),
            |(suffix, unit)| format!("{}{suffix}", milliseconds / unit),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_and_written_the_way_people_write_them() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("10min", 600_000),
            ("12h", 43_200_000),
            ("7d", 604_800_000),
        ] {
            let period = Duration::from_millis(milliseconds);
            assert_eq!(parse(text), Some(period), "{text}");
            assert_eq!(format(period), text);
        }
        assert_eq!(parse(" 30 s "), Some(Duration::from_secs(30)));
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "1.5h",
            "36501d",
            "99999999999999999999s",
            "3 weeks",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse("36500d").is_some());
    }
}
