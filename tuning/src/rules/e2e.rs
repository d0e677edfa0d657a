//! Rules of the way to a peer.
//!
//! Invariant: pure functions of both ends' facts; what was not measured is unknown and never
//! counts as passed.

use super::{Named, Rule, speed_text};
use crate::case::Case;
use crate::change::{Fix, Setting};
use crate::diff;
use crate::facts::LinkFacts;
use crate::formula::goal_mbit;
use crate::pair;
use crate::peer::{PeerFacts, Rtt, Transfer};
use crate::reading::Reading;
use crate::verdict::{Judged, State, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("e2e.route", Rule::Peer(route)),
    ("e2e.pmtu_fwd", Rule::Peer(path_there)),
    ("e2e.pmtu_rev", Rule::Peer(path_back)),
    ("e2e.pmtu_blackhole", Rule::Peer(black_hole)),
    ("e2e.mtu_mismatch", Rule::Peer(mtu_mismatch)),
    ("e2e.speed_asym", Rule::Peer(speeds)),
    ("e2e.tune_diff", Rule::Peer(differences)),
    ("e2e.rtt", Rule::Peer(idle)),
    ("e2e.rtt_loaded", Rule::Peer(loaded)),
    ("e2e.retrans", Rule::Peer(retransmits)),
    ("e2e.reorder", Rule::Peer(reordering)),
    ("e2e.throughput", Rule::Peer(throughput)),
    ("e2e.asym", Rule::Peer(asymmetry)),
    ("e2e.pause_delta", Rule::Peer(pauses)),
    ("e2e.drop_delta", Rule::Peer(drops)),
    ("e2e.fcs_delta", Rule::Peer(broken_frames)),
    ("e2e.cpu_bound", Rule::Peer(full_core)),
];

fn own_link<'a>(case: &Case<'a>, peer: &PeerFacts) -> Result<&'a LinkFacts, State> {
    let name = peer.own_link.as_deref().unwrap_or("");
    case.facts
        .link(name)
        .ok_or_else(|| not_here("the link towards the peer is not known"))
}

fn peer_link(peer: &PeerFacts) -> Result<&LinkFacts, State> {
    peer.facts.need()?;
    peer.carrying_link()
        .ok_or_else(|| not_here("the peer did not name its link"))
}

fn route(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    let link = own_link(case, peer)?;
    let speed = link.speed_mbit().unwrap_or(0);
    let faster = case.facts.links.iter().find(|other| {
        other.admin_up
            && other.operstate == "up"
            && !other.addresses.is_empty()
            && other.speed_mbit().is_ok_and(|its| its > speed && speed > 0)
    });
    let read = format!("{} ({})", link.name, link.kind);
    let passed = link.kind != "wireless" && faster.is_none();
    let want = faster.map_or_else(
        || "a wired link, the fastest".to_owned(),
        |other| format!("{}, which is faster and up", other.name),
    );
    Ok(Verdict::new(passed, read, want).fix(Fix::hands(
        "use the peer's address on the fast subnet; give both ends one there",
    )))
}

/// Largest IP packet, in bytes (RFC 791, RFC 8200): loopback's MTU is larger.
const PACKET_BYTES_MAX: u32 = 65_535;

/// What the path must carry: the smaller MTU of both ends.
fn promised(case: &Case<'_>, peer: &PeerFacts) -> Result<u32, State> {
    let own = own_link(case, peer)?.mtu;
    let smaller = peer.carrying_link().map_or(own, |link| link.mtu.min(own));
    Ok(smaller.min(PACKET_BYTES_MAX))
}

fn path(case: &Case<'_>, peer: &PeerFacts, measured: &Reading<u32>) -> Judged {
    let found = *measured.need()?;
    let want = promised(case, peer)?;
    let payload = want.saturating_sub(28);
    Ok(Verdict::new(
        found >= want,
        format!("{found} bytes"),
        format!("{want} bytes, the smaller MTU of both ends"),
    )
    .fix(Fix::hands(format!(
        "raise the MTU of the switch or router between, or lower both ends to {found}"
    )))
    .note(format!(
        "by hand: Linux `ping -M do -s {payload}`, Windows `ping -f -l {payload}`, macOS `ping -D \
         -s {payload}`; a payload of 8000 proves 8028 only"
    )))
}

fn path_there(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    path(case, peer, &peer.path_mtu_there)
}

fn path_back(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    path(case, peer, &peer.path_mtu_back)
}

fn black_hole(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    let hole = *peer.black_hole.need()?;
    let read = if hole {
        "large packets vanish without an ICMP error"
    } else {
        "none"
    };
    let key = "net.ipv4.tcp_mtu_probing";
    let verdict = Verdict::new(!hole, read, "none").fix(Fix::hands(
        "let ICMP fragmentation-needed (IPv6: packet too big) pass, or set one MTU on the whole \
         path",
    ));
    let off = case.facts.sysctl(key) == Ok("0");
    Ok(if off {
        verdict.fix(Fix::sysctl(key, "1"))
    } else {
        verdict
    })
}

