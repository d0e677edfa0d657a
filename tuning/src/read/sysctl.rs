//! The values below `/proc/sys` that the rules need, and what the sysctl files of the host say.
//!
//! Governed by sysctl(8), sysctl.d(5) and `Documentation/networking/ip-sysctl.rst`. Not promised:
//! values of other network namespaces.

use std::collections::BTreeMap;

use crate::facts::SysctlLine;
use crate::reading::Reading;
use crate::root::Root;

/// Keys that rules look at, besides those of each interface.
const KEYS: [&str; 38] = [
    "kernel.numa_balancing",
    "net.core.busy_poll",
    "net.core.busy_read",
    "net.core.default_qdisc",
    "net.core.netdev_budget",
    "net.core.netdev_max_backlog",
    "net.core.optmem_max",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.conf.all.arp_announce",
    "net.ipv4.conf.all.arp_filter",
    "net.ipv4.conf.all.arp_ignore",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_low_latency",
    "net.ipv4.tcp_moderate_rcvbuf",
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.tcp_no_metrics_save",
    "net.ipv4.tcp_notsent_lowat",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_sack",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tw_recycle",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_window_scaling",
    "net.ipv4.tcp_wmem",
    "sunrpc.tcp_max_slot_table_entries",
    "sunrpc.tcp_slot_table_entries",
    "vm.dirty_background_bytes",
    "vm.dirty_bytes",
    "vm.dirty_ratio",
    "vm.swappiness",
];

/// Files of sysctl.d that are read, of each folder.
const FILES_MAX: usize = 200;

/// The file of a key below the root: dots become slashes, slashes within a name become dots, as
/// sysctl(8) writes `net.ipv4.conf.eth0/100.rp_filter` for a VLAN.
pub(crate) fn path_of(key: &str) -> String {
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    format!("proc/sys/{}", key.chars().map(swap).collect::<String>())
}

/// The key of an interface in the words of sysctl(8).
pub(crate) fn key_of_link(link: &str, leaf: &str) -> String {
    format!("net.ipv4.conf.{}.{leaf}", link.replace('.', "/"))
}

/// Reads all keys.
pub(super) fn read(root: &Root, links: &[String]) -> BTreeMap<String, Reading<String>> {
    let leaves = ["rp_filter", "arp_ignore", "arp_announce", "arp_filter"];
    let of_links = links
        .iter()
        .flat_map(|link| leaves.map(|leaf| key_of_link(link, leaf)));
    let keys = KEYS.iter().map(|key| (*key).to_owned()).chain(of_links);
    keys.map(|key| {
        let text = root.line(&path_of(&key));
        // The kernel separates with tabs; people and sysctl.d write spaces.
        let text = text.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        let reading = Reading::from_result(text, &format!("{key} on this kernel"), "root");
        (key, reading)
    })
    .collect()
}

/// What the sysctl files say, in the order of sysctl.d(5): by file name, and a file in `/etc`
/// hides one of the same name in `/run` or `/usr/lib`; `/etc/sysctl.conf` comes last, as
/// sysctl(8) applies it.
pub(super) fn configured(root: &Root) -> Vec<SysctlLine> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for folder in ["usr/lib/sysctl.d", "run/sysctl.d", "etc/sysctl.d"] {
        for name in root.names(folder).into_iter().take(FILES_MAX) {
            if name.ends_with(".conf") {
                files.insert(name.clone(), format!("{folder}/{name}"));
            }
        }
    }
    let paths = files.into_values().chain(["etc/sysctl.conf".to_owned()]);
    let mut lines = Vec::new();
    for path in paths {
        let Ok(text) = root.text(&path) else { continue };
        lines.extend(text.lines().filter_map(|line| line_of(&path, line)));
    }
    lines
}

fn line_of(path: &str, line: &str) -> Option<SysctlLine> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    let key = key.trim().trim_start_matches('-').trim();
    // A key whose first separator is a slash is written in paths.
    let slash_first = key
        .find(['.', '/'])
        .is_some_and(|at| key[at..].starts_with('/'));
    let swapped = key.chars().map(|letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    Some(SysctlLine {
        file: format!("/{path}"),
        key: if slash_first {
            swapped.collect()
        } else {
            key.to_owned()
        },
        value: value.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_paths_agree_also_for_a_vlan() {
        assert_eq!(path_of("net.core.rmem_max"), "proc/sys/net/core/rmem_max");
        let key = key_of_link("eth0.100", "rp_filter");
        assert_eq!(path_of(&key), "proc/sys/net/ipv4/conf/eth0.100/rp_filter");
    }

    #[test]
    fn the_file_in_etc_hides_its_namesake_and_sysctl_conf_comes_last() {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("usr/lib/sysctl.d/50-a.conf", "net.core.somaxconn = 1\n"),
            ("etc/sysctl.d/50-a.conf", "# x\n-net/core/somaxconn=2\n"),
            ("etc/sysctl.conf", "net.ipv4.tcp_rmem = 4096\t1 2\n"),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let lines = configured(&Root::at(folder.path()));
        let told: Vec<(&str, &str)> = lines
            .iter()
            .map(|line| (line.key.as_str(), line.value.as_str()))
            .collect();
        let want = [
            ("net.core.somaxconn", "2"),
            ("net.ipv4.tcp_rmem", "4096 1 2"),
        ];
        assert_eq!(told, want);
    }
}
