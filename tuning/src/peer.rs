//! What was measured together with a peer, and both ends' view of it.
//!
//! Invariant: a measurement that was not made is absent, never zero. Times are milliseconds, rates
//! Mbit/s of payload.

pub mod answer;
pub mod ask;
mod datagram;
mod load;
mod path;
pub mod tally;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::{HostFacts, LinkFacts};
use crate::reading::Reading;

/// Port on which a peer answers, UDP and TCP: beside the node's own 8420.
pub const PORT: u16 = 8421;

/// Round trips of small datagrams.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rtt {
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Longest.
    pub max_ms: f64,
    /// Echoes that were asked for.
    pub sent: u32,
    /// Echoes that did not come.
    pub lost: u32,
}

/// One transfer, and what grew at both ends meanwhile.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transfer {
    /// Payload rate.
    pub mbit: f64,
    /// How long it took.
    pub seconds: f64,
    /// Growth of counters of the sending host.
    pub sender: Deltas,
    /// Growth of counters of the receiving host.
    pub receiver: Deltas,
}

/// Growth of one host's counters within a transfer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deltas {
    /// `/proc/net/snmp` and `/proc/net/netstat`.
    pub stack: BTreeMap<String, u64>,
    /// Statistics of the link that carried it.
    pub link: BTreeMap<String, u64>,
    /// Busiest processor: number, percent busy, percent in soft interrupts.
    pub busiest: Option<(u32, f64, f64)>,
}

/// Everything about the peer and the way to it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeerFacts {
    /// Its address.
    pub address: String,
    /// Our interface towards it.
    pub own_link: Option<String>,
    /// Its interface towards us.
    pub peer_link: Option<String>,
    /// Its fact sheet.
    pub facts: Reading<HostFacts>,
    /// Largest IP packet that gets there, in bytes.
    pub path_mtu_there: Reading<u32>,
    /// Largest IP packet that comes back, in bytes.
    pub path_mtu_back: Reading<u32>,
    /// Whether larger packets vanished without an ICMP error.
    pub black_hole: Reading<bool>,
    /// Storage ports on which the peer says that it listens, and whether they take a connection.
    pub ports: BTreeMap<u16, bool>,
    /// Round trips on the idle path.
    pub rtt_idle: Option<Rtt>,
    /// Round trips during the transfer.
    pub rtt_loaded: Option<Rtt>,
    /// The transfer to the peer.
    pub there: Option<Transfer>,
    /// The transfer from the peer.
    pub back: Option<Transfer>,
}

impl PeerFacts {
    /// The peer's interface towards us.
    #[must_use]
    pub fn carrying_link(&self) -> Option<&LinkFacts> {
        self.facts.value()?.link(self.peer_link.as_deref()?)
    }

    /// Largest MTU that the peer's interface takes, where it is told.
    #[must_use]
    pub fn link_mtu_max(&self) -> Option<u32> {
        self.carrying_link()
            .map(|link| link.mtu_max)
            .filter(|most| *most > 0)
    }
}
