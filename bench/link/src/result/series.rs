//! Numbers over time: one sample per interval, usually a second.
//!
//! Invariant: samples of a series follow each other without overlap; times are seconds from the
//! start of what counts, so those of an omitted start are negative or flagged.

use serde::{Deserialize, Serialize};

/// One interval.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Sample {
    /// Begin in seconds.
    pub start_s: f64,
    /// End in seconds.
    pub end_s: f64,
    /// Payload bytes moved.
    pub bytes: u64,
    /// Requests answered or datagrams received, where such are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// Segments sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u64>,
    /// Datagrams lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Round trip at the end of the interval, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u64>,
    /// Bytes that may be under way, at the end of the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_bytes: Option<u64>,
    /// Percent of the busiest core of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busiest_core_percent: Option<f64>,
    /// Belongs to the start that does not count.
    #[serde(default)]
    pub omitted: bool,
}

impl Sample {
    /// Length in seconds, never zero.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.end_s - self.start_s).max(1e-9)
    }

    /// Payload bits per second.
    #[must_use]
    pub fn bits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.seconds()
    }
}

/// Samples of one thing.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Series {
    /// What: `sent`, `received`, `read 4 KiB` and so on.
    pub name: String,
    /// The samples in order.
    pub samples: Vec<Sample>,
}

impl Series {
    /// Bytes of the samples that count.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let counted = self.samples.iter().filter(|sample| !sample.omitted);
        counted.map(|sample| sample.bytes).sum()
    }
}
