//! Every owner on a folder in the place of the root, with a record in the place of its programs.
//!
//! What the real programs say to the same files and commands is asked in the tests of the command
//! line; here every refusal can be had.

use std::cell::RefCell;
use std::fs;

use super::*;
use crate::snapshot::Item;

/// A host: its files, its programs, and a folder for snapshots.
#[derive(Debug)]
struct Host {
    folder: tempfile::TempDir,
    root: Root,
    tools: Record,
}

/// Programs that note what they are asked, and play a NetworkManager with one profile on eth5.
#[derive(Debug, Default)]
struct Record {
    asked: RefCell<Vec<String>>,
    properties: RefCell<BTreeMap<String, String>>,
    refused: RefCell<Vec<&'static str>>,
}

impl Tools for Record {
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let line = format!("{program} {}", arguments.join(" "));
        self.asked.borrow_mut().push(line.clone());
        if self.refused.borrow().iter().any(|word| line.contains(word)) {
            return Err(format!("{program}: refused"));
        }
        match *arguments {
            ["-g", "GENERAL.CON-UUID", "device", "show", "eth5"] => Ok("u-1\n".to_owned()),
            ["-g", property, "connection", "show", "uuid", "u-1"] => {
                let all = self.properties.borrow();
                Ok(format!(
                    "{}\n",
                    all.get(property).map_or("", String::as_str)
                ))
            }
            ["connection", "modify", "uuid", "u-1", property, value] => {
                let mut all = self.properties.borrow_mut();
                all.insert(property.to_owned(), value.to_owned());
                Ok(String::new())
            }
            _ => Ok(String::new()),
        }
    }
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path().join("root"));
        Self {
            root,
            folder,
            tools: Record::default(),
        }
    }

    fn with(self, path: &str, text: &str) -> Self {
        let place = self.root.path(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
        self
    }

    fn write(&self, snapshots: &[Snapshot], owners: &Owners) -> Outcome {
        let place = Place {
            root: &self.root,
            tools: &self.tools,
        };
        write(place, self.folder.path(), snapshots, owners).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.tools.asked.take()
    }
}

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

fn gro(link: &str) -> Setting {
    Setting::Feature {
        link: link.into(),
        feature: "rx-gro".into(),
    }
}

fn udev() -> Owners {
    Owners {
        udev: true,
        ..Owners::default()
    }
}

#[test]
fn a_file_appears_with_the_first_value_and_goes_with_the_last() {
    let host = Host::new();
    let one = snapshot(&[(sysctl("net.core.somaxconn"), "4096")]);
    let outcome = host.write(&[one], &Owners::default());
    assert_eq!(outcome.places, ["/etc/sysctl.d/90-towline.conf"]);
    let text = host.root.text(SYSCTL_FILE).unwrap();
    assert_eq!(text, format!("{HEADER}\nnet.core.somaxconn = 4096\n"));
    host.write(&[], &Owners::default());
    assert!(!host.root.has(SYSCTL_FILE));
    assert!(host.asked().is_empty(), "nobody else was bothered");
}

#[test]
fn somebody_elses_file_is_never_touched() {
    let host = Host::new().with(SYSCTL_FILE, "net.core.somaxconn = 1\n");
    let one = snapshot(&[(sysctl("net.core.somaxconn"), "4096")]);
    let place = Place {
        root: &host.root,
        tools: &host.tools,
    };
    let refused = write(place, host.folder.path(), &[one], &Owners::default()).unwrap_err();
    assert!(refused.to_string().contains("somebody else's file"));
    host.write(&[], &Owners::default());
    assert_eq!(
        host.root.text(SYSCTL_FILE).unwrap(),
        "net.core.somaxconn = 1\n"
    );
}

