//! The Prometheus text at `/metrics`, and the table of the metrics that are the node's own.
//!
//! Invariant: every line comes from a table row with name, unit, tier and help: here, in
//! [`ModelDesk::metrics`], [`towline_nfs::metrics`], [`towline_http::metrics`],
//! [`towline_tuning::watch`] or [`towline_tuning::peer::tally`]. Names of the stable tier stay over
//! minor versions. Governed by the Prometheus text exposition format 0.0.4.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use towline_io::WorkerMetrics;
use towline_models::ModelDesk;

use crate::node::Facts;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    kind: &'static str,
    tier: &'static str,
    help: &'static str,
    read: fn(&WorkerMetrics) -> u64,
}

/// Counters and gauges of the workers, summed over them.
const WORKERS: [Row; 12] = [
    Row {
        name: "towline_io_connections_accepted_total",
        kind: "counter",
        tier: "stable",
        help: "Connections taken in.",
        read: |worker| worker.connections_accepted.get(),
    },
    Row {
        name: "towline_io_connections_refused_total",
        kind: "counter",
        tier: "stable",
        help: "Connections closed at once because of a limit or a rule.",
        read: |worker| worker.connections_refused.get(),
    },
    Row {
        name: "towline_io_connections_open",
        kind: "gauge",
        tier: "stable",
        help: "Connections open now.",
        read: |worker| worker.connections_open.get(),
    },
    Row {
        name: "towline_io_received_bytes_total",
        kind: "counter",
        tier: "stable",
        help: "Bytes read from sockets.",
        read: |worker| worker.bytes_received.get(),
    },
    Row {
        name: "towline_io_sent_copied_bytes_total",
        kind: "counter",
        tier: "experimental",
        help: "Bytes sent from memory.",
        read: |worker| worker.bytes_sent_copied.get(),
    },
    Row {
        name: "towline_io_sent_sendfile_bytes_total",
        kind: "counter",
        tier: "experimental",
        help: "Bytes sent from the page cache without a copy.",
        read: |worker| worker.bytes_sent_sendfile.get(),
    },
    Row {
        name: "towline_io_sent_splice_bytes_total",
        kind: "counter",
        tier: "experimental",
        help: "Bytes read from the disk first, then sent through a pipe.",
        read: |worker| worker.bytes_sent_splice.get(),
    },
    Row {
        name: "towline_io_cold_reads_total",
        kind: "counter",
        tier: "experimental",
        help: "Reads that found their data not in memory.",
        read: |worker| worker.cold_reads.get(),
    },
    Row {
        name: "towline_io_jobs_total",
        kind: "counter",
        tier: "experimental",
        help: "Calls that went to the pool because they may block.",
        read: |worker| worker.jobs.get(),
    },
    Row {
        name: "towline_io_span_faults_total",
        kind: "counter",
        tier: "stable",
        help: "Replies cut short because their file shrank or failed to read.",
        read: |worker| worker.span_faults.get(),
    },
    Row {
        name: "towline_io_timed_out_total",
        kind: "counter",
        tier: "stable",
        help: "Transfers closed because their peer paused too long or was too slow.",
        read: |worker| worker.timed_out.get(),
    },
    Row {
        name: "towline_io_receive_held_bytes",
        kind: "gauge",
        tier: "experimental",
        help: "Bytes of unfinished requests held now.",
        read: |worker| worker.receive_bytes_held.get(),
    },
];

