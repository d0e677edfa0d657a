//! What the NFS face counts, and the table of the names under which it is shown.
//!
//! Every worker has counters of its own, so counting shares no cache line between cores; a
//! snapshot adds them up. Counts are made on the worker when the reply goes out, also for calls
//! that ran on a pool thread. Not promised: that the counts of one snapshot are of one instant.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{v3, v4};

/// How far a name may be relied on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tier {
    /// Kept over versions.
    Stable,
    /// May change with a note in the release.
    Experimental,
}

/// What a number does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It only grows while the node runs.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Metric {
    /// Name in the Prometheus text.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// What is counted.
    pub unit: &'static str,
    /// The label that tells its samples apart; empty if there is one sample.
    pub label: &'static str,
    /// How far it may be relied on.
    pub tier: Tier,
    /// One sentence for people.
    pub help: &'static str,
}

/// Every metric of this crate.
pub const TABLE: [Metric; 15] = [
    v3::metrics::CALLS,
    v3::metrics::ERRORS,
    v4::metrics::OPERATIONS,
    v4::metrics::ERRORS,
    v4::metrics::CLIENTS,
    v4::metrics::SESSIONS,
    v4::metrics::HELD,
    v4::metrics::CALLBACKS,
    v4::metrics::REVOKED,
    MOUNT_CALLS,
    PORTMAP_CALLS,
    REFUSED,
    READ_BYTES,
    WRITTEN_BYTES,
    REPLAYS,
];

const MOUNT_CALLS: Metric = Metric {
    name: "towline_nfs_mount_calls_total",
    kind: Kind::Counter,
    unit: "calls",
    label: "",
    tier: Tier::Stable,
    help: "Calls of the MOUNT program answered.",
};
const PORTMAP_CALLS: Metric = Metric {
    name: "towline_nfs_portmap_calls_total",
    kind: Kind::Counter,
    unit: "calls",
    label: "",
    tier: Tier::Stable,
    help: "Calls of the portmap program answered.",
};
const REFUSED: Metric = Metric {
    name: "towline_nfs_refused_total",
    kind: Kind::Counter,
    unit: "calls",
    label: "",
    tier: Tier::Experimental,
    help: "Calls refused by RPC: unknown program, version or procedure, bad credential, garbage.",
};
const READ_BYTES: Metric = Metric {
    name: "towline_nfs_read_bytes_total",
    kind: Kind::Counter,
    unit: "bytes",
    label: "",
    tier: Tier::Stable,
    help: "Bytes of file contents put out by READ.",
};
const WRITTEN_BYTES: Metric = Metric {
    name: "towline_nfs_written_bytes_total",
    kind: Kind::Counter,
    unit: "bytes",
    label: "",
    tier: Tier::Stable,
    help: "Bytes of file contents taken in by WRITE.",
};
const REPLAYS: Metric = Metric {
    name: "towline_nfs_replays_total",
    kind: Kind::Counter,
    unit: "calls",
    label: "",
    tier: Tier::Stable,
    help: "Retransmitted calls answered with the stored reply.",
};

/// The counters of one worker.
#[derive(Debug)]
pub(crate) struct Counters {
    v3: v3::metrics::Counters,
    v4: v4::metrics::Counters,
    mount_calls: AtomicU64,
    portmap_calls: AtomicU64,
    refused: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    replays: AtomicU64,
}

