//! A test in words and columns for people, at most 100 wide.
//!
//! Invariant: what is shown comes from a [`LinkRun`] or an [`Interval`] alone; `->` is the
//! direction in which this end sends, `<-` the other. What is not known is a dash.

use std::fmt::Write;

use super::run::{Interval, LinkRun, Side, StreamInterval};
use super::session::Ended;
use crate::iperf3::{Direction, Parameters, Transport};
use crate::result::figure::seconds;
use crate::result::{Report, Unit};

/// The head above the lines of [`interval`].
pub const HEAD: &str = "   seconds         moved          rate    retr/lost  rtt/jitter    window  \
                        busiest core\n";

/// Most intervals in a server's account, as a count: an hour of seconds, 400 KiB of text.
const ACCOUNT_INTERVALS_MAX: usize = 3600;

/// What was asked for, in one line.
#[must_use]
pub fn asked(parameters: &Parameters) -> String {
    let transport = match parameters.transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    let direction = match parameters.direction {
        Direction::Forward => "client sends",
        Direction::Reverse => "server sends",
        Direction::Both => "both send",
    };
    let amount = match (parameters.bytes, parameters.blocks) {
        (0, 0) if parameters.time_s == 0 => "until it is interrupted".to_owned(),
        (0, 0) => format!("{} s", parameters.time_s),
        (0, blocks) => format!("{blocks} blocks"),
        (bytes, _) => size(bytes),
    };
    let rate = match parameters.bandwidth {
        0 => String::new(),
        rate => format!(" at {} each", Unit::BitsPerSecond.show(rate as f64)),
    };
    let omit = match parameters.omit_s {
        0 => String::new(),
        omit => format!(" after {omit} s that do not count"),
    };
    let streams = match parameters.parallel {
        1 => "1 stream".to_owned(),
        many => format!("{many} streams"),
    };
    format!(
        "{transport}, {direction}, {streams} of {} blocks{rate}, {amount}{omit}",
        size(parameters.len.into())
    )
}

/// One interval: a line for each direction that has streams.
#[must_use]
pub fn interval(interval: &Interval) -> String {
    let mut text = String::new();
    for sends in [true, false] {
        let streams: Vec<&StreamInterval> = interval
            .streams
            .iter()
            .filter(|stream| stream.sends == sends)
            .collect();
        if !streams.is_empty() {
            text.push_str(&line(interval, sends, &streams));
        }
    }
    text
}

fn line(interval: &Interval, sends: bool, streams: &[&StreamInterval]) -> String {
    let length = (interval.end_s - interval.start_s).max(1e-9);
    let bytes: u64 = streams.iter().map(|stream| stream.bytes).sum();
    let rate = Unit::BitsPerSecond.show(bytes as f64 * 8.0 / length);
    let times = format!("{:.1}-{:.1}", interval.start_s, interval.end_s);
    let sum = |part: fn(&StreamInterval) -> u64| streams.iter().map(|stream| part(stream)).sum();
    let datagrams: u64 = sum(|stream| stream.packets);
    let trouble = match (datagrams > 0, sends) {
        (true, false) => {
            let lost: u64 = sum(|stream| stream.lost);
            format!("{lost}/{datagrams}")
        }
        (true, true) => "-".to_owned(),
        (false, true) => sum(|stream| stream.retransmits.unwrap_or(0)).to_string(),
        (false, false) => "-".to_owned(),
    };
    let infos = || streams.iter().filter_map(|stream| stream.tcp.as_ref());
    let count = infos().count().max(1) as f64;
    let rtt = match (datagrams > 0, sends) {
        (true, false) => {
            let jitter: f64 = streams.iter().map(|stream| stream.jitter_s).sum();
            seconds(jitter / streams.len() as f64)
        }
        (false, true) => {
            let rtts: f64 = infos().map(|info| f64::from(info.rtt_us)).sum();
            seconds(rtts / count / 1e6)
        }
        _ => "-".to_owned(),
    };
    let window: u64 = infos()
        .map(|info| u64::from(info.congestion_window) * u64::from(info.segment_bytes))
        .sum();
    let window = match sends && window > 0 {
        true => size(window),
        false => "-".to_owned(),
    };
    let core = interval.busiest_core.map_or_else(
        || "-".to_owned(),
        |(core, busy)| format!("{core}: {busy:.0} %"),
    );
    let arrow = if sends { "->" } else { "<-" };
    let note = if interval.omitted { " omitted" } else { "" };
    let moved = size(bytes);
    format!(
        "{arrow} {times:<11} {moved:>9} {rate:>13} {trouble:>12} {rtt:>11} {window:>9} \
         {core:>9}{note}\n"
    )
}

