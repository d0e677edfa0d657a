//! Settings of a link: netplan where it rules, systemd .link files of our own for the rest, and
//! commands for NetworkManager.
//!
//! Only the first .link file that matches a device applies, so a file of ours hides the one that
//! applied before, often `99-default.link`: it repeats that file's lines, or the interface could
//! get another name at the next boot (systemd.link(5)).

use std::collections::BTreeMap;

use super::{HEADER, Outcome, Values};
use crate::change::Setting;
use crate::facts::Owners;
use crate::root::Root;

const FOLDER: &str = "etc/systemd/network";
/// Before netplan's own `10-netplan-*.link`: only the first file that matches counts.
const PREFIX: &str = "05-towline-";

/// Ends what was taken over from the file that applied before ours.
const OURS_BELOW: &str = "# set by towline tune:";

/// What `99-default.link` of systemd holds, for a host on which the file in force is not known.
const DEFAULT_LINES: [&str; 2] = [
    "NamePolicy=keep kernel database onboard slot path",
    "MACAddressPolicy=persistent",
];
const NETPLAN_FILE: &str = "etc/netplan/90-towline.yaml";

/// The files of this kind that lie there.
pub(super) fn ours(root: &Root) -> Vec<String> {
    let names = root.names(FOLDER).into_iter();
    names
        .filter(|name| name.starts_with(PREFIX))
        .map(|name| format!("{FOLDER}/{name}"))
        .chain([NETPLAN_FILE.to_owned()])
        .collect()
}

/// The lines of systemd.link(5) for a setting; nothing where it has none.
fn lines(setting: &Setting, value: &str) -> Vec<String> {
    let yes = |value: &str| if value == "on" { "yes" } else { "no" };
    let (first, second) = value.split_once(' ').unwrap_or((value, value));
    match setting {
        Setting::Mtu { .. } => vec![format!("MTUBytes={value}")],
        Setting::TransmitQueue { .. } => vec![format!("TransmitQueueLength={value}")],
        Setting::Rings { .. } => {
            vec![
                format!("RxBufferSize={first}"),
                format!("TxBufferSize={second}"),
            ]
        }
        Setting::Channels { .. } => vec![format!("CombinedChannels={value}")],
        Setting::AdaptiveReceive { .. } => vec![format!("UseAdaptiveRxCoalesce={}", yes(value))],
        Setting::Pause { .. } => vec![
            format!("RxFlowControl={}", yes(first)),
            format!("TxFlowControl={}", yes(second)),
        ],
        Setting::Feature { feature, .. } => {
            let key = match feature.as_str() {
                "tx-tcp-segmentation" => "TCPSegmentationOffload",
                "tx-tcp6-segmentation" => "TCP6SegmentationOffload",
                "tx-generic-segmentation" => "GenericSegmentationOffload",
                "rx-gro" => "GenericReceiveOffload",
                "rx-lro" => "LargeReceiveOffload",
                "rx-checksum" => "ReceiveChecksumOffload",
                name if name.starts_with("tx-checksum") => "TransmitChecksumOffload",
                _ => return Vec::new(),
            };
            vec![format!("{key}={}", yes(value))]
        }
        Setting::Sysctl { .. }
        | Setting::File { .. }
        | Setting::LinkUp { .. }
        | Setting::Eee { .. } => Vec::new(),
    }
}

/// The key of netplan(5) for a setting; it knows MTU and offloads only.
fn netplan_line(setting: &Setting, value: &str) -> Option<String> {
    let on = value == "on";
    let key = match setting {
        Setting::Mtu { .. } => return Some(format!("mtu: {value}")),
        Setting::Feature { feature, .. } => match feature.as_str() {
            "tx-tcp-segmentation" => "tcp-segmentation-offload",
            "tx-tcp6-segmentation" => "tcp6-segmentation-offload",
            "tx-generic-segmentation" => "generic-segmentation-offload",
            "rx-gro" => "generic-receive-offload",
            "rx-lro" => "large-receive-offload",
            "rx-checksum" => "receive-checksum-offload",
            name if name.starts_with("tx-checksum") => "transmit-checksum-offload",
            _ => return None,
        },
        _ => return None,
    };
    Some(format!("{key}: {on}"))
}

