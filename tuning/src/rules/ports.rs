//! Whether the ports of the shares can be reached through the firewalls between.
//!
//! A rule set is a program and its verdict depends on the packet, so it is not read: the peer says
//! on which ports it listens, and each of those is connected to. Invariant: a pure function of the
//! facts; a port that the peer does not name says nothing.

use super::{Named, Rule};
use crate::case::Case;
use crate::change::Fix;
use crate::peer::PeerFacts;
use crate::verdict::{Judged, Verdict, not_here};

pub(super) const RULES: &[Named] = &[("fw.ports", Rule::Peer(reachable))];

fn reachable(_: &Case<'_>, peer: &PeerFacts) -> Judged {
    if peer.ports.is_empty() {
        return Err(not_here(
            "the peer listens on no storage port (111, 2049, 8420, 5201) on every address",
        ));
    }
    let parts: Vec<String> = peer
        .ports
        .iter()
        .map(|(port, open)| format!("{port} {}", if *open { "open" } else { "closed" }))
        .collect();
    let closed: Vec<String> = peer
        .ports
        .iter()
        .filter(|(_, open)| !**open)
        .map(|(port, _)| port.to_string())
        .collect();
    Ok(Verdict::new(
        closed.is_empty(),
        parts.join(", "),
        "every port on which the peer listens",
    )
    .fix(Fix::hands(format!(
        "on the peer: let TCP {} in from this network (nft, ufw allow, firewall-cmd), and leave \
         it out of connection tracking; 2049/UDP is not needed",
        closed.join(", ")
    ))))
}
