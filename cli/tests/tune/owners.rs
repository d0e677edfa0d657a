//! What is kept over a reboot, with the real owners of the configuration: NetworkManager, netplan,
//! tuned, udev and sysctl run in a namespace of their own and read what was written for them.
//!
//! Invariant: the mounts of `ip netns exec` are its own, so every file lands in memory and is gone
//! with the script. Not promised: a reboot; each owner is asked to apply its configuration anew.

use crate::lab::{Lab, has, left_out};

/// Runs a script on the first host; gives what it printed. `$TUNE` is `towline tune`, `$STATE` the
/// option that names the folder of snapshots.
fn script(lab: &Lab, text: &str) -> String {
    let path = lab.state.path().join("script.sh");
    let head = format!(
        "set -eu\nTUNE='{} tune'\nSTATE='--state {}/snapshots'\nmount -t tmpfs none /run\n",
        env!("CARGO_BIN_EXE_towline"),
        lab.state.path().display()
    );
    std::fs::write(&path, head + text).unwrap();
    let output = std::process::Command::new("ip")
        .args(["netns", "exec", &lab.hosts[0], "sh"])
        .arg(&path)
        .env("TOWLINE_LINK_SPEED", "10G")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}{why}");
    told
}

/// What was printed after a line of this name, up to the next one.
fn part<'a>(told: &'a str, name: &str) -> &'a str {
    let after = told
        .split(&format!("@@ {name}\n"))
        .nth(1)
        .unwrap_or_else(|| panic!("no {name} in {told}"));
    after.split("@@ ").next().unwrap_or("")
}

fn without(programs: &[(&str, &str)]) -> bool {
    for (program, package) in programs {
        if !has(program) {
            left_out(&format!("{program} is missing: apt-get install {package}"));
            return true;
        }
    }
    false
}

#[test]
fn networkmanager_keeps_a_value_in_its_profile_and_gets_the_former_one_back() {
    let Some(lab) = Lab::pair() else { return };
    if without(&[
        ("NetworkManager", "network-manager"),
        ("dbus-daemon", "dbus"),
        ("ethtool", "ethtool"),
    ]) {
        return;
    }
    let told = script(
        &lab,
        "mkdir -p /run/dbus /run/NetworkManager
         mount -t tmpfs none /var/lib/NetworkManager
         mount -t tmpfs none /etc/NetworkManager
         mkdir /etc/NetworkManager/system-connections
         printf '[main]\\nplugins=keyfile\\n[keyfile]\\nunmanaged-devices=interface-name:lo\\n' \
             > /etc/NetworkManager/NetworkManager.conf
         # With a read-only sysfs it does not wait for udev, which a namespace has not.
         mount -o remount,ro /sys
         dbus-daemon --system --nofork --nopidfile > /dev/null 2>&1 & bus=$!
         trap 'kill $bus' EXIT
         for try in $(seq 50); do [ -S /run/dbus/system_bus_socket ] && break; sleep 0.1; done
         NetworkManager --debug > /dev/null 2>&1 & manager=$!
         trap 'kill $manager $bus' EXIT
         for try in $(seq 100); do nmcli general > /dev/null 2>&1 && break; sleep 0.1; done
         nmcli device set va managed yes
         nmcli connection add type ethernet ifname va con-name store ipv4.method manual \
             ipv4.addresses 10.77.0.1/24 ipv6.method disabled 802-3-ethernet.mtu 1400
         nmcli connection up store
         ethtool -K va gro off
         profile='nmcli -g 802-3-ethernet.mtu,ethtool.feature-gro connection show store'
         echo '@@ apply'
         $TUNE apply link.mtu nic.gro --yes --interface va $STATE
         $TUNE confirm $STATE
         echo '@@ profile'
         $profile
         echo '@@ again'
         nmcli connection up store > /dev/null
         ip -o link show va
         echo '@@ revert'
         $TUNE revert $STATE
         $profile
         ip -o link show va
         ls /etc/systemd/network 2> /dev/null | grep towline || true
         echo '@@ end'",
    );
    let apply = part(&told, "apply");
    assert!(
        apply.contains("kept in NetworkManager's profile")
            && apply.contains("802-3-ethernet.mtu 9000, ethtool.feature-gro on"),
        "{apply}"
    );
    assert_eq!(part(&told, "profile"), "9000\non\n");
    assert!(part(&told, "again").contains("mtu 9000"), "{told}");
    let revert = part(&told, "revert");
    assert!(revert.contains("\n1400\n\n"), "{revert}");
    assert!(revert.contains("mtu 1400"), "{revert}");
    assert!(!revert.contains("towline-va"), "a second owner: {revert}");
}

#[test]
fn netplan_reads_what_was_written_for_it() {
    let Some(lab) = Lab::pair() else { return };
    if without(&[("netplan", "netplan.io")]) {
        return;
    }
    let told = script(
        &lab,
        "mount -t tmpfs none /etc/netplan
         echo 'network: {version: 2, ethernets: {port: {match: {name: va},
             addresses: [10.77.0.1/24]}}}' > /etc/netplan/50-own.yaml
         chmod 600 /etc/netplan/50-own.yaml
         netplan generate
         cp -r /run/systemd/network /run/before
         echo '@@ apply'
         $TUNE apply link.mtu --yes --interface va $STATE
         $TUNE confirm $STATE
         echo '@@ generated'
         netplan generate
         cat /run/systemd/network/10-netplan-port.link
         echo '@@ revert'
         $TUNE revert $STATE
         ls /etc/netplan
         diff -r /run/before /run/systemd/network && echo same
         echo '@@ end'",
    );
    let apply = part(&told, "apply");
    assert!(
        apply.contains("kept in /etc/netplan/90-towline.yaml"),
        "{apply}"
    );
    let generated = part(&told, "generated");
    assert!(
        generated.contains("OriginalName=va") && generated.contains("MTUBytes=9000"),
        "{generated}"
    );
    let revert = part(&told, "revert");
    assert!(revert.ends_with("50-own.yaml\nsame\n"), "{revert}");
}

