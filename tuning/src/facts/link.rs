//! One network interface.
//!
//! Governed by rtnetlink(7), the ethtool netlink interface and `Documentation/ABI/testing/
//! sysfs-class-net`. Not promised: that a driver's numbers are true.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::reading::Reading;

/// An interface as the kernel tells it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkFacts {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Kind: `physical`, `virtio`, `thunderbolt`, `wireless`, `loopback`, or the kernel's word
    /// such as `vlan`.
    pub kind: String,
    /// Hardware address.
    pub mac: String,
    /// Administratively up.
    pub admin_up: bool,
    /// Operational state in the kernel's words: `up`, `down`, `lowerlayerdown`, `unknown`.
    pub operstate: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// Smallest MTU that the driver takes; 0 is not told.
    pub mtu_min: u32,
    /// Largest MTU that the driver takes; 0 is not told.
    pub mtu_max: u32,
    /// Bond or bridge that this is a member of.
    pub master: Option<String>,
    /// Interface that this one lies on (the parent of a VLAN).
    pub lower: Option<String>,
    /// VLAN id.
    pub vlan_id: Option<u16>,
    /// Bonding mode, such as `802.3ad`.
    pub bond_mode: Option<String>,
    /// Hash policy of the bond.
    pub bond_hash: Option<String>,
    /// Length of the transmit queue in packets.
    pub transmit_queue: u32,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
    /// Queueing disciplines, root first.
    pub qdiscs: Vec<String>,
    /// Driver.
    pub driver: Reading<String>,
    /// Firmware version, as the driver gives it.
    pub firmware: Reading<String>,
    /// Link modes, speed, duplex.
    pub modes: Reading<LinkModes>,
    /// Forward error correction.
    pub fec: Reading<Fec>,
    /// Energy-efficient Ethernet.
    pub eee: Reading<Eee>,
    /// The pluggable module's own measurements.
    pub module: Reading<Module>,
    /// Rings.
    pub rings: Reading<Rings>,
    /// Channels.
    pub channels: Reading<Channels>,
    /// Interrupt coalescing.
    pub coalesce: Reading<Coalesce>,
    /// Flow control.
    pub pause: Reading<Pause>,
    /// Offloads by kernel name.
    pub features: Reading<BTreeMap<String, Feature>>,
    /// Private flags of the driver that are on.
    pub private_flags: Reading<Vec<String>>,
    /// Receive hash table: queue of each slot.
    pub hash_table: Reading<Vec<u32>>,
    /// Interrupts.
    pub irqs: Vec<Irq>,
    /// Packet steering by software.
    pub queues: QueueMasks,
    /// Memory node of the device; -1 where the machine has only one.
    pub numa_node: Reading<i32>,
    /// Processors near the device.
    pub local_cpus: Reading<Vec<u32>>,
    /// The device's PCIe link first, then every bridge up to the root.
    pub pcie: Reading<Vec<PciePort>>,
    /// Largest PCIe read request in bytes.
    pub pcie_read_request: Reading<u32>,
    /// Corrected PCIe errors since boot.
    pub pcie_errors_corrected: Reading<u64>,
    /// Temperature and limit in degrees Celsius.
    pub temperature: Reading<(f64, f64)>,
    /// Counters of `/sys/class/net/IF/statistics`, plus `carrier_down_count`.
    pub counters: BTreeMap<String, u64>,
    /// Growth of the counters within the window.
    pub counter_deltas: BTreeMap<String, u64>,
    /// The driver's own counters by its own names (`ethtool -S`).
    pub driver_counters: BTreeMap<String, u64>,
    /// Growth of the driver's counters within the window.
    pub driver_counter_deltas: BTreeMap<String, u64>,
}

/// Speed, duplex and what both ends offer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkModes {
    /// Speed in Mbit/s, as `speed_source` tells it. Use [`LinkFacts::speed_mbit`].
    pub speed_mbit: Reading<u32>,
    /// Who says so.
    pub speed_source: SpeedSource,
    /// `full` or `half`.
    pub duplex: Reading<String>,
    /// Whether the speed is negotiated.
    pub autoneg: bool,
    /// What the hardware can, by kernel name.
    pub supported: Vec<String>,
    /// What this end offers.
    pub advertised: Vec<String>,
    /// What the other end offers.
    pub peer: Vec<String>,
}

