//! Judges what the scripts for other systems print.
//!
//! Invariant: a value that is not in the sheet is unknown. The text comes from another machine: it
//! is bounded, parsed as JSON of one form, and shown, never run.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::case::Profile;
use crate::catalogue::Catalogue;
use crate::error::TuneError;
use crate::report::Report;
use crate::values::Values;
use crate::verdict::{Judged, State, Verdict, not_here};

/// Largest sheet in bytes: the scripts print some kilobytes.
pub const SHEET_BYTES_MAX: u64 = 1 << 20;

/// What a script printed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// The form: 1.
    pub format: u32,
    /// `windows`, `macos` or `linux`.
    pub system: String,
    /// The host's name.
    pub host: String,
    /// The adapter or interface.
    pub link: String,
    /// What was read.
    pub values: BTreeMap<String, String>,
}

type Rule = fn(&Sheet, &Values) -> Judged;

const WINDOWS: &[(&str, Rule)] = &[
    ("win.jumbo", |sheet, _| {
        // Some drivers count the VLAN tag too.
        let found = sheet.number("*JumboPacket")?;
        Ok(Verdict::new(
            (9014..=9018).contains(&found),
            found.to_string(),
            "9014: MTU 9000",
        ))
    }),
    ("win.rx_buffers", |sheet, _| {
        at_maximum(sheet, "*ReceiveBuffers")
    }),
    ("win.tx_buffers", |sheet, _| {
        at_maximum(sheet, "*TransmitBuffers")
    }),
    ("win.rss", |sheet, _| is(sheet, "*RSS", "1")),
    ("win.rss_queues", |sheet, _| {
        above(sheet, "*NumRssQueues", 2)
    }),
    ("win.rsc", |sheet, _| is(sheet, "*RscIPv4", "1")),
    ("win.lso", |sheet, _| is(sheet, "*LsoV2IPv4", "1")),
    ("win.pause", |sheet, _| report(sheet, "*FlowControl")),
    ("win.int_mod", |sheet, _| {
        is(sheet, "*InterruptModeration", "1")
    }),
    ("win.eee", |sheet, _| is(sheet, "*EEE", "0")),
    ("win.pcie", pcie),
    ("win.stats", |sheet, _| is(sheet, "discards_delta", "0")),
    ("win.autotune", |sheet, _| is(sheet, "autotuning", "Normal")),
    ("win.power", |sheet, _| {
        let plan = sheet.text("power_plan")?;
        // The id of the high performance plan is the same on every Windows.
        let high = plan.contains("8c5e7fda-e8bf-4a96-9a85-a6e23a8c635c");
        Ok(Verdict::new(high, plan, "high performance while benching"))
    }),
    ("win.nfs_feature", |sheet, _| {
        is(sheet, "nfs_client", "True")
    }),
    ("win.nfs_config", |sheet, _| report(sheet, "nfs_config")),
    ("e2e.pmtu_fwd", |sheet, _| is(sheet, "ping_9000", "True")),
];

const MACOS: &[(&str, Rule)] = &[
    ("mac.mtu", |sheet, _| {
        let mtu = sheet.number("mtu")?;
        let bridge = sheet.number("bridge_mtu").unwrap_or(mtu);
        let read = format!("{} {mtu}, bridge {bridge}", sheet.link);
        Ok(Verdict::new(
            mtu >= 9000 && bridge >= mtu.min(9000),
            read,
            "9000, the bridge too",
        ))
    }),
    ("mac.bridge", |sheet, _| {
        let members = sheet.text("bridge_members")?;
        let count = members.split_whitespace().count();
        Ok(Verdict::new(
            count < 3,
            format!("{count} members: {members}"),
            "no ring of three or more",
        ))
    }),
    ("mac.service_order", |sheet, _| {
        let order = sheet.text("service_order")?;
        let first = order.split(';').next().unwrap_or("");
        Ok(Verdict::new(
            !first.contains("Wi-Fi"),
            order,
            "the fast link above Wi-Fi",
        ))
    }),
    ("mac.sockbuf", |sheet, _| {
        above(sheet, "maxsockbuf", 8_388_607)
    }),
    ("mac.tcp_buf", |sheet, values| {
        window(sheet, values, "autorcvbufmax")
    }),
    ("mac.nfs_opts", |sheet, _| report(sheet, "nfs_mounts")),
    ("mac.nfs_conf", |sheet, _| report(sheet, "nfs_conf")),
    ("e2e.pmtu_fwd", |sheet, _| is(sheet, "ping_9000", "True")),
];

