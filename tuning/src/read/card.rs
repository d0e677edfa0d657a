//! One interface in detail: the ethtool family, and what sysfs says about its device.
//!
//! Governed by `Documentation/ABI/testing/sysfs-class-net` and sysfs-bus-pci.
//! Invariant: a driver that does not report something leaves the reason in its place.

use std::io;

use super::pci;
use crate::ethtool::{DriverSocket, Ethtool};
use crate::facts::{Irq, LinkFacts, QueueMasks};
use crate::reading::{Missing, Reading};
use crate::root::{Root, cpu_list};

/// The interfaces of a root that cannot be asked by netlink.
pub(super) fn links_of_sysfs(root: &Root) -> Vec<LinkFacts> {
    let one = |name: String| {
        let base = format!("sys/class/net/{name}");
        LinkFacts {
            index: root.number(&format!("{base}/ifindex")).unwrap_or(0),
            mac: root.line(&format!("{base}/address")).unwrap_or_default(),
            mtu: root.number(&format!("{base}/mtu")).unwrap_or(0),
            operstate: root.line(&format!("{base}/operstate")).unwrap_or_default(),
            admin_up: root.line(&format!("{base}/carrier")).is_ok(),
            transmit_queue: root.number(&format!("{base}/tx_queue_len")).unwrap_or(0),
            master: root.target_name(&format!("{base}/master")),
            kind: if name == "lo" { "loopback" } else { "" }.to_owned(),
            name,
            ..LinkFacts::default()
        }
    };
    let names = root.names("sys/class/net").into_iter();
    names.take(super::LINKS_MAX).map(one).collect()
}

/// Adds everything below the link itself.
pub(super) fn read(root: &Root, ethtool: Option<&mut Ethtool>, link: &mut LinkFacts) {
    let base = format!("sys/class/net/{}", link.name);
    let driver = root.target_name(&format!("{base}/device/driver"));
    if link.kind.is_empty() {
        link.kind = kind_of(root, &base, driver.as_deref()).to_owned();
    }
    link.driver = Reading::from_option(driver, "the interface has no device with a driver");
    if link.is_loopback() {
        return;
    }
    match ethtool {
        Some(ethtool) => ask(ethtool, link),
        None => leave_unasked(link),
    }
    link.queues = queues(root, &base);
    link.irqs = irqs(root, &link.name, &base);
    let node = root.number(&format!("{base}/device/numa_node"));
    link.numa_node = Reading::from_result(node, "memory node of the device", "root");
    let near = root.line(&format!("{base}/device/local_cpulist"));
    link.local_cpus = Reading::from_result(
        near.map(|list| cpu_list(&list)),
        "list of processors near the device",
        "root",
    );
    pci::read(root, &base, link);
    link.temperature = temperature(root, &base);
}

fn kind_of(root: &Root, base: &str, driver: Option<&str>) -> &'static str {
    match driver {
        Some("virtio_net") => "virtio",
        Some("thunderbolt-net" | "thunderbolt_net") => "thunderbolt",
        _ if root.has(&format!("{base}/wireless")) || root.has(&format!("{base}/phy80211")) => {
            "wireless"
        }
        _ if root.has(&format!("{base}/device")) => "physical",
        _ => "virtual",
    }
}

fn told<T>(result: io::Result<T>, what: &str) -> Reading<T> {
    match result {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => {
            Reading::missing(Missing::Unsupported(format!(
                "the driver does not report {what}"
            )))
        }
        other => Reading::from_result(other, what, "CAP_NET_ADMIN"),
    }
}

fn ask(ethtool: &mut Ethtool, link: &mut LinkFacts) {
    let name = link.name.as_str();
    link.modes = told(ethtool.modes(name), "link modes");
    link.features = told(ethtool.features(name), "offloads");
    link.rings = told(ethtool.rings(name), "ring sizes");
    link.channels = told(ethtool.channels(name), "channels");
    link.coalesce = told(ethtool.coalesce(name), "coalescing");
    link.pause = told(ethtool.pause(name), "flow control");
    link.eee = told(ethtool.eee(name), "energy-efficient Ethernet");
    link.fec = told(ethtool.fec(name), "forward error correction");
    link.private_flags = told(ethtool.private_flags(name), "private flags");
    link.hash_table = told(ethtool.hash_table(name), "a hash table");
    link.module = told(ethtool.module(name), "a pluggable module");
    link.firmware = firmware(name);
}

