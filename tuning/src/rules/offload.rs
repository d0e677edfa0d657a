//! Rules of the offloads: what the card may do for the processor.
//!
//! Invariant: pure functions of the facts; what the driver has fixed is never proposed as a
//! change.

use std::collections::BTreeMap;

use super::{Named, Rule};
use crate::case::Case;
use crate::change::{Fix, Setting};
use crate::facts::{Feature, LinkFacts};
use crate::verdict::{Judged, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("nic.tso", Rule::Link(segmentation)),
    ("nic.gso", Rule::Link(generic_segmentation)),
    ("nic.gro", Rule::Link(receive)),
    ("nic.lro", Rule::Link(large_receive)),
    ("nic.csum", Rule::Link(checksums)),
];

type Features = BTreeMap<String, Feature>;

fn on(features: &Features, name: &str) -> Option<bool> {
    features.get(name).map(|feature| feature.on)
}

/// All of the named offloads that the card can should be on.
fn all_on(link: &LinkFacts, names: &[&str]) -> Judged {
    if link.is_loopback() {
        return Err(not_here("loopback"));
    }
    let features = link.features.need()?;
    let known: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| on(features, name).is_some())
        .collect();
    if known.is_empty() {
        return Err(not_here(format!("the card cannot {}", names.join(" or "))));
    }
    let state = |name: &&str| {
        let word = if on(features, name) == Some(true) {
            "on"
        } else {
            "off"
        };
        format!("{name} {word}")
    };
    let read: Vec<String> = known.iter().map(state).collect();
    let off: Vec<&&str> = known
        .iter()
        .filter(|name| on(features, name) == Some(false))
        .collect();
    let mut verdict = Verdict::new(off.is_empty(), read.join(", "), "on");
    for name in off {
        if features[*name].fixed {
            verdict = verdict.fix(Fix::hands(format!("{name} is fixed by the driver")));
            continue;
        }
        let setting = Setting::Feature {
            link: link.name.clone(),
            feature: (*name).to_owned(),
        };
        verdict = verdict.fix(Fix::change(setting, "on"));
    }
    Ok(verdict)
}

fn segmentation(_: &Case<'_>, link: &LinkFacts) -> Judged {
    all_on(link, &["tx-tcp-segmentation", "tx-tcp6-segmentation"])
}

fn generic_segmentation(_: &Case<'_>, link: &LinkFacts) -> Judged {
    all_on(link, &["tx-generic-segmentation"])
}

fn receive(_: &Case<'_>, link: &LinkFacts) -> Judged {
    all_on(link, &["rx-gro"])
}

fn checksums(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let names = [
        "rx-checksum",
        "tx-checksum-ip-generic",
        "tx-checksum-ipv4",
        "tx-checksum-ipv6",
    ];
    all_on(link, &names)
}

fn large_receive(case: &Case<'_>, link: &LinkFacts) -> Judged {
    let features = link.features.need()?;
    let Some(lro) = features.get("rx-lro") else {
        return Err(not_here("the card cannot rx-lro"));
    };
    let bridged = link.master.as_deref().is_some_and(|master| {
        let upper = case.facts.link(master);
        upper.is_some_and(|upper| upper.kind == "bridge")
    });
    let forwards = case.facts.forwards();
    let word = if lro.on { "on" } else { "off" };
    if !forwards && !bridged {
        return Ok(Verdict::report(word));
    }
    let because = if bridged {
        "is in a bridge"
    } else {
        "forwards packets"
    };
    let verdict = Verdict::new(
        !lro.on,
        format!("{word}, and this host {because}"),
        "off where packets are forwarded or bridged",
    );
    if lro.fixed {
        return Ok(verdict.fix(Fix::hands("rx-lro is fixed by the driver")));
    }
    let setting = Setting::Feature {
        link: link.name.clone(),
        feature: "rx-lro".to_owned(),
    };
    Ok(verdict
        .fix(Fix::change(setting, "off"))
        .note("guides that say `lro on` always forget hosts that forward; GRO does the work"))
}
