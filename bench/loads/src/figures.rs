//! What one measurement yields, and how several become one figure.
//!
//! Invariant: an [`Outcome`] covers only the measured window; warm-up is never counted, neither
//! in requests nor in server time. Not promised: percentiles beyond [`LATENCIES_MAX`] samples,
//! where later samples replace earlier ones evenly.

use serde_json::{Value, json};

/// Most latencies one outcome keeps, as a count; 4 bytes each, so 8 MiB at most.
pub const LATENCIES_MAX: usize = 2 * 1024 * 1024;

/// Counters of one load over one measured window.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Length of the window in seconds.
    pub seconds: f64,
    /// Requests whose reply was complete inside the window.
    pub requests: u64,
    /// Payload bytes moved inside the window, in either direction.
    pub bytes: u64,
    /// User plus system seconds the server spent in the window.
    pub server_cpu_seconds: f64,
    latencies_us: Vec<u32>,
    latencies_seen: u64,
}

impl Outcome {
    /// Adds one complete request that took `microseconds` from its first byte out.
    pub fn record(&mut self, microseconds: u128) {
        let value = u32::try_from(microseconds).unwrap_or(u32::MAX);
        self.requests += 1;
        if self.latencies_us.len() < LATENCIES_MAX {
            self.latencies_us.push(value);
        } else {
            let slot = (self.latencies_seen % LATENCIES_MAX as u64) as usize;
            self.latencies_us[slot] = value;
        }
        self.latencies_seen += 1;
    }

    /// Payload rate in GiB per second.
    #[must_use]
    pub fn gib_per_s(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 30) / self.seconds
    }

    /// Requests per second.
    #[must_use]
    pub fn requests_per_s(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Server seconds per GiB of payload; infinite when nothing moved.
    #[must_use]
    pub fn cpu_s_per_gib(&self) -> f64 {
        self.server_cpu_seconds / (self.bytes as f64 / f64::from(1 << 30))
    }

    /// Server microseconds per request; infinite when nothing was answered.
    #[must_use]
    pub fn cpu_us_per_request(&self) -> f64 {
        self.server_cpu_seconds * 1e6 / self.requests as f64
    }

    /// Latency in microseconds that the share `quantile` (0 to 1) of requests stayed within.
    #[must_use]
    pub fn latency_us(&self, quantile: f64) -> f64 {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        let Some(last) = sorted.len().checked_sub(1) else {
            return 0.0;
        };
        let index = (last as f64 * quantile).round() as usize;
        sorted.get(index.min(last)).copied().map_or(0.0, f64::from)
    }

    /// The outcome as an object for `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "seconds": self.seconds,
            "requests": self.requests,
            "bytes": self.bytes,
            "server_cpu_seconds": self.server_cpu_seconds,
            "gib_per_s": self.gib_per_s(),
            "requests_per_s": self.requests_per_s(),
            "p50_us": self.latency_us(0.50),
            "p99_us": self.latency_us(0.99),
        })
    }
}

/// Median of `values`; the lower middle of an even count, zero of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_order_and_outliers() {
        assert_eq!(median(&[9.0, 1.0, 2.0, 1000.0, 3.0]), 3.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn quantiles_are_taken_from_sorted_samples() {
        let mut outcome = Outcome::default();
        for value in (1..=100).rev() {
            outcome.record(value);
        }
        assert_eq!(outcome.latency_us(0.99), 99.0);
        assert_eq!(outcome.latency_us(1.0), 100.0);
        assert_eq!(outcome.requests, 100);
    }
}
