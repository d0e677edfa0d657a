//! How busy the processors of one side were while something was measured.
//!
//! Percent of one core throughout: two busy cores are 200. Invariant: what a side did not tell is
//! absent. A peer that speaks plain iperf3 tells its process's share only.

use serde::{Deserialize, Serialize};

/// One core over the measured time, in percent.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct CoreUse {
    /// Its number.
    pub core: u32,
    /// Not idle: user, system, interrupts and time stolen by the hypervisor.
    pub busy: f64,
    /// Of it, in soft interrupts: the network stack's own work.
    pub softirq: f64,
    /// Of it, given to other guests by the hypervisor.
    pub stolen: f64,
}

/// One side.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct SideCpu {
    /// `this host`, `peer`, or the role.
    pub side: String,
    /// The measuring process, in percent of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<f64>,
    /// Of it, in user mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_user: Option<f64>,
    /// Of it, in the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_system: Option<f64>,
    /// Processor seconds of that process per GiB of payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_per_gib: Option<f64>,
    /// Every core of that host.
    #[serde(default)]
    pub cores: Vec<CoreUse>,
}

impl SideCpu {
    /// The busiest core.
    #[must_use]
    pub fn busiest(&self) -> Option<&CoreUse> {
        self.cores.iter().max_by(|a, b| a.busy.total_cmp(&b.busy))
    }
}