fn mtu_mismatch(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    let own = own_link(case, peer)?;
    let theirs = peer_link(peer)?;
    let verdict = Verdict::new(
        own.mtu == theirs.mtu,
        format!("here {}, peer {}", own.mtu, theirs.mtu),
        "equal",
    );
    let verdict = match pair::unequal(("this host", own), (&peer.address, theirs)) {
        Some(order) => verdict.note(order),
        None => verdict,
    };
    if own.mtu > theirs.mtu {
        return Ok(verdict.fix(Fix::hands(format!(
            "on the peer: ip link set {} mtu {}",
            theirs.name, own.mtu
        ))));
    }
    let setting = Setting::Mtu {
        link: own.name.clone(),
    };
    Ok(verdict.fix(Fix::change(setting, theirs.mtu.to_string())))
}

fn speeds(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    let own = own_link(case, peer)?.speed_mbit()?;
    let theirs = peer_link(peer)?.speed_mbit()?;
    let read = format!("here {}, peer {}", speed_text(own), speed_text(theirs));
    let side = if own < theirs {
        "this end limits"
    } else {
        "the peer's end limits"
    };
    Ok(Verdict::new(own == theirs, read, "equal").fix(Fix::hands(side)))
}

fn differences(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    let theirs = peer.facts.need()?;
    let own = own_link(case, peer)?;
    let rows = diff::rows((case.facts, own), (theirs, peer_link(peer)?));
    let read = if rows.is_empty() {
        "none".to_owned()
    } else {
        let parts: Vec<String> = rows
            .iter()
            .map(|row| format!("{}: {} / {}", row.what, row.left, row.right))
            .collect();
        parts.join("; ")
    };
    Ok(
        Verdict::new(rows.is_empty(), read, "no difference that matters").fix(Fix::hands(
            "towline tune diff, then tune the end that differs",
        )),
    )
}

fn rtt_text(rtt: &Rtt) -> String {
    format!(
        "p50 {:.3}, p99 {:.3}, max {:.3} ms, {} of {} lost",
        rtt.p50_ms, rtt.p99_ms, rtt.max_ms, rtt.lost, rtt.sent
    )
}

fn idle(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    let Some(rtt) = &peer.rtt_idle else {
        return Err(not_here("not measured"));
    };
    let preset = case.preset.map(|preset| preset.rtt_ms_max);
    let most = preset.unwrap_or(case.values.limits.rtt_p50_ms_max);
    Ok(Verdict::new(
        rtt.p50_ms < most,
        rtt_text(rtt),
        format!("p50 below {most} ms on a LAN"),
    )
    .fix(Fix::hands(
        "coalescing (nic.coalesce), sleep states (cpu.cstate), the switch",
    )))
}

fn loaded(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    let (Some(idle), Some(loaded)) = (&peer.rtt_idle, &peer.rtt_loaded) else {
        return Err(not_here("not measured"));
    };
    let most = idle.p99_ms + case.values.limits.rtt_loaded_extra_ms_max;
    Ok(Verdict::new(
        loaded.p99_ms < most,
        rtt_text(loaded),
        format!("p99 below {most:.3} ms"),
    )
    .fix(Fix::hands(
        "fq or fq_codel at the sender, a smaller ring, pause frames (nic.pause)",
    )))
}

