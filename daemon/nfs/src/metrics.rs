//! What the NFS face counts, and the table of the names under which it is shown.
//!
//! Every worker has counters of its own, so counting shares no cache line between cores; a
//! snapshot adds them up. Counts are made on the worker when the reply goes out, also for calls
//! that ran on a pool thread. Not promised: that the counts of one snapshot are of one instant.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::status::Status;
use crate::v3::Procedure;

/// How far a name may be relied on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tier {
    /// Kept over versions.
    Stable,
    /// May change with a note in the release.
    Experimental,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Metric {
    /// Name in the Prometheus text.
    pub name: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// The label that tells its samples apart; empty if there is one sample.
    pub label: &'static str,
    /// How far it may be relied on.
    pub tier: Tier,
    /// One sentence for people.
    pub help: &'static str,
}

/// Every metric of this crate. All are counters.
pub const TABLE: [Metric; 8] = [
    CALLS,
    ERRORS,
    MOUNT_CALLS,
    PORTMAP_CALLS,
    REFUSED,
    READ_BYTES,
    WRITTEN_BYTES,
    REPLAYS,
];

const CALLS: Metric = Metric {
    name: "towline_nfs_calls_total",
    unit: "calls",
    label: "proc",
    tier: Tier::Stable,
    help: "NFSv3 calls answered, by procedure.",
};
const ERRORS: Metric = Metric {
    name: "towline_nfs_errors_total",
    unit: "calls",
    label: "error",
    tier: Tier::Stable,
    help: "NFSv3 calls answered with an error, by status.",
};
const MOUNT_CALLS: Metric = Metric {
    name: "towline_nfs_mount_calls_total",
    unit: "calls",
    label: "",
    tier: Tier::Stable,
    help: "Calls of the MOUNT program answered.",
};
const PORTMAP_CALLS: Metric = Metric {
    name: "towline_nfs_portmap_calls_total",
    unit: "calls",
    label: "",
    tier: Tier::Stable,
    help: "Calls of the portmap program answered.",
};
const REFUSED: Metric = Metric {
    name: "towline_nfs_refused_total",
    unit: "calls",
    label: "",
    tier: Tier::Experimental,
    help: "Calls refused by RPC: unknown program, version or procedure, bad credential, garbage.",
};
const READ_BYTES: Metric = Metric {
    name: "towline_nfs_read_bytes_total",
    unit: "bytes",
    label: "",
    tier: Tier::Stable,
    help: "Bytes of file contents put out by READ.",
};
const WRITTEN_BYTES: Metric = Metric {
    name: "towline_nfs_written_bytes_total",
    unit: "bytes",
    label: "",
    tier: Tier::Stable,
    help: "Bytes of file contents taken in by WRITE.",
};
const REPLAYS: Metric = Metric {
    name: "towline_nfs_replays_total",
    unit: "calls",
    label: "",
    tier: Tier::Stable,
    help: "Retransmitted calls answered with the stored reply.",
};

/// The counters of one worker.
#[derive(Debug)]
pub(crate) struct Counters {
    calls: [AtomicU64; Procedure::COUNT],
    errors: [AtomicU64; Status::ALL.len()],
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
    /// A procedure of NFSv3.
    Nfs(Procedure, Status),
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
            calls: std::array::from_fn(|_| AtomicU64::new(0)),
            errors: std::array::from_fn(|_| AtomicU64::new(0)),
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
            Event::Nfs(procedure, status) => {
                if let Some(counter) = self.calls.get(procedure as usize) {
                    add(counter, 1);
                }
                if status != Status::Ok {
                    let mut errors = Status::ALL.iter().zip(&self.errors);
                    if let Some((_, counter)) = errors.find(|(one, _)| **one == status) {
                        add(counter, 1);
                    }
                }
            }
            Event::Mount => add(&self.mount_calls, 1),
            Event::Portmap => add(&self.portmap_calls, 1),
            Event::Refused => add(&self.refused, 1),
        }
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

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

/// The counts of the whole node at about one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// Calls by procedure; each stands at its number.
    pub calls: [u64; Procedure::COUNT],
    /// Errors by status, in the order of [`Status::ALL`].
    pub errors: [u64; Status::ALL.len()],
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
        for (to, from) in self.calls.iter_mut().zip(&counters.calls) {
            sum(to, from);
        }
        for (to, from) in self.errors.iter_mut().zip(&counters.errors) {
            sum(to, from);
        }
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
        for (procedure, count) in Procedure::ALL.iter().zip(self.calls) {
            sample(&CALLS, procedure.label(), count);
        }
        for (status, count) in Status::ALL.iter().zip(self.errors).skip(1) {
            sample(&ERRORS, status.label(), count);
        }
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
            worker.count(Event::Nfs(Procedure::Remove, Status::NoEnt));
            worker.count(Event::Nfs(Procedure::Remove, Status::Ok));
            worker.count_read(10);
            snapshot.add(worker);
        }
        assert_eq!(snapshot.calls[Procedure::Remove as usize], 4);
        assert_eq!(snapshot.errors.iter().sum::<u64>(), 2);
        assert_eq!(snapshot.read_bytes, 20);
    }
}
