//! netplan as the owner of a link: a file of our own with the keys that it knows.
//!
//! Invariant: a link is netplan's only where netplan has generated configuration for it, which
//! also names its definition; an unknown definition would take the link from whoever has it now. A
//! file that `netplan generate` refuses does not stay. Governed by netplan(5), netplan-generate(8).

use std::collections::BTreeMap;

use super::{HEADER, Keeping, file};
use crate::change::Setting;
use crate::error::TuneError;
use crate::root::Root;

const FILE: &str = "etc/netplan/90-towline.yaml";
const NETWORKD: &str = "run/systemd/network";
const MANAGER: &str = "run/NetworkManager/system-connections";

/// Who carries out what netplan says for a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Renderer {
    Networkd,
    NetworkManager,
}

/// A link's definition in netplan's own words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Definition {
    section: &'static str,
    name: String,
    pub(super) renderer: Renderer,
}

/// netplan's definition of a link, from what it has generated for it.
pub(super) fn definition(root: &Root, link: &str) -> Option<Definition> {
    let address = root.line(&format!("sys/class/net/{link}/address"));
    let address = address.unwrap_or_default().to_ascii_lowercase();
    let names_link = |line: &str, keys: &[(&str, &str)]| {
        let line = line.trim();
        keys.iter().any(|(key, value)| {
            let given = line.strip_prefix(key);
            given.is_some_and(|given| !value.is_empty() && given.eq_ignore_ascii_case(value))
        })
    };
    let found = |folder: &str, prefix: &str, suffix: &str, keys: &[(&str, &str)]| {
        root.names(folder).into_iter().find_map(|name| {
            let id = name.strip_prefix(prefix)?.strip_suffix(suffix)?.to_owned();
            let text = root.text(&format!("{folder}/{name}")).ok()?;
            text.lines()
                .any(|line| names_link(line, keys))
                .then_some(id)
        })
    };
    let networkd = [
        ("Name=", link),
        ("MACAddress=", &address),
        ("PermanentMACAddress=", &address),
    ];
    let manager = [
        ("interface-name=", link),
        ("mac-address=", address.as_str()),
    ];
    let section = section(root, link);
    let of = |name: String, renderer| Definition {
        section,
        name,
        renderer,
    };
    found(NETWORKD, "10-netplan-", ".network", &networkd)
        .map(|name| of(name, Renderer::Networkd))
        .or_else(|| {
            found(MANAGER, "netplan-", ".nmconnection", &manager)
                .map(|name| of(name, Renderer::NetworkManager))
        })
}

fn section(root: &Root, link: &str) -> &'static str {
    if root.has(&format!("sys/class/net/{link}/bonding")) {
        "bonds"
    } else if root.has(&format!("sys/class/net/{link}/bridge")) {
        "bridges"
    } else if root.has(&format!("proc/net/vlan/{link}")) {
        "vlans"
    } else {
        "ethernets"
    }
}

/// The key for a setting; netplan knows MTU everywhere, and offloads only through networkd.
fn line(setting: &Setting, value: &str, renderer: Renderer) -> Option<String> {
    let on = value == "on";
    let key = match setting {
        Setting::Mtu { .. } => return Some(format!("mtu: {value}")),
        Setting::Feature { .. } if renderer == Renderer::NetworkManager => return None,
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

/// Takes over what netplan has a key for, or removes our file.
pub(super) fn keep(keeping: &mut Keeping<'_>) -> Result<(), TuneError> {
    let root = keeping.place.root;
    let mut planned: BTreeMap<&'static str, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    if keeping.owners.netplan {
        let known = |setting: &Setting, value: &str| {
            let definition = definition(root, setting.link()?)?;
            let line = line(setting, value, definition.renderer)?;
            Some((definition, line))
        };
        for (setting, value) in keeping.take_with(|setting, value| known(setting, value).is_some())
        {
            if let Some((definition, line)) = known(&setting, &value) {
                let links = planned.entry(definition.section).or_default();
                let lines = links.entry(definition.name).or_default();
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
    }
    if planned.is_empty() {
        if file::remove(root, FILE)? {
            generate(keeping).unwrap_or_else(|why| keeping.outcome.failures.push(why));
        }
        return Ok(());
    }
    let before = root.text(FILE).ok();
    if file::put(root, FILE, &text(&planned), 0o600)?
        && let Err(why) = generate(keeping)
    {
        match before {
            Some(before) => drop(file::put(root, FILE, &before, 0o600)?),
            None => drop(file::remove(root, FILE)?),
        }
        keeping
            .outcome
            .failures
            .push(format!("/{FILE} was refused and is as before: {why}"));
        return Ok(());
    }
    keeping.outcome.places.push(format!("/{FILE}"));
    Ok(())
}

fn text(planned: &BTreeMap<&'static str, BTreeMap<String, Vec<String>>>) -> String {
    let mut text = format!("{HEADER}\nnetwork:\n  version: 2\n");
    for (section, links) in planned {
        text.push_str(&format!("  {section}:\n"));
        for (name, lines) in links {
            // A definition's name may look like a number or hold a dot.
            text.push_str(&format!("    \"{name}\":\n"));
            for line in lines {
                text.push_str(&format!("      {line}\n"));
            }
        }
    }
    text
}

/// Has netplan read all its files again. The values are in force already, so nothing is applied.
fn generate(keeping: &Keeping<'_>) -> Result<(), String> {
    let root = keeping.place.root;
    let folder = root.path("").display().to_string();
    let elsewhere = ["generate", "--root-dir", &folder];
    let arguments = if root.is_live() {
        &elsewhere[..1]
    } else {
        &elsewhere[..]
    };
    keeping.place.tools.run("netplan", arguments).map(drop)
}
