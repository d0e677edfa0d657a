//! Writes what was confirmed where it outlives a reboot, through the owner that this host uses.
//!
//! The owners are asked in turn, and each takes the settings that are its own: tuned, netplan,
//! NetworkManager, then files of sysctl.d, tmpfiles.d and systemd .link. Invariant: a setting goes
//! to one owner only; every file here is ours alone, starts with [`HEADER`], and is made from all
//! standing snapshots, so that writing twice gives the same, and reverting the last one removes it;
//! somebody else's file is never touched. Governed by sysctl.d(5), systemd.link(5), tmpfiles.d(5),
//! netplan(5), nmcli(1) and tuned.conf(5).

mod file;
mod link_file;
mod netplan;
mod network_manager;
mod tools;
mod tuned;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::change::Setting;
use crate::error::TuneError;
use crate::facts::Owners;
use crate::root::Root;
use crate::snapshot::Snapshot;

pub use tools::{Installed, Tools};

/// First line of every file that this tool owns.
pub const HEADER: &str = "# written by towline tune; towline tune revert takes it back";

const SYSCTL_FILE: &str = "etc/sysctl.d/90-towline.conf";
const TMPFILES_FILE: &str = "etc/tmpfiles.d/90-towline.conf";

/// A host's files and programs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its files.
    pub root: &'a Root,
    /// Its programs.
    pub tools: &'a dyn Tools,
}

impl<'a> Place<'a> {
    /// The running host, or another root with this host's programs.
    #[must_use]
    pub fn at(root: &'a Root) -> Self {
        Self {
            root,
            tools: &Installed,
        }
    }
}

/// What was kept where, and what could not be.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Outcome {
    /// Files and profiles that hold values now.
    pub places: Vec<String>,
    /// What is not kept over a reboot, or what a person still has to do.
    pub notes: Vec<String>,
    /// What an owner refused, so that it is to be tried again.
    pub failures: Vec<String>,
}

type Values = BTreeMap<Setting, String>;

/// One round of writing: the settings that no owner has taken yet.
#[derive(Debug)]
struct Keeping<'a> {
    place: Place<'a>,
    owners: &'a Owners,
    /// Where former values lie: the folder of the snapshots.
    folder: &'a Path,
    left: Values,
    outcome: Outcome,
}

impl Keeping<'_> {
    fn take_with(&mut self, owned: impl Fn(&Setting, &str) -> bool) -> Values {
        let all = std::mem::take(&mut self.left);
        let (taken, left) = all
            .into_iter()
            .partition(|(setting, value)| owned(setting, value));
        self.left = left;
        taken
    }

    fn take(&mut self, owned: impl Fn(&Setting) -> bool) -> Values {
        self.take_with(|setting, _| owned(setting))
    }

    fn links(&self) -> BTreeSet<String> {
        let links = self.left.keys().filter_map(Setting::link);
        links.map(str::to_owned).collect()
    }
}

/// The owners of this host's configuration.
#[must_use]
pub fn owners(root: &Root) -> Owners {
    crate::read::owners(root)
}

/// Writes all places from the snapshots that stay, and clears those that are no longer needed.
/// `folder` holds the snapshots.
///
/// # Errors
/// When a file cannot be written, or somebody else's file is in the place of ours. What a program
/// refused is in [`Outcome::failures`].
pub fn write(
    place: Place<'_>,
    folder: &Path,
    snapshots: &[Snapshot],
    owners: &Owners,
) -> Result<Outcome, TuneError> {
    let items = snapshots.iter().flat_map(|snapshot| &snapshot.items);
    let mut keeping = Keeping {
        place,
        owners,
        folder,
        left: items
            .map(|item| (item.setting.clone(), item.after.clone()))
            .collect(),
        outcome: Outcome::default(),
    };
    tuned::keep(&mut keeping)?;
    netplan::keep(&mut keeping)?;
    network_manager::keep(&mut keeping)?;
    sysctls(&mut keeping)?;
    files(&mut keeping)?;
    link_file::keep(&mut keeping)?;
    for setting in keeping.left.keys() {
        let why = match setting {
            Setting::File { path } if moves(path) => "its name changes with every boot or mount",
            _ => "no owner for it on this host",
        };
        let note = format!("{setting} is not kept over a reboot: {why}");
        keeping.outcome.notes.push(note);
    }
    Ok(keeping.outcome)
}

/// Whether a file has another name after the next boot or mount.
fn moves(path: &str) -> bool {
    path.starts_with("proc/irq/") || path.starts_with("sys/class/bdi/")
}

/// Writes one file of lines, or removes it where there are none.
fn lines(keeping: &mut Keeping<'_>, path: &str, lines: &str) -> Result<(), TuneError> {
    if lines.is_empty() {
        file::remove(keeping.place.root, path)?;
        return Ok(());
    }
    file::put(
        keeping.place.root,
        path,
        &format!("{HEADER}\n{lines}"),
        0o644,
    )?;
    keeping.outcome.places.push(format!("/{path}"));
    Ok(())
}

fn sysctls(keeping: &mut Keeping<'_>) -> Result<(), TuneError> {
    let taken = keeping.take(|setting| matches!(setting, Setting::Sysctl { .. }));
    let (mut text, mut written) = (String::new(), Vec::new());
    for (setting, value) in taken {
        if let Setting::Sysctl { key } = setting {
            text.push_str(&format!("{key} = {value}\n"));
            written.push((key, value));
        }
    }
    lines(keeping, SYSCTL_FILE, &text)?;
    let own = format!("/{SYSCTL_FILE}");
    // In the order in which they are read at boot (sysctl.d(5)): the last line for a key wins.
    let configured = crate::read::configured_sysctls(keeping.place.root);
    for (key, value) in written {
        let last = configured.iter().rfind(|line| line.key == key);
        if let Some(line) = last.filter(|line| line.file != own && !same(&line.value, &value)) {
            keeping.outcome.failures.push(format!(
                "{} is read after {own} and sets {key} = {} again at the next boot: remove that \
                 line, or write {value} there",
                line.file, line.value
            ));
        }
    }
    Ok(())
}

/// Whether two values are the same to the kernel, which takes any white space between numbers.
fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

fn files(keeping: &mut Keeping<'_>) -> Result<(), TuneError> {
    let systemd = keeping.place.root.has("run/systemd/system");
    let taken = keeping.take(|setting| match setting {
        Setting::File { path } => systemd && !moves(path),
        _ => false,
    });
    let mut text = String::new();
    for (setting, value) in taken {
        if let Setting::File { path } = setting {
            text.push_str(&format!("w /{path} - - - - {value}\n"));
        }
    }
    lines(keeping, TMPFILES_FILE, &text)
}

#[cfg(test)]
mod tests;
