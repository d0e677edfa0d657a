//! Rules of processors, memory, disks, clock and listeners.
//!
//! Invariant: pure functions of the facts; what was not read is unknown and never counts as
//! passed.

use super::{Named, Rule};
use crate::case::{Case, Profile};
use crate::change::{Fix, Setting};
use crate::verdict::{Judged, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("cpu.governor", Rule::Host(governor)),
    ("cpu.cstate", Rule::Host(sleep_states)),
    ("cpu.irqbalance", Rule::Host(balance)),
    ("cpu.mitig_thermal", Rule::Host(throttling)),
    ("mem.numa_balancing", Rule::Host(memory_balancing)),
    ("vm.dirty", Rule::Host(dirty_pages)),
    ("disk.readahead", Rule::Host(disk_readahead)),
    ("time.sync", Rule::Host(clock)),
    ("app.bind", Rule::Host(listeners)),
];

/// Ports of a node's storage listeners: NFS and HTTP.
const STORAGE_PORTS: [&str; 2] = [":2049", ":8420"];

fn governor(case: &Case<'_>) -> Judged {
    let governors = case.facts.cpu.governors.need()?;
    let parts: Vec<String> = governors
        .iter()
        .map(|(name, count)| format!("{name} on {count}"))
        .collect();
    let passed = governors.keys().all(|name| name == "performance");
    let mut verdict = Verdict::new(passed, parts.join(", "), "performance on all");
    if let Some(profile) = &case.facts.owners.tuned_profile {
        let advice = format!("tuned-adm profile network-throughput (tuned runs {profile})");
        return Ok(verdict.fix(Fix::hands(advice)));
    }
    for cpu in 0..case.facts.cpu.online {
        let setting = Setting::File {
            path: format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"),
        };
        verdict = verdict.fix(Fix::change(setting, "performance"));
    }
    Ok(verdict)
}

fn sleep_states(case: &Case<'_>) -> Judged {
    let held = *case.facts.cpu.dma_latency_us.need()?;
    // The kernel's word for no limit is 2,000 seconds.
    let read = if held >= 2_000_000_000 {
        "no limit".to_owned()
    } else {
        format!("{held} us")
    };
    if case.profile != Profile::Latency {
        return Ok(Verdict::report(read));
    }
    let most = case.values.limits.cstate_us_max;
    Ok(Verdict::new(
        held <= most,
        read,
        format!("at most {most} us while serving"),
    )
    .fix(Fix::hands(
        "a program that holds /dev/cpu_dma_latency open, or tuned's latency profile",
    )))
}

fn balance(case: &Case<'_>) -> Judged {
    let runs = case.facts.owners.irqbalance;
    let pinned = case
        .subjects
        .iter()
        .flat_map(|link| &link.irqs)
        .any(|irq| irq.cpus.value().is_some_and(|cpus| cpus.len() == 1));
    let multi_node = case.facts.cpu.nodes.len() > 1;
    let read = if runs { "runs" } else { "does not run" };
    let passed = !(runs && pinned && multi_node);
    Ok(
        Verdict::new(passed, read, "owns the interrupts alone, or does not run").fix(Fix::hands(
            "IRQBALANCE_BANNED_CPULIST in /etc/default/irqbalance, or systemctl disable --now \
             irqbalance",
        )),
    )
}

fn throttling(case: &Case<'_>) -> Judged {
    let total = case.facts.cpu.throttles.need()?;
    let Some(delta) = case.facts.cpu.throttles_delta else {
        return Err(not_here("counters were read only once"));
    };
    let read = format!(
        "+{delta} in {} ms, {total} since boot",
        case.facts.window_ms
    );
    Ok(Verdict::new(delta == 0, read, "no growth").fix(Fix::hands("better cooling")))
}

fn memory_balancing(case: &Case<'_>) -> Judged {
    let value = case.facts.sysctl("kernel.numa_balancing")?;
    if case.facts.cpu.nodes.len() < 2 {
        return Ok(Verdict::report(value));
    }
    Ok(Verdict::new(value == "0", value, "0 on several nodes")
        .fix(Fix::sysctl("kernel.numa_balancing", "0")))
}

fn dirty_pages(case: &Case<'_>) -> Judged {
    let bytes = case.facts.sysctl_number("vm.dirty_bytes")?;
    let ratio = case.facts.sysctl_number("vm.dirty_ratio")?;
    // The tool's own bound: 1 GiB goes to a good disk within a second.
    let read = if bytes > 0 {
        format!("{bytes} bytes")
    } else {
        format!("{ratio} % of memory")
    };
    Ok(Verdict::new(
        bytes > 0,
        read,
        "bounded in bytes, on hosts that take writes",
    )
    .fix(Fix::sysctl("vm.dirty_bytes", (1_u64 << 30).to_string())))
}

fn disk_readahead(case: &Case<'_>) -> Judged {
    let least = case.values.limits.disk_readahead_kib_min;
    if case.facts.disks.is_empty() {
        return Err(not_here("no block device"));
    }
    let parts: Vec<String> = case
        .facts
        .disks
        .iter()
        .map(|disk| format!("{} {} KiB", disk.name, disk.readahead_kib))
        .collect();
    let short = case
        .facts
        .disks
        .iter()
        .filter(|disk| disk.readahead_kib < least);
    let mut verdict = Verdict::new(
        short.clone().count() == 0,
        parts.join(", "),
        format!("{least} KiB or more where models lie"),
    );
    for disk in short {
        let setting = Setting::File {
            path: format!("sys/block/{}/queue/read_ahead_kb", disk.name),
        };
        verdict = verdict.fix(Fix::change(setting, least.to_string()));
    }
    Ok(verdict)
}

fn clock(case: &Case<'_>) -> Judged {
    let synchronised = *case.facts.clock_synchronised.need()?;
    let read = if synchronised {
        "synchronised"
    } else {
        "not synchronised"
    };
    Ok(Verdict::new(synchronised, read, "synchronised")
        .fix(Fix::hands("install chrony or enable systemd-timesyncd")))
}

fn listeners(case: &Case<'_>) -> Judged {
    let storage = |listener: &&String| STORAGE_PORTS.iter().any(|port| listener.ends_with(port));
    let serving: Vec<&String> = case.facts.listeners.iter().filter(storage).collect();
    if serving.is_empty() {
        return Err(not_here("no storage listener on this host"));
    }
    let addressed = case
        .facts
        .links
        .iter()
        .filter(|link| !link.is_loopback() && link.admin_up && !link.addresses.is_empty());
    let links = addressed.count();
    let wide: Vec<&str> = serving
        .iter()
        .filter(|listener| listener.starts_with("0.0.0.0") || listener.starts_with("[::]"))
        .map(|listener| listener.as_str())
        .collect();
    let read = if wide.is_empty() {
        "storage listeners on chosen addresses".to_owned()
    } else {
        format!("{} on {links} links with addresses", wide.join(", "))
    };
    Ok(Verdict::new(
        wide.is_empty() || links < 2,
        read,
        "bound to the fast link's address",
    )
    .fix(Fix::hands("towline up --listen ADDRESS")))
}
