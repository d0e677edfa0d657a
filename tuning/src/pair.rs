//! What a new MTU asks of the other end of the link, and in which order.
//!
//! Invariant: pure functions of the plan and both ends' facts. An MTU belongs to a whole path: a
//! larger one is first taken by the switch, then by both hosts; a smaller one goes the other way
//! round, so that nobody sends what nobody carries. TCP agrees on the smaller of both ends by
//! itself; datagrams and whatever a router forwards do not (RFC 9293 section 3.7.1).

use serde::Serialize;

use crate::change::Setting;
use crate::facts::{HostFacts, LinkFacts};
use crate::peer::PeerFacts;
use crate::plan::Plan;

/// Octets of an Ethernet frame around an IP packet: header 14, VLAN tag 4.
const FRAME_BYTES: u32 = 18;

/// What to do on both ends.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Advice {
    /// What goes wrong if only this plan is carried out.
    pub warnings: Vec<String>,
    /// What to do, in this order.
    pub steps: Vec<String>,
}

/// What a plan that changes an MTU asks of others; empty where it changes none.
#[must_use]
pub fn advice(plan: &Plan, facts: &HostFacts, peer: Option<&PeerFacts>) -> Advice {
    let mut advice = Advice::default();
    let own = peer.and_then(|peer| facts.link(peer.own_link.as_deref()?));
    let stack: Vec<&str> = own
        .map(|top| facts.stack(top))
        .unwrap_or_default()
        .iter()
        .map(|link| link.name.as_str())
        .collect();
    for step in &plan.steps {
        let Setting::Mtu { link } = &step.change.setting else {
            continue;
        };
        let Ok(mtu) = step.change.value.parse::<u32>() else {
            continue;
        };
        let before = step.before.parse::<u32>().unwrap_or(0);
        match (peer, own) {
            (Some(peer), Some(own)) if own.name == *link => {
                with_peer(&mut advice, own, peer, before, mtu);
            }
            // What carries the link in question follows from it.
            _ if stack.contains(&link.as_str()) => {}
            _ => advice.warnings.push(format!(
                "{link} gets MTU {mtu}: the switch and the other end must have it too; name that \
                 end with --peer HOST to see what it has"
            )),
        }
    }
    advice
}

fn with_peer(advice: &mut Advice, own: &LinkFacts, peer: &PeerFacts, before: u32, mtu: u32) {
    let address = &peer.address;
    let Some(theirs) = peer.carrying_link() else {
        advice.warnings.push(format!(
            "{} gets MTU {mtu}, and the peer {address} did not tell its own: set it there too",
            own.name
        ));
        return;
    };
    if peer.link_mtu_max().is_some_and(|most| most < mtu) {
        advice.warnings.push(format!(
            "{} of the peer takes at most {}: both ends need the same, so use that here",
            theirs.name, theirs.mtu_max
        ));
    } else if theirs.mtu != mtu {
        advice.warnings.push(format!(
            "this plan alone leaves {} at {mtu} and {} of the peer at {}: datagrams above {} \
             bytes are lost from the larger end",
            own.name,
            theirs.name,
            theirs.mtu,
            mtu.min(theirs.mtu)
        ));
    }
    let there = (theirs.mtu != mtu).then(|| {
        format!(
            "on the peer {address}: ip link set {name} mtu {mtu}, or `towline tune apply link.mtu \
             --interface {name}`",
            name = theirs.name
        )
    });
    let switch = format!(
        "the switch between, if there is one: frames of {} bytes or more",
        mtu + FRAME_BYTES
    );
    let here = format!("here: this plan, {} mtu {mtu}", own.name);
    let mut steps = if mtu > before {
        vec![Some(switch), Some(here), there]
    } else {
        vec![Some(here), there]
    };
    steps.push(Some(format!(
        "here: towline tune check --peer {address} --quick; when e2e.pmtu_fwd and e2e.pmtu_rev \
         pass, towline tune confirm"
    )));
    advice.steps.extend(steps.into_iter().flatten());
}

