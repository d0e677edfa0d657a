//! Settings of a link that nobody else owns: systemd .link files of our own.
//!
//! Only the first .link file that matches a device applies, so a file of ours hides the one that
//! applied before, often `99-default.link`: it repeats that file's lines, or the interface could
//! get another name at the next boot (systemd.link(5)).

use std::collections::BTreeMap;

use super::{HEADER, Keeping, file};
use crate::change::Setting;
use crate::error::TuneError;
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

/// The files of this kind that lie there.
fn ours(root: &Root) -> Vec<String> {
    let names = root.names(FOLDER).into_iter();
    names
        .filter(|name| name.starts_with(PREFIX))
        .map(|name| format!("{FOLDER}/{name}"))
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

/// Takes over the settings that systemd.link(5) has a key for, and removes files without any.
pub(super) fn keep(keeping: &mut Keeping<'_>) -> Result<(), TuneError> {
    let root = keeping.place.root;
    let mut links: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if keeping.owners.udev {
        for (setting, value) in
            keeping.take_with(|setting, value| !lines(setting, value).is_empty())
        {
            let own = links.entry(setting.link().unwrap_or("").to_owned());
            own.or_default().extend(lines(&setting, &value));
        }
    }
    let wanted: BTreeMap<String, String> = links
        .into_iter()
        .map(|(link, mut lines)| {
            lines.dedup();
            let path = format!("{FOLDER}/{PREFIX}{link}.link");
            (path, link_file(root, &link, &lines))
        })
        .collect();
    for path in ours(root) {
        if !wanted.contains_key(&path) {
            file::remove(root, &path)?;
        }
    }
    for (path, text) in wanted {
        file::put(root, &path, &text, 0o644)?;
        keeping.outcome.places.push(format!("/{path}"));
    }
    Ok(())
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
