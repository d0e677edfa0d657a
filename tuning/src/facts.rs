//! Everything about one host that the rules look at, read once.
//!
//! Invariant: a rule sees nothing but this value, so every rule can be tested on a fact sheet. The
//! form is also what two hosts exchange and what a fact sheet file holds. Not promised: that two
//! values were read at the same instant.

mod cpu;
mod link;
mod mount;
mod socket;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::reading::Reading;
pub use cpu::{CpuFacts, SoftnetFacts};
pub use link::{
    Channels, Coalesce, Eee, Feature, Fec, Irq, LinkFacts, LinkModes, Module, Pause, PciePort,
    QueueMasks, Rings, SpeedSource,
};
pub use mount::{DiskFacts, NfsMount};
pub use socket::SocketFacts;

/// The form of the sheet; raised when a field changes its meaning.
pub const FORMAT: u32 = 1;

/// One host.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostFacts {
    /// See [`FORMAT`].
    pub format: u32,
    /// Where a composed sheet has its values from; empty for a host that was read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The host's name.
    pub host: String,
    /// Kernel release, as uname(2) gives it.
    pub kernel: String,
    /// When it was read: seconds since 1970-01-01 UTC.
    pub taken_at_s: u64,
    /// How far the two samples of the counters are apart, in milliseconds; 0 means one sample.
    pub window_ms: u64,
    /// The network interfaces, in the order of the kernel.
    pub links: Vec<LinkFacts>,
    /// IPv4 and IPv6 default routes: interface names, best first.
    pub default_links: Vec<String>,
    /// Interface that carries the operator's own session, where there is one.
    pub operator_link: Option<String>,
    /// Values below `/proc/sys`, by sysctl(8) key.
    pub sysctls: BTreeMap<String, Reading<String>>,
    /// What the sysctl files say, in the order in which they are applied.
    pub sysctl_lines: Vec<SysctlLine>,
    /// Processors, memory nodes and their settings.
    pub cpu: CpuFacts,
    /// NFS mounts.
    pub mounts: Vec<NfsMount>,
    /// Block devices.
    pub disks: Vec<DiskFacts>,
    /// Growth of the counters of `/proc/net/snmp` and `/proc/net/netstat` within the window.
    pub counter_deltas: BTreeMap<String, u64>,
    /// TCP ports on which this host listens, with the address.
    pub listeners: Vec<String>,
    /// TCP listeners and the connections with the largest buffers.
    pub tcp_sockets: Reading<Vec<SocketFacts>>,
    /// Who owns the configuration on this host.
    pub owners: Owners,
    /// Name of the hypervisor or `container`, where this is a guest.
    pub guest: Option<String>,
    /// Whether the clock is synchronised.
    pub clock_synchronised: Reading<bool>,
}

/// One line of a sysctl file.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SysctlLine {
    /// The file.
    pub file: String,
    /// The key with dots.
    pub key: String,
    /// The value.
    pub value: String,
}

/// The programs that own settings on this host.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Owners {
    /// The active profile of tuned.
    pub tuned_profile: Option<String>,
    /// Whether netplan has files.
    pub netplan: bool,
    /// Whether NetworkManager runs.
    pub network_manager: bool,
    /// Whether systemd-udevd is there, which reads .link files.
    pub udev: bool,
    /// Whether irqbalance runs.
    pub irqbalance: bool,
}

impl HostFacts {
    /// The interface of that name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&LinkFacts> {
        self.links.iter().find(|link| link.name == name)
    }

    /// A sysctl.
    ///
    /// # Errors
    /// The state of a check that needs it and cannot have it.
    pub fn sysctl(&self, key: &str) -> Result<&str, crate::verdict::State> {
        match self.sysctls.get(key) {
            Some(reading) => reading.need().map(String::as_str),
            None => Err(crate::verdict::not_here(format!("{key} was not read"))),
        }
    }

    /// A sysctl that is one whole number.
    ///
    /// # Errors
    /// As [`Self::sysctl`].
    pub fn sysctl_number(&self, key: &str) -> Result<u64, crate::verdict::State> {
        let text = self.sysctl(key)?;
        text.parse()
            .map_err(|_| crate::verdict::not_here(format!("{key} is {text:?}, no number")))
    }

    /// The interfaces directly below: the parent of a VLAN, the members of a bond or bridge.
    #[must_use]
    pub fn below(&self, upper: &LinkFacts) -> Vec<&LinkFacts> {
        self.links
            .iter()
            .filter(|link| {
                link.master.as_deref() == Some(upper.name.as_str())
                    || (upper.lower.as_deref() == Some(link.name.as_str())
                        && link.name != upper.name)
            })
            .collect()
    }

    /// The interface and all below it, top first.
    #[must_use]
    pub fn stack<'a>(&'a self, top: &'a LinkFacts) -> Vec<&'a LinkFacts> {
        let mut found: Vec<&LinkFacts> = vec![top];
        let mut next = 0;
        // Each interface enters once, so the loop ends with the list of interfaces.
        while let Some(upper) = found.get(next).copied() {
            for lower in self.below(upper) {
                if !found.iter().any(|link| link.name == lower.name) {
                    found.push(lower);
                }
            }
            next += 1;
        }
        found
    }

    /// Whether IPv4 packets are forwarded by this host.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.sysctl("net.ipv4.ip_forward") == Ok("1")
    }
}