/// The whole page.
pub(crate) fn render(facts: &Facts) -> String {
    let mut page = String::with_capacity(16 << 10);
    head(
        &mut page,
        "towline_node_start_time_seconds",
        "gauge",
        "stable",
        "When the node started.",
    );
    line(
        &mut page,
        "towline_node_start_time_seconds",
        "",
        facts.started,
    );
    let own = [
        (
            "towline_node_log_lines_left_out_total",
            "counter",
            "Log lines left out because peers caused more than ten a second.",
            crate::trace::left_out(),
        ),
        (
            "towline_node_volumes_displaced",
            "gauge",
            "Volumes whose folder is not the one that is served.",
            facts.standing.faults().len() as u64,
        ),
    ];
    for (name, kind, help, value) in own {
        head(&mut page, name, kind, "stable", help);
        line(&mut page, name, "", value);
    }
    for row in WORKERS {
        head(&mut page, row.name, row.kind, row.tier, row.help);
        line(
            &mut page,
            row.name,
            "",
            facts
                .workers
                .iter()
                .map(|worker| (row.read)(worker))
                .sum::<u64>(),
        );
    }
    let waiting = facts.pool.waiting() as u64;
    let name = "towline_io_jobs_waiting";
    head(
        &mut page,
        name,
        "gauge",
        "experimental",
        "Jobs that wait for a pool thread.",
    );
    line(&mut page, name, "", waiting);
    eviction(&mut page, facts);
    uploads(&mut page, facts);
    models(&mut page, facts);
    http(&mut page, facts);
    nfs(&mut page, facts);
    bench(&mut page, facts);
    tls(&mut page, facts);
    page.push_str(&facts.tuning.metrics());
    page.push_str(&facts.tuning_peer.metrics());
    page
}

fn eviction(page: &mut String, facts: &Facts) {
    let evicted = &facts.evicted;
    let rows = [
        (
            "towline_volume_evicted_files_total",
            "Files removed from bounded caches.",
            &evicted.files,
        ),
        (
            "towline_volume_evicted_bytes_total",
            "Bytes removed from bounded caches.",
            &evicted.bytes,
        ),
        (
            "towline_volume_spared_files_total",
            "Files not removed because in use.",
            &evicted.spared,
        ),
        (
            "towline_volume_uploads_removed_total",
            "Unfinished uploads removed because nobody went on with them.",
            &evicted.uploads,
        ),
    ];
    for (name, help, counter) in rows {
        head(page, name, "counter", "stable", help);
        line(page, name, "", counter.load(Ordering::Relaxed));
    }
}

/// HTTPS, where it is served.
fn tls(page: &mut String, facts: &Facts) {
    let Some(tally) = &facts.tls else {
        return;
    };
    let rows = [
        (
            "towline_tls_accepted_total",
            "counter",
            "Connections whose TLS handshake succeeded.",
            &tally.accepted,
        ),
        (
            "towline_tls_kernel_total",
            "counter",
            "Connections among them that the kernel encrypts: none as long as that is off.",
            &tally.in_kernel,
        ),
        (
            "towline_tls_failed_total",
            "counter",
            "TLS handshakes that failed or were not finished in time.",
            &tally.failed,
        ),
        (
            "towline_tls_relayed",
            "gauge",
            "Connections that this process encrypts now.",
            &tally.relayed,
        ),
    ];
    for (name, kind, help, counter) in rows {
        head(page, name, kind, "stable", help);
        line(page, name, "", counter.load(Ordering::Relaxed));
    }
}

/// Link measurements that this node answered: name, labels, help.
fn bench(page: &mut String, facts: &Facts) {
    let bench = &facts.bench;
    let rows = [
        (
            "towline_bench_tests_total",
            "result=\"done\"",
            "Link tests.",
            &bench.tests_done,
        ),
        (
            "towline_bench_tests_total",
            "result=\"broken\"",
            "Link tests.",
            &bench.tests_broken,
        ),
        (
            "towline_bench_tests_total",
            "result=\"refused\"",
            "Link tests.",
            &bench.refused,
        ),
        (
            "towline_bench_turned_away_total",
            "why=\"busy\"",
            "Connections turned away from the bench port.",
            &bench.busy,
        ),
        (
            "towline_bench_turned_away_total",
            "why=\"address\"",
            "Connections turned away from the bench port.",
            &bench.not_allowed,
        ),
        (
            "towline_bench_sent_bytes_total",
            "",
            "Payload of link tests sent.",
            &bench.bytes_sent,
        ),
        (
            "towline_bench_received_bytes_total",
            "",
            "Payload of link tests received.",
            &bench.bytes_received,
        ),
    ];
    let mut last = "";
    for (name, labels, help, counter) in rows {
        if name != last {
            head(page, name, "counter", "stable", help);
            last = name;
        }
        line(page, name, labels, counter.load(Ordering::Relaxed));
    }
    let name = "towline_bench_served_seconds_total";
    let help = "Time in which link tests took processor and line from clients.";
    head(page, name, "counter", "stable", help);
    let seconds = bench.served_us.load(Ordering::Relaxed) as f64 / 1e6;
    line(page, name, "", format_args!("{seconds:.6}"));
    let name = "towline_bench_running";
    head(page, name, "gauge", "stable", "1 while a link test runs.");
    line(page, name, "", bench.running.load(Ordering::Relaxed));
}