/// What to do about two hosts whose links have different MTUs; nothing where they agree.
#[must_use]
pub fn unequal(left: (&str, &LinkFacts), right: (&str, &LinkFacts)) -> Option<String> {
    let ((low_host, low), (high_host, high)) = if left.1.mtu < right.1.mtu {
        (left, right)
    } else {
        (right, left)
    };
    if low.mtu == high.mtu {
        return None;
    }
    let raise = format!(
        "first the switch, then on {low_host} `ip link set {} mtu {}`",
        low.name, high.mtu
    );
    let lower = format!("on {high_host} `ip link set {} mtu {}`", high.name, low.mtu);
    if low.mtu_max > 0 && low.mtu_max < high.mtu {
        return Some(format!(
            "{} of {low_host} takes at most {}: {lower}",
            low.name, low.mtu_max
        ));
    }
    Some(format!(
        "to raise it: {raise}; to lower it: {lower}, then the switch; in the end check both ways \
         with --peer"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::plan::Step;
    use crate::reading::Reading;

    fn link(name: &str, mtu: u32) -> LinkFacts {
        LinkFacts {
            name: name.to_owned(),
            mtu,
            mtu_max: 9710,
            ..LinkFacts::default()
        }
    }

    fn host(links: Vec<LinkFacts>) -> HostFacts {
        HostFacts {
            links,
            ..HostFacts::default()
        }
    }

    fn plan(link: &str, before: &str, after: &str) -> Plan {
        Plan {
            steps: vec![Step {
                id: "link.mtu".into(),
                change: Change {
                    setting: Setting::Mtu { link: link.into() },
                    value: after.into(),
                },
                before: before.into(),
            }],
            ..Plan::default()
        }
    }

    fn peer(theirs: LinkFacts) -> PeerFacts {
        PeerFacts {
            address: "10.0.0.2".into(),
            own_link: Some("va".into()),
            peer_link: Some(theirs.name.clone()),
            facts: Reading::Value(host(vec![theirs])),
            ..PeerFacts::default()
        }
    }

    #[test]
    fn a_larger_mtu_begins_at_the_switch_and_warns_while_the_peer_is_small() {
        let facts = host(vec![link("va", 1500)]);
        let told = advice(
            &plan("va", "1500", "9000"),
            &facts,
            Some(&peer(link("vb", 1500))),
        );
        assert!(told.warnings[0].contains("va at 9000 and vb of the peer at 1500"));
        assert!(told.steps[0].contains("switch") && told.steps[0].contains("9018"));
        assert!(told.steps[1].starts_with("here"));
        assert!(told.steps[2].contains("ip link set vb mtu 9000"));
        assert!(told.steps[3].contains("confirm"));
    }

    #[test]
    fn a_plan_that_meets_the_peer_warns_of_nothing() {
        let facts = host(vec![link("va", 1500)]);
        let told = advice(
            &plan("va", "1500", "9000"),
            &facts,
            Some(&peer(link("vb", 9000))),
        );
        assert!(told.warnings.is_empty());
        assert!(!told.steps.iter().any(|step| step.contains("ip link set")));
    }

    #[test]
    fn a_peer_that_cannot_follow_is_told() {
        let facts = host(vec![link("va", 1500)]);
        let mut small = link("vb", 1500);
        small.mtu_max = 4000;
        let told = advice(&plan("va", "1500", "9000"), &facts, Some(&peer(small)));
        assert!(told.warnings[0].contains("at most 4000"));
    }

    #[test]
    fn without_a_peer_its_mtu_is_a_question() {
        let facts = host(vec![link("va", 1500)]);
        let told = advice(&plan("va", "1500", "9000"), &facts, None);
        assert!(told.warnings[0].contains("--peer HOST") && told.steps.is_empty());
    }

    #[test]
    fn two_reports_say_both_ways_out() {
        let (one, other) = (link("va", 1500), link("vb", 9000));
        let told = unequal(("a", &one), ("b", &other)).unwrap();
        assert!(told.contains("on a `ip link set va mtu 9000`") && told.contains("on b"));
        assert_eq!(unequal(("a", &one), ("b", &one)), None);
    }
}
