//! Rules over several links: MTU from top to bottom, subnets, Thunderbolt rings.
//!
//! Invariant: pure functions of the facts; a link alone is never judged by links that it does not
//! carry.

use std::net::IpAddr;

use super::{Named, Rule, speed_text};
use crate::case::Case;
use crate::change::{Fix, Setting};
use crate::facts::{HostFacts, LinkFacts};
use crate::verdict::{Judged, Severity, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("link.mtu", Rule::Link(mtu)),
    ("link.mtu_vlan_bridge", Rule::Link(mtu_below)),
    ("link.dup_ip", Rule::Host(duplicate_subnet)),
    ("tb.loop", Rule::Host(thunderbolt_ring)),
    ("e2e.lacp", Rule::Link(bond)),
];

fn mtu(case: &Case<'_>, link: &LinkFacts) -> Judged {
    if link.is_loopback() {
        return Err(not_here("loopback"));
    }
    let setting = Setting::Mtu {
        link: link.name.clone(),
    };
    let peer_max = case.peer.and_then(|peer| peer.link_mtu_max());
    let reachable = |want: u32| match (link.mtu_max, peer_max) {
        (0, None) => want,
        (0, Some(peer)) => want.min(peer),
        (own, None) => want.min(own),
        (own, Some(peer)) => want.min(own).min(peer),
    };
    if let Some(preset) = case.preset {
        let verdict = Verdict::new(
            link.mtu >= preset.mtu,
            link.mtu.to_string(),
            format!("{} (preset)", preset.mtu),
        );
        return Ok(verdict.fix(Fix::change(setting, reachable(preset.mtu).to_string())));
    }
    let speed = link.speed_mbit()?;
    let row = case.values.row(speed);
    let want = reachable(row.mtu);
    if case.carries_default(link) && case.peer.is_none() {
        return Ok(Verdict::report(format!("{}", link.mtu)).note(
            "carries the default route: larger frames only where every host and switch of the \
             subnet has them",
        ));
    }
    if link.mtu >= want {
        return Ok(Verdict::new(
            true,
            link.mtu.to_string(),
            format!("{want} or more"),
        ));
    }
    let why = format!("{want} on a dedicated link of {}", speed_text(speed));
    Ok(Verdict::new(false, link.mtu.to_string(), why)
        .fix(Fix::change(setting, want.to_string()))
        .note(
            "raise the switch first, then this end, then the peer within the same minute; `ping \
             -l 8000` proves 8028 only, MTU 9000 needs a payload of 8972 with don't-fragment",
        ))
}

fn mtu_below(case: &Case<'_>, link: &LinkFacts) -> Judged {
    let below = case.facts.below(link);
    if below.is_empty() {
        return Err(not_here("nothing lies below this link"));
    }
    let small: Vec<&&LinkFacts> = below.iter().filter(|lower| lower.mtu < link.mtu).collect();
    let parts: Vec<String> = below
        .iter()
        .map(|lower| format!("{} {}", lower.name, lower.mtu))
        .collect();
    let read = format!("{} {} over {}", link.name, link.mtu, parts.join(", "));
    let mut verdict = Verdict::new(
        small.is_empty(),
        read,
        "every lower device at least as large",
    );
    for lower in small {
        let setting = Setting::Mtu {
            link: lower.name.clone(),
        };
        verdict = verdict.fix(Fix::change(setting, link.mtu.to_string()));
    }
    Ok(verdict)
}

/// The network of an address: its leading bits and their number.
fn network(text: &str) -> Option<(u128, u8, bool)> {
    let (address, prefix) = text.split_once('/')?;
    let prefix: u8 = prefix.parse().ok()?;
    match address.parse().ok()? {
        // A link-local or host route is no subnet that two cards could share.
        IpAddr::V4(four) if prefix < 32 => {
            let bits = u32::from(four) & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Some((u128::from(bits), prefix, false))
        }
        IpAddr::V6(six) if prefix < 128 && !six.is_unicast_link_local() => {
            let shift = 128 - u32::from(prefix);
            Some((
                u128::from(six) & u128::MAX.checked_shl(shift).unwrap_or(0),
                prefix,
                true,
            ))
        }
        _ => None,
    }
}

