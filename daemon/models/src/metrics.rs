//! What the models show at `/metrics`: the store, and what pulls have fetched from where.
//!
//! Invariant: every line comes from a row of [`COUNTERS`] or [`GAUGES`], or is one of the sources.
//! Not promised: counts over a restart.

use std::sync::atomic::Ordering;

use towline_store::{Store, StoreGauges, StoreMetrics};
use towline_transfer::{Kind, Tally};

use crate::uploads::Staged;

/// One line, for whoever writes the page.
pub struct Line {
    /// Name of the metric.
    pub name: &'static str,
    /// Labels between the braces, or nothing.
    pub labels: &'static str,
    /// Whether it goes up and down, or else only up.
    pub is_gauge: bool,
    /// What it counts.
    pub help: &'static str,
    /// The number.
    pub value: u64,
}

/// Name, help, and where the number is.
type Row<T> = (&'static str, &'static str, fn(&T) -> u64);

const COUNTERS: [Row<StoreMetrics>; 13] = [
    (
        "towline_models_revisions_published_total",
        "Revisions that were pushed, pulled or committed.",
        |store| store.revisions_published,
    ),
    (
        "towline_models_published_bytes_total",
        "Bytes of the files of those revisions, new or not.",
        |store| store.bytes_published,
    ),
    (
        "towline_models_written_bytes_total",
        "Of those, bytes that were written.",
        |store| store.bytes_written,
    ),
    (
        "towline_models_linked_bytes_total",
        "Of those, bytes of whole files that were here already.",
        |store| store.bytes_linked,
    ),
    (
        "towline_models_cloned_bytes_total",
        "Of those, bytes that share their blocks with other files.",
        |store| store.bytes_cloned,
    ),
    (
        "towline_models_known_written_bytes_total",
        "Bytes of chunks that were here and were written again, for want of shared blocks.",
        |store| store.bytes_known_written,
    ),
    (
        "towline_models_verified_bytes_total",
        "Bytes that verifications have read and hashed.",
        |store| store.bytes_verified,
    ),
    (
        "towline_models_damages_found_total",
        "Damages that verifications have found.",
        |store| store.damages_found,
    ),
    (
        "towline_models_damages_healed_total",
        "Of those, damages that were repaired.",
        |store| store.damages_healed,
    ),
    (
        "towline_models_chunks_healed_total",
        "Chunks that were brought back from elsewhere.",
        |store| store.chunks_healed,
    ),
    (
        "towline_models_collected_bytes_total",
        "Bytes that garbage collection has freed.",
        |store| store.bytes_collected,
    ),
    (
        "towline_models_evicted_bytes_total",
        "Bytes that eviction has freed for others.",
        |store| store.bytes_evicted,
    ),
    (
        "towline_models_room_refused_total",
        "Writers that were refused for want of room.",
        |store| store.room_refused,
    ),
];

const GAUGES: [Row<StoreGauges>; 5] = [
    (
        "towline_models_stored_bytes",
        "Bytes of all files in the store.",
        |store| store.bytes_stored,
    ),
    (
        "towline_models_reserved_bytes",
        "Bytes promised to writers under way.",
        |store| store.bytes_reserved,
    ),
    (
        "towline_models_quota_bytes",
        "Most bytes that files may take; 0: what the file system has.",
        |store| store.quota.unwrap_or(0),
    ),
    (
        "towline_models_arrivals",
        "Revisions on their way.",
        |store| store.arrivals,
    ),
    (
        "towline_models_revisions",
        "Revisions that can be read.",
        |store| store.revisions,
    ),
];

const STAGED: [Row<Staged>; 3] = [
    (
        "towline_models_staged_bytes",
        "Bytes that were uploaded and are not published.",
        |staged| staged.bytes,
    ),
    (
        "towline_models_staged_promised_bytes",
        "Bytes promised to uploads under way.",
        |staged| staged.promised,
    ),
    (
        "towline_models_staged_limit_bytes",
        "Most bytes that uploads may take together.",
        |staged| staged.bytes_max,
    ),
];

/// Every line, those of one name together.
pub(crate) fn lines(store: &Store, staged: &Staged, pulls: &Tally) -> Vec<Line> {
    let (counts, gauges) = (store.metrics(), store.gauges());
    let mut lines: Vec<Line> = COUNTERS
        .iter()
        .map(|row| line(row, &counts, false))
        .collect();
    lines.extend(GAUGES.iter().map(|row| line(row, &gauges, true)));
    lines.extend(STAGED.iter().map(|row| line(row, staged, true)));
    let fetched = "towline_models_fetched_bytes_total";
    let help = "Bytes that pulls have fetched, by kind of source.";
    let sources = Kind::ALL.map(|kind| (fetched, kind.label(), help, pulls.fetched(kind)));
    let counts = [
        (
            "towline_models_pulls_total",
            "",
            "Pulls that were begun.",
            &pulls.begun,
        ),
        (
            "towline_models_pulls_failed_total",
            "",
            "Of those, pulls that failed or were stopped.",
            &pulls.failed,
        ),
        (
            "towline_models_fetch_retries_total",
            "",
            "Requests to sources that were tried again.",
            &pulls.retries,
        ),
    ];
    for (name, labels, help, count) in sources.into_iter().chain(counts) {
        lines.push(Line {
            name,
            labels,
            is_gauge: false,
            help,
            value: count.load(Ordering::Relaxed),
        });
    }
    lines
}

fn line<T>(&(name, help, read): &Row<T>, of: &T, is_gauge: bool) -> Line {
    Line {
        name,
        labels: "",
        is_gauge,
        help,
        value: read(of),
    }
}
