//! Distributions of times, as histograms with three significant digits (HdrHistogram).
//!
//! Invariant: a histogram holds at most a few thousand counters, however many times were recorded.
//! Times outside 1 ns to 100 s count as the nearest of these. Not promised: that percentiles
//! beyond what the count supports mean anything; [`Latency::supports`] tells.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest time told apart, in nanoseconds: 100 s.
const NANOS_MAX: u64 = 100_000_000_000;

/// A distribution of times.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Latency {
    /// Of what: `rtt_idle`, `rtt_loaded`, `read 4 KiB` and so on.
    pub name: String,
    /// How it was measured: `icmp echo`, `tcp_info`, `request` and so on.
    pub source: String,
    /// How many times were recorded.
    pub count: u64,
    /// How many did not come back.
    pub lost: u64,
    /// Shortest, in seconds.
    pub min_s: f64,
    /// Mean, in seconds.
    pub mean_s: f64,
    /// Median, in seconds.
    pub p50_s: f64,
    /// 90th percentile, in seconds.
    pub p90_s: f64,
    /// 99th percentile, in seconds.
    pub p99_s: f64,
    /// 99.9th percentile, in seconds.
    pub p999_s: f64,
    /// Longest, in seconds.
    pub max_s: f64,
    /// Upper end in seconds and count of each part of the distribution, for a plot.
    pub buckets: Vec<(f64, u64)>,
}

/// Collects times.
#[derive(Clone, Debug)]
pub struct Recorder {
    histogram: Histogram<u64>,
    lost: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        let Ok(histogram) = Histogram::new_with_bounds(1, NANOS_MAX, 3) else {
            unreachable!("1 and 100 s are valid bounds, and 3 a valid precision");
        };
        Self { histogram, lost: 0 }
    }
}

impl Recorder {
    /// Adds one time.
    pub fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(NANOS_MAX);
        self.histogram.saturating_record(nanos.clamp(1, NANOS_MAX));
    }

    /// Adds one that did not come back.
    pub fn lose(&mut self) {
        self.lost += 1;
    }

    /// How many times were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Adds what another recorder has.
    pub fn merge(&mut self, other: &Self) {
        self.lost += other.lost;
        // Both have the same bounds, so this cannot fail.
        let _ = self.histogram.add(&other.histogram);
    }

    /// The distribution; `None` if nothing was recorded.
    #[must_use]
    pub fn finish(&self, name: &str, source: &str) -> Option<Latency> {
        if self.histogram.is_empty() {
            return None;
        }
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 / 1e9;
        let buckets = self
            .histogram
            .iter_log(1000, 1.25)
            .filter(|step| step.count_since_last_iteration() > 0)
            .map(|step| {
                let upper = step.value_iterated_to() as f64 / 1e9;
                (upper, step.count_since_last_iteration())
            })
            .collect();
        Some(Latency {
            name: name.to_owned(),
            source: source.to_owned(),
            count: self.histogram.len(),
            lost: self.lost,
            min_s: self.histogram.min() as f64 / 1e9,
            mean_s: self.histogram.mean() / 1e9,
            p50_s: at(0.5),
            p90_s: at(0.9),
            p99_s: at(0.99),
            p999_s: at(0.999),
            max_s: self.histogram.max() as f64 / 1e9,
            buckets,
        })
    }
}

impl Latency {
    /// Whether there are enough times for this quantile: ten beyond it.
    #[must_use]
    pub fn supports(&self, quantile: f64) -> bool {
        self.count as f64 * (1.0 - quantile) >= 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let mut recorder = Recorder::default();
        assert!(recorder.finish("x", "y").is_none());
        for micros in 1..=1000 {
            recorder.record(Duration::from_micros(micros));
        }
        recorder.lose();
        let latency = recorder.finish("x", "y").unwrap();
        assert!((latency.p50_s - 500e-6).abs() < 1e-6, "{latency:?}");
        assert!((latency.p99_s - 990e-6).abs() < 2e-6, "{latency:?}");
        assert_eq!((latency.count, latency.lost), (1000, 1));
        assert!(latency.supports(0.99) && !latency.supports(0.999));
        let in_buckets: u64 = latency.buckets.iter().map(|(_, count)| count).sum();
        assert_eq!(in_buckets, 1000);
        recorder.record(Duration::from_secs(1000));
        assert!(recorder.finish("x", "y").unwrap().max_s < 101.0);
    }
}
