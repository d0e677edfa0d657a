//! NetworkManager as the owner of a link: properties of the profile that is active on it.
//!
//! Invariant: what a property held before is on the disk before it is changed, and is put back as
//! soon as no snapshot stands that wants another; a link without an active profile is not
//! NetworkManager's. Governed by nmcli(1), nm-settings-nmcli(5). Values are in force already, so a
//! profile is applied again only where it had asked for something else.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::netplan::{self, Renderer};
use super::{Keeping, file};
use crate::change::Setting;
use crate::error::TuneError;

/// Where the former values lie, in the folder of the snapshots.
const LEDGER: &str = "network-manager.former";

/// Former values of one profile.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
struct Former {
    link: String,
    values: BTreeMap<String, String>,
}

/// Former values by the profile's UUID.
type Ledger = BTreeMap<String, Former>;

/// The properties for a setting; the last ones are known to newer versions only.
fn properties(setting: &Setting, value: &str) -> Vec<(String, String)> {
    let (first, second) = value.split_once(' ').unwrap_or((value, value));
    let number = |value: &str| if value == "on" { "1" } else { "0" }.to_owned();
    let one = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    match setting {
        Setting::Mtu { .. } => vec![one("802-3-ethernet.mtu", value)],
        Setting::Rings { .. } => vec![
            one("ethtool.ring-rx", first),
            one("ethtool.ring-tx", second),
        ],
        Setting::AdaptiveReceive { .. } => {
            vec![("ethtool.coalesce-adaptive-rx".to_owned(), number(value))]
        }
        Setting::Pause { .. } => vec![
            one("ethtool.pause-rx", first),
            one("ethtool.pause-tx", second),
        ],
        Setting::Feature { feature, .. } => {
            let name = match feature.as_str() {
                "rx-gro" => "gro",
                "rx-lro" => "lro",
                "rx-checksum" => "rx",
                "tx-generic-segmentation" => "gso",
                other => other,
            };
            vec![one(&format!("ethtool.feature-{name}"), value)]
        }
        Setting::Channels { .. } => vec![one("ethtool.channels-combined", value)],
        Setting::Eee { .. } => vec![one("ethtool.eee-enabled", value)],
        Setting::TransmitQueue { .. } => vec![one("link.tx-queue-length", value)],
        Setting::LinkUp { .. } | Setting::Sysctl { .. } | Setting::File { .. } => Vec::new(),
    }
}

/// What a profile is to hold.
struct Wanted {
    link: String,
    values: BTreeMap<String, String>,
}

/// Takes over the settings of links with an active profile, and puts back what nobody wants.
pub(super) fn keep(keeping: &mut Keeping<'_>) -> Result<(), TuneError> {
    let path = keeping.folder.join(LEDGER);
    let mut ledger = read(&path)?;
    if !keeping.owners.network_manager && ledger.is_empty() {
        return Ok(());
    }
    let wanted = wanted(keeping);
    for (profile, former) in &mut ledger {
        let still = wanted.get(profile);
        former.values.retain(|property, value| {
            let stays = still.is_some_and(|wanted| wanted.values.contains_key(property));
            stays || !keeping.put_back(profile, property, value)
        });
    }
    for (profile, wanted) in &wanted {
        record(keeping, &mut ledger, profile, wanted);
    }
    ledger.retain(|_, former| !former.values.is_empty());
    write(&path, &ledger)?;
    for (profile, wanted) in &wanted {
        let Some(former) = ledger.get(profile) else {
            continue;
        };
        set(keeping, profile, wanted, former);
    }
    Ok(())
}

