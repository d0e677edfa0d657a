//! Everything that counts, sampled twice.
//!
//! Invariant: a counter that went back (a driver was reloaded) has grown by zero. Governed by
//! proc(5) and `Documentation/ABI/testing/sysfs-class-net-statistics`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ethtool::DriverSocket;
use crate::facts::{HostFacts, SoftnetFacts};
use crate::reading::Reading;
use crate::root::Root;

/// One sample.
#[derive(Debug, Default)]
pub(super) struct Sample {
    links: BTreeMap<String, BTreeMap<String, u64>>,
    /// The drivers' own counters.
    drivers: BTreeMap<String, BTreeMap<String, u64>>,
    stack: BTreeMap<String, u64>,
    softnet: Option<(u64, u64)>,
    throttles: Option<u64>,
    /// Busy, soft interrupt and total ticks of each processor.
    cpus: Vec<(u64, u64, u64)>,
}

pub(super) fn sample(root: &Root, facts: &HostFacts) -> Sample {
    let mut links = BTreeMap::new();
    let mut drivers = BTreeMap::new();
    let socket = root.is_live().then(|| DriverSocket::open().ok()).flatten();
    for link in &facts.links {
        if let Some(Ok(own)) = socket.as_ref().map(|socket| socket.counters(&link.name)) {
            drivers.insert(link.name.clone(), own);
        }
        let base = format!("sys/class/net/{}", link.name);
        let mut counters = BTreeMap::new();
        for name in root.names(&format!("{base}/statistics")) {
            if let Ok(value) = root.number(&format!("{base}/statistics/{name}")) {
                counters.insert(name, value);
            }
        }
        for name in ["carrier_down_count", "carrier_up_count"] {
            if let Ok(value) = root.number(&format!("{base}/{name}")) {
                counters.insert(name.to_owned(), value);
            }
        }
        if let Ok(text) = root.text(&format!("{base}/device/aer_dev_correctable")) {
            counters.insert("aer".to_owned(), super::pci::total_errors(&text));
        }
        links.insert(link.name.clone(), counters);
    }
    let mut stack = BTreeMap::new();
    for file in ["proc/net/snmp", "proc/net/netstat"] {
        stack.extend(pairs(&root.text(file).unwrap_or_default()));
    }
    Sample {
        links,
        drivers,
        stack,
        softnet: root
            .text("proc/net/softnet_stat")
            .ok()
            .map(|text| softnet(&text)),
        throttles: throttles(root, facts.cpu.online),
        cpus: processors(&root.text("proc/stat").unwrap_or_default()),
    }
}

/// The counters of `/proc/net/snmp`: a line of names, then a line of numbers.
pub(crate) fn pairs(text: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.chunks_exact(2) {
        let names = pair[0].split_whitespace().skip(1);
        let values = pair[1].split_whitespace().skip(1);
        for (name, value) in names.zip(values) {
            // Some are signed limits such as MaxConn -1: not counters.
            if let Ok(value) = value.parse() {
                found.insert(name.to_owned(), value);
            }
        }
    }
    found
}

/// Columns 2 and 3, hexadecimal, one line for each processor.
fn softnet(text: &str) -> (u64, u64) {
    let mut sums = (0, 0);
    for line in text.lines() {
        let mut words = line.split_whitespace().skip(1);
        let mut next = || {
            let word = words.next()?;
            u64::from_str_radix(word, 16).ok()
        };
        sums.0 += next().unwrap_or(0);
        sums.1 += next().unwrap_or(0);
    }
    sums
}

fn throttles(root: &Root, cpus: u32) -> Option<u64> {
    let mut sum = None;
    for cpu in 0..cpus {
        let base = format!("sys/devices/system/cpu/cpu{cpu}/thermal_throttle");
        for file in ["core_throttle_count", "package_throttle_count"] {
            if let Ok(count) = root.number::<u64>(&format!("{base}/{file}")) {
                *sum.get_or_insert(0) += count;
            }
        }
    }
    sum
}

fn processors(text: &str) -> Vec<(u64, u64, u64)> {
    let rows = text.lines().filter(|line| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
    });
    rows.map(|line| {
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|word| word.parse().ok())
            .collect();
        let total: u64 = ticks.iter().sum();
        let at = |place: usize| ticks.get(place).copied().unwrap_or(0);
        // Idle and waiting for disks are columns 4 and 5; soft interrupts column 7.
        (total - at(3) - at(4), at(6), total)
    })
    .collect()
}

fn growth(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    after
        .iter()
        .filter_map(|(name, value)| {
            let old = before.get(name)?;
            Some((name.clone(), value.saturating_sub(*old)))
        })
        .collect()
}

/// Puts both samples into the facts. With a window of zero there is no growth to tell.
pub(super) fn put(facts: &mut HostFacts, before: &Sample, after: Sample, window: Duration) {
    let twice = !window.is_zero();
    facts.window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let empty = BTreeMap::new();
    for link in &mut facts.links {
        let now = after.links.get(&link.name).unwrap_or(&empty);
        if twice {
            link.counter_deltas = growth(before.links.get(&link.name).unwrap_or(&empty), now);
        }
        link.counters = now.clone();
        let now = after.drivers.get(&link.name).unwrap_or(&empty);
        if twice {
            let before = before.drivers.get(&link.name).unwrap_or(&empty);
            link.driver_counter_deltas = growth(before, now);
        }
        link.driver_counters = now.clone();
    }
    if twice {
        facts.counter_deltas = growth(&before.stack, &after.stack);
        facts.cpu.throttles_delta = after
            .throttles
            .zip(before.throttles)
            .map(|(now, old)| now.saturating_sub(old));
        facts.cpu.busiest = busiest(&before.cpus, &after.cpus);
    }
    let why = "the processors have no thermal counters";
    facts.cpu.throttles = Reading::from_option(after.throttles, why);
    let softnet = after.softnet.map(|(dropped, squeezed)| {
        let (dropped_before, squeezed_before) = before.softnet.unwrap_or((dropped, squeezed));
        SoftnetFacts {
            dropped,
            squeezed,
            dropped_delta: dropped.saturating_sub(dropped_before),
            squeezed_delta: squeezed.saturating_sub(squeezed_before),
        }
    });
    facts.cpu.softnet = Reading::from_option(softnet, "no /proc/net/softnet_stat");
}

fn busiest(before: &[(u64, u64, u64)], after: &[(u64, u64, u64)]) -> Option<(u32, f64, f64)> {
    let share = |part: u64, whole: u64| {
        // Ticks of seconds: far below 2^52.
        100.0 * part as f64 / whole.max(1) as f64
    };
    before
        .iter()
        .zip(after)
        .zip(0_u32..)
        .map(|((old, new), cpu)| {
            let total = new.2.saturating_sub(old.2);
            let busy = share(new.0.saturating_sub(old.0), total);
            (cpu, busy, share(new.1.saturating_sub(old.1), total))
        })
        .max_by(|one, other| one.1.total_cmp(&other.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_name_and_limits_left_out() {
        let found = pairs("Tcp: MaxConn RetransSegs\nTcp: -1 42\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found["RetransSegs"], 42);
    }

    #[test]
    fn the_backlog_is_summed_over_processors_in_hexadecimal() {
        assert_eq!(softnet("0001 000a 0001\n0002 0001 0000\n"), (11, 1));
    }

    #[test]
    fn a_counter_that_went_back_has_not_grown() {
        let old = BTreeMap::from([("x".to_owned(), 9)]);
        let new = BTreeMap::from([("x".to_owned(), 2)]);
        assert_eq!(growth(&old, &new)["x"], 0);
    }
}
