//! Processors, disks, owners of the configuration and other facts of the host as a whole.
//!
//! Governed by proc(5) and `Documentation/ABI` of the kernel. Not promised: that a service which
//! leaves no trace in `/run` is noticed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::facts::{CpuFacts, DiskFacts, HostFacts, Owners};
use crate::reading::{Missing, Reading};
use crate::root::{Root, cpu_list};

/// Listening sockets that are looked at, of each IP version.
const LISTENERS_MAX: usize = 1000;

const CPUS: &str = "sys/devices/system/cpu";

pub(super) fn cpu(root: &Root) -> CpuFacts {
    let online = cpu_list(&root.line(&format!("{CPUS}/online")).unwrap_or_default());
    let mut nodes = BTreeMap::new();
    for name in root.names("sys/devices/system/node") {
        let number = name.strip_prefix("node").and_then(|text| text.parse().ok());
        let list = root.line(&format!("sys/devices/system/node/{name}/cpulist"));
        if let (Some(number), Ok(list)) = (number, list) {
            nodes.insert(number, cpu_list(&list));
        }
    }
    let aspm = root.line("sys/module/pcie_aspm/parameters/policy");
    let chosen = aspm.map(|text| {
        let word = text
            .split('[')
            .nth(1)
            .and_then(|rest| rest.split(']').next());
        word.unwrap_or(&text).to_owned()
    });
    CpuFacts {
        governors: governors(root, &online),
        online: u32::try_from(online.len()).unwrap_or(u32::MAX),
        nodes,
        dma_latency_us: dma_latency(root),
        aspm_policy: Reading::from_result(chosen, "policy of PCIe power management", "root"),
        ..CpuFacts::default()
    }
}

fn governors(root: &Root, online: &[u32]) -> Reading<BTreeMap<String, u32>> {
    let mut found = BTreeMap::new();
    for cpu in online {
        if let Ok(name) = root.line(&format!("{CPUS}/cpu{cpu}/cpufreq/scaling_governor")) {
            *found.entry(name).or_insert(0) += 1;
        }
    }
    let why = "this host has no frequency scaling that the kernel controls";
    Reading::from_option((!found.is_empty()).then_some(found), why)
}

/// The file gives four octets, the microseconds in the machine's byte order. Opening it for
/// reading asks for nothing.
fn dma_latency(root: &Root) -> Reading<u32> {
    let read = std::fs::read(root.path("dev/cpu_dma_latency"));
    let number = read.and_then(|bytes| {
        let octets: Option<[u8; 4]> = bytes.get(..4).and_then(|four| four.try_into().ok());
        octets
            .map(u32::from_ne_bytes)
            .ok_or_else(|| std::io::Error::other("short"))
    });
    Reading::from_result(number, "/dev/cpu_dma_latency", "root")
}

pub(super) fn disks(root: &Root) -> Vec<DiskFacts> {
    let one = |name: String| {
        let readahead_kib = root
            .number(&format!("sys/block/{name}/queue/read_ahead_kb"))
            .ok()?;
        Some(DiskFacts {
            name,
            readahead_kib,
        })
    };
    let ours = |name: &String| {
        !["loop", "ram", "zram"]
            .iter()
            .any(|kind| name.starts_with(kind))
    };
    root.names("sys/block")
        .into_iter()
        .filter(ours)
        .filter_map(one)
        .collect()
}

pub(crate) fn owners(root: &Root) -> Owners {
    let profile = root.line("etc/tuned/active_profile").ok();
    let yaml = |folder: &str| {
        root.names(folder)
            .iter()
            .any(|name| name.ends_with(".yaml"))
    };
    Owners {
        tuned_profile: profile.filter(|name| tuned_rules(root) && !name.is_empty()),
        netplan: ["etc/netplan", "run/netplan", "lib/netplan"]
            .into_iter()
            .any(yaml),
        network_manager: root.has("run/NetworkManager/NetworkManager.pid")
            || root.has("run/NetworkManager/devices"),
        udev: root.has("run/udev/control"),
        irqbalance: root.has("run/irqbalance") || root.has("run/irqbalance.pid"),
    }
}

