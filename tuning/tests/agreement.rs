//! What this tool reads of the running host against what `ip`, `ethtool` and `sysctl` say, field by
//! field. Reads only. Programs that are not installed are named and left out.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests: a failure here is a failed test, and what is left out is said aloud"
)]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use towline_tuning::facts::LinkFacts;
use towline_tuning::{HostFacts, Root, read};

fn facts() -> HostFacts {
    read::host(
        &Root::default(),
        &read::ToldSpeeds::default(),
        Duration::ZERO,
    )
    .unwrap()
}

/// The output of a program; nothing where it is not installed or the driver cannot answer.
fn output(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let run = Command::new(words.next().unwrap()).args(words).output();
    let Ok(run) = run else {
        eprintln!("left out: no {line} here");
        return None;
    };
    let text = String::from_utf8(run.stdout).unwrap();
    run.status.success().then_some(text)
}

/// The links that hardware, or what stands for it in a guest, gives.
fn devices(facts: &HostFacts) -> Vec<&LinkFacts> {
    facts.links.iter().filter(|link| link.is_device()).collect()
}

/// The word after a word.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let mut words = text.split_whitespace();
    words.find(|found| *found == word)?;
    words.next()
}

#[test]
fn links_agree_with_ip() {
    let facts = facts();
    for link in &facts.links {
        let Some(text) = output(&format!("ip -o -d link show dev {}", link.name)) else {
            return;
        };
        // One line for each link: what `-o` joined is marked with a backslash.
        let text = text.replace('\\', " ");
        let number = |word: &str| after(&text, word).map(|word| word.parse::<u32>().unwrap());
        assert_eq!(number("mtu"), Some(link.mtu), "{text}");
        assert_eq!(number("qlen").unwrap_or(0), link.transmit_queue, "{text}");
        assert_eq!(number("minmtu").unwrap_or(0), link.mtu_min, "{text}");
        assert_eq!(number("maxmtu").unwrap_or(0), link.mtu_max, "{text}");
        let state = after(&text, "state").unwrap().to_lowercase();
        assert_eq!(state, link.operstate, "{text}");
        let mac = after(&text, "link/ether").or(after(&text, "link/loopback"));
        assert_eq!(mac, Some(link.mac.as_str()), "{text}");
        assert_eq!(
            text.contains("UP,") || text.contains("UP>"),
            link.admin_up,
            "{text}"
        );
        let listed = output(&format!("ip -o addr show dev {}", link.name)).unwrap();
        let told: Vec<&str> = listed
            .lines()
            .filter_map(|line| after(line, "inet").or(after(line, "inet6")))
            .collect();
        assert_eq!(told, link.addresses);
        let queueing = output(&format!("tc qdisc show dev {}", link.name)).unwrap();
        let kinds: Vec<&str> = queueing
            .lines()
            .filter_map(|line| after(line, "qdisc"))
            .collect();
        assert_eq!(kinds, link.qdiscs, "{queueing}");
    }
}

#[test]
fn offloads_agree_with_ethtool() {
    let facts = facts();
    let generic: BTreeMap<&str, &str> = BTreeMap::from([
        ("generic-segmentation-offload", "tx-generic-segmentation"),
        ("generic-receive-offload", "rx-gro"),
        ("large-receive-offload", "rx-lro"),
        ("rx-checksumming", "rx-checksum"),
        ("rx-vlan-offload", "rx-vlan-hw-parse"),
        ("tx-vlan-offload", "tx-vlan-hw-insert"),
        ("ntuple-filters", "rx-ntuple-filter"),
        ("receive-hashing", "rx-hashing"),
    ]);
    // Sums of several offloads, which have no name of their own in the kernel.
    let sums = [
        "tx-checksumming",
        "scatter-gather",
        "tcp-segmentation-offload",
    ];
    for link in devices(&facts) {
        let Some(text) = output(&format!("ethtool -k {}", link.name)) else {
            return;
        };
        let features = link.features.value().unwrap();
        let mut compared = 0;
        for line in text.lines().skip(1) {
            let (name, rest) = line.trim().split_once(": ").unwrap();
            if sums.contains(&name) {
                continue;
            }
            let name = generic.get(name).copied().unwrap_or(name);
            let ours = features.get(name).copied().unwrap_or_default();
            assert_eq!(rest.starts_with("on"), ours.on, "{name}");
            let known = features.contains_key(name);
            assert_eq!(rest.contains("[fixed]"), ours.fixed || !known, "{name}");
            compared += 1;
        }
        assert!(compared > 30, "{compared} offloads compared");
    }
}

