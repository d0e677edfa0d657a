//! Writes what was confirmed where it outlives a reboot, through the owner that this host uses.
//!
//! Invariant: every file here is ours alone, starts with [`HEADER`], and is made from all standing
//! snapshots, so that writing it twice gives the same file and reverting the last one removes it. A
//! file without that header is never touched. A setting goes to one owner only. Governed by
//! sysctl.d(5), systemd.link(5), tmpfiles.d(5), netplan(5) and tuned.conf(5).

mod link_file;

use std::collections::BTreeMap;
use std::fs;
use std::io;

use crate::change::Setting;
use crate::error::TuneError;
use crate::facts::Owners;
use crate::root::Root;
use crate::snapshot::Snapshot;

/// First line of every file that this tool owns.
pub const HEADER: &str = "# written by towline tune; towline tune revert takes it back";

const SYSCTL_FILE: &str = "etc/sysctl.d/90-towline.conf";
const TUNED_FILE: &str = "etc/tuned/towline/tuned.conf";
const TMPFILES_FILE: &str = "etc/tmpfiles.d/90-towline.conf";

/// What was kept where, and what could not be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Files that hold values now.
    pub files: Vec<String>,
    /// What is not kept over a reboot, or what a person still has to do.
    pub notes: Vec<String>,
}

type Values = BTreeMap<Setting, String>;

/// The owners of this host's configuration.
#[must_use]
pub fn owners(root: &Root) -> Owners {
    crate::read::owners(root)
}

/// Writes all files from the snapshots that stay, and removes those that are no longer needed.
///
/// # Errors
/// When a file cannot be written, or somebody else's file is in the place of ours.
pub fn write(root: &Root, snapshots: &[Snapshot], owners: &Owners) -> Result<Outcome, TuneError> {
    let mut values = Values::new();
    for item in snapshots.iter().flat_map(|snapshot| &snapshot.items) {
        values.insert(item.setting.clone(), item.after.clone());
    }
    let mut outcome = Outcome::default();
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    sysctls(&values, owners, &mut wanted, &mut outcome);
    files(root, &values, &mut wanted, &mut outcome);
    link_file::add(root, &values, owners, &mut wanted, &mut outcome);
    let known = [SYSCTL_FILE, TUNED_FILE, TMPFILES_FILE].map(str::to_owned);
    for path in known.into_iter().chain(link_file::ours(root)) {
        if !wanted.contains_key(&path) {
            remove(root, &path)?;
        }
    }
    for (path, text) in wanted {
        put(root, &path, &text)?;
        outcome.files.push(format!("/{path}"));
    }
    Ok(outcome)
}

fn failed(path: &str, error: io::Error) -> TuneError {
    TuneError::system(format!("/{path}"), error)
}

fn is_ours(root: &Root, path: &str) -> bool {
    root.text(path).is_ok_and(|text| text.starts_with(HEADER))
}

fn put(root: &Root, path: &str, text: &str) -> Result<(), TuneError> {
    let place = root.path(path);
    if place.exists() && !is_ours(root, path) {
        let error = io::Error::other("is somebody else's file: move it away first");
        return Err(failed(path, error));
    }
    let folder = place.parent().unwrap_or(&place);
    let temporary = place.with_extension("towline-new");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&temporary, text))
        .and_then(|()| fs::File::open(&temporary)?.sync_all())
        .and_then(|()| fs::rename(&temporary, &place))
        .and_then(|()| fs::File::open(folder)?.sync_all())
        .map_err(|error| failed(path, error))
}

fn remove(root: &Root, path: &str) -> Result<(), TuneError> {
    if !is_ours(root, path) {
        return Ok(());
    }
    fs::remove_file(root.path(path)).map_err(|error| failed(path, error))
}

