//! What is counted of NFS version 4: operations, their errors, and what clients hold.
//!
//! Part of the node's table in [`crate::metrics`]. Invariant: an operation stands at its place in
//! [`Operation::ALL`]. Not promised: that the counts of one snapshot are of one instant.

use std::sync::atomic::{AtomicU64, Ordering};

use super::books::Census;
use super::callback::Callback;
use super::{Operation, Status};
use crate::metrics::{Kind, Metric, Tier, add};

pub(crate) const OPERATIONS: Metric = Metric {
    name: "towline_nfs4_operations_total",
    kind: Kind::Counter,
    unit: "operations",
    label: "op",
    tier: Tier::Experimental,
    help: "NFSv4 operations carried out, by name.",
};
pub(crate) const ERRORS: Metric = Metric {
    name: "towline_nfs4_errors_total",
    kind: Kind::Counter,
    unit: "operations",
    label: "error",
    tier: Tier::Experimental,
    help: "NFSv4 operations answered with an error, by status.",
};
pub(crate) const CLIENTS: Metric = Metric {
    name: "towline_nfs4_clients",
    kind: Kind::Gauge,
    unit: "clients",
    label: "",
    tier: Tier::Experimental,
    help: "NFSv4 clients known now.",
};
pub(crate) const SESSIONS: Metric = Metric {
    name: "towline_nfs4_sessions",
    kind: Kind::Gauge,
    unit: "sessions",
    label: "",
    tier: Tier::Experimental,
    help: "NFSv4 sessions open now.",
};
pub(crate) const HELD: Metric = Metric {
    name: "towline_nfs4_held",
    kind: Kind::Gauge,
    unit: "states",
    label: "kind",
    tier: Tier::Experimental,
    help: "Opens, lock owners and delegations that NFSv4 clients hold now.",
};

pub(crate) const CALLBACKS: Metric = Metric {
    name: "towline_nfs4_callbacks_total",
    kind: Kind::Counter,
    unit: "calls",
    label: "call",
    tier: Tier::Experimental,
    help: "Callbacks sent to NFSv4 clients, by name; those sent again included.",
};

pub(crate) const REVOKED: Metric = Metric {
    name: "towline_nfs4_delegations_revoked_total",
    kind: Kind::Counter,
    unit: "delegations",
    label: "",
    tier: Tier::Experimental,
    help: "Delegations that NFSv4 clients did not give back in time.",
};

pub(crate) const EXPELLED: Metric = Metric {
    name: "towline_nfs4_clients_revoked_total",
    kind: Kind::Counter,
    unit: "clients",
    label: "",
    tier: Tier::Experimental,
    help: "NFSv4 clients that an operator has taken everything from.",
};

/// The counters of one worker.
#[derive(Debug)]
pub(crate) struct Counters {
    operations: [AtomicU64; Operation::COUNT],
    errors: [AtomicU64; Status::ALL.len()],
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            operations: std::array::from_fn(|_| AtomicU64::new(0)),
            errors: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Counts one operation; `None` is one that does not exist.
    pub(crate) fn count(&self, operation: Option<Operation>, status: Status) {
        if let Some(operation) = operation
            && let Some(counter) = self.operations.get(operation.place())
        {
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

/// The counts of version 4 at about one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counts {
    /// Operations; each stands at its place.
    pub operations: [u64; Operation::COUNT],
    /// Errors by status, in the order of [`Status::ALL`].
    pub errors: [u64; Status::ALL.len()],
    /// What clients hold.
    pub census: Census,
    /// Callbacks sent, in the order of [`Callback::LABELS`].
    pub callbacks: [u64; Callback::LABELS.len()],
    /// Delegations revoked.
    pub revoked: u64,
    /// Clients that an operator has taken everything from.
    pub expelled: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            operations: [0; Operation::COUNT],
            errors: [0; Status::ALL.len()],
            census: Census::default(),
            callbacks: [0; Callback::LABELS.len()],
            revoked: 0,
            expelled: 0,
        }
    }
}

impl Counts {
    pub(crate) fn add(&mut self, counters: &Counters) {
        let operations = self.operations.iter_mut().zip(&counters.operations);
        let errors = self.errors.iter_mut().zip(&counters.errors);
        for (to, from) in operations.chain(errors) {
            *to += from.load(Ordering::Relaxed);
        }
    }

    pub(crate) fn visit(&self, sample: &mut dyn FnMut(&'static Metric, &'static str, u64)) {
        for (operation, count) in Operation::ALL.iter().zip(self.operations) {
            sample(&OPERATIONS, operation.label(), count);
        }
        for (status, count) in Status::ALL.iter().zip(self.errors).skip(1) {
            sample(&ERRORS, status.label(), count);
        }
        let census = &self.census;
        sample(&CLIENTS, "", census.clients);
        sample(&SESSIONS, "", census.sessions);
        sample(&HELD, "open", census.opens);
        sample(&HELD, "lock", census.lock_owners);
        sample(&HELD, "delegation", census.delegations);
        for (label, count) in Callback::LABELS.iter().zip(self.callbacks) {
            sample(&CALLBACKS, label, count);
        }
        sample(&REVOKED, "", self.revoked);
        sample(&EXPELLED, "", self.expelled);
    }
}