const LINUX: &[(&str, Rule)] = &[
    ("link.mtu", |sheet, values| {
        let speed = sheet.number("speed_mbit")?;
        let want = values.row(u32::try_from(speed).unwrap_or(u32::MAX)).mtu;
        let mtu = sheet.number("mtu")?;
        Ok(Verdict::new(
            mtu >= u64::from(want),
            mtu.to_string(),
            want.to_string(),
        ))
    }),
    ("nic.gro", |sheet, _| is(sheet, "gro", "on")),
    ("nic.tso", |sheet, _| is(sheet, "tso", "on")),
    ("sys.sack", |sheet, _| is(sheet, "net.ipv4.tcp_sack", "1")),
    ("sys.timestamps", |sheet, _| {
        is(sheet, "net.ipv4.tcp_timestamps", "1")
    }),
    ("sys.window_scaling", |sheet, _| {
        is(sheet, "net.ipv4.tcp_window_scaling", "1")
    }),
    ("sys.tcp_rmem", |sheet, values| {
        window(sheet, values, "net.ipv4.tcp_rmem")
    }),
    ("sys.tcp_wmem", |sheet, values| {
        window(sheet, values, "net.ipv4.tcp_wmem")
    }),
    ("e2e.pmtu_fwd", |sheet, _| is(sheet, "ping_9000", "True")),
];

impl Sheet {
    /// Parses what a script printed.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: &str) -> Result<Self, TuneError> {
        // PowerShell writes a byte order mark into files.
        let sheet: Self = serde_json::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|error| TuneError::usage(format!("this is no sheet of a script: {error}")))?;
        if sheet.format != 1 {
            return Err(TuneError::usage(format!(
                "the sheet has form {}, this tool knows 1",
                sheet.format
            )));
        }
        Ok(sheet)
    }

    fn text(&self, key: &str) -> Result<&str, State> {
        match self.values.get(key).map(String::as_str) {
            Some("") | None => Err(not_here(format!("the script could not read {key}"))),
            Some(value) => Ok(value),
        }
    }

    /// The last number in the value: `4096 131072 6291456` tells the most.
    fn number(&self, key: &str) -> Result<u64, State> {
        let text = self.text(key)?;
        let last = text.split_whitespace().next_back().unwrap_or("");
        last.parse()
            .map_err(|_| not_here(format!("{key} is {text:?}, no number")))
    }

    /// Judges the sheet.
    ///
    /// # Errors
    /// When the system is none that the scripts are for.
    pub fn judge(&self, catalogue: &Catalogue, values: &Values) -> Result<Report, TuneError> {
        let rules = match self.system.as_str() {
            "windows" => WINDOWS,
            "macos" => MACOS,
            "linux" => LINUX,
            other => return Err(TuneError::usage(format!("no script is for {other:?}"))),
        };
        let judged = rules.iter().filter_map(|(id, rule)| {
            let entry = catalogue.entry(id)?;
            Some((entry, self.link.clone(), rule(self, values)))
        });
        Ok(Report::from_judged(&self.host, Profile::Lan, judged))
    }
}

fn is(sheet: &Sheet, key: &str, want: &str) -> Judged {
    let found = sheet.text(key)?;
    Ok(Verdict::new(found == want, found, want))
}

fn above(sheet: &Sheet, key: &str, least: u64) -> Judged {
    let found = sheet.number(key)?;
    Ok(Verdict::new(
        found > least,
        found.to_string(),
        format!("more than {least}"),
    ))
}

fn report(sheet: &Sheet, key: &str) -> Judged {
    Ok(Verdict::report(sheet.text(key)?))
}

fn at_maximum(sheet: &Sheet, key: &str) -> Judged {
    let found = sheet.number(key)?;
    let most = sheet.number(&format!("{key} max"))?;
    Ok(Verdict::new(
        found >= most,
        found.to_string(),
        format!("{most}, the driver's maximum"),
    ))
}