#[test]
fn tuned_gets_a_child_profile_and_its_own_one_back() {
    let host = Host::new();
    let running = |profile: &str| Owners {
        tuned_profile: Some(profile.into()),
        ..Owners::default()
    };
    let file = "etc/tuned/towline/tuned.conf";
    let readahead = Setting::File {
        path: "sys/block/sda/queue/read_ahead_kb".into(),
    };
    let one = snapshot(&[(sysctl("net.core.somaxconn"), "4096"), (readahead, "4096")]);
    let outcome = host.write(
        std::slice::from_ref(&one),
        &running("network-throughput virtual-guest"),
    );
    assert!(outcome.places[0].starts_with("/etc/tuned/towline/tuned.conf"));
    let text = host.root.text(file).unwrap();
    for line in [
        "include=network-throughput,virtual-guest",
        "net.core.somaxconn=4096",
        "/sys/block/sda/queue/read_ahead_kb=4096",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!host.root.has(SYSCTL_FILE) && !host.root.has(TMPFILES_FILE));
    assert_eq!(host.asked(), ["tuned-adm profile towline"]);
    // Once more: ours runs, and nothing has changed.
    host.write(std::slice::from_ref(&one), &running("towline"));
    assert_eq!(host.root.text(file).unwrap(), text);
    assert!(host.asked().is_empty());
    host.write(&[], &running("towline"));
    assert_eq!(
        host.asked(),
        ["tuned-adm profile network-throughput virtual-guest"]
    );
    assert!(!host.root.has("etc/tuned/towline"));
}

#[test]
fn a_profile_that_cannot_be_given_back_stays_and_is_told() {
    let host = Host::new();
    let running = |profile: &str| Owners {
        tuned_profile: Some(profile.into()),
        ..Owners::default()
    };
    let one = snapshot(&[(sysctl("net.core.somaxconn"), "4096")]);
    host.write(&[one], &running("balanced"));
    host.tools.refused.borrow_mut().push("tuned-adm");
    let outcome = host.write(&[], &running("towline"));
    assert!(outcome.failures[0].contains("tuned-adm profile balanced did not work"));
    assert!(host.root.has("etc/tuned/towline/tuned.conf"));
    host.tools.refused.borrow_mut().clear();
    assert!(host.write(&[], &running("towline")).failures.is_empty());
    assert!(!host.root.has("etc/tuned/towline"));
}

#[test]
fn a_link_gets_a_file_of_its_own_that_keeps_the_naming_policy() {
    let host = Host::new().with("sys/class/net/eth5/address", "02:00:00:00:00:05\n");
    let one = snapshot(&[(mtu("eth5"), "9000"), (gro("eth5"), "on")]);
    let outcome = host.write(&[one], &udev());
    let file = "etc/systemd/network/05-towline-eth5.link";
    assert_eq!(outcome.places, [format!("/{file}")]);
    let text = host.root.text(file).unwrap();
    for line in [
        "MACAddress=02:00:00:00:00:05",
        "NamePolicy=keep kernel database onboard slot path",
        "MTUBytes=9000",
        "GenericReceiveOffload=yes",
    ] {
        assert!(text.contains(line), "{text}");
    }
    host.write(&[], &udev());
    assert!(!host.root.has(file));
}

#[test]
fn the_lines_of_the_file_that_applied_before_are_kept() {
    let host = Host::new()
        .with("sys/class/net/eth5/ifindex", "7\n")
        .with(
            "run/udev/data/n7",
            "E:ID_NET_LINK_FILE=/etc/systemd/network/20-nic.link\n",
        )
        .with(
            "etc/systemd/network/20-nic.link",
            "[Match]\nDriver=ixgbe\n[Link]\nName=storage0\nMTUBytes=1500\n",
        );
    let one = snapshot(&[(mtu("eth5"), "9000")]);
    let file = "etc/systemd/network/05-towline-eth5.link";
    for _ in 0..2 {
        host.write(std::slice::from_ref(&one), &udev());
        let text = host.root.text(file).unwrap();
        assert!(
            text.contains("Name=storage0\n") && text.contains("MTUBytes=9000\n"),
            "{text}"
        );
        assert!(!text.contains("MTUBytes=1500"), "{text}");
        // From the next boot on, udev names our own file.
        let ours = format!("E:ID_NET_LINK_FILE=/{file}\n");
        fs::write(host.root.path("run/udev/data/n7"), ours).unwrap();
    }
}

/// What netplan leaves for a link that it defines.
fn planned(host: Host) -> Host {
    host.with(
        "run/systemd/network/10-netplan-port.network",
        "[Match]\nName=eth5\n\n[Network]\nLinkLocalAddressing=ipv6\n",
    )
}

fn with_netplan() -> Owners {
    Owners {
        netplan: true,
        ..udev()
    }
}