/// What one answered call adds to the counters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// A procedure of NFS version 3.
    V3(v3::Procedure, v3::Status),
    /// A COMPOUND of NFS version 4, with its status.
    V4(v4::Status),
    /// One of MOUNT.
    Mount,
    /// One of portmap.
    Portmap,
    /// Refused by RPC.
    Refused,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            v3: v3::metrics::Counters::new(),
            v4: v4::metrics::Counters::new(),
            mount_calls: AtomicU64::new(0),
            portmap_calls: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            replays: AtomicU64::new(0),
        }
    }

    pub(crate) fn count(&self, event: Event) {
        match event {
            Event::V3(procedure, status) => self.v3.count(procedure, status),
            // Its operations were counted one by one.
            Event::V4(_) => {}
            Event::Mount => add(&self.mount_calls, 1),
            Event::Portmap => add(&self.portmap_calls, 1),
            Event::Refused => add(&self.refused, 1),
        }
    }

    /// Counts one operation of version 4; `None` is one that does not exist.
    pub(crate) fn count_operation(&self, operation: Option<v4::Operation>, status: v4::Status) {
        self.v4.count(operation, status);
    }

    pub(crate) fn count_read(&self, bytes: u64) {
        add(&self.read_bytes, bytes);
    }

    pub(crate) fn count_written(&self, bytes: u64) {
        add(&self.written_bytes, bytes);
    }

    pub(crate) fn count_replay(&self) {
        add(&self.replays, 1);
    }
}

pub(crate) fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

/// The counts of the whole node at about one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// Those of version 3.
    pub v3: v3::Counts,
    /// Those of version 4.
    pub v4: v4::Counts,
    /// Calls of MOUNT.
    pub mount_calls: u64,
    /// Calls of portmap.
    pub portmap_calls: u64,
    /// Calls refused by RPC.
    pub refused: u64,
    /// Bytes put out by READ.
    pub read_bytes: u64,
    /// Bytes taken in by WRITE.
    pub written_bytes: u64,
    /// Retransmissions answered from the cache.
    pub replays: u64,
}

impl Snapshot {
    pub(crate) fn add(&mut self, counters: &Counters) {
        let sum = |to: &mut u64, from: &AtomicU64| *to += from.load(Ordering::Relaxed);
        self.v3.add(&counters.v3);
        self.v4.add(&counters.v4);
        sum(&mut self.mount_calls, &counters.mount_calls);
        sum(&mut self.portmap_calls, &counters.portmap_calls);
        sum(&mut self.refused, &counters.refused);
        sum(&mut self.read_bytes, &counters.read_bytes);
        sum(&mut self.written_bytes, &counters.written_bytes);
        sum(&mut self.replays, &counters.replays);
    }

    /// Calls `sample` for every sample: its metric, the value of the metric's label (empty if
    /// it has none), and the count. Samples of one metric come one after the other.
    pub fn visit(&self, mut sample: impl FnMut(&'static Metric, &'static str, u64)) {
        self.v3.visit(&mut sample);
        self.v4.visit(&mut sample);
        sample(&MOUNT_CALLS, "", self.mount_calls);
        sample(&PORTMAP_CALLS, "", self.portmap_calls);
        sample(&REFUSED, "", self.refused);
        sample(&READ_BYTES, "", self.read_bytes);
        sample(&WRITTEN_BYTES, "", self.written_bytes);
        sample(&REPLAYS, "", self.replays);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_table_has_samples_and_no_other_has() {
        let mut seen = Vec::new();
        Snapshot::default().visit(|metric, label, _| {
            assert_eq!(metric.label.is_empty(), label.is_empty());
            seen.push(*metric);
        });
        seen.dedup();
        assert_eq!(seen, TABLE);
    }

    #[test]
    fn workers_are_added_up() {
        let workers = [Counters::new(), Counters::new()];
        let mut snapshot = Snapshot::default();
        for worker in &workers {
            worker.count(Event::V3(v3::Procedure::Remove, v3::Status::NoEnt));
            worker.count(Event::V3(v3::Procedure::Remove, v3::Status::Ok));
            worker.count_read(10);
            snapshot.add(worker);
        }
        assert_eq!(snapshot.v3.calls[v3::Procedure::Remove as usize], 4);
        assert_eq!(snapshot.v3.errors.iter().sum::<u64>(), 2);
        assert_eq!(snapshot.read_bytes, 20);
    }
}
