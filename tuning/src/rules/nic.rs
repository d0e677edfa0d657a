//! Rules of the card: rings, channels, coalescing, flow control, queues.
//!
//! Invariant: pure functions of the facts; a target is never above what the driver takes.

use super::link::no_growth;
use super::{Named, Rule};
use crate::case::{Case, Profile};
use crate::change::{Fix, Setting};
use crate::driver_counters::Meaning;
use crate::facts::LinkFacts;
use crate::verdict::{Judged, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("nic.ring", Rule::Link(rings)),
    ("nic.ring_drops", Rule::Link(ring_drops)),
    ("nic.channels", Rule::Link(channels)),
    ("nic.coalesce", Rule::Link(coalesce)),
    ("nic.pause", Rule::Link(pause)),
    ("nic.qdisc", Rule::Link(queueing)),
    ("nic.txqlen", Rule::Link(transmit_queue)),
    ("nic.driver_fw", Rule::Link(driver)),
    ("nic.privflags", Rule::Link(private_flags)),
    ("nic.temp", Rule::Link(temperature)),
];

const DROP_COUNTERS: [&str; 4] = [
    "rx_missed_errors",
    "rx_over_errors",
    "rx_fifo_errors",
    "rx_length_errors",
];

/// Shortest transmit queue that is not suspicious, in packets: the kernel's own default.
const TRANSMIT_QUEUE_MIN: u32 = 1000;

fn rings(case: &Case<'_>, link: &LinkFacts) -> Judged {
    let rings = link.rings.need()?;
    if rings.rx_max == 0 {
        return Err(not_here("the driver does not report ring sizes"));
    }
    let speed = link.speed_mbit()?;
    let row = case.values.row(speed);
    let dropping = ring_drops(case, link).is_ok_and(|verdict| !verdict.passed);
    let read = format!(
        "rx {} of {}, tx {} of {}",
        rings.rx, rings.rx_max, rings.tx, rings.tx_max
    );
    if speed < 10_000 && !dropping {
        return Ok(Verdict::new(
            true,
            read,
            "the default, as nothing is dropped",
        ));
    }
    // A slow link that drops gets what the next class has.
    let goal = if row.ring == 0 { 4096 } else { row.ring };
    let (rx, tx) = (goal.min(rings.rx_max), goal.min(rings.tx_max));
    let setting = Setting::Rings {
        link: link.name.clone(),
    };
    let passed = rings.rx >= rx && rings.tx >= tx;
    let value = format!("{} {}", rx.max(rings.rx), tx.max(rings.tx));
    Ok(Verdict::new(
        passed,
        read,
        format!("rx {rx}, tx {tx}: min(maximum, {goal})"),
    )
    .fix(Fix::change(setting, value)))
}

fn ring_drops(case: &Case<'_>, link: &LinkFacts) -> Judged {
    no_growth(
        case,
        link,
        &DROP_COUNTERS,
        Some(Meaning::Drop),
        "a larger ring (nic.ring), more channels (nic.channels)",
    )
}

/// Processors that may serve the card: those near it, else all.
fn near_cpus(case: &Case<'_>, link: &LinkFacts) -> u32 {
    let near = link.local_cpus.value().map_or(0, Vec::len);
    let near = u32::try_from(near).unwrap_or(u32::MAX);
    if near == 0 {
        case.facts.cpu.online
    } else {
        near
    }
}

fn channels(case: &Case<'_>, link: &LinkFacts) -> Judged {
    let channels = link.channels.need()?;
    if channels.combined_max == 0 {
        return Ok(Verdict::report(format!(
            "no combined channels; rx {}, tx {}",
            channels.rx, channels.tx
        )));
    }
    let speed = link.speed_mbit()?;
    let cap = case.values.row(speed).channels;
    let want = channels
        .combined_max
        .min(near_cpus(case, link))
        .min(cap)
        .max(1);
    let setting = Setting::Channels {
        link: link.name.clone(),
    };
    Ok(Verdict::new(
        channels.combined >= want,
        format!("{} of {}", channels.combined, channels.combined_max),
        format!("{want}: min(maximum, processors near the card, {cap})"),
    )
    .fix(Fix::change(setting, want.to_string())))
}

fn coalesce(case: &Case<'_>, link: &LinkFacts) -> Judged {
    let coalesce = link.coalesce.need()?;
    let usecs = coalesce.rx_usecs;
    let fixed = usecs.map_or_else(|| "unknown".to_owned(), |usecs| format!("{usecs} us"));
    let Some(adaptive) = coalesce.adaptive_rx else {
        return Ok(Verdict::report(format!("rx {fixed}, no adaptive mode")));
    };
    let setting = Setting::AdaptiveReceive {
        link: link.name.clone(),
    };
    let read = format!(
        "adaptive-rx {}, rx {fixed}",
        if adaptive { "on" } else { "off" }
    );
    if case.profile == Profile::Latency {
        let most = case.values.limits.latency_coalesce_us_max;
        let passed = !adaptive && usecs.is_none_or(|usecs| usecs <= most);
        return Ok(
            Verdict::new(passed, read, format!("fixed, at most {most} us"))
                .fix(Fix::change(setting, "off")),
        );
    }
    Ok(Verdict::new(adaptive, read, "adaptive-rx on").fix(Fix::change(setting, "on")))
}