fn duplicate_subnet(case: &Case<'_>) -> Judged {
    let facts = case.facts;
    let mut seen: Vec<(u128, u8, bool, &LinkFacts, &str)> = Vec::new();
    let mut twice: Vec<String> = Vec::new();
    for link in facts
        .links
        .iter()
        .filter(|link| link.admin_up && !link.is_loopback())
    {
        for address in &link.addresses {
            let Some((bits, prefix, six)) = network(address) else {
                continue;
            };
            let same = seen.iter().find(|(other, length, kind, holder, _)| {
                (*other, *length, *kind) == (bits, prefix, six) && holder.name != link.name
            });
            if let Some((_, _, _, holder, held)) = same {
                twice.push(format!(
                    "{held} on {} and {address} on {}",
                    holder.name, link.name
                ));
            }
            seen.push((bits, prefix, six, link, address));
        }
    }
    let tamed = arp_is_tamed(facts);
    let read = if twice.is_empty() {
        "every subnet on one link".to_owned()
    } else {
        format!(
            "{}{}",
            twice.join("; "),
            if tamed { ", ARP kept apart" } else { "" }
        )
    };
    let want = "no subnet on two links, or arp_ignore=1 and arp_announce=2";
    Ok(Verdict::new(twice.is_empty() || tamed, read, want)
        .fix(Fix::sysctl("net.ipv4.conf.all.arp_ignore", "1"))
        .fix(Fix::sysctl("net.ipv4.conf.all.arp_announce", "2"))
        .note("better still: give the fast link a subnet of its own"))
}

fn arp_is_tamed(facts: &HostFacts) -> bool {
    facts
        .sysctl("net.ipv4.conf.all.arp_ignore")
        .is_ok_and(|value| value != "0")
        && facts.sysctl("net.ipv4.conf.all.arp_announce") == Ok("2")
}

fn thunderbolt_ring(case: &Case<'_>) -> Judged {
    let bridges = case.facts.links.iter().filter(|link| link.kind == "bridge");
    let rings: Vec<String> = bridges
        .filter_map(|bridge| {
            let below = case.facts.below(bridge);
            let count = below
                .iter()
                .filter(|link| link.kind == "thunderbolt")
                .count();
            (count > 1).then(|| format!("{} has {count} Thunderbolt ports", bridge.name))
        })
        .collect();
    if rings.is_empty()
        && !case
            .facts
            .links
            .iter()
            .any(|link| link.kind == "thunderbolt")
    {
        return Err(not_here("no Thunderbolt link"));
    }
    let read = if rings.is_empty() {
        "no bridge of several ports".into()
    } else {
        rings.join("; ")
    };
    Ok(
        Verdict::new(rings.is_empty(), read, "no ring of three or more machines")
            .fix(Fix::hands(
                "cable a star or a line, or give each Thunderbolt link a subnet of its own instead \
             of a bridge",
            ))
            .severity(Severity::Warning)
            .note("seen from one machine this is a possible ring; it storms once the ring closes"),
    )
}

fn bond(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let Some(mode) = &link.bond_mode else {
        return Err(not_here("no bond"));
    };
    let hash = link.bond_hash.as_deref().unwrap_or("unknown");
    Ok(Verdict::report(format!("{mode}, hash {hash}")).note(
        "one flow uses one member, so one stream never exceeds one member's speed; several \
         streams spread with layer3+4",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_compared_by_their_leading_bits() {
        assert_eq!(network("10.0.0.1/24"), network("10.0.0.200/24"));
        assert_ne!(network("10.0.0.1/24"), network("10.0.1.1/24"));
        assert_eq!(network("fe80::1/64"), None);
        assert_eq!(network("10.0.0.1/32"), None);
    }
}
