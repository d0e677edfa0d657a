//! A link test as a [`Report`]: figures, series, latencies, processors, verdict and goals.
//!
//! Invariant: figures have the names of [`crate::result::target::GOALS`] where one exists; `link`
//! is what arrived in the main direction.

use super::run::{Interval, LinkRun, Side};
use super::{text, verdict};
use crate::goals;
use crate::iperf3::{Direction, Transport};
use crate::result::figure::Unit;
use crate::result::{Better, Kind, Report, Sample, Series, SideCpu, Target};

/// The report of a test.
#[must_use]
pub fn of(run: &LinkRun) -> Report {
    let mut report = Report::new(Kind::Link, run.host.clone(), run.started.as_secs());
    report.options = options(run);
    let main = main_is_outward(run);
    let bits = Unit::BitsPerSecond;
    report.put("link", run.bits_per_second(main), bits, Better::Higher);
    if run.parameters.direction == Direction::Both {
        let other = run.bits_per_second(!main);
        report.put("link_reverse", other, bits, Better::Higher);
    }
    for (name, latency) in [("rtt", &run.rtt_idle), ("rtt_loaded", &run.rtt_loaded)] {
        if let Some(latency) = latency {
            report.put_latency(name, latency.clone());
        }
    }
    put_trouble(&mut report, run, main);
    report.cpu = processors(run);
    for side in &report.cpu.clone() {
        if let Some(cost) = side.seconds_per_gib {
            let name = match side.side.as_str() {
                "this host" => "cpu_here",
                _ => "cpu_there",
            };
            report.put(name, cost, Unit::SecondsPerGib, Better::Lower);
        }
    }
    for (sends, name) in [(true, "sent"), (false, "received")] {
        if run.streams_that(sends).next().is_some() {
            report.series.push(series(run, sends, name));
        }
    }
    report.verdict = verdict::of(run);
    report.notes = notes(run);
    report.card_goal = goal_of_cards(run);
    report
}

fn main_is_outward(run: &LinkRun) -> bool {
    let client_sends = run.parameters.direction != Direction::Reverse;
    client_sends == (run.side == Side::Client)
}

