//! Rules of the core network settings.
//!
//! Invariant: pure functions of the facts; a larger value than needed is never lowered.

use super::sysctl_tcp::{at_least, must_be};
use super::{Named, Rule, size_text};
use crate::case::{Case, Profile};
use crate::change::Fix;
use crate::facts::LinkFacts;
use crate::read::key_of_link;
use crate::verdict::{Judged, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("sys.rmem_max", Rule::Host(receive_max)),
    ("sys.wmem_max", Rule::Host(send_max)),
    ("sys.netdev_max_backlog", Rule::Host(backlog)),
    ("sys.netdev_budget", Rule::Host(budget)),
    ("sys.somaxconn", Rule::Host(connections)),
    ("sys.busy_poll", Rule::Host(busy_poll)),
    ("sys.busy_read", Rule::Host(busy_read)),
    ("sys.rp_filter", Rule::Link(reverse_path)),
    ("sys.optmem_max", Rule::Host(option_memory)),
];

/// Microseconds of polling in the latency profile, as tuned's network-latency sets.
const BUSY_US: &str = "50";

/// Packets handled in one round where the kernel's default of 300 runs out.
const BUDGET: u64 = 600;

fn core_max(case: &Case<'_>, key: &str) -> Judged {
    let row = case.values.row(case.speed_mbit()?);
    let wide = case.profile == Profile::Wan;
    let mib = if wide {
        row.core_max_wan_mib
    } else {
        row.core_max_mib
    };
    let verdict = at_least(case, key, mib << 20, size_text)?;
    Ok(verdict.note("limits UDP and explicit buffer sizes only, not TCP autotuning"))
}

fn receive_max(case: &Case<'_>) -> Judged {
    core_max(case, "net.core.rmem_max")
}

fn send_max(case: &Case<'_>) -> Judged {
    core_max(case, "net.core.wmem_max")
}

fn backlog(case: &Case<'_>) -> Judged {
    let key = "net.core.netdev_max_backlog";
    let softnet = case.facts.cpu.softnet.need()?;
    if softnet.dropped_delta == 0 {
        return Ok(Verdict::report(case.facts.sysctl(key)?));
    }
    let want = case.values.row(case.speed_mbit()?).backlog;
    at_least(case, key, want, |packets| format!("{packets} packets"))
}

fn budget(case: &Case<'_>) -> Judged {
    let key = "net.core.netdev_budget";
    let softnet = case.facts.cpu.softnet.need()?;
    if softnet.squeezed_delta == 0 {
        return Ok(Verdict::report(case.facts.sysctl(key)?));
    }
    at_least(case, key, BUDGET, |packets| format!("{packets} packets"))
}

fn connections(case: &Case<'_>) -> Judged {
    let want = case.values.limits.somaxconn_min;
    at_least(case, "net.core.somaxconn", want, |number| {
        number.to_string()
    })
}

fn busy(case: &Case<'_>, key: &str) -> Judged {
    let want = if case.profile == Profile::Latency {
        BUSY_US
    } else {
        "0"
    };
    must_be(case, key, want)
}

fn busy_poll(case: &Case<'_>) -> Judged {
    busy(case, "net.core.busy_poll")
}

fn busy_read(case: &Case<'_>) -> Judged {
    busy(case, "net.core.busy_read")
}

fn reverse_path(case: &Case<'_>, link: &LinkFacts) -> Judged {
    if link.is_loopback() || link.addresses.is_empty() {
        return Err(not_here("the link has no address of its own"));
    }
    let all = case.facts.sysctl_number("net.ipv4.conf.all.rp_filter")?;
    let key = key_of_link(&link.name, "rp_filter");
    let own = case.facts.sysctl_number(&key)?;
    // The kernel takes the larger of the two (ip-sysctl.rst).
    let effective = all.max(own);
    let homes = case
        .facts
        .links
        .iter()
        .filter(|other| !other.is_loopback() && other.admin_up && !other.addresses.is_empty());
    let multi_homed = homes.count() > 1;
    let direct = !case.carries_default(link);
    let read = format!("{effective} (all {all}, {} {own})", link.name);
    if !(multi_homed || direct) {
        return Ok(Verdict::report(read));
    }
    Ok(Verdict::new(
        effective != 1,
        read,
        "2 or 0 on a direct or multi-homed link",
    )
    .fix(Fix::sysctl(&key, "2")))
}

fn option_memory(case: &Case<'_>) -> Judged {
    at_least(
        case,
        "net.core.optmem_max",
        case.values.limits.optmem_bytes_min,
        |bytes| format!("{bytes} bytes"),
    )
}