/// What a server tells a client that asks for its output: its own counts.
#[must_use]
pub(super) fn account(ended: &Ended) -> String {
    let mut text = format!("towline {}\n{HEAD}", env!("CARGO_PKG_VERSION"));
    for one in ended.intervals.iter().take(ACCOUNT_INTERVALS_MAX) {
        text.push_str(&interval(one));
    }
    for stream in &ended.streams {
        let arrow = if stream.sends { "->" } else { "<-" };
        let bytes = size(stream.own.bytes);
        let _ = writeln!(text, "{arrow} stream {}: {bytes}", stream.own.id);
    }
    text
}

/// The whole test: sums of each direction, round trips, processors, and how it ended.
#[must_use]
pub fn summary(run: &LinkRun) -> String {
    let mut text = String::new();
    for sends in [true, false] {
        if run.streams_that(sends).next().is_some() {
            text.push_str(&direction(run, sends));
        }
    }
    for (name, latency) in [("rtt idle", &run.rtt_idle), ("rtt loaded", &run.rtt_loaded)] {
        let Some(latency) = latency else { continue };
        let beyond = match latency.supports(0.999) {
            true => format!(", p99.9 {}", seconds(latency.p999_s)),
            false => String::new(),
        };
        let _ = writeln!(
            text,
            "{name:<12} p50 {}, p99 {}{beyond}, most {} ({}, {} samples)",
            seconds(latency.p50_s),
            seconds(latency.p99_s),
            seconds(latency.max_s),
            latency.source,
            latency.count
        );
    }
    text.push_str(&processors(run));
    if let Some(fault) = &run.fault {
        let _ = writeln!(text, "ended early: {fault}");
    }
    text
}