#[test]
fn netplan_gets_the_mtu_under_its_own_name_and_the_link_file_the_rest() {
    let host = planned(Host::new());
    let rings = Setting::Rings {
        link: "eth5".into(),
    };
    let one = snapshot(&[
        (mtu("eth5"), "9000"),
        (rings, "4096 4096"),
        (mtu("eth6"), "9000"),
    ]);
    host.write(&[one], &with_netplan());
    let plan = host.root.text("etc/netplan/90-towline.yaml").unwrap();
    assert!(
        plan.contains("  ethernets:\n    \"port\":\n      mtu: 9000\n"),
        "{plan}"
    );
    // A link that netplan does not define must not become netplan's.
    assert!(!plan.contains("eth6"), "{plan}");
    let text = |link: &str| {
        let file = format!("etc/systemd/network/05-towline-{link}.link");
        host.root.text(&file).unwrap()
    };
    assert!(text("eth5").contains("RxBufferSize=4096") && !text("eth5").contains("MTUBytes"));
    assert!(text("eth6").contains("MTUBytes=9000"));
    let folder = host.root.path("").display().to_string();
    assert_eq!(
        host.asked(),
        [format!("netplan generate --root-dir {folder}")]
    );
    host.write(&[], &with_netplan());
    assert!(!host.root.has("etc/netplan/90-towline.yaml"));
    assert_eq!(host.asked().len(), 1, "netplan reads its files again");
}

#[test]
fn a_file_that_netplan_refuses_does_not_stay() {
    let host = planned(Host::new());
    host.tools.refused.borrow_mut().push("netplan generate");
    let outcome = host.write(&[snapshot(&[(mtu("eth5"), "9000")])], &with_netplan());
    assert!(outcome.failures[0].contains("was refused and is as before"));
    assert!(!host.root.has("etc/netplan/90-towline.yaml"));
}

fn with_manager() -> Owners {
    Owners {
        network_manager: true,
        ..udev()
    }
}

#[test]
fn a_networkmanager_profile_is_changed_and_gets_its_own_values_back() {
    let host = Host::new();
    let mut properties = host.tools.properties.borrow_mut();
    properties.insert("802-3-ethernet.mtu".into(), "auto".into());
    drop(properties);
    let both = snapshot(&[(mtu("eth5"), "9000"), (gro("eth5"), "on")]);
    for _ in 0..2 {
        // Twice: the former value must survive the second round.
        let outcome = host.write(std::slice::from_ref(&both), &with_manager());
        assert!(outcome.places[0].contains("802-3-ethernet.mtu 9000, ethtool.feature-gro on"));
        assert!(outcome.failures.is_empty() && outcome.notes.is_empty());
    }
    assert!(
        host.root.names("etc/systemd/network").is_empty(),
        "one owner"
    );
    let now = |property: &str| host.tools.properties.borrow()[property].clone();
    assert_eq!(now("802-3-ethernet.mtu"), "9000");
    // Profiles that had asked for nothing need not be applied again.
    assert!(!host.asked().iter().any(|line| line.contains("reapply")));
    host.write(&[snapshot(&[(gro("eth5"), "on")])], &with_manager());
    assert_eq!(now("802-3-ethernet.mtu"), "auto");
    assert_eq!(now("ethtool.feature-gro"), "on");
    host.write(&[], &with_manager());
    assert_eq!(now("ethtool.feature-gro"), "");
    // Nothing is left to do.
    host.asked();
    host.write(&[], &with_manager());
    assert!(host.asked().is_empty());
}

#[test]
fn a_profile_that_asked_for_something_else_is_applied_again() {
    let host = Host::new();
    let mut properties = host.tools.properties.borrow_mut();
    properties.insert("802-3-ethernet.mtu".into(), "1500".into());
    drop(properties);
    host.write(&[snapshot(&[(mtu("eth5"), "9000")])], &with_manager());
    assert!(
        host.asked()
            .contains(&"nmcli device reapply eth5".to_owned())
    );
}

#[test]
fn what_a_version_does_not_know_is_told_and_the_rest_is_kept() {
    let host = Host::new();
    host.tools.refused.borrow_mut().push("channels-combined");
    let channels = Setting::Channels {
        link: "eth5".into(),
    };
    let one = snapshot(&[(channels, "8"), (mtu("eth5"), "9000")]);
    let outcome = host.write(&[one], &with_manager());
    assert!(outcome.notes[0].contains("ethtool.channels-combined is not kept"));
    assert!(outcome.places[0].contains("802-3-ethernet.mtu 9000"));
    assert!(outcome.failures.is_empty());
}