#[test]
fn tuned_runs_a_child_of_its_profile_and_then_its_own_again() {
    let Some(lab) = Lab::pair() else { return };
    if without(&[("tuned-adm", "tuned")]) {
        return;
    }
    let told = script(
        &lab,
        "mkdir /run/tuned
         mount -t tmpfs none /etc/tuned
         printf '[global]\\ndaemon = 0\\n' > /etc/tuned/tuned-main.conf
         touch /etc/tuned/bootcmdline
         tuned-adm profile network-throughput > /dev/null 2>&1
         sysctl -qw net.ipv4.tcp_sack=0
         echo '@@ apply'
         $TUNE apply sys.sack --yes --interface va $STATE
         echo '@@ profile'
         cat /etc/tuned/active_profile
         # tuned's own reader takes the profile with all that it includes.
         python3 -c \"
import sys
sys.path.insert(0, '/usr/lib/python3/dist-packages')
from tuned.profiles import Loader, Locator, Factory, Merger
from tuned.profiles.variables import Variables
from tuned.utils.global_config import GlobalConfig
locator = Locator(['/usr/lib/tuned', '/etc/tuned'])
loader = Loader(locator, Factory(), Merger(), GlobalConfig(), Variables())
units = loader.load(['towline']).units
print(units['sysctl'].options['net.ipv4.tcp_sack'], 'net.ipv4.tcp_rmem' in units['sysctl'].options)
\"
         echo '@@ revert'
         $TUNE revert $STATE
         cat /etc/tuned/active_profile
         sysctl -n net.ipv4.tcp_sack
         ls /etc/sysctl.d | grep towline || true
         test ! -e /etc/tuned/towline && echo gone
         echo '@@ end'",
    );
    assert!(
        part(&told, "apply").contains("tuned profile towline over network-throughput"),
        "{told}"
    );
    assert_eq!(part(&told, "profile"), "towline\n1 True\n");
    let revert = part(&told, "revert");
    assert!(
        revert.ends_with("network-throughput\n0\ngone\n"),
        "{revert}"
    );
}

#[test]
fn udev_applies_the_link_file() {
    let Some(lab) = Lab::pair() else { return };
    if without(&[("udevadm", "udev")]) {
        return;
    }
    let told = script(
        &lab,
        "mkdir -p /run/udev
         touch /run/udev/control
         mount -t tmpfs none /etc/systemd/network
         $TUNE apply link.mtu --yes --interface va $STATE
         $TUNE confirm $STATE
         ip link set va mtu 1500
         echo '@@ udev'
         udevadm test-builtin net_setup_link /sys/class/net/va 2>&1
         ip -o link show va
         echo '@@ revert'
         $TUNE revert $STATE
         ls /etc/systemd/network
         ip -o link show va
         echo '@@ end'",
    );
    let udev = part(&told, "udev");
    assert!(
        udev.contains("05-towline-va.link is applied") && udev.contains("mtu 9000"),
        "{udev}"
    );
    let revert = part(&told, "revert");
    assert!(
        !revert.contains("05-towline") && revert.contains("mtu 1500"),
        "{revert}"
    );
}

#[test]
fn sysctl_takes_the_file_that_was_written() {
    let Some(lab) = Lab::pair() else { return };
    let told = script(
        &lab,
        "mount -t tmpfs none /etc/sysctl.d
         sysctl -qw net.ipv4.tcp_sack=0
         $TUNE apply sys.sack --yes --interface va $STATE
         sysctl -qw net.ipv4.tcp_sack=0
         echo '@@ sysctl'
         sysctl -p /etc/sysctl.d/90-towline.conf
         sysctl -n net.ipv4.tcp_sack
         echo '@@ revert'
         $TUNE revert $STATE
         echo '@@ end'",
    );
    assert!(
        part(&told, "sysctl").ends_with("tcp_sack = 1\n1\n"),
        "{told}"
    );
    assert!(part(&told, "revert").contains("is taken back"), "{told}");
}

#[test]
fn what_a_killed_run_did_not_write_down_is_written_by_the_next() {
    let Some(lab) = Lab::pair() else { return };
    let told = script(
        &lab,
        "mount -t tmpfs none /etc/sysctl.d
         sysctl -qw net.ipv4.tcp_sack=0
         $TUNE apply sys.sack --yes --interface va $STATE
         snapshots=${STATE#--state }
         # As after a kill between the two: confirmed, and neither written nor marked as written.
         rm /etc/sysctl.d/90-towline.conf $snapshots/*.kept
         $TUNE history $STATE
         test ! -e /etc/sysctl.d/90-towline.conf
         echo '@@ next'
         $TUNE apply --dry-run --interface va $STATE > /dev/null || [ $? = 1 ]
         cat /etc/sysctl.d/90-towline.conf
         ls $snapshots
         echo '@@ cleared'
         $TUNE revert $STATE
         # The same for what was to be cleared.
         echo '# written by towline tune; towline tune revert takes it back' \
             > /etc/sysctl.d/90-towline.conf
         rm $snapshots/*.released
         $TUNE revert $STATE
         ls /etc/sysctl.d
         echo '@@ end'",
    );
    let next = part(&told, "next");
    assert!(
        next.contains("net.ipv4.tcp_sack = 1") && next.contains(".kept"),
        "{next}"
    );
    assert!(
        !part(&told, "cleared").contains("90-towline.conf"),
        "{told}"
    );
}
