//! What differs between two hosts, or between the two ends of a link.
//!
//! Invariant: only values that both sides told are compared; a value that one side could not read
//! is no difference.

use crate::facts::{HostFacts, LinkFacts};
use crate::reading::Reading;

/// One difference.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Row {
    /// What differs.
    pub what: String,
    /// The first host's value.
    pub left: String,
    /// The second host's value.
    pub right: String,
}

/// Sysctls that shape a transfer, so that two ends should have the same.
const KEYS: [&str; 9] = [
    "net.core.default_qdisc",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_moderate_rcvbuf",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_sack",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_wmem",
];

/// Offloads that shape a transfer.
const FEATURES: [&str; 5] = [
    "rx-gro",
    "rx-lro",
    "tx-generic-segmentation",
    "tx-tcp-segmentation",
    "rx-checksum",
];

/// Compares two hosts, each with the link in question.
#[must_use]
pub fn rows(left: (&HostFacts, &LinkFacts), right: (&HostFacts, &LinkFacts)) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut put = |what: &str, left: Option<String>, right: Option<String>| {
        if let (Some(left), Some(right)) = (left, right)
            && left != right
        {
            rows.push(Row {
                what: what.to_owned(),
                left,
                right,
            });
        }
    };
    let (one, other) = (left.1, right.1);
    put(
        "mtu",
        Some(one.mtu.to_string()),
        Some(other.mtu.to_string()),
    );
    let speed = |link: &LinkFacts| link.speed_mbit().ok().map(|mbit| format!("{mbit} Mbit/s"));
    put("speed", speed(one), speed(other));
    put(
        "driver",
        one.driver.value().cloned(),
        other.driver.value().cloned(),
    );
    put(
        "firmware",
        one.firmware.value().cloned(),
        other.firmware.value().cloned(),
    );
    put("rings", shown(&one.rings), shown(&other.rings));
    put("channels", shown(&one.channels), shown(&other.channels));
    put("coalescing", shown(&one.coalesce), shown(&other.coalesce));
    put("pause", flow_control(one), flow_control(other));
    put(
        "qdisc",
        Some(one.qdiscs.join(" ")),
        Some(other.qdiscs.join(" ")),
    );
    for name in FEATURES {
        put(name, feature(one, name), feature(other, name));
    }
    for key in KEYS {
        let value = |facts: &HostFacts| facts.sysctl(key).ok().map(str::to_owned);
        put(key, value(left.0), value(right.0));
    }
    rows
}

fn shown<T: serde::Serialize>(reading: &Reading<T>) -> Option<String> {
    let text = serde_json::to_string(reading.value()?).ok()?;
    Some(text.replace(['"', '{', '}'], ""))
}

fn flow_control(link: &LinkFacts) -> Option<String> {
    let pause = link.pause.value()?;
    Some(format!("rx {}, tx {}", pause.rx, pause.tx))
}

fn feature(link: &LinkFacts, name: &str) -> Option<String> {
    let features = link.features.value()?;
    // A card that cannot do it and one that has it off behave the same.
    let on = features.get(name).is_some_and(|feature| feature.on);
    Some(if on { "on" } else { "off" }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_both_told_can_differ() {
        let link = |mtu| LinkFacts {
            mtu,
            ..LinkFacts::default()
        };
        let mut left = HostFacts::default();
        left.sysctls
            .insert("net.ipv4.tcp_sack".into(), Reading::Value("0".into()));
        let right = HostFacts::default();
        let (one, other) = (link(9000), link(1500));
        let rows = rows((&left, &one), (&right, &other));
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].left.as_str(), rows[0].right.as_str()),
            ("9000", "1500")
        );
    }
}