fn pause(case: &Case<'_>, link: &LinkFacts) -> Judged {
    let pause = link.pause.need()?;
    let word = |on| if on { "on" } else { "off" };
    let read = format!(
        "rx {}, tx {}{}",
        word(pause.rx),
        word(pause.tx),
        if pause.autoneg { ", negotiated" } else { "" }
    );
    let other = case
        .peer
        .and_then(|peer| peer.carrying_link()?.pause.value().cloned());
    let Some(other) = other else {
        return Ok(Verdict::report(read).note("compare with the other end: --peer"));
    };
    let passed = (pause.rx, pause.tx) == (other.rx, other.tx);
    let setting = Setting::Pause {
        link: link.name.clone(),
    };
    let value = format!("{} {}", word(other.rx), word(other.tx));
    Ok(Verdict::new(
        passed,
        read,
        format!("as the peer: rx {}, tx {}", word(other.rx), word(other.tx)),
    )
    .fix(Fix::change(setting, value)))
}

/// Disciplines that somebody sets up on purpose: another one would take their rules away.
const SHAPERS: [&str; 13] = [
    "cake", "cbs", "drr", "ets", "etf", "hfsc", "htb", "mqprio", "netem", "prio", "qfq", "taprio",
    "tbf",
];

fn queueing(case: &Case<'_>, link: &LinkFacts) -> Judged {
    if link.qdiscs.is_empty() {
        return Err(not_here("the kernel lists no queueing discipline"));
    }
    let read = link.qdiscs.join(", ");
    if let Some(shaper) = link
        .qdiscs
        .iter()
        .find(|kind| SHAPERS.contains(&kind.as_str()))
    {
        return Err(not_here(format!(
            "somebody shapes this link with {shaper}, which is left alone"
        )));
    }
    let uses_bbr = case.facts.sysctl("net.ipv4.tcp_congestion_control") == Ok("bbr");
    let software = !link.is_device() && link.qdiscs.iter().all(|kind| kind == "noqueue");
    let fair = link.qdiscs.iter().any(|kind| kind == "fq");
    let managed = fair || link.qdiscs.iter().any(|kind| kind == "fq_codel");
    if uses_bbr {
        let advice = "either cubic (sys.cc), or fq: sysctl -w net.core.default_qdisc=fq and set \
                      the link down and up";
        return Ok(Verdict::new(fair, read, "fq, because bbr is in use").fix(Fix::hands(advice)));
    }
    if software {
        return Ok(Verdict::new(true, read, "none: the device below queues"));
    }
    let command = if link.queues.transmit > 1 {
        format!(
            "sysctl -w net.core.default_qdisc=fq; tc qdisc replace dev {} root mq",
            link.name
        )
    } else {
        format!("tc qdisc replace dev {} root fq", link.name)
    };
    Ok(Verdict::new(managed, read, "mq over fq or fq_codel").fix(Fix::hands(command)))
}

fn transmit_queue(_: &Case<'_>, link: &LinkFacts) -> Judged {
    if !link.is_device() && link.kind != "veth" {
        return Err(not_here("not a device with a queue"));
    }
    let setting = Setting::TransmitQueue {
        link: link.name.clone(),
    };
    let want = TRANSMIT_QUEUE_MIN.to_string();
    Ok(Verdict::new(
        link.transmit_queue >= TRANSMIT_QUEUE_MIN,
        link.transmit_queue.to_string(),
        format!("{want} or more"),
    )
    .fix(Fix::change(setting, want)))
}

fn driver(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let driver = link.driver.need()?;
    let firmware = link
        .firmware
        .value()
        .map(|text| format!(", firmware {text}"));
    Ok(Verdict::report(format!(
        "{driver}{}",
        firmware.unwrap_or_default()
    )))
}

fn private_flags(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let flags = link.private_flags.need()?;
    let read = if flags.is_empty() {
        "none on".to_owned()
    } else {
        flags.join(", ")
    };
    Ok(Verdict::report(read))
}

fn temperature(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let (now, limit) = link.temperature.need()?;
    Ok(Verdict::new(
        now < limit,
        format!("{now:.0} degrees"),
        format!("below {limit:.0} degrees"),
    )
    .fix(Fix::hands("give the card air; 10GBASE-T runs hot")))
}
