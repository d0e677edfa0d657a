//! The rules: one pure function for each id of the catalogue.
//!
//! Invariant: an id is in exactly one table here, or the catalogue says why the check is not made,
//! or it belongs to a report of another system that `import` judges. A test keeps that true.

mod app;
mod e2e;
mod host;
mod link;
mod link_stack;
mod nfs;
mod nic;
mod nic_irq;
mod offload;
mod pcie;
mod ports;
mod sysctl;
mod sysctl_files;
mod sysctl_tcp;

use crate::case::Case;
use crate::facts::{LinkFacts, NfsMount};
use crate::peer::PeerFacts;
use crate::verdict::Judged;

/// A rule and what it is asked about.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Once for the host.
    Host(fn(&Case<'_>) -> Judged),
    /// Once for each link in question.
    Link(fn(&Case<'_>, &LinkFacts) -> Judged),
    /// Once for each NFS mount.
    Mount(fn(&Case<'_>, &NfsMount) -> Judged),
    /// Once for the peer.
    Peer(fn(&Case<'_>, &PeerFacts) -> Judged),
}

/// An id and its rule.
pub type Named = (&'static str, Rule);

/// All rules.
#[must_use]
pub fn all() -> Vec<Named> {
    [
        link::RULES,
        link_stack::RULES,
        nic::RULES,
        nic_irq::RULES,
        offload::RULES,
        pcie::RULES,
        host::RULES,
        sysctl_tcp::RULES,
        sysctl::RULES,
        sysctl_files::RULES,
        e2e::RULES,
        nfs::RULES,
        app::RULES,
        ports::RULES,
    ]
    .concat()
}

/// A speed for people.
pub(crate) fn speed_text(mbit: u32) -> String {
    if mbit >= 1000 {
        format!("{} Gbit/s", f64::from(mbit) / 1000.0)
    } else {
        format!("{mbit} Mbit/s")
    }
}

/// A size for people: whole MiB or KiB where that is exact.
pub(crate) fn size_text(bytes: u64) -> String {
    if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else if bytes >= 1 << 20 {
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    } else {
        format!("{bytes} bytes")
    }
}
