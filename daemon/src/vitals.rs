//! What concerns the process as a whole: since when it runs, and log lines that were left out.
//!
//! Invariant: lines that were left out are told of once, when there are more than before. Not
//! promised: which lines they were.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::part::page::{Kind, Tier};
use crate::part::{Page, Part};
use crate::trace;

/// Time between two looks for lines that were left out: soon enough for whoever reads along.
const INTERVAL: Duration = Duration::from_secs(10);

/// The process.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// Since when it runs, in seconds since 1970-01-01 UTC.
    started: u64,
    /// Lines left out that were told of.
    told: AtomicU64,
}

impl Vitals {
    /// Of a process that runs since then, in seconds since 1970-01-01 UTC.
    pub(crate) fn new(started: u64) -> Self {
        Self {
            started,
            told: AtomicU64::new(trace::left_out()),
        }
    }
}

impl Part for Vitals {
    fn metrics(&self, page: &mut Page) {
        let name = "towline_node_start_time_seconds";
        let help = "When the node started.";
        page.metric((name, Kind::Gauge, Tier::Stable), help, self.started);
        let name = "towline_node_log_lines_left_out_total";
        let help = "Log lines left out because peers caused more than ten a second.";
        page.metric((name, Kind::Counter, Tier::Stable), help, trace::left_out());
    }

    fn every(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    fn tick(&self) {
        let lines = trace::left_out();
        if self.told.swap(lines, Ordering::Relaxed) < lines {
            tracing::warn!("log lines were left out: peers caused more than ten a second");
        }
    }
}
