//! Rules of interrupts and software queues: who serves the packets.
//!
//! Invariant: pure functions of the facts; an interrupt is only moved to processors near the
//! card.

use super::{Named, Rule};
use crate::case::Case;
use crate::change::{Fix, Setting};
use crate::facts::LinkFacts;
use crate::verdict::{Judged, Severity, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("nic.rss", Rule::Link(spread)),
    ("nic.irq_numa", Rule::Link(interrupts)),
    ("nic.rps_xps", Rule::Link(steering)),
    ("nic.softnet", Rule::Host(softnet)),
];

/// A queue may get this many times the slots of another before the table counts as uneven: tables
/// of 128 slots do not divide evenly by six queues.
const SPREAD_RATIO_MAX: usize = 2;

fn spread(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let table = link.hash_table.need()?;
    let channels = link.channels.need()?;
    let queues = usize::try_from(channels.combined.max(channels.rx)).unwrap_or(0);
    if queues < 2 || table.is_empty() {
        return Err(not_here("one queue: nothing to spread"));
    }
    let counts: Vec<usize> = (0..queues)
        .map(|queue| {
            table
                .iter()
                .filter(|slot| usize::try_from(**slot) == Ok(queue))
                .count()
        })
        .collect();
    let (least, most) = (
        counts.iter().min().copied().unwrap_or(0),
        counts.iter().max().copied().unwrap_or(0),
    );
    let used = counts.iter().filter(|count| **count > 0).count();
    Ok(Verdict::new(
        least > 0 && most <= least * SPREAD_RATIO_MAX,
        format!("{used} of {queues} queues used, {least} to {most} slots each"),
        "all queues about equally",
    )
    .fix(Fix::hands(format!(
        "ethtool -X {} equal {queues}",
        link.name
    ))))
}

fn interrupts(case: &Case<'_>, link: &LinkFacts) -> Judged {
    if case.facts.cpu.nodes.len() < 2 {
        return Err(not_here("one memory node: every processor is near"));
    }
    let near = link.local_cpus.need()?;
    if link.irqs.is_empty() {
        return Err(not_here("no interrupt of this device found"));
    }
    let mut far = Vec::new();
    for irq in &link.irqs {
        let cpus = irq.cpus.need()?;
        if !cpus.iter().all(|cpu| near.contains(cpu)) {
            far.push(irq.number);
        }
    }
    let node = link
        .numa_node
        .value()
        .map_or_else(String::new, ToString::to_string);
    let speed = link.speed_mbit().unwrap_or(0);
    let severity = if speed >= 25_000 {
        Severity::Error
    } else {
        Severity::Warning
    };
    let mut verdict = Verdict::new(
        far.is_empty(),
        format!(
            "{} of {} interrupts off node {node}",
            far.len(),
            link.irqs.len()
        ),
        format!("all on node {node}, one processor each"),
    )
    .severity(severity);
    if case.facts.owners.irqbalance {
        verdict = verdict
            .note("irqbalance runs and would move them again: stop it or give it a ban list");
    }
    for (number, cpu) in far.iter().zip(near.iter().cycle()) {
        let setting = Setting::File {
            path: format!("proc/irq/{number}/smp_affinity_list"),
        };
        verdict = verdict.fix(Fix::change(setting, cpu.to_string()));
    }
    Ok(verdict)
}

fn is_empty_mask(mask: &str) -> bool {
    mask.chars().all(|digit| matches!(digit, '0' | ','))
}

fn steering(case: &Case<'_>, link: &LinkFacts) -> Judged {
    if !link.is_device() || link.queues.rps.is_empty() {
        return Err(not_here("not a device with receive queues"));
    }
    let queues = link.queues.rps.len();
    let steered = link
        .queues
        .rps
        .iter()
        .filter(|mask| !is_empty_mask(mask))
        .count();
    let read = format!("{queues} queues, {steered} spread by software");
    let mask = mask_of(case.facts.cpu.online);
    let file = |queue: usize| Setting::File {
        path: format!("sys/class/net/{}/queues/rx-{queue}/rps_cpus", link.name),
    };
    if queues == 1 {
        let fast = link.speed_mbit().is_ok_and(|speed| speed >= 2500) || link.kind == "thunderbolt";
        if !fast || case.facts.cpu.online < 2 {
            return Ok(Verdict::report(read));
        }
        return Ok(
            Verdict::new(steered == 1, read, "a single fast queue spread by software")
                .fix(Fix::change(file(0), mask)),
        );
    }
    let mut verdict = Verdict::new(steered == 0, read, "several queues need no spreading");
    for (queue, rps) in link.queues.rps.iter().enumerate() {
        if !is_empty_mask(rps) {
            verdict = verdict.fix(Fix::change(file(queue), "0"));
        }
    }
    Ok(verdict)
}

/// All processors as the kernel writes a mask: words of 32, most significant first.
fn mask_of(cpus: u32) -> String {
    let full = (cpus / 32) as usize;
    let mut words = vec!["ffffffff".to_owned(); full];
    if !cpus.is_multiple_of(32) {
        words.insert(0, format!("{:x}", (1_u64 << (cpus % 32)) - 1));
    }
    words.join(",")
}

fn softnet(case: &Case<'_>) -> Judged {
    let softnet = case.facts.cpu.softnet.need()?;
    if case.facts.window_ms == 0 {
        return Err(not_here("counters were read only once"));
    }
    Ok(Verdict::new(
        softnet.dropped_delta == 0 && softnet.squeezed_delta == 0,
        format!(
            "dropped +{}, squeezed +{} in {} ms",
            softnet.dropped_delta, softnet.squeezed_delta, case.facts.window_ms
        ),
        "no growth",
    )
    .fix(Fix::hands(
        "see sys.netdev_max_backlog (dropped) and sys.netdev_budget (squeezed)",
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_written_as_the_kernel_prints_them() {
        assert_eq!(mask_of(2), "3");
        assert_eq!(mask_of(32), "ffffffff");
        assert_eq!(mask_of(36), "f,ffffffff");
        assert!(is_empty_mask("00000000,00000000") && !is_empty_mask("1"));
    }
}