fn uploads(page: &mut String, facts: &Facts) {
    let Some(desk) = &facts.uploads else {
        return;
    };
    let tally = desk.tally();
    let rows = [
        (
            "towline_models_commits_total",
            "Revisions that were published over the network.",
            &tally.commits,
        ),
        (
            "towline_models_uploaded_bytes_total",
            "Bytes of files that were uploaded to be published.",
            &tally.bytes,
        ),
        (
            "towline_models_uploaded_parts_total",
            "Parts of large files that were uploaded to be published.",
            &tally.parts,
        ),
        (
            "towline_models_uploads_slow_total",
            "Uploads that were cut because nothing came, or next to nothing.",
            &tally.slow,
        ),
        (
            "towline_models_uploads_refused_total",
            "Requests to publish without a token or address that was good for it.",
            &tally.refused,
        ),
        (
            "towline_models_uploads_full_total",
            "Uploads that were refused or ended for want of room.",
            &tally.full,
        ),
    ];
    for (name, help, counter) in rows {
        head(page, name, "counter", "experimental", help);
        line(page, name, "", counter.load(Ordering::Relaxed));
    }
    let name = "towline_models_unsigned_revisions";
    let help = "Revisions that are here and not served for want of a trusted signature.";
    head(page, name, "gauge", "experimental", help);
    line(page, name, "", desk.unsigned_revisions());
}

fn models(page: &mut String, facts: &Facts) {
    let lines = facts.models.as_deref().map(ModelDesk::metrics);
    let mut last = "";
    for row in lines.unwrap_or_default() {
        if row.name != last {
            head(page, row.name, row.kind, row.tier, row.help);
            last = row.name;
        }
        line(page, row.name, row.labels, row.value);
    }
}

fn http(page: &mut String, facts: &Facts) {
    let mut last = "";
    for (metric, value) in facts.http.metrics() {
        if metric.name != last {
            head(
                page,
                metric.name,
                "counter",
                tier(metric.tier as usize),
                metric.help,
            );
            last = metric.name;
        }
        line(page, metric.name, metric.labels, value);
    }
}

fn nfs(page: &mut String, facts: &Facts) {
    let mut last = "";
    facts.nfs.metrics().visit(|metric, value, count| {
        if metric.name != last {
            head(
                page,
                metric.name,
                match metric.kind {
                    towline_nfs::metrics::Kind::Counter => "counter",
                    towline_nfs::metrics::Kind::Gauge => "gauge",
                },
                tier(metric.tier as usize),
                metric.help,
            );
            last = metric.name;
        }
        let label = match metric.label {
            "" => String::new(),
            label => format!("{label}=\"{value}\""),
        };
        line(page, metric.name, &label, count);
    });
}

fn tier(index: usize) -> &'static str {
    if index == 0 { "stable" } else { "experimental" }
}

fn head(page: &mut String, name: &str, kind: &str, tier: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "# HELP {name} {help} ({tier})");
    let _ = writeln!(page, "# TYPE {name} {kind}");
}

fn line(page: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(page, "{name} {value}"),
        labels => writeln!(page, "{name}{{{labels}}} {value}"),
    };
}