/// Who tells the speed of a link.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpeedSource {
    /// The driver of a card, which has negotiated it.
    #[default]
    Driver,
    /// The driver of a link without hardware, which made it up: no speed.
    Invented,
    /// The user (`--link-speed`, `TOWLINE_LINK_SPEED`).
    Told,
}

/// Forward error correction.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fec {
    /// Mode in use: `off`, `rs`, `baser`, `llrs`.
    pub active: String,
    /// Whether the driver chooses.
    pub automatic: bool,
}

/// Energy-efficient Ethernet.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Eee {
    /// Switched on.
    pub enabled: bool,
    /// In use on this link.
    pub active: bool,
}

/// What a pluggable module measures (SFF-8472).
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Module {
    /// Degrees Celsius.
    pub temperature: f64,
    /// High alarm of the temperature.
    pub temperature_max: f64,
    /// Received power in milliwatts.
    pub receive_mw: f64,
    /// Low alarm of the received power.
    pub receive_mw_min: f64,
    /// High alarm of the received power.
    pub receive_mw_max: f64,
}

/// Ring sizes in descriptors.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rings {
    /// Receive, now.
    pub rx: u32,
    /// Receive, at most.
    pub rx_max: u32,
    /// Transmit, now.
    pub tx: u32,
    /// Transmit, at most.
    pub tx_max: u32,
}

/// Channel counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Channels {
    /// Combined, now.
    pub combined: u32,
    /// Combined, at most.
    pub combined_max: u32,
    /// Receive only, now.
    pub rx: u32,
    /// Transmit only, now.
    pub tx: u32,
}

/// Interrupt coalescing.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Coalesce {
    /// Adaptive receive; none where the driver has no such switch.
    pub adaptive_rx: Option<bool>,
    /// Microseconds until a receive interrupt.
    pub rx_usecs: Option<u32>,
    /// Frames until a receive interrupt.
    pub rx_frames: Option<u32>,
}

/// Flow control.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pause {
    /// Negotiated.
    pub autoneg: bool,
    /// Obeys pause frames.
    pub rx: bool,
    /// Sends pause frames.
    pub tx: bool,
    /// Pause frames received since boot, where the driver counts.
    pub rx_frames: Option<u64>,
    /// Pause frames sent since boot, where the driver counts.
    pub tx_frames: Option<u64>,
}

/// One offload.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feature {
    /// On.
    pub on: bool,
    /// Cannot be changed.
    pub fixed: bool,
}

/// One interrupt of the device.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Irq {
    /// Number.
    pub number: u32,
    /// Name in `/proc/interrupts`.
    pub name: String,
    /// Processors that may take it.
    pub cpus: Reading<Vec<u32>>,
}

/// Software steering of the receive queues.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueMasks {
    /// RPS mask of each receive queue, as the kernel prints it.
    pub rps: Vec<String>,
    /// Number of transmit queues.
    pub transmit: u32,
}

/// One PCIe link on the way from the device to the root.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PciePort {
    /// Address, such as `0000:3b:00.0`.
    pub address: String,
    /// Negotiated GT/s per lane.
    pub speed_gt: f64,
    /// Most GT/s per lane.
    pub speed_gt_max: f64,
    /// Negotiated lanes.
    pub width: u32,
    /// Most lanes.
    pub width_max: u32,
}

impl LinkFacts {
    /// The speed in Mbit/s: the negotiated one, or what the user told.
    ///
    /// # Errors
    /// The state of a check that needs it and cannot have it.
    pub fn speed_mbit(&self) -> Result<u32, crate::verdict::State> {
        if self.is_loopback() {
            return Err(crate::verdict::not_here("loopback has no speed"));
        }
        let modes = self.modes.need()?;
        if modes.speed_source == SpeedSource::Invented {
            return Err(crate::verdict::not_here(format!(
                "speed unknown: a link of kind {} has none of its own; --link-speed {}=10G \
                 tells it",
                self.kind, self.name
            )));
        }
        modes.speed_mbit.need().copied()
    }

    /// Whether it is the loopback interface.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.kind == "loopback"
    }

    /// Whether it is hardware, or stands for hardware in a guest.
    #[must_use]
    pub fn is_device(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "physical" | "virtio" | "thunderbolt" | "wireless"
        )
    }

    /// Growth of a counter within the window; none where it was not read twice.
    #[must_use]
    pub fn delta(&self, counter: &str) -> Option<u64> {
        self.counter_deltas.get(counter).copied()
    }
}