#[test]
fn a_former_value_that_is_refused_is_tried_again() {
    let host = Host::new();
    let one = snapshot(&[(mtu("eth5"), "9000")]);
    host.write(&[one], &with_manager());
    host.tools.refused.borrow_mut().push("modify");
    let outcome = host.write(&[], &with_manager());
    assert!(outcome.failures[0].contains("802-3-ethernet.mtu is not put back"));
    host.tools.refused.borrow_mut().clear();
    assert!(host.write(&[], &with_manager()).failures.is_empty());
    let properties = host.tools.properties.borrow();
    assert_eq!(properties["802-3-ethernet.mtu"], "");
}

#[test]
fn a_link_without_an_active_profile_is_not_networkmanagers() {
    let host = Host::new();
    let outcome = host.write(&[snapshot(&[(mtu("eth6"), "9000")])], &with_manager());
    assert_eq!(
        outcome.places,
        ["/etc/systemd/network/05-towline-eth6.link"]
    );
}

#[test]
fn a_profile_that_netplan_makes_is_netplans() {
    let host = Host::new().with(
        "run/NetworkManager/system-connections/netplan-port.nmconnection",
        "[connection]\nid=netplan-port\ninterface-name=eth5\n",
    );
    let owners = Owners {
        netplan: true,
        ..with_manager()
    };
    let one = snapshot(&[(mtu("eth5"), "9000"), (gro("eth5"), "on")]);
    let outcome = host.write(&[one], &owners);
    assert_eq!(outcome.places, ["/etc/netplan/90-towline.yaml"]);
    assert!(outcome.notes[0].contains("eth5 rx-gro is not kept"));
    assert!(!host.asked().iter().any(|line| line.contains("modify")));
}

#[test]
fn what_has_no_owner_is_said_not_to_be_kept() {
    let host = Host::new();
    let outcome = host.write(&[snapshot(&[(mtu("eth5"), "9000")])], &Owners::default());
    assert!(outcome.places.is_empty());
    assert!(
        outcome.notes[0].contains("eth5 mtu is not kept"),
        "{:?}",
        outcome.notes
    );
}

#[test]
fn a_networkmanager_that_does_not_run_owns_nothing() {
    #[derive(Debug)]
    struct Stopped;
    impl Tools for Stopped {
        fn run(&self, program: &str, _: &[&str]) -> Result<String, String> {
            Err(format!("{program}: Error: NetworkManager is not running."))
        }
    }
    let host = Host::new();
    let place = Place {
        root: &host.root,
        tools: &Stopped,
    };
    let one = snapshot(&[(mtu("eth5"), "9000")]);
    let outcome = write(place, host.folder.path(), &[one], &with_manager()).unwrap();
    assert!(outcome.failures.is_empty());
    assert_eq!(
        outcome.places,
        ["/etc/systemd/network/05-towline-eth5.link"]
    );
}

#[test]
fn tuned_counts_only_while_it_is_at_work() {
    let host = Host::new()
        .with("etc/tuned/active_profile", "balanced\n")
        .with("run/tuned/tuned.pid", "77\n");
    assert_eq!(owners(&host.root).tuned_profile, None);
    let host = host.with("proc/77/stat", "");
    assert_eq!(
        owners(&host.root).tuned_profile.as_deref(),
        Some("balanced")
    );
    let host = Host::new()
        .with("etc/tuned/active_profile", "balanced\n")
        .with("etc/tuned/tuned-main.conf", "[global]\ndaemon = 0\n");
    assert!(owners(&host.root).tuned_profile.is_some());
}

/// A later file of sysctl.d wins at the next boot, and the values were said to be kept.
#[test]
fn a_later_file_that_sets_a_key_again_is_named() {
    let later = "# somebody else's\nnet.core.somaxconn = 128\nnet.ipv4.tcp_rmem = 4096\t87380  9\n";
    let host = Host::new().with("etc/sysctl.d/99-local.conf", later);
    let outcome = host.write(
        &[snapshot(&[
            (sysctl("net.core.somaxconn"), "4096"),
            (sysctl("net.ipv4.tcp_rmem"), "4096 87380 9"),
        ])],
        &Owners::default(),
    );
    assert_eq!(outcome.failures.len(), 1, "{outcome:?}");
    let told = &outcome.failures[0];
    assert!(
        told.contains("99-local.conf") && told.contains("somaxconn"),
        "{told}"
    );
}