fn firmware(name: &str) -> Reading<String> {
    let info = DriverSocket::open().and_then(|socket| socket.info(name));
    match info {
        Ok(info) if matches!(info.firmware.as_str(), "" | "N/A") => {
            let why = "the driver tells no firmware version";
            Reading::missing(Missing::Unsupported(why.to_owned()))
        }
        other => told(other.map(|info| info.firmware), "a firmware version"),
    }
}

fn leave_unasked(link: &mut LinkFacts) {
    fn none<T>(field: &mut Reading<T>) {
        let why = "the kernel has no ethtool netlink family (5.6 or newer has)";
        *field = Reading::missing(Missing::Unsupported(why.to_owned()));
    }
    none(&mut link.modes);
    none(&mut link.features);
    none(&mut link.rings);
    none(&mut link.channels);
    none(&mut link.coalesce);
    none(&mut link.pause);
    none(&mut link.eee);
    none(&mut link.fec);
    none(&mut link.private_flags);
    none(&mut link.hash_table);
    none(&mut link.module);
    none(&mut link.firmware);
}

fn queues(root: &Root, base: &str) -> QueueMasks {
    let names = root.names(&format!("{base}/queues"));
    let mask = |name: &String| root.line(&format!("{base}/queues/{name}/rps_cpus")).ok();
    let transmit = names.iter().filter(|name| name.starts_with("tx-")).count();
    QueueMasks {
        rps: names
            .iter()
            .filter(|name| name.starts_with("rx-"))
            .filter_map(mask)
            .collect(),
        transmit: u32::try_from(transmit).unwrap_or(u32::MAX),
    }
}

/// The interrupts of the device: those that PCI lists, else those that carry the name of the
/// interface or of the virtio device.
fn irqs(root: &Root, name: &str, base: &str) -> Vec<Irq> {
    let Ok(table) = root.text("proc/interrupts") else {
        return Vec::new();
    };
    let listed = root.names(&format!("{base}/device/msi_irqs"));
    let device = root.target_name(&format!("{base}/device"));
    let mine = |number: &str, label: &str| {
        let first = label.split(['-', '@', ':']).next().unwrap_or(label);
        listed.iter().any(|irq| irq == number)
            || first == name
            || device.as_deref().is_some_and(|device| first == device)
    };
    let mut found = Vec::new();
    for line in table.lines().skip(1) {
        let Some((number, rest)) = line.trim_start().split_once(':') else {
            continue;
        };
        let label = rest.split_whitespace().next_back().unwrap_or("");
        let Ok(parsed) = number.parse() else { continue };
        if !mine(number, label) {
            continue;
        }
        let cpus = root.line(&format!("proc/irq/{number}/smp_affinity_list"));
        found.push(Irq {
            number: parsed,
            name: label.to_owned(),
            cpus: Reading::from_result(
                cpus.map(|list| cpu_list(&list)),
                "processors of the interrupt",
                "root",
            ),
        });
    }
    found
}

fn temperature(root: &Root, base: &str) -> Reading<(f64, f64)> {
    let folder = format!("{base}/device/hwmon");
    for name in root.names(&folder) {
        let sensor = format!("{folder}/{name}");
        let read = |file: &str| root.number::<f64>(&format!("{sensor}/{file}"));
        let limit = read("temp1_max").or_else(|_| read("temp1_crit"));
        if let (Ok(now), Ok(limit)) = (read("temp1_input"), limit) {
            // hwmon counts in thousandths of a degree.
            return Reading::Value((now / 1000.0, limit / 1000.0));
        }
    }
    let why = "the device has no temperature sensor with a limit";
    Reading::missing(Missing::Unsupported(why.to_owned()))
}