/// The verdict with its evidence, the goals, and what a reader must know.
#[must_use]
pub fn judgement(report: &Report) -> String {
    let mut text = String::new();
    if let Some(verdict) = &report.verdict {
        let _ = writeln!(text, "\n{}\n  {}", verdict.line(), verdict.advice);
        for evidence in &verdict.evidence {
            let _ = writeln!(text, "  - {}", evidence.says);
        }
    }
    for target in &report.targets {
        let _ = writeln!(text, "{}", target.line());
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn direction(run: &LinkRun, sends: bool) -> String {
    let (sent, received) = run.moved(sends);
    let rate = Unit::BitsPerSecond.show(run.bits_per_second(sends));
    let arrow = if sends { "->" } else { "<-" };
    let towards = match (run.side, sends) {
        (Side::Client, true) | (Side::Server, false) => "client to server",
        (Side::Client, false) | (Side::Server, true) => "server to client",
    };
    let mut text = format!("{arrow} {towards}: {rate}, {:.2} s", run.seconds);
    if run.peer.is_some() {
        let _ = write!(text, ", sent {}, received {}", size(sent), size(received));
    } else {
        let own = if sends { sent } else { received };
        let _ = write!(text, ", {} by this end's count", size(own));
    }
    match run.parameters.transport {
        Transport::Tcp => {
            let count = |sends_own: bool| -> Option<u64> {
                let streams = run.streams_that(sends);
                streams
                    .map(|stream| match sends_own {
                        true => stream.own.retransmits,
                        false => stream.peer.as_ref().and_then(|peer| peer.retransmits),
                    })
                    .sum()
            };
            if let Some(count) = count(sends) {
                let _ = write!(text, ", {count} retransmits");
            }
        }
        Transport::Udp => {
            let (lost, packets, jitter) = loss(run, sends);
            let percent = 100.0 * lost as f64 / packets.max(1) as f64;
            let _ = write!(
                text,
                ", {lost} of {packets} datagrams lost ({percent:.2} %), jitter {}",
                seconds(jitter)
            );
        }
    }
    text.push('\n');
    text
}

/// Datagrams lost and sent in a direction, and the mean jitter in seconds: what the receiver says,
/// with the end that it cannot see taken from the sender.
#[must_use]
pub fn loss(run: &LinkRun, sends: bool) -> (i64, i64, f64) {
    let (mut lost, mut packets, mut jitter, mut count) = (0, 0, 0.0, 0.0);
    for stream in run.streams_that(sends) {
        let (sender, receiver) = match sends {
            true => (Some(&stream.own), stream.peer.as_ref()),
            false => (stream.peer.as_ref(), Some(&stream.own)),
        };
        let Some(receiver) = receiver else { continue };
        let (receiver_lost, receiver_packets) = receiver.lost_and_packets();
        lost += receiver_lost;
        packets += receiver_packets;
        // What a 3.12 sender says includes the omitted time, so its end cannot be compared.
        if let Some(sender) = sender
            && receiver_packets == 0
        {
            let (_, sender_packets) = sender.lost_and_packets();
            lost += sender_packets;
            packets += sender_packets;
        }
        jitter += receiver.jitter_s;
        count += 1.0;
    }
    (lost, packets, jitter / f64::max(count, 1.0))
}

fn processors(run: &LinkRun) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let (there, back) = (run.moved(true), run.moved(false));
    let bytes = there.0.max(there.1) + back.0.max(back.1);
    let line = |name: &str,
                total: f64,
                user: f64,
                system: f64,
                cores: &[crate::result::CoreUse]| {
        let per_gib = total / 100.0 * run.seconds / gib(bytes).max(1e-9);
        let busiest = cores.iter().max_by(|a, b| a.busy.total_cmp(&b.busy));
        let core = busiest.map_or_else(String::new, |core| {
            format!(", busiest core {} {:.0} %", core.core, core.busy)
        });
        let cost = match bytes {
            0 => String::new(),
            _ => format!(", {per_gib:.2} s/GiB"),
        };
        format!(
            "{name:<12} {total:.0} % of a core (user {user:.0}, system {system:.0}){cost}{core}\n"
        )
    };
    let own = run.process;
    let mut text = line("cpu here", own.total, own.user, own.system, &run.own.cores);
    if let Some(peer) = &run.peer {
        let cores = run.peer_view.as_ref().map_or(&[][..], |view| &view.cores);
        text.push_str(&line(
            "cpu there",
            peer.cpu_total,
            peer.cpu_user,
            peer.cpu_system,
            cores,
        ));
    }
    text
}

/// A size in 1024s with three digits.
#[must_use]
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match value {
        value if unit == "B" || value >= 100.0 => format!("{value:.0} {unit}"),
        value if value >= 10.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.2} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_and_says_what_moved() {
        let interval = Interval {
            start_s: 0.0,
            end_s: 1.0,
            streams: vec![StreamInterval {
                sends: true,
                bytes: 1_250_000_000,
                retransmits: Some(12),
                ..StreamInterval::default()
            }],
            busiest_core: Some((11, 99.6)),
            omitted: true,
        };
        let text = super::interval(&interval);
        assert!(
            text.contains("10.0 Gbit/s") && text.contains(" 12 "),
            "{text}"
        );
        assert!(
            text.trim_end().len() <= 100 && HEAD.trim_end().len() <= 100,
            "{text}"
        );
    }

    #[test]
    fn sizes_have_three_digits() {
        assert_eq!(size(131_072), "128 KiB");
        assert_eq!(size(5 << 20), "5.00 MiB");
        assert_eq!(size(1), "1 B");
    }
}
