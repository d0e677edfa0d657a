//! Processors, memory nodes and what the kernel does with them.
//!
//! Not promised: per-core figures beyond what the rules need.
//! Governed by `/sys/devices/system/cpu` and proc(5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::reading::Reading;

/// Processors of the host.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CpuFacts {
    /// Processors online.
    pub online: u32,
    /// Processors of each memory node.
    pub nodes: BTreeMap<u32, Vec<u32>>,
    /// Frequency governors in use, each with the number of processors that use it.
    pub governors: Reading<BTreeMap<String, u32>>,
    /// What the PM QoS interface holds, in microseconds of wake-up latency.
    pub dma_latency_us: Reading<u32>,
    /// Policy of PCIe active state power management.
    pub aspm_policy: Reading<String>,
    /// Thermal throttle events since boot, summed.
    pub throttles: Reading<u64>,
    /// Growth of the throttle events within the window.
    pub throttles_delta: Option<u64>,
    /// Packet backlog of the processors.
    pub softnet: Reading<SoftnetFacts>,
    /// Busiest processor within the window, in percent; and its share of soft interrupts.
    pub busiest: Option<(u32, f64, f64)>,
}

/// Sums over `/proc/net/softnet_stat`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftnetFacts {
    /// Packets dropped since boot because the backlog was full.
    pub dropped: u64,
    /// Times the budget ran out since boot.
    pub squeezed: u64,
    /// Growth of `dropped` within the window.
    pub dropped_delta: u64,
    /// Growth of `squeezed` within the window.
    pub squeezed_delta: u64,
}
