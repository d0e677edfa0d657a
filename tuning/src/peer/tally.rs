//! What the answering side has answered and refused, for whoever watches a node.
//!
//! Invariant: counters only grow; they are read without a lock while the answering side runs, so
//! two of them need not be of the same instant.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// The table of the metrics: name, kind, tier, help.
pub const METRICS: [(&str, &str, &str, &str); 4] = [
    (
        "towline_tuning_peer_echoes_total",
        "counter",
        "experimental",
        "Datagrams of other hosts' measurements that were answered.",
    ),
    (
        "towline_tuning_peer_sheets_total",
        "counter",
        "experimental",
        "Fact sheets of this host that were given to peers.",
    ),
    (
        "towline_tuning_peer_transfers_total",
        "counter",
        "experimental",
        "Measured transfers with peers, either way.",
    ),
    (
        "towline_tuning_peer_refused_total",
        "counter",
        "experimental",
        "Datagrams and connections of addresses that are not allowed, or beyond the limit.",
    ),
];

/// Counters of one answering side; shared by its threads.
#[derive(Debug, Default)]
pub struct Tally {
    pub(super) echoes: AtomicU64,
    pub(super) sheets: AtomicU64,
    pub(super) transfers: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Tally {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The rows of [`METRICS`] in the Prometheus text format.
    #[must_use]
    pub fn metrics(&self) -> String {
        let counters = [&self.echoes, &self.sheets, &self.transfers, &self.refused];
        let mut page = String::new();
        for ((name, kind, tier, help), counter) in METRICS.into_iter().zip(counters) {
            let value = counter.load(Ordering::Relaxed);
            // Writing to a String cannot fail.
            let _ = writeln!(
                page,
                "# HELP {name} {help} ({tier})\n# TYPE {name} {kind}\n{name} {value}"
            );
        }
        page
    }
}
