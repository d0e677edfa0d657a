//! One number with its unit and the direction that is better.
//!
//! Units are base units (bits per second, seconds), so that no reader has to know a scale;
//! [`Unit::show`] makes words for people. Invariant: a figure is finite.

use serde::{Deserialize, Serialize};

/// The unit of a figure.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Payload bits per second.
    BitsPerSecond,
    /// Payload bytes per second.
    BytesPerSecond,
    /// Operations per second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Percent.
    Percent,
    /// A count.
    Count,
    /// Processor seconds per GiB of payload.
    SecondsPerGib,
}

/// Which direction is better.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More.
    Higher,
    /// Less.
    Lower,
}

/// One number of a report.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figure {
    /// A short name such as `link` or `rtt_loaded_p99`; also the name of a goal for it.
    pub name: String,
    /// The number in base units.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
    /// Which direction is better.
    pub better: Better,
}

impl Unit {
    /// A value in the words that people use.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::BitsPerSecond => scaled(value, 1000.0, "bit/s"),
            Self::BytesPerSecond => scaled(value, 1000.0, "B/s"),
            Self::PerSecond => scaled(value, 1000.0, "/s"),
            Self::Seconds => seconds(value),
            Self::Percent => format!("{value:.2} %"),
            Self::Count => format!("{value:.0}"),
            Self::SecondsPerGib => format!("{value:.3} s/GiB"),
        }
    }
}

impl Figure {
    /// The value in the words that people use.
    #[must_use]
    pub fn show(&self) -> String {
        self.unit.show(self.value)
    }
}

fn scaled(value: f64, step: f64, unit: &str) -> String {
    let mut value = value;
    let mut letter = "";
    for next in ["k", "M", "G", "T"] {
        if value.abs() < step {
            break;
        }
        value /= step;
        letter = next;
    }
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0} {letter}{unit}"),
        size if size >= 10.0 => format!("{value:.1} {letter}{unit}"),
        _ => format!("{value:.2} {letter}{unit}"),
    }
}

/// A time in s, ms or us with three digits.
#[must_use]
pub fn seconds(value: f64) -> String {
    match value.abs() {
        size if size >= 1.0 => format!("{value:.2} s"),
        size if size >= 0.01 => format!("{:.1} ms", value * 1e3),
        size if size >= 0.001 => format!("{:.2} ms", value * 1e3),
        _ => format!("{:.0} us", value * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_with_three_digits() {
        assert_eq!(Unit::BitsPerSecond.show(9.412e9), "9.41 Gbit/s");
        assert_eq!(Unit::BitsPerSecond.show(941e6), "941 Mbit/s");
        assert_eq!(Unit::Seconds.show(0.000_05), "50 us");
        assert_eq!(Unit::Seconds.show(0.0123), "12.3 ms");
        assert_eq!(Unit::PerSecond.show(52_300.0), "52.3 k/s");
    }
}
