//! What is counted of NFS version 3: calls by procedure, errors by status.
//!
//! Part of the node's table in [`crate::metrics`]. Invariant: a procedure stands at its number.
//! Not promised: that the counts of one snapshot are of one instant.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Procedure, Status};
use crate::metrics::{Kind, Metric, Tier, add};

pub(crate) const CALLS: Metric = Metric {
    name: "towline_nfs_calls_total",
    kind: Kind::Counter,
    unit: "calls",
    label: "proc",
    tier: Tier::Stable,
    help: "NFSv3 calls answered, by procedure.",
};
pub(crate) const ERRORS: Metric = Metric {
    name: "towline_nfs_errors_total",
    kind: Kind::Counter,
    unit: "calls",
    label: "error",
    tier: Tier::Stable,
    help: "NFSv3 calls answered with an error, by status.",
};

/// The counters of one worker.
#[derive(Debug)]
pub(crate) struct Counters {
    calls: [AtomicU64; Procedure::COUNT],
    errors: [AtomicU64; Status::ALL.len()],
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            calls: std::array::from_fn(|_| AtomicU64::new(0)),
            errors: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(crate) fn count(&self, procedure: Procedure, status: Status) {
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
}

/// The counts of version 3 at about one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Calls by procedure; each stands at its number.
    pub calls: [u64; Procedure::COUNT],
    /// Errors by status, in the order of [`Status::ALL`].
    pub errors: [u64; Status::ALL.len()],
}

impl Counts {
    pub(crate) fn add(&mut self, counters: &Counters) {
        let calls = self.calls.iter_mut().zip(&counters.calls);
        let errors = self.errors.iter_mut().zip(&counters.errors);
        for (to, from) in calls.chain(errors) {
            *to += from.load(Ordering::Relaxed);
        }
    }

    pub(crate) fn visit(&self, sample: &mut dyn FnMut(&'static Metric, &'static str, u64)) {
        for (procedure, count) in Procedure::ALL.iter().zip(self.calls) {
            sample(&CALLS, procedure.label(), count);
        }
        for (status, count) in Status::ALL.iter().zip(self.errors).skip(1) {
            sample(&ERRORS, status.label(), count);
        }
    }
}
