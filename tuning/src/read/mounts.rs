//! NFS mounts with their effective options, connections and counters.
//!
//! Governed by `/proc/self/mountstats` (statvers 1.1) and `/proc/self/mountinfo` (proc(5)).
//! Invariant: a line of another form is left out, never guessed at.

use std::collections::BTreeMap;

use crate::facts::NfsMount;
use crate::reading::Reading;
use crate::root::Root;

/// Mounts that are looked at; an automounter's host has some hundreds.
const MOUNTS_MAX: usize = 256;

/// All NFS mounts.
pub(super) fn read(root: &Root) -> Vec<NfsMount> {
    let Ok(text) = root.text("proc/self/mountstats") else {
        return Vec::new();
    };
    let info = root.text("proc/self/mountinfo").unwrap_or_default();
    let asked = root.text("etc/fstab").unwrap_or_default();
    let mut mounts = parse(&text);
    for mount in &mut mounts {
        mount.asked_options = asked_options(&asked, &mount.path);
        let Some(id) = device_id(&info, &mount.path) else {
            continue;
        };
        let file = format!("sys/class/bdi/{id}/read_ahead_kb");
        mount.readahead_kib = Reading::from_result(root.number(&file), "read-ahead", "root");
        mount.readahead_file = Some(file);
    }
    mounts
}

/// The options of a mount in fstab(5): `SERVER:/path /mnt nfs OPTIONS 0 0`.
fn asked_options(fstab: &str, path: &str) -> Option<String> {
    let rows = fstab
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let mut rows = rows.map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.find_map(|row| match row[..] {
        [_, place, "nfs" | "nfs4", options, ..] if place == path => Some(options.to_owned()),
        _ => None,
    })
}

fn device_id(info: &str, path: &str) -> Option<String> {
    let row = info
        .lines()
        .find(|line| line.split(' ').nth(4) == Some(path))?;
    row.split(' ').nth(2).map(str::to_owned)
}

/// The NFS mounts in the text of mountstats.
pub(super) fn parse(text: &str) -> Vec<NfsMount> {
    let mut mounts: Vec<NfsMount> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("device ") {
            let mount = head(rest);
            inside = mount.is_some() && mounts.len() < MOUNTS_MAX;
            mounts.extend(mount.filter(|_| inside));
            continue;
        }
        if let (true, Some(mount)) = (inside, mounts.last_mut()) {
            detail(mount, line.trim());
        }
    }
    mounts
}

/// `SERVER:/path mounted on /mnt with fstype nfs statvers=1.1`
fn head(rest: &str) -> Option<NfsMount> {
    let (device, rest) = rest.split_once(" mounted on ")?;
    let (path, rest) = rest.split_once(" with fstype ")?;
    let kind = rest.split_whitespace().next()?;
    matches!(kind, "nfs" | "nfs4").then(|| NfsMount {
        device: device.to_owned(),
        path: path.to_owned(),
        kind: kind.to_owned(),
        ..NfsMount::default()
    })
}

fn detail(mount: &mut NfsMount, line: &str) {
    if let Some(options) = line.strip_prefix("opts:") {
        mount.options = options
            .trim()
            .split(',')
            .map(|option| {
                let (key, value) = option.split_once('=').unwrap_or((option, ""));
                (key.to_owned(), value.to_owned())
            })
            .collect::<BTreeMap<_, _>>();
    } else if let Some(transport) = line.strip_prefix("xprt:") {
        mount.connections += 1;
        if mount.connections == 1 {
            // `tcp PORT ...`
            let port = transport.split_whitespace().nth(1);
            mount.source_port = port.and_then(|port| port.parse().ok());
        }
    } else if let Some(reads) = line.strip_prefix("READ:") {
        // Calls, transmissions, timeouts, bytes sent, bytes received, queue, rtt, execute.
        let numbers: Vec<u64> = reads
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        if let [calls, sent, _, _, _, _, rtt, ..] = numbers[..] {
            mount.reads = Some((calls, sent));
            mount.read_rtt_ms = Some(rtt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fstab_asks_for_is_found_by_the_mount_point() {
        let fstab = "# 10.0.0.1:/m /mnt/m nfs no 0 0\n/dev/sda1 / ext4 defaults 0 1\n\
            10.0.0.1:/m\t/mnt/m  nfs ro,hard 0 0\n";
        assert_eq!(asked_options(fstab, "/mnt/m").as_deref(), Some("ro,hard"));
        assert_eq!(asked_options(fstab, "/"), None);
    }

    #[test]
    fn a_mount_is_read_with_options_connections_and_reads() {
        let text = "device rootfs mounted on / with fstype rootfs\n\
            device 10.0.0.1:/models mounted on /mnt/models with fstype nfs statvers=1.1\n\
            \topts:\tro,vers=3,rsize=1048576,wsize=1048576,hard,proto=tcp,nconnect=4\n\
            \txprt:\ttcp 871 0 2 0 12 40 40 0 40 0 2 0 0\n\
            \txprt:\ttcp 0 0 2 0 12 40 40 0 40 0 2 0 0\n\
            \t        READ: 100 103 0 16000 104857600 5 420 430 0\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 1);
        let mount = &mounts[0];
        assert_eq!(mount.options["rsize"], "1048576");
        assert_eq!((mount.connections, mount.source_port), (2, Some(871)));
        assert_eq!(
            (mount.reads, mount.read_rtt_ms),
            (Some((100, 103)), Some(420))
        );
    }
}