fn sysctls(
    values: &Values,
    owners: &Owners,
    wanted: &mut BTreeMap<String, String>,
    outcome: &mut Outcome,
) {
    let lines: Vec<String> = values
        .iter()
        .filter_map(|(setting, value)| match setting {
            Setting::Sysctl { key } => Some((key, value)),
            _ => None,
        })
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    if lines.is_empty() {
        return;
    }
    let lines = lines.concat();
    let running = owners.tuned_profile.as_deref();
    let Some(profile) = running else {
        wanted.insert(SYSCTL_FILE.to_owned(), format!("{HEADER}\n{lines}"));
        return;
    };
    let parent = if profile == "towline" {
        "balanced"
    } else {
        profile
    };
    wanted.insert(
        TUNED_FILE.to_owned(),
        format!("{HEADER}\n[main]\ninclude={parent}\n\n[sysctl]\n{lines}"),
    );
    if profile != "towline" {
        let note = "tuned owns the sysctls here: activate the child profile with `tuned-adm \
                    profile towline`";
        outcome.notes.push(note.to_owned());
    }
}

fn files(
    root: &Root,
    values: &Values,
    wanted: &mut BTreeMap<String, String>,
    outcome: &mut Outcome,
) {
    let systemd = root.has("run/systemd/system");
    let mut lines = String::new();
    for (setting, value) in values {
        let Setting::File { path } = setting else {
            continue;
        };
        // Interrupt numbers and mounts get other names at the next boot.
        let moves = path.starts_with("proc/irq/") || path.starts_with("sys/class/bdi/");
        if systemd && !moves {
            lines.push_str(&format!("w /{path} - - - - {value}\n"));
        } else if moves {
            let note = format!("/{path} is not kept: its name changes with every boot or mount");
            outcome.notes.push(note);
        } else {
            let note = format!("/{path} is not kept: without systemd nobody owns it here");
            outcome.notes.push(note);
        }
    }
    if !lines.is_empty() {
        wanted.insert(TMPFILES_FILE.to_owned(), format!("{HEADER}\n{lines}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Item;

    fn snapshot(items: &[(Setting, &str)]) -> Snapshot {
        Snapshot {
            format: 1,
            name: "1".into(),
            taken_at_s: 0,
            boot: String::new(),
            namespace: String::new(),
            persist: true,
            confirm_until_s: None,
            items: items
                .iter()
                .map(|(setting, after)| Item {
                    id: "x".into(),
                    setting: setting.clone(),
                    before: String::new(),
                    after: (*after).into(),
                })
                .collect(),
        }
    }

    fn sysctl(key: &str) -> Setting {
        Setting::Sysctl { key: key.into() }
    }

    fn mtu(link: &str) -> Setting {
        Setting::Mtu { link: link.into() }
    }

    #[test]
    fn a_file_appears_with_the_first_value_and_goes_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let one = snapshot(&[(sysctl("net.core.somaxconn"), "4096")]);
        let outcome = write(&root, &[one], &Owners::default()).unwrap();
        assert_eq!(outcome.files, ["/etc/sysctl.d/90-towline.conf"]);
        let text = root.text(SYSCTL_FILE).unwrap();
        assert_eq!(text, format!("{HEADER}\nnet.core.somaxconn = 4096\n"));
        write(&root, &[], &Owners::default()).unwrap();
        assert!(!root.has(SYSCTL_FILE));
    }

    #[test]
    fn somebody_elses_file_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        fs::create_dir_all(root.path("etc/sysctl.d")).unwrap();
        fs::write(root.path(SYSCTL_FILE), "net.core.somaxconn = 1\n").unwrap();
        let one = snapshot(&[(sysctl("net.core.somaxconn"), "4096")]);
        assert!(write(&root, &[one], &Owners::default()).is_err());
        write(&root, &[], &Owners::default()).unwrap();
        assert_eq!(root.text(SYSCTL_FILE).unwrap(), "net.core.somaxconn = 1\n");
    }

    #[test]
    fn sysctls_go_to_tuned_where_it_runs_and_to_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let owners = Owners {
            tuned_profile: Some("throughput-performance".into()),
            ..Owners::default()
        };
        let one = snapshot(&[(sysctl("net.core.somaxconn"), "4096")]);
        let outcome = write(&root, &[one], &owners).unwrap();
        assert_eq!(outcome.files, ["/etc/tuned/towline/tuned.conf"]);
        assert!(
            root.text(TUNED_FILE)
                .unwrap()
                .contains("include=throughput-performance")
        );
        assert!(outcome.notes[0].contains("tuned-adm profile towline"));
    }

    #[test]
    fn a_link_gets_a_file_of_its_own_that_keeps_the_naming_policy() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let owners = Owners {
            udev: true,
            ..Owners::default()
        };
        fs::create_dir_all(root.path("sys/class/net/eth5")).unwrap();
        fs::write(
            root.path("sys/class/net/eth5/address"),
            "02:00:00:00:00:05\n",
        )
        .unwrap();
        let gro = Setting::Feature {
            link: "eth5".into(),
            feature: "rx-gro".into(),
        };
        let one = snapshot(&[(mtu("eth5"), "9000"), (gro, "on")]);
        let outcome = write(&root, &[one], &owners).unwrap();
        assert_eq!(outcome.files, ["/etc/systemd/network/05-towline-eth5.link"]);
        let text = root
            .text("etc/systemd/network/05-towline-eth5.link")
            .unwrap();
        for line in [
            "MACAddress=02:00:00:00:00:05",
            "NamePolicy=keep kernel database onboard slot path",
            "MTUBytes=9000",
            "GenericReceiveOffload=yes",
        ] {
            assert!(text.contains(line), "{text}");
        }
        write(&root, &[], &owners).unwrap();
        assert!(!root.has("etc/systemd/network/05-towline-eth5.link"));
    }

    #[test]
    fn the_lines_of_the_file_that_applied_before_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let owners = Owners {
            udev: true,
            ..Owners::default()
        };
        for (path, text) in [
            ("sys/class/net/eth5/ifindex", "7\n"),
            (
                "run/udev/data/n7",
                "E:ID_NET_LINK_FILE=/etc/systemd/network/20-nic.link\n",
            ),
            (
                "etc/systemd/network/20-nic.link",
                "[Match]\nDriver=ixgbe\n[Link]\nName=storage0\nMTUBytes=1500\n",
            ),
        ] {
            fs::create_dir_all(root.path(path).parent().unwrap()).unwrap();
            fs::write(root.path(path), text).unwrap();
        }
        let one = snapshot(&[(mtu("eth5"), "9000")]);
        for _ in 0..2 {
            write(&root, std::slice::from_ref(&one), &owners).unwrap();
            let text = root
                .text("etc/systemd/network/05-towline-eth5.link")
                .unwrap();
            assert!(
                text.contains("Name=storage0\n") && text.contains("MTUBytes=9000\n"),
                "{text}"
            );
            assert!(!text.contains("MTUBytes=1500"), "{text}");
            // From the next boot on, udev names our own file.
            let ours = "E:ID_NET_LINK_FILE=/etc/systemd/network/05-towline-eth5.link\n";
            fs::write(root.path("run/udev/data/n7"), ours).unwrap();
        }
    }

    #[test]
    fn netplan_gets_the_mtu_and_the_link_file_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let owners = Owners {
            udev: true,
            netplan: true,
            ..Owners::default()
        };
        let rings = Setting::Rings {
            link: "eth5".into(),
        };
        let one = snapshot(&[(mtu("eth5"), "9000"), (rings, "4096 4096")]);
        write(&root, &[one], &owners).unwrap();
        let plan = root.text("etc/netplan/90-towline.yaml").unwrap();
        assert!(plan.contains("    eth5:\n      mtu: 9000\n"), "{plan}");
        let link = root
            .text("etc/systemd/network/05-towline-eth5.link")
            .unwrap();
        assert!(
            link.contains("RxBufferSize=4096") && !link.contains("MTUBytes"),
            "{link}"
        );
    }

    #[test]
    fn what_has_no_owner_is_said_not_to_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let one = snapshot(&[(mtu("eth5"), "9000")]);
        let outcome = write(&root, &[one], &Owners::default()).unwrap();
        assert!(outcome.files.is_empty());
        assert!(
            outcome.notes[0].contains("eth5 mtu is not kept"),
            "{:?}",
            outcome.notes
        );
    }
}