/// What two reports must share to be compared.
fn options(run: &LinkRun) -> std::collections::BTreeMap<String, String> {
    let parameters = &run.parameters;
    let direction = match parameters.direction {
        Direction::Forward => "forward",
        Direction::Reverse => "reverse",
        Direction::Both => "both",
    };
    let transport = match parameters.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let rows = [
        ("transport", transport.to_owned()),
        ("direction", direction.to_owned()),
        ("streams", parameters.parallel.to_string()),
        ("block_bytes", parameters.len.to_string()),
        ("bits_per_s", parameters.bandwidth.to_string()),
        ("zerocopy", run.zerocopy.to_owned()),
        ("receive", run.own.receive.clone()),
    ];
    rows.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn put_trouble(report: &mut Report, run: &LinkRun, main: bool) {
    match run.parameters.transport {
        Transport::Tcp => {
            let counts = run.streams_that(main).map(|stream| match main {
                true => stream.own.retransmits,
                false => stream.peer.as_ref().and_then(|peer| peer.retransmits),
            });
            if let Some(count) = counts.sum::<Option<u64>>() {
                report.put("retransmits", count as f64, Unit::Count, Better::Lower);
            }
        }
        Transport::Udp => {
            let (lost, packets, jitter) = text::loss(run, main);
            let percent = 100.0 * lost as f64 / packets.max(1) as f64;
            report.put("loss", percent, Unit::Percent, Better::Lower);
            report.put("jitter", jitter, Unit::Seconds, Better::Lower);
        }
    }
}

fn processors(run: &LinkRun) -> Vec<SideCpu> {
    let (there, back) = (run.moved(true), run.moved(false));
    let bytes = there.0.max(there.1) + back.0.max(back.1);
    let gib = bytes as f64 / f64::from(1 << 30);
    let cost = |percent: f64| (bytes > 0).then(|| percent / 100.0 * run.seconds / gib);
    let own = SideCpu {
        side: "this host".to_owned(),
        process: Some(run.process.total),
        process_user: Some(run.process.user),
        process_system: Some(run.process.system),
        seconds_per_gib: cost(run.process.total),
        cores: run.own.cores.clone(),
    };
    let peer = run.peer.as_ref().map(|peer| SideCpu {
        side: "peer".to_owned(),
        process: Some(peer.cpu_total),
        process_user: Some(peer.cpu_user),
        process_system: Some(peer.cpu_system),
        seconds_per_gib: cost(peer.cpu_total),
        cores: run
            .peer_view
            .as_ref()
            .map_or_else(Vec::new, |view| view.cores.clone()),
    });
    [Some(own), peer].into_iter().flatten().collect()
}

fn series(run: &LinkRun, sends: bool, name: &str) -> Series {
    let is_udp = run.parameters.transport == Transport::Udp;
    let samples = run.intervals.iter();
    Series {
        name: name.to_owned(),
        samples: samples
            .map(|interval| sample(interval, sends, is_udp))
            .collect(),
    }
}

fn sample(interval: &Interval, sends: bool, is_udp: bool) -> Sample {
    let streams = || interval.streams.iter().filter(|one| one.sends == sends);
    let infos = || streams().filter_map(|stream| stream.tcp);
    let rtts: u64 = infos().map(|info| u64::from(info.rtt_us)).sum();
    let windows =
        infos().map(|info| u64::from(info.congestion_window) * u64::from(info.segment_bytes));
    let is_sender = sends && !is_udp;
    Sample {
        start_s: interval.start_s,
        end_s: interval.end_s,
        bytes: streams().map(|stream| stream.bytes).sum(),
        operations: is_udp.then(|| streams().map(|stream| stream.packets).sum()),
        retransmits: is_sender.then(|| streams().filter_map(|one| one.retransmits).sum()),
        lost: (is_udp && !sends).then(|| streams().map(|stream| stream.lost).sum()),
        rtt_us: is_sender.then(|| rtts / (infos().count() as u64).max(1)),
        window_bytes: is_sender.then(|| windows.sum()),
        busiest_core_percent: interval.busiest_core.map(|(_, busy)| busy),
        omitted: interval.omitted,
    }
}

fn notes(run: &LinkRun) -> Vec<String> {
    let mut notes = Vec::new();
    let receives = run.streams_that(false).next().is_some();
    if receives && run.own.receive == "discard" {
        let note = "received bytes were thrown away in the kernel here; iperf3 copies them \
                    (--receive copy does the same)";
        notes.push(note.to_owned());
    }
    let there = run.peer_view.as_ref();
    let sends = run.streams_that(true).next().is_some();
    if sends && there.is_some_and(|view| view.receive == "discard") {
        let note = "received bytes were thrown away in the kernel there; iperf3 copies them \
                    ('bench serve --receive copy' does the same)";
        notes.push(note.to_owned());
    }
    if run.rtt_idle.is_none() {
        notes.push("round trips by ICMP were not to be had: no answer, or not allowed".to_owned());
    }
    notes
}

/// The goal that the slower card's speed and MTU set; `None` where no card tells its speed, or
/// where the test was not to find the limit.
fn goal_of_cards(run: &LinkRun) -> Option<Target> {
    let parameters = &run.parameters;
    if parameters.bandwidth > 0 || parameters.time_s == 0 {
        return None;
    }
    let views = [Some(&run.own), run.peer_view.as_ref()];
    let cards = views
        .into_iter()
        .flatten()
        .filter_map(|view| view.card.as_ref());
    let six = run.streams.first().is_some_and(|one| one.remote.is_ipv6());
    goals::of_cards("link", cards, six)
}