/// The numbers of the two halves of `ethtool -g` and `-l`: maximum, then current.
fn halves(text: &str) -> Vec<BTreeMap<String, u32>> {
    text.split("Current hardware settings:")
        .map(|half| {
            let pairs = half.lines().filter_map(|line| line.split_once(':'));
            pairs
                .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
                .collect()
        })
        .collect()
}

#[test]
fn rings_channels_coalescing_and_driver_agree_with_ethtool() {
    let facts = facts();
    for link in devices(&facts) {
        let name = &link.name;
        if let (Some(text), Some(rings)) =
            (output(&format!("ethtool -g {name}")), link.rings.value())
        {
            let told = halves(&text);
            assert_eq!((told[0]["RX"], told[0]["TX"]), (rings.rx_max, rings.tx_max));
            assert_eq!((told[1]["RX"], told[1]["TX"]), (rings.rx, rings.tx));
        }
        if let (Some(text), Some(channels)) =
            (output(&format!("ethtool -l {name}")), link.channels.value())
        {
            let told = halves(&text);
            assert_eq!(told[0]["Combined"], channels.combined_max);
            assert_eq!(told[1]["Combined"], channels.combined);
        }
        if let (Some(text), Some(coalesce)) =
            (output(&format!("ethtool -c {name}")), link.coalesce.value())
        {
            let number = |word: &str| after(&text, word).and_then(|word| word.parse::<u32>().ok());
            assert_eq!(number("rx-usecs:"), coalesce.rx_usecs);
            assert_eq!(number("rx-frames:"), coalesce.rx_frames);
            let adaptive = after(&text, "RX:").filter(|word| *word != "n/a");
            assert_eq!(adaptive.map(|word| word == "on"), coalesce.adaptive_rx);
        }
        if let (Some(text), Some(driver)) =
            (output(&format!("ethtool -i {name}")), link.driver.value())
        {
            assert_eq!(after(&text, "driver:"), Some(driver.as_str()));
        }
        if let (Some(text), Some(modes)) = (output(&format!("ethtool {name}")), link.modes.value())
        {
            let speed = text
                .lines()
                .find_map(|line| line.trim().strip_prefix("Speed: "));
            let told = speed.and_then(|speed| speed.trim_end_matches("Mb/s").parse().ok());
            assert_eq!(told, modes.speed_mbit.value().copied(), "{text}");
        }
    }
}

#[test]
fn sysctls_agree_with_sysctl() {
    let facts = facts();
    let mut compared = 0;
    for (key, reading) in &facts.sysctls {
        let Some(text) = output(&format!("sysctl -n {key}")) else {
            assert!(
                reading.value().is_none(),
                "{key} was read, but sysctl knows none"
            );
            continue;
        };
        let told: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(reading.value(), Some(&told.join(" ")), "{key}");
        compared += 1;
    }
    assert!(compared > 30, "{compared} keys compared");
}

#[test]
fn driver_and_its_counters_agree_with_ethtool() {
    let facts = facts();
    let mut compared = 0;
    for link in facts.links.iter().filter(|link| !link.is_loopback()) {
        if let Some(text) = output(&format!("ethtool -i {}", link.name)) {
            let told = |key: &str| {
                let mut lines = text.lines();
                let line = lines.find_map(|line| line.strip_prefix(key)).unwrap_or("");
                line.trim().to_owned()
            };
            let firmware = told("firmware-version:");
            let known = !matches!(firmware.as_str(), "" | "N/A");
            assert_eq!(
                link.firmware.value(),
                known.then_some(&firmware),
                "{}",
                link.name
            );
        }
        let Some(text) = output(&format!("ethtool -S {}", link.name)) else {
            assert!(link.driver_counters.is_empty(), "{}", link.name);
            continue;
        };
        let theirs: BTreeMap<&str, u64> = text
            .lines()
            .skip(1)
            .filter_map(|line| {
                let (name, value) = line.trim().rsplit_once(": ")?;
                Some((name, value.parse().ok()?))
            })
            .collect();
        let names: Vec<&str> = link.driver_counters.keys().map(String::as_str).collect();
        assert_eq!(names, theirs.keys().copied().collect::<Vec<_>>());
        for (name, value) in &link.driver_counters {
            // Read a moment earlier: traffic only adds.
            assert!(*value <= theirs[name.as_str()], "{name} {value}");
            compared += 1;
        }
    }
    assert!(compared > 0 || !facts.links.iter().any(|link| link.kind == "virtio"));
}