fn window(sheet: &Sheet, values: &Values, key: &str) -> Judged {
    // macOS tells no speed in the sheet: judged as a 10G link.
    let speed = sheet.number("speed_mbit").unwrap_or(10_000);
    let speed = u32::try_from(speed).unwrap_or(u32::MAX);
    let need = crate::formula::buffer_bytes(&values.formula, speed, values.formula.lan_rtt_ms);
    let found = sheet.number(key)?;
    Ok(Verdict::new(
        found >= need,
        found.to_string(),
        format!("{need} or more"),
    ))
}

fn pcie(sheet: &Sheet, values: &Values) -> Judged {
    let width = sheet.number("pcie_width")?;
    // Windows numbers the generations: 1 is 2.5 GT/s, each next one twice as fast.
    let generation = sheet.number("pcie_speed_gt")?;
    let lane_gbit = match generation {
        1 => 2.0,
        2 => 4.0,
        3 => 7.88,
        4 => 15.75,
        5 => 31.5,
        other => return Err(not_here(format!("PCIe generation {other}"))),
    };
    let speed = u32::try_from(sheet.number("speed_mbit")?).unwrap_or(u32::MAX);
    let need = values.row(speed).pcie_gbit;
    // Lanes: at most 32.
    let has = lane_gbit * width as f64;
    Ok(Verdict::new(
        has >= need,
        format!("generation {generation} x{width}: {has:.0} Gbit/s"),
        format!("{need:.0} Gbit/s"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Report {
        let sheet = Sheet::parse(text).unwrap();
        sheet
            .judge(&Catalogue::load().unwrap(), &Values::load().unwrap())
            .unwrap()
    }

    fn state<'a>(report: &'a Report, id: &str) -> &'a State {
        &report
            .checks
            .iter()
            .find(|check| check.id == id)
            .unwrap()
            .state
    }

    #[test]
    fn a_windows_sheet_is_judged_and_9014_is_right() {
        let report = judge(
            r#"{"format":1,"system":"windows","host":"PC","link":"Ethernet","values":{
            "speed_mbit":"10000","*JumboPacket":"9014","*ReceiveBuffers":"512",
            "*ReceiveBuffers max":"4096","*RSS":"1","*NumRssQueues":"2","autotuning":"Normal",
            "pcie_width":"4","pcie_speed_gt":"3","discards_delta":"0","ping_9000":"False"}}"#,
        );
        assert_eq!(state(&report, "win.jumbo"), &State::Ok);
        assert_eq!(state(&report, "win.pcie"), &State::Ok);
        assert_eq!(state(&report, "win.rx_buffers"), &State::Fail);
        assert_eq!(state(&report, "win.rss_queues"), &State::Fail);
        assert_eq!(state(&report, "e2e.pmtu_fwd"), &State::Fail);
        assert!(matches!(state(&report, "win.lso"), State::Unknown(_)));
    }

    #[test]
    fn a_mac_in_a_ring_and_behind_wifi_is_told() {
        let report = judge(
            "\u{feff}{\"format\":1,\"system\":\"macos\",\"host\":\"mini\",\"link\":\"bridge0\",\
             \"values\":{\"mtu\":\"9000\",\"bridge_mtu\":\"1500\",\"bridge_members\":\"en2 en3 en4 \
             \",\"service_order\":\"Wi-Fi;Thunderbolt Bridge;\",\"maxsockbuf\":\"8388608\"}}",
        );
        for id in ["mac.mtu", "mac.bridge", "mac.service_order"] {
            assert_eq!(state(&report, id), &State::Fail, "{id}");
        }
        assert_eq!(state(&report, "mac.sockbuf"), &State::Ok);
    }

    #[test]
    fn every_id_of_the_other_systems_has_a_rule() {
        let catalogue = Catalogue::load().unwrap();
        for entry in &catalogue.0 {
            let rules = match entry.id.split_once('.') {
                Some(("win", _)) => WINDOWS,
                Some(("mac", _)) => MACOS,
                _ => continue,
            };
            assert!(rules.iter().any(|(id, _)| *id == entry.id), "{}", entry.id);
        }
    }

    #[test]
    fn something_else_is_refused() {
        assert!(Sheet::parse("{}").is_err());
        assert!(Sheet::parse("not json").is_err());
    }
}