/// What to type where NetworkManager rules.
fn manager_property(setting: &Setting, value: &str) -> Option<String> {
    let (first, second) = value.split_once(' ').unwrap_or((value, value));
    Some(match setting {
        Setting::Mtu { .. } => format!("802-3-ethernet.mtu {value}"),
        Setting::Rings { .. } => format!("ethtool.ring-rx {first} ethtool.ring-tx {second}"),
        Setting::Channels { .. } => format!("ethtool.channels-combined {value}"),
        Setting::Feature { feature, .. } => format!("ethtool.feature-{feature} {value}"),
        _ => return None,
    })
}

/// Adds the files for all links, and says what has no owner.
pub(super) fn add(
    root: &Root,
    values: &Values,
    owners: &Owners,
    wanted: &mut BTreeMap<String, String>,
    outcome: &mut Outcome,
) {
    let mut links: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut planned: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (setting, value) in values {
        let Some(link) = setting.link() else { continue };
        let netplan = netplan_line(setting, value).filter(|_| owners.netplan);
        let manager = manager_property(setting, value).filter(|_| owners.network_manager);
        let own = lines(setting, value);
        if let Some(line) = netplan {
            planned.entry(link).or_default().push(line);
        } else if let Some(property) = manager {
            outcome.notes.push(format!(
                "{setting} belongs to NetworkManager here: nmcli con mod CONNECTION-OF-{link} \
                 {property}"
            ));
        } else if owners.udev && !own.is_empty() {
            links.entry(link).or_default().extend(own);
        } else {
            outcome.notes.push(format!(
                "{setting} is not kept over a reboot: no owner for it on this host"
            ));
        }
    }
    for (link, mut lines) in links {
        lines.dedup();
        wanted.insert(
            format!("{FOLDER}/{PREFIX}{link}.link"),
            link_file(root, link, &lines),
        );
    }
    if !planned.is_empty() {
        let mut text = format!("{HEADER}\nnetwork:\n  version: 2\n  ethernets:\n");
        for (link, mut lines) in planned {
            lines.dedup();
            text.push_str(&format!("    {link}:\n"));
            for line in lines {
                text.push_str(&format!("      {line}\n"));
            }
        }
        wanted.insert(NETPLAN_FILE.to_owned(), text);
    }
}

fn link_file(root: &Root, link: &str, lines: &[String]) -> String {
    let address = root.line(&format!("sys/class/net/{link}/address"));
    let matching = match address {
        Ok(address) if !address.is_empty() => format!("MACAddress={address}"),
        Ok(_) | Err(_) => format!("OriginalName={link}"),
    };
    let key = |line: &str| line.split('=').next().unwrap_or(line).trim().to_owned();
    let replaced: Vec<String> = lines.iter().map(|line| key(line)).collect();
    let inherited: Vec<String> = inherited(root, link)
        .into_iter()
        .filter(|line| !replaced.contains(&key(line)))
        .collect();
    format!(
        "{HEADER}\n[Match]\n{matching}\n\n[Link]\n{}\n{OURS_BELOW}\n{}\n",
        inherited.join("\n"),
        lines.join("\n")
    )
}

/// The `[Link]` lines of the file that applies to the link now, which udev remembers.
fn inherited(root: &Root, link: &str) -> Vec<String> {
    let known = || -> Option<Vec<String>> {
        let index = root.line(&format!("sys/class/net/{link}/ifindex")).ok()?;
        let remembered = root.text(&format!("run/udev/data/n{index}")).ok()?;
        let file = remembered
            .lines()
            .find_map(|line| line.strip_prefix("E:ID_NET_LINK_FILE="))?;
        let text = root.text(file).ok()?;
        let section = text.split("[Link]").nth(1)?;
        let lines = section.lines().map(str::trim);
        let own = lines.take_while(|line| !line.starts_with('[') && *line != OURS_BELOW);
        let settings = own.filter(|line| line.contains('=') && !line.starts_with(['#', ';']));
        Some(settings.map(str::to_owned).collect())
    };
    known().unwrap_or_else(|| DEFAULT_LINES.map(str::to_owned).to_vec())
}
