//! What this face counts, per worker, and the one table of names.
//!
//! Each worker adds to its own counters, so cores do not share a cache line on the way of a
//! request; a reader sums them. Invariant: a counter never falls. Not promised: that a sum is
//! of one instant.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::status::Status;

/// How long a metric's name and meaning last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tier {
    /// Changes only with a major version.
    Stable,
    /// May change.
    Experimental,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// `towline_http_<what>_<unit>`.
    pub name: &'static str,
    /// Prometheus labels without braces; empty for none.
    pub labels: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// How long it lasts.
    pub tier: Tier,
    /// One sentence for people.
    pub help: &'static str,
    read: fn(&Counters) -> &AtomicU64,
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub struct Counters {
    ok: AtomicU64,
    redirected: AtomicU64,
    client_faults: AtomicU64,
    server_faults: AtomicU64,
    /// Bytes of files promised in reply heads.
    pub bytes_sent: AtomicU64,
    /// Bytes of files taken from clients.
    pub bytes_received: AtomicU64,
    /// Requests answered without a pool thread.
    pub hot: AtomicU64,
    /// Requests with more than one range.
    pub multipart: AtomicU64,
    /// Files published by PUT.
    pub published: AtomicU64,
    /// Requests on the port of S3.
    pub s3: AtomicU64,
    /// Those of them whose signature was not good.
    pub s3_unsigned: AtomicU64,
}

impl Counters {
    /// Counts a reply.
    pub fn replied(&self, status: Status) {
        let counter = match status.code() {
            0..=299 => &self.ok,
            300..=399 => &self.redirected,
            400..=499 => &self.client_faults,
            _ => &self.server_faults,
        };
        add(counter, 1);
    }
}

/// Adds without ordering: nobody concludes anything from two counters at once.
pub fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

const REQUESTS: &str = "towline_http_requests_total";
const REQUESTS_HELP: &str = "File requests answered, by class of status.";

/// Every metric of this face.
pub const METRICS: [Metric; 11] = [
    row(REQUESTS, "class=\"2xx\"", "requests", REQUESTS_HELP, |c| {
        &c.ok
    }),
    row(REQUESTS, "class=\"3xx\"", "requests", REQUESTS_HELP, |c| {
        &c.redirected
    }),
    row(REQUESTS, "class=\"4xx\"", "requests", REQUESTS_HELP, |c| {
        &c.client_faults
    }),
    row(REQUESTS, "class=\"5xx\"", "requests", REQUESTS_HELP, |c| {
        &c.server_faults
    }),
    row(
        "towline_http_sent_bytes_total",
        "",
        "bytes",
        "Bytes of files promised in reply heads.",
        |c| &c.bytes_sent,
    ),
    row(
        "towline_http_received_bytes_total",
        "",
        "bytes",
        "Bytes of files taken from clients.",
        |c| &c.bytes_received,
    ),
    row(
        "towline_http_published_files_total",
        "",
        "files",
        "Files published by PUT.",
        |c| &c.published,
    ),
    experimental(row(
        "towline_http_s3_requests_total",
        "",
        "requests",
        "Requests on the port of S3.",
        |c| &c.s3,
    )),
    experimental(row(
        "towline_http_s3_unsigned_requests_total",
        "",
        "requests",
        "Requests on the port of S3 that were refused for their signature.",
        |c| &c.s3_unsigned,
    )),
    experimental(row(
        "towline_http_hot_requests_total",
        "",
        "requests",
        "File requests answered without a pool thread.",
        |c| &c.hot,
    )),
    experimental(row(
        "towline_http_multipart_requests_total",
        "",
        "requests",
        "File requests answered with more than one range.",
        |c| &c.multipart,
    )),
];

const fn row(
    name: &'static str,
    labels: &'static str,
    unit: &'static str,
    help: &'static str,
    read: fn(&Counters) -> &AtomicU64,
) -> Metric {
    Metric {
        name,
        labels,
        unit,
        tier: Tier::Stable,
        help,
        read,
    }
}

const fn experimental(metric: Metric) -> Metric {
    Metric {
        tier: Tier::Experimental,
        ..metric
    }
}

impl Metric {
    /// The sum over workers.
    pub fn sum<'a>(&self, workers: impl Iterator<Item = &'a Counters>) -> u64 {
        workers
            .map(|counters| (self.read)(counters).load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_workers_are_summed_by_class() {
        let (one, two) = (Counters::default(), Counters::default());
        one.replied(Status::OK);
        two.replied(Status::PARTIAL);
        two.replied(Status::NOT_FOUND);
        let sums: Vec<u64> = METRICS[..4]
            .iter()
            .map(|metric| metric.sum([&one, &two].into_iter()))
            .collect();
        assert_eq!(sums, [2, 0, 1, 0]);
    }

    #[test]
    fn names_follow_the_scheme() {
        for metric in METRICS {
            assert!(metric.name.starts_with("towline_http_") && metric.name.ends_with("_total"));
        }
    }
}