fn transfers(peer: &PeerFacts) -> Result<Vec<(&'static str, &Transfer)>, State> {
    let both = [("to the peer", &peer.there), ("from the peer", &peer.back)];
    let made: Vec<(&'static str, &Transfer)> = both
        .into_iter()
        .filter_map(|(way, transfer)| Some((way, transfer.as_ref()?)))
        .collect();
    if made.is_empty() {
        return Err(not_here("no transfer was made"));
    }
    Ok(made)
}

fn retransmits(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    let most = case.values.limits.retransmits_percent_max;
    let mut parts = Vec::new();
    let mut worst: f64 = 0.0;
    for (way, transfer) in transfers(peer)? {
        let count = |name: &str| transfer.sender.stack.get(name).copied().unwrap_or(0);
        let (again, all) = (count("RetransSegs"), count("OutSegs"));
        let percent = 100.0 * again as f64 / all.max(1) as f64;
        worst = worst.max(percent);
        parts.push(format!("{way} {again} of {all} ({percent:.4} %)"));
    }
    Ok(
        Verdict::new(worst < most, parts.join("; "), format!("below {most} %")).fix(Fix::hands(
            "find the losing hop: e2e.drop_delta and e2e.fcs_delta name the end",
        )),
    )
}

fn reordering(_: &Case<'_>, peer: &PeerFacts) -> Judged {
    let mut sum = 0;
    for (_, transfer) in transfers(peer)? {
        let count = |name: &str| transfer.sender.stack.get(name).copied().unwrap_or(0);
        sum += count("TCPSACKReorder") + count("TCPTSReorder");
    }
    Ok(
        Verdict::new(sum == 0, sum.to_string(), "0 on a LAN").fix(Fix::hands(
            "a bond that spreads packets of one flow (balance-rr) reorders",
        )),
    )
}

fn throughput(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    let link = own_link(case, peer)?;
    let goal = match case.preset {
        Some(preset) => preset.goal_mbit,
        None => {
            let mut speed = link.speed_mbit()?;
            if let Some(theirs) = peer.carrying_link().and_then(|link| link.speed_mbit().ok()) {
                speed = speed.min(theirs);
            }
            let mtu = promised(case, peer)?;
            goal_mbit(&case.values.formula, speed, mtu, case.headers(link))
        }
    };
    let made = transfers(peer)?;
    let parts: Vec<String> = made
        .iter()
        .map(|(way, transfer)| format!("{way} {:.2} Gbit/s", transfer.mbit / 1000.0))
        .collect();
    let least = made
        .iter()
        .map(|(_, transfer)| transfer.mbit)
        .fold(f64::MAX, f64::min);
    let want = format!("{:.2} Gbit/s each way", goal / 1000.0);
    let verdict = Verdict::new(least >= goal, parts.join(", "), want).fix(Fix::hands(
        "the other findings say why; begin with errors, then MTU, then full cores",
    ));
    if case.preset.is_some() && link.mtu <= 1500 {
        return Ok(verdict.note(
            "at MTU 1500 with timestamps the ceiling of 10G is 9.415 Gbit/s: the preset of 9.4 \
             needs MTU 9000 in practice",
        ));
    }
    Ok(verdict)
}

fn asymmetry(case: &Case<'_>, peer: &PeerFacts) -> Judged {
    let (Some(there), Some(back)) = (&peer.there, &peer.back) else {
        return Err(not_here("not both directions were measured"));
    };
    let most = case.values.limits.asymmetry_percent_max;
    let percent = 100.0 * (there.mbit - back.mbit).abs() / there.mbit.max(back.mbit).max(1.0);
    let slow = if there.mbit < back.mbit {
        "to the peer"
    } else {
        "from the peer"
    };
    Ok(Verdict::new(
        percent < most,
        format!("{percent:.0} %"),
        format!("below {most} %"),
    )
    .fix(Fix::hands(format!(
        "slower {slow}: compare both ends, e2e.tune_diff"
    ))))
}

/// Growth of named link counters at both ends of all transfers.
fn growth(peer: &PeerFacts, names: &[&str], advice: &str) -> Judged {
    let mut parts = Vec::new();
    let mut counted = false;
    for (way, transfer) in transfers(peer)? {
        for (end, deltas) in [
            ("sender", &transfer.sender),
            ("receiver", &transfer.receiver),
        ] {
            for name in names {
                let Some(delta) = deltas.link.get(*name) else {
                    continue;
                };
                counted = true;
                if *delta > 0 {
                    parts.push(format!("{way}, {end}: {name} +{delta}"));
                }
            }
        }
    }
    if !counted {
        return Err(not_here("neither driver counts this"));
    }
    let read = if parts.is_empty() {
        "+0".to_owned()
    } else {
        parts.join("; ")
    };
    Ok(Verdict::new(parts.is_empty(), read, "no growth").fix(Fix::hands(advice)))
}

fn pauses(_: &Case<'_>, peer: &PeerFacts) -> Judged {
    let names = ["pause_rx_frames", "pause_tx_frames", "driver_pause_frames"];
    growth(
        peer,
        &names,
        "the end that sends pause frames cannot keep up: its rings and cores",
    )
}

fn drops(_: &Case<'_>, peer: &PeerFacts) -> Judged {
    let names = [
        "rx_dropped",
        "rx_missed_errors",
        "rx_fifo_errors",
        "tx_dropped",
        "driver_drops",
    ];
    growth(
        peer,
        &names,
        "rings and channels of the end that drops (nic.ring)",
    )
}

fn broken_frames(_: &Case<'_>, peer: &PeerFacts) -> Judged {
    let names = ["rx_crc_errors", "rx_frame_errors", "driver_broken_frames"];
    growth(peer, &names, "cable, module, port")
}

fn full_core(_: &Case<'_>, peer: &PeerFacts) -> Judged {
    /// Percent from which a core counts as full: the sample's own granularity is about 1 %.
    const FULL: f64 = 98.0;
    let mut parts = Vec::new();
    let mut full = false;
    for (way, transfer) in transfers(peer)? {
        for (end, deltas) in [
            ("sender", &transfer.sender),
            ("receiver", &transfer.receiver),
        ] {
            if let Some((cpu, busy, soft)) = deltas.busiest {
                full |= busy >= FULL;
                parts.push(format!(
                    "{way}, {end}: cpu{cpu} {busy:.0} % ({soft:.0} % soft interrupts)"
                ));
            }
        }
    }
    if parts.is_empty() {
        return Err(not_here("no processor times were read"));
    }
    Ok(
        Verdict::new(!full, parts.join("; "), "no core at 100 %").fix(Fix::hands(
            "larger frames (link.mtu), offloads, more channels, a faster governor",
        )),
    )
}
