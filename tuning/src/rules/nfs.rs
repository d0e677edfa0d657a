//! Rules of NFS mounts on this host.
//!
//! Invariant: pure functions of the facts. Governed by nfs(5); the client's own options are
//! judged, not the server.

use super::{Named, Rule};
use crate::case::Case;
use crate::change::{Fix, Setting};
use crate::facts::NfsMount;
use crate::verdict::{Judged, Severity, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("nfs.opts", Rule::Mount(options)),
    ("nfs.nconnect", Rule::Mount(connections)),
    ("nfs.slots", Rule::Host(slots)),
    ("nfs.readahead", Rule::Mount(readahead)),
    ("nfs.rtt", Rule::Mount(retransmissions)),
    ("nfs.nolock", Rule::Mount(locks)),
    ("nfs.v4_fallback", Rule::Mount(fallback)),
    ("nfs.port_priv", Rule::Mount(source_port)),
];

/// The read-ahead that new kernels give every mount, in KiB (RHEL 8.3, Ubuntu 18.04).
const READAHEAD_DEFAULT_KIB: u64 = 128;

/// Requests in flight that the kernel allows unless lowered.
const SLOTS_DEFAULT: u64 = 65_536;

fn option<'a>(mount: &'a NfsMount, key: &str) -> &'a str {
    mount.options.get(key).map_or("", String::as_str)
}

fn remount(mount: &NfsMount, with: &str) -> Fix {
    let path = &mount.path;
    Fix::hands(format!(
        "umount {path} and mount it again with -o {with}; write it to /etc/fstab"
    ))
}

fn options(case: &Case<'_>, mount: &NfsMount) -> Judged {
    let want = case.values.limits.nfs_transfer_bytes;
    let size = |key: &str| option(mount, key).parse::<u64>().unwrap_or(0);
    let hard = mount.options.contains_key("hard");
    let tcp = option(mount, "proto").starts_with("tcp") || option(mount, "proto") == "rdma";
    let passed = size("rsize") >= want && size("wsize") >= want && hard && tcp;
    let read = format!(
        "vers={} rsize={} wsize={} proto={} {}",
        option(mount, "vers"),
        size("rsize"),
        size("wsize"),
        option(mount, "proto"),
        if hard { "hard" } else { "soft" }
    );
    let fix = remount(mount, &format!("rsize={want},wsize={want},proto=tcp,hard"));
    Ok(Verdict::new(passed, read, format!("rsize=wsize={want}, proto=tcp, hard")).fix(fix))
}

fn connections(case: &Case<'_>, mount: &NfsMount) -> Judged {
    let speed = case.speed_mbit()?;
    let want = case.values.row(speed).nconnect;
    let most = case.values.limits.nfs_nconnect_max;
    let has = mount.connections;
    Ok(Verdict::new(
        has >= want && has <= most,
        has.to_string(),
        format!("{want} at this speed, never above {most}"),
    )
    .fix(remount(mount, &format!("nconnect={want}"))))
}

fn slots(case: &Case<'_>) -> Judged {
    let key = "sunrpc.tcp_max_slot_table_entries";
    let value = case.facts.sysctl_number(key)?;
    Ok(Verdict::new(
        value >= SLOTS_DEFAULT,
        value.to_string(),
        SLOTS_DEFAULT.to_string(),
    )
    .fix(Fix::sysctl(key, SLOTS_DEFAULT.to_string()))
    .note("counts for new mounts; keep it in /etc/modprobe.d/towline.conf"))
}

fn readahead(case: &Case<'_>, mount: &NfsMount) -> Judged {
    let has = *mount.readahead_kib.need()?;
    let rsize_kib = option(mount, "rsize").parse::<u64>().unwrap_or(0) >> 10;
    let want = case.values.limits.nfs_readahead_factor * rsize_kib.max(1);
    let severity = if has == READAHEAD_DEFAULT_KIB {
        Severity::Error
    } else {
        Severity::Warning
    };
    let verdict = Verdict::new(
        has >= want,
        format!("{has} KiB"),
        format!("{want} KiB or more"),
    )
    .severity(severity)
    .note("keep it with /etc/nfs.conf, [nfsrahead] nfs=15360 nfs4=15360 default=128");
    Ok(match &mount.readahead_file {
        Some(path) => {
            let path = path.clone();
            verdict.fix(Fix::change(Setting::File { path }, want.to_string()))
        }
        None => verdict,
    })
}

fn retransmissions(_: &Case<'_>, mount: &NfsMount) -> Judged {
    let Some((calls, sent)) = mount.reads else {
        return Err(not_here("no READ has been counted"));
    };
    let again = sent.saturating_sub(calls);
    let rtt = mount
        .read_rtt_ms
        .filter(|_| calls > 0)
        .map_or(0, |rtt| rtt / calls.max(1));
    let read = format!("{calls} reads, {again} sent again, {rtt} ms each");
    Ok(
        Verdict::new(again == 0, read, "none sent again").fix(Fix::hands(
            "look at the link's error counters, then at the server",
        )),
    )
}

fn locks(_: &Case<'_>, mount: &NfsMount) -> Judged {
    let local = option(mount, "local_lock");
    if option(mount, "vers").starts_with('4') {
        let read = format!("local_lock={local}");
        return Ok(Verdict::report(read).note("version 4 locks at the node"));
    }
    let unlocked = mount.options.contains_key("nolock");
    let read = if unlocked {
        "nolock".to_owned()
    } else {
        format!("local_lock={local}")
    };
    Ok(Verdict::report(read)
        .note("towline has no lock manager for version 3: such mounts want nolock"))
}

/// A client that is not told a version tries 4.2 first and comes down by itself (nfs(5),
/// `nfsvers`).
fn fallback(_: &Case<'_>, mount: &NfsMount) -> Judged {
    let effective = option(mount, "vers");
    let Some(asked) = mount.asked_options.as_deref() else {
        return Err(not_here(
            "the mount is not in /etc/fstab, and the kernel keeps no record of what was asked for",
        ));
    };
    let version = asked.split(',').find_map(|one| {
        let (key, value) = one.split_once('=')?;
        matches!(key, "vers" | "nfsvers").then_some(value)
    });
    let read = format!(
        "vers={effective} in use, {} asked for",
        version.map_or_else(
            || "no version".to_owned(),
            |version| format!("vers={version}")
        )
    );
    let came_down = effective == "3" && version.is_none();
    Ok(
        Verdict::new(!came_down, read, "the version that the server has").fix(Fix::hands(format!(
            "write vers=3 into the options of {} in /etc/fstab, or let the node serve version 4: \
             without either every mount asks for version 4 first",
            mount.path
        ))),
    )
}

fn source_port(_: &Case<'_>, mount: &NfsMount) -> Judged {
    let Some(port) = mount.source_port else {
        return Err(not_here("no connection is listed"));
    };
    let kind = if port < 1024 {
        "privileged"
    } else {
        "not privileged"
    };
    Ok(Verdict::report(format!("port {port}, {kind}")))
}
