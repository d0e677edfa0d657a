//! What a driver's own counters mean: `data/driver-counters.toml`, by name.
//!
//! Invariant: a counter that no name there matches means nothing here; two meanings never share a
//! counter, and a test keeps that true for the names of the file itself.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::TuneError;

const TEXT: &str = include_str!("../data/driver-counters.toml");

/// What a counter counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// Packets thrown away for want of room.
    Drop,
    /// Frames that came broken.
    Broken,
    /// Pause frames.
    Pause,
}

impl Meaning {
    /// All of them, each with the name under which a peer tells the sum.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Drop, "driver_drops"),
        (Self::Broken, "driver_broken_frames"),
        (Self::Pause, "driver_pause_frames"),
    ];
}

/// Names by meaning; see the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriverCounters {
    drop: Vec<String>,
    broken: Vec<String>,
    pause: Vec<String>,
}

impl DriverCounters {
    /// The compiled-in names.
    ///
    /// # Errors
    /// When the data file is broken: a fault of the build.
    pub fn load() -> Result<Self, TuneError> {
        toml::from_str(TEXT)
            .map_err(|error| TuneError::usage(format!("driver-counters.toml: {error}")))
    }

    /// Whether a counter has that meaning.
    #[must_use]
    pub fn is(&self, meaning: Meaning, counter: &str) -> bool {
        let names = match meaning {
            Meaning::Drop => &self.drop,
            Meaning::Broken => &self.broken,
            Meaning::Pause => &self.pause,
        };
        names.iter().any(|name| matches(name, counter))
    }

    /// The sum of all counters of that meaning; nothing where the driver has none.
    #[must_use]
    pub fn sum(&self, meaning: Meaning, counters: &BTreeMap<String, u64>) -> Option<u64> {
        let own = counters.iter().filter(|(name, _)| self.is(meaning, name));
        let values: Vec<u64> = own.map(|(_, value)| *value).collect();
        (!values.is_empty()).then(|| {
            values
                .iter()
                .fold(0_u64, |sum, value| sum.saturating_add(*value))
        })
    }
}

/// `#` stands for a number and `*`, at the end only, for anything.
fn matches(name: &str, counter: &str) -> bool {
    let Some(mark) = name.find(['#', '*']) else {
        return name == counter;
    };
    let (head, tail) = name.split_at(mark);
    let Some(rest) = counter.strip_prefix(head) else {
        return false;
    };
    match tail.strip_prefix('#') {
        None => true,
        Some(tail) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            digits > 0 && matches(tail, &rest[digits..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_drivers_are_sorted_by_meaning() {
        let names = DriverCounters::load().unwrap();
        for (counter, meaning) in [
            ("rx_queue_12_drops", Some(Meaning::Drop)),
            ("rx_queue_0_xdp_drops", None),
            ("rx_out_of_buffer", Some(Meaning::Drop)),
            ("rx_discards_phy", Some(Meaning::Drop)),
            ("rx_crc_errors_phy", Some(Meaning::Broken)),
            ("rx_prio3_pause", Some(Meaning::Pause)),
            ("tx_flow_control_xoff", Some(Meaning::Pause)),
            ("rx_packets", None),
            ("rx_prio_pause", None),
        ] {
            for (one, _) in Meaning::ALL {
                assert_eq!(names.is(one, counter), meaning == Some(one), "{counter}");
            }
        }
    }

    #[test]
    fn no_driver_counts_is_not_zero() {
        let names = DriverCounters::load().unwrap();
        let none = BTreeMap::from([("rx_packets".to_owned(), 5)]);
        assert_eq!(names.sum(Meaning::Drop, &none), None);
        let two = BTreeMap::from([
            ("rx_queue_0_drops".to_owned(), 2),
            ("rx_queue_1_drops".to_owned(), 3),
        ]);
        assert_eq!(names.sum(Meaning::Drop, &two), Some(5));
    }
}
