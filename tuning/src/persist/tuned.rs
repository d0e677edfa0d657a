//! tuned as the owner of sysctls and sysfs values: a child profile of the one that runs.
//!
//! Invariant: the profile that ran before is the `include` of ours, so it is known even after a
//! crash, and it is active again before ours is removed. Governed by tuned.conf(5), tuned-adm(8).

use super::{HEADER, Keeping, file};
use crate::change::Setting;
use crate::error::TuneError;
use crate::root::Root;

const FILE: &str = "etc/tuned/towline/tuned.conf";
const PROFILE: &str = "towline";

/// Takes over sysctls and sysfs values, or gives the profile back where there are none.
pub(super) fn keep(keeping: &mut Keeping<'_>) -> Result<(), TuneError> {
    let Some(active) = keeping.owners.tuned_profile.clone() else {
        file::remove(keeping.place.root, FILE)?;
        return Ok(());
    };
    let before = if active == PROFILE {
        parent(keeping.place.root)
    } else {
        // Several profiles at once are told with spaces, and included with commas.
        Some(active.split_whitespace().collect::<Vec<_>>().join(","))
    };
    let (mut sysctls, mut files) = (String::new(), String::new());
    for (setting, value) in keeping.take(|setting| match setting {
        Setting::Sysctl { .. } => true,
        Setting::File { path } => !super::moves(path),
        _ => false,
    }) {
        match setting {
            Setting::Sysctl { key } => sysctls.push_str(&format!("{key}={value}\n")),
            Setting::File { path } => files.push_str(&format!("/{path}={value}\n")),
            _ => {}
        }
    }
    let (Some(before), false) = (&before, sysctls.is_empty() && files.is_empty()) else {
        return give_back(keeping, &active, before.as_deref());
    };
    let mut text = format!(
        "{HEADER}\n[main]\nsummary=values of towline tune over {before}\ninclude={before}\n"
    );
    for (section, lines) in [("sysctl", sysctls), ("sysfs", files)] {
        if !lines.is_empty() {
            text.push_str(&format!("\n[{section}]\n{lines}"));
        }
    }
    let changed = file::put(keeping.place.root, FILE, &text, 0o644)?;
    if changed || active != PROFILE {
        let activated = keeping.place.tools.run("tuned-adm", &["profile", PROFILE]);
        if let Err(why) = activated {
            keeping
                .outcome
                .failures
                .push(format!("/{FILE} is written but not active: {why}"));
            return Ok(());
        }
    }
    keeping
        .outcome
        .places
        .push(format!("/{FILE}, tuned profile {PROFILE} over {before}"));
    Ok(())
}

fn give_back(
    keeping: &mut Keeping<'_>,
    active: &str,
    before: Option<&str>,
) -> Result<(), TuneError> {
    if !file::is_ours(keeping.place.root, FILE) {
        return Ok(());
    }
    if active == PROFILE {
        let mut arguments = vec!["profile"];
        arguments.extend(before.unwrap_or("balanced").split(','));
        if let Err(why) = keeping.place.tools.run("tuned-adm", &arguments) {
            let command = arguments.join(" ");
            keeping
                .outcome
                .failures
                .push(format!("tuned-adm {command} did not work: {why}"));
            return Ok(());
        }
    }
    file::remove(keeping.place.root, FILE)?;
    // Whoever put something else there keeps the folder.
    let _ = std::fs::remove_dir(keeping.place.root.path("etc/tuned/towline"));
    Ok(())
}

/// The profile that ran before ours.
fn parent(root: &Root) -> Option<String> {
    let text = root.text(FILE).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("include="))?;
    Some(line.to_owned())
}