/// Whether tuned is at work: its daemon runs, or it is set up to work without one. Its folder in
/// `/run` is there as soon as it is installed.
fn tuned_rules(root: &Root) -> bool {
    let runs = |pid: String| !pid.is_empty() && root.has(&format!("proc/{pid}"));
    let alone = |text: String| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.any(|(key, value)| key.trim() == "daemon" && value.trim() == "0")
    };
    root.line("run/tuned/tuned.pid").is_ok_and(runs)
        || root.text("etc/tuned/tuned-main.conf").is_ok_and(alone)
}

pub(super) fn guest(root: &Root) -> Option<String> {
    if root.has(".dockerenv") || root.has("run/.containerenv") || root.has("run/systemd/container")
    {
        return Some("container".to_owned());
    }
    let info = root.text("proc/cpuinfo").ok()?;
    let flags = info.lines().find(|line| line.starts_with("flags"))?;
    if !flags.split_whitespace().any(|flag| flag == "hypervisor") {
        return None;
    }
    let vendor = root.line("sys/class/dmi/id/sys_vendor");
    Some(vendor.unwrap_or_else(|_| "virtual machine".to_owned()))
}

pub(super) fn clock_synchronised(root: &Root) -> Reading<bool> {
    if root.has("run/systemd/timesync/synchronized") {
        return Reading::Value(true);
    }
    let why = "adjtimex is not asked, and no time service left its mark in /run";
    Reading::missing(Missing::Unsupported(why.to_owned()))
}

pub(super) fn listeners(root: &Root) -> Vec<String> {
    const LISTEN: &str = "0A";
    let mut found = Vec::new();
    for (file, is_six) in [("proc/net/tcp", false), ("proc/net/tcp6", true)] {
        let Ok(text) = root.text(file) else { continue };
        for line in text.lines().skip(1).take(LISTENERS_MAX * 10) {
            let mut words = line.split_whitespace().skip(1);
            let (Some(local), _, Some(state)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Some((address, port)) = local.split_once(':') else {
                continue;
            };
            let Ok(port) = u16::from_str_radix(port, 16) else {
                continue;
            };
            if state != LISTEN || found.len() >= LISTENERS_MAX {
                continue;
            }
            let any = address.bytes().all(|digit| digit == b'0');
            let host = match (any, is_six) {
                (true, false) => "0.0.0.0",
                (true, true) => "[::]",
                (false, _) => "one address",
            };
            found.push(format!("{host}:{port}"));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The operator's SSH connection: of this process, or of one above it, as sudo(8) takes the
/// variable out. Root may read the environment of the processes above.
fn operator_connection(root: &Root) -> Option<String> {
    /// Processes above this one that are looked at: shells within shells within a terminal.
    const ANCESTORS_MAX: usize = 32;
    if let Ok(connection) = std::env::var("SSH_CONNECTION") {
        return Some(connection);
    }
    let mut process = "self".to_owned();
    for _ in 0..ANCESTORS_MAX {
        let status = root.text(&format!("proc/{process}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        process = parent.trim().to_owned();
        if process == "0" {
            return None;
        }
        let environment = root.text(&format!("proc/{process}/environ"));
        let environment = environment.unwrap_or_default();
        let mut variables = environment.split('\0');
        let found = variables.find_map(|variable| variable.strip_prefix("SSH_CONNECTION="));
        if let Some(found) = found {
            return Some(found.to_owned());
        }
    }
    None
}

/// The interface with the address to which the operator's SSH client connected.
pub(super) fn operator_link(root: &Root, facts: &HostFacts) -> Option<String> {
    let connection = operator_connection(root)?;
    let local: IpAddr = connection.split_whitespace().nth(2)?.parse().ok()?;
    let holds = |address: &String| {
        let text = address.split('/').next().unwrap_or("");
        text.parse::<IpAddr>() == Ok(local)
    };
    let found = facts
        .links
        .iter()
        .find(|link| link.addresses.iter().any(holds))?;
    Some(found.name.clone())
}