/// The properties of each profile that owns a link in question.
fn wanted(keeping: &mut Keeping<'_>) -> BTreeMap<String, Wanted> {
    let mut profiles: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    if !keeping.owners.network_manager {
        return wanted;
    }
    let (root, tools) = (keeping.place.root, keeping.place.tools);
    for link in keeping.links() {
        let from_netplan = netplan::definition(root, &link)
            .is_some_and(|it| it.renderer == Renderer::NetworkManager);
        let active = ["-g", "GENERAL.CON-UUID", "device", "show", &link];
        let profile = tools
            .run("nmcli", &active)
            .map(|text| text.trim().to_owned());
        match profile {
            Ok(profile) if !profile.is_empty() && !from_netplan => {
                profiles.insert(link, Some(profile));
            }
            // The profile is made anew from netplan's files at every boot.
            Ok(profile) if !profile.is_empty() => drop(profiles.insert(link, None)),
            Ok(_) => {}
            // Its folder in /run outlives it.
            Err(why) if why.contains("NetworkManager is not running") => {}
            Err(why) => keeping.outcome.failures.push(why),
        }
    }
    let owned = |setting: &Setting| {
        let link = setting.link().unwrap_or("");
        profiles.contains_key(link) && !matches!(setting, Setting::LinkUp { .. })
    };
    for (setting, value) in keeping.take(owned) {
        let link = setting.link().unwrap_or("").to_owned();
        let Some(Some(profile)) = profiles.get(&link) else {
            keeping.outcome.notes.push(format!(
                "{setting} is not kept: netplan makes NetworkManager's profile, and has no key \
                 for it"
            ));
            continue;
        };
        let entry = wanted.entry(profile.clone()).or_insert_with(|| Wanted {
            link,
            values: BTreeMap::new(),
        });
        entry.values.extend(properties(&setting, &value));
    }
    wanted
}

impl Keeping<'_> {
    /// Whether a property has its former value again.
    fn put_back(&mut self, profile: &str, property: &str, value: &str) -> bool {
        let set = ["connection", "modify", "uuid", profile, property, value];
        let Err(why) = self.place.tools.run("nmcli", &set) else {
            return true;
        };
        // A profile that somebody deleted holds nothing of ours.
        let there = [
            "-g",
            "connection.uuid",
            "connection",
            "show",
            "uuid",
            profile,
        ];
        if self.place.tools.run("nmcli", &there).is_err() && why.contains("unknown connection") {
            return true;
        }
        self.outcome.failures.push(format!(
            "profile {profile}: {property} is not put back: {why}"
        ));
        false
    }
}

/// Notes down what properties hold before they are changed for the first time.
fn record(keeping: &mut Keeping<'_>, ledger: &mut Ledger, profile: &str, wanted: &Wanted) {
    let former = ledger.entry(profile.to_owned()).or_default();
    former.link.clone_from(&wanted.link);
    for property in wanted.values.keys() {
        if former.values.contains_key(property) {
            continue;
        }
        let show = ["-g", property, "connection", "show", "uuid", profile];
        match keeping.place.tools.run("nmcli", &show) {
            Ok(now) => {
                let now = now.trim().to_owned();
                former.values.insert(property.clone(), now);
            }
            // Most often a version that does not know the property.
            Err(why) => {
                let link = &wanted.link;
                let note = format!("{link}: {property} is not kept: {why}");
                keeping.outcome.notes.push(note);
            }
        }
    }
}

fn set(keeping: &mut Keeping<'_>, profile: &str, wanted: &Wanted, former: &Former) {
    let mut kept = Vec::new();
    let mut contested = false;
    for (property, value) in &wanted.values {
        let Some(before) = former.values.get(property) else {
            continue;
        };
        let set = ["connection", "modify", "uuid", profile, property, value];
        match keeping.place.tools.run("nmcli", &set) {
            Ok(_) => {
                contested |= before != value && !matches!(before.as_str(), "" | "auto" | "0");
                kept.push(format!("{property} {value}"));
            }
            Err(why) => {
                let failure = format!("profile {profile}: {property} is not kept: {why}");
                keeping.outcome.failures.push(failure);
            }
        }
    }
    if kept.is_empty() {
        return;
    }
    let (link, kept) = (&wanted.link, kept.join(", "));
    let place = format!("NetworkManager's profile {profile} of {link}: {kept}");
    keeping.outcome.places.push(place);
    // A profile that asked for something else would bring it back with the next lease.
    if contested
        && let Err(why) = keeping
            .place
            .tools
            .run("nmcli", &["device", "reapply", link])
    {
        keeping.outcome.notes.push(format!(
            "{link} is to be activated again when it suits, `nmcli connection up {profile}`: {why}"
        ));
    }
}

fn read(path: &Path) -> Result<Ledger, TuneError> {
    let failed = |error| TuneError::system(path.display().to_string(), error);
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ledger::new()),
        Err(error) => Err(failed(error)),
    }
}

fn write(path: &Path, ledger: &Ledger) -> Result<(), TuneError> {
    let failed = |error| TuneError::system(path.display().to_string(), error);
    if ledger.is_empty() && !path.exists() {
        return Ok(());
    }
    let text = serde_json::to_vec_pretty(ledger).map_err(|error| failed(error.into()))?;
    file::durably(path, &text, 0o600).map_err(failed)
}
