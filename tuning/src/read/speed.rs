//! Speeds that drivers invent: veth, tun and the like say 10 Gbit/s, and so do bridges over them.
//!
//! Invariant: a speed stays only where hardware is below it, at whatever depth; what has none says
//! why. Not promised: that hardware behind a guest's card is as fast as it says.

use std::collections::BTreeSet;

use crate::facts::{HostFacts, LinkFacts};
use crate::reading::{Missing, Reading};

/// Takes invented speeds back.
pub(super) fn drop_invented(facts: &mut HostFacts) {
    let real = with_hardware(&facts.links);
    for link in &mut facts.links {
        if real.contains(&link.name) {
            continue;
        }
        if let Reading::Value(modes) = &mut link.modes {
            let why = format!("a link of kind {} has no speed of its own", link.kind);
            modes.speed_mbit = Reading::missing(Missing::Unsupported(why));
        }
    }
}

/// The links that are hardware, or lie on it.
fn with_hardware(links: &[LinkFacts]) -> BTreeSet<String> {
    let mut real: BTreeSet<String> = BTreeSet::new();
    // Each round goes one floor up; no host stacks more floors than it has links.
    for _ in 0..=links.len() {
        let before = real.len();
        for link in links {
            let is_above = |other: &LinkFacts| {
                other.master.as_ref() == Some(&link.name) && real.contains(&other.name)
            };
            let lies_on = link
                .lower
                .as_ref()
                .is_some_and(|lower| real.contains(lower));
            if link.is_device() || lies_on || links.iter().any(is_above) {
                real.insert(link.name.clone());
            }
        }
        if real.len() == before {
            break;
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::LinkModes;

    fn link(name: &str, kind: &str, master: Option<&str>, lower: Option<&str>) -> LinkFacts {
        LinkFacts {
            name: name.to_owned(),
            kind: kind.to_owned(),
            master: master.map(str::to_owned),
            lower: lower.map(str::to_owned),
            modes: Reading::Value(LinkModes {
                speed_mbit: Reading::Value(10_000),
                ..LinkModes::default()
            }),
            ..LinkFacts::default()
        }
    }

    #[test]
    fn only_what_lies_on_hardware_has_a_speed() {
        let mut facts = HostFacts {
            links: vec![
                link("veth0", "veth", Some("br1"), None),
                link("tun0", "tun", None, None),
                link("br1", "bridge", None, None),
                link("br0", "bridge", None, None),
                link("vlan5", "vlan", Some("br0"), Some("bond0")),
                link("bond0", "bond", None, None),
                link("eth0", "physical", Some("bond0"), None),
            ],
            ..HostFacts::default()
        };
        drop_invented(&mut facts);
        for link in &facts.links {
            let is_real = ["eth0", "bond0", "vlan5", "br0"].contains(&link.name.as_str());
            assert_eq!(link.speed_mbit().is_ok(), is_real, "{}", link.name);
        }
    }
}
