//! The values that rules compare with: `data/values.toml`, by link speed.
//!
//! Invariant: every number that is a matter of opinion is in that file and not in code. Units are
//! in the field names.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::driver_counters::DriverCounters;
use crate::error::TuneError;

const TEXT: &str = include_str!("../data/values.toml");

/// All values.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// Constants of the formulas.
    pub formula: Formula,
    /// Thresholds that do not depend on the speed.
    pub limits: Limits,
    /// Named goals.
    pub preset: BTreeMap<String, Preset>,
    /// Rows by speed, slowest first.
    pub speed: Vec<Row>,
    /// What the drivers' own counters mean; a file of its own.
    #[serde(skip)]
    pub driver_counters: DriverCounters,
}

/// Constants of the formulas; see the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the data file explains each, with its unit in the name"
)]
pub struct Formula {
    pub goal_share: f64,
    pub goal_share_from_100g: f64,
    pub buffer_floor_mib: f64,
    pub buffer_factor: f64,
    pub lan_rtt_ms: f64,
    pub wan_rtt_ms: f64,
}

/// Thresholds; see the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the data file explains each, with its unit in the name"
)]
pub struct Limits {
    pub rtt_p50_ms_max: f64,
    pub rtt_loaded_extra_ms_max: f64,
    pub retransmits_percent_max: f64,
    pub asymmetry_percent_max: f64,
    pub somaxconn_min: u64,
    pub optmem_bytes_min: u64,
    pub notsent_lowat_bytes: u64,
    pub latency_coalesce_us_max: u32,
    pub cstate_us_max: u32,
    pub disk_readahead_kib_min: u64,
    pub nfs_readahead_factor: u64,
    pub nfs_transfer_bytes: u64,
    pub nfs_nconnect_max: u32,
}

/// A named goal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Throughput that one stream must reach, in Mbit/s.
    pub goal_mbit: f64,
    /// Most round trip in milliseconds, median.
    pub rtt_ms_max: f64,
    /// MTU in bytes.
    pub mtu: u32,
    /// Link speed in Mbit/s.
    pub speed_mbit: u32,
}

/// Values of one class of speed; see the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the data file explains each, with its unit in the name"
)]
pub struct Row {
    pub name: String,
    pub up_to_mbit: u32,
    pub mtu: u32,
    pub core_max_mib: u64,
    pub core_max_wan_mib: u64,
    pub tcp_max_mib: u64,
    pub tcp_max_wan_mib: u64,
    pub ring: u32,
    pub channels: u32,
    pub backlog: u64,
    pub pcie_gbit: f64,
    pub nconnect: u32,
}

impl Values {
    /// The compiled-in values.
    ///
    /// # Errors
    /// When the data file is broken: a fault of the build.
    pub fn load() -> Result<Self, TuneError> {
        let mut values: Self = toml::from_str(TEXT)
            .map_err(|error| TuneError::usage(format!("values.toml: {error}")))?;
        if values.speed.is_empty() {
            return Err(TuneError::usage("values.toml: no row for any speed"));
        }
        values.driver_counters = DriverCounters::load()?;
        Ok(values)
    }

    /// The row that serves a link of that speed; the last one serves everything faster.
    #[must_use]
    pub fn row(&self, speed_mbit: u32) -> &Row {
        let found = self.speed.iter().find(|row| speed_mbit <= row.up_to_mbit);
        found.unwrap_or_else(|| &self.speed[self.speed.len() - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_rise_and_the_last_serves_everything_faster() {
        let values = Values::load().unwrap();
        let speeds = values.speed.iter().map(|row| row.up_to_mbit);
        assert!(speeds.is_sorted());
        assert_eq!(values.row(10_000).ring, 4096);
        assert_eq!(values.row(10_001).name, "25G");
        assert_eq!(values.row(u32::MAX).name, "200G, 400G");
    }
}
