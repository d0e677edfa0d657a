//! The data plane as a part of the node: the workers, their pool, and where rpcbind says they are.
//!
//! Invariant: when it is told to stop, rpcbind forgets the node before the workers take nothing
//! new; the drain time of the configuration bounds what is under way. Not promised: sums of one
//! moment; each worker counts for itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use towline_io::{Pool, WorkerMetrics};

use crate::part::page::{Kind, Tier};
use crate::part::{Page, Part};
use crate::registration::Registration;
use crate::workers::Workers;

/// One row of the table.
struct Row {
    name: &'static str,
    kind: Kind,
    tier: Tier,
    help: &'static str,
    read: fn(&WorkerMetrics) -> u64,
}

/// Counters and gauges of the workers, summed over them.
const ROWS: [Row; 12] = [
    Row {
        name: "towline_io_connections_accepted_total",
        kind: Kind::Counter,
        tier: Tier::Stable,
        help: "Connections taken in.",
        read: |worker| worker.connections_accepted.get(),
    },
    Row {
        name: "towline_io_connections_refused_total",
        kind: Kind::Counter,
        tier: Tier::Stable,
        help: "Connections closed at once because of a limit or a rule.",
        read: |worker| worker.connections_refused.get(),
    },
    Row {
        name: "towline_io_connections_open",
        kind: Kind::Gauge,
        tier: Tier::Stable,
        help: "Connections open now.",
        read: |worker| worker.connections_open.get(),
    },
    Row {
        name: "towline_io_received_bytes_total",
        kind: Kind::Counter,
        tier: Tier::Stable,
        help: "Bytes read from sockets.",
        read: |worker| worker.bytes_received.get(),
    },
    Row {
        name: "towline_io_sent_copied_bytes_total",
        kind: Kind::Counter,
        tier: Tier::Experimental,
        help: "Bytes sent from memory.",
        read: |worker| worker.bytes_sent_copied.get(),
    },
    Row {
        name: "towline_io_sent_sendfile_bytes_total",
        kind: Kind::Counter,
        tier: Tier::Experimental,
        help: "Bytes sent from the page cache without a copy.",
        read: |worker| worker.bytes_sent_sendfile.get(),
    },
    Row {
        name: "towline_io_sent_splice_bytes_total",
        kind: Kind::Counter,
        tier: Tier::Experimental,
        help: "Bytes read from the disk first, then sent through a pipe.",
        read: |worker| worker.bytes_sent_splice.get(),
    },
    Row {
        name: "towline_io_cold_reads_total",
        kind: Kind::Counter,
        tier: Tier::Experimental,
        help: "Reads that found their data not in memory.",
        read: |worker| worker.cold_reads.get(),
    },
    Row {
        name: "towline_io_jobs_total",
        kind: Kind::Counter,
        tier: Tier::Experimental,
        help: "Calls that went to the pool because they may block.",
        read: |worker| worker.jobs.get(),
    },
    Row {
        name: "towline_io_span_faults_total",
        kind: Kind::Counter,
        tier: Tier::Stable,
        help: "Replies cut short because their file shrank or failed to read.",
        read: |worker| worker.span_faults.get(),
    },
    Row {
        name: "towline_io_timed_out_total",
        kind: Kind::Counter,
        tier: Tier::Stable,
        help: "Transfers closed because their peer paused too long or was too slow.",
        read: |worker| worker.timed_out.get(),
    },
    Row {
        name: "towline_io_receive_held_bytes",
        kind: Kind::Gauge,
        tier: Tier::Experimental,
        help: "Bytes of unfinished requests held now.",
        read: |worker| worker.receive_bytes_held.get(),
    },
];

/// The running workers of a node.
pub(crate) struct DataPlane {
    workers: Mutex<Workers>,
    metrics: Vec<Arc<WorkerMetrics>>,
    pool: Arc<Pool>,
    registration: Mutex<Option<Registration>>,
}

impl DataPlane {
    /// Workers that were started, and what rpcbind was told of them.
    pub(crate) fn new(
        workers: Workers,
        pool: Arc<Pool>,
        registration: Option<Registration>,
    ) -> Self {
        Self {
            metrics: workers.metrics().to_vec(),
            workers: Mutex::new(workers),
            pool,
            registration: Mutex::new(registration),
        }
    }
}

impl Part for DataPlane {
    fn metrics(&self, page: &mut Page) {
        for row in ROWS {
            let counts = self.metrics.iter().map(|worker| (row.read)(worker));
            page.metric(
                (row.name, row.kind, row.tier),
                row.help,
                counts.sum::<u64>(),
            );
        }
        let name = "towline_io_jobs_waiting";
        let help = "Jobs that wait for a pool thread.";
        page.metric(
            (name, Kind::Gauge, Tier::Experimental),
            help,
            self.pool.waiting(),
        );
    }

    fn stop(&self) {
        drop(lock(&self.registration).take());
        tracing::info!("stopping: requests under way may finish");
        lock(&self.workers).drain();
    }

    fn join(&self) {
        lock(&self.workers).join();
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
