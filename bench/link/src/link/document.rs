//! A test as the C program's `-J` prints it, with more (esnet/iperf, iperf_api.c).
//!
//! Invariant: every key that `iperf3 -J` has is here under the same name, with the same unit, so
//! that a reader of its output can read this; what it does not have stands under `towline`. Keys
//! of 3.21 that 3.12 lacks are there too.

use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};

use super::run::{Interval, LinkRun, Side, StreamEnd, StreamInterval};
use super::text::loss;
use crate::iperf3::{Direction, StreamResult, Transport};
use crate::result::Report;

/// What stands where the C program has its version.
const VERSION: &str = concat!("towline ", env!("CARGO_PKG_VERSION"));

/// The whole document.
#[must_use]
pub fn whole(run: &LinkRun, report: &Report) -> Value {
    let intervals: Vec<Value> = run.intervals.iter().map(|one| interval(run, one)).collect();
    let mut document = json!({
        "start": start(run),
        "intervals": intervals,
        "end": end(run),
        "towline": {
            "report": report,
            "own": run.own,
            "peer": run.peer_view,
            "rtt_idle": run.rtt_idle,
            "rtt_loaded": run.rtt_loaded,
            "zerocopy": run.zerocopy,
        },
    });
    if let Some(object) = document.as_object_mut() {
        if let Some(title) = &run.parameters.title {
            object.insert("title".into(), json!(title));
        }
        if let Some(extra) = &run.parameters.extra_data {
            object.insert("extra_data".into(), json!(extra));
        }
        match run
            .peer
            .as_ref()
            .and_then(|peer| peer.server_output.as_ref())
        {
            Some(Value::String(text)) => {
                object.insert("server_output_text".into(), json!(text));
            }
            Some(value) => {
                object.insert("server_output_json".into(), value.clone());
            }
            None => {}
        }
        if let Some(fault) = &run.fault {
            object.insert("error".into(), json!(fault));
        }
    }
    document
}

/// The lines of `--json-stream`: one object each, with `event` and `data`. `interval` events can be
/// told while the test runs; this gives what comes after them.
#[must_use]
pub fn closing_events(run: &LinkRun, report: &Report) -> Vec<Value> {
    let mut events = Vec::new();
    if let Some(fault) = &run.fault {
        events.push(json!({"event": "error", "data": fault}));
    }
    match run
        .peer
        .as_ref()
        .and_then(|peer| peer.server_output.as_ref())
    {
        Some(Value::String(text)) => {
            events.push(json!({"event": "server_output_text", "data": text}));
        }
        Some(value) => events.push(json!({"event": "server_output_json", "data": value})),
        None => {}
    }
    events.push(json!({"event": "end", "data": end(run)}));
    events.push(json!({"event": "towline", "data": report}));
    events
}

/// The document of a test that could not be made: what the C program prints then, and why.
#[must_use]
pub fn failure(why: &str) -> Value {
    json!({
        "start": {
            "connected": [],
            "version": VERSION,
            "system_info": system_info(),
        },
        "intervals": [],
        "end": {},
        "error": why,
    })
}

/// The same as lines of `--json-stream`.
#[must_use]
pub fn failure_events(why: &str) -> [Value; 2] {
    [
        json!({"event": "error", "data": why}),
        json!({"event": "end", "data": {}}),
    ]
}

/// The `start` object.
#[must_use]
pub fn start(run: &LinkRun) -> Value {
    let parameters = &run.parameters;
    let connected: Vec<Value> = run.streams.iter().map(connected).collect();
    let protocol = match parameters.transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    let seconds = run.started.as_secs();
    let mut object = json!({
        "connected": connected,
        "version": VERSION,
        "system_info": system_info(),
        "timestamp": {
            "time": httpdate::fmt_http_date(UNIX_EPOCH + run.started),
            "timesecs": seconds,
            "timemillisecs": u64::try_from(run.started.as_millis()).unwrap_or(u64::MAX),
        },
        "cookie": run.cookie,
        "target_bitrate": parameters.bandwidth,
        "fq_rate": 0,
        "sock_bufsize": parameters.window,
        "sndbuf_actual": run.buffers.0,
        "rcvbuf_actual": run.buffers.1,
        "test_start": {
            "protocol": protocol,
            "num_streams": parameters.parallel,
            "blksize": parameters.len,
            "omit": parameters.omit_s,
            "duration": parameters.time_s,
            "bytes": parameters.bytes,
            "blocks": parameters.blocks,
            "reverse": i32::from(parameters.direction == Direction::Reverse),
            "tos": parameters.tos,
            "target_bitrate": parameters.bandwidth,
            "bidir": i32::from(parameters.direction == Direction::Both),
            "fqrate": 0,
            "interval": 1,
        },
    });
    let peer = json!({"host": run.host, "port": run.port});
    let key = match run.side {
        Side::Client => "connecting_to",
        Side::Server => "accepted_connection",
    };
    object[key] = peer;
    if parameters.transport == Transport::Tcp {
        let key = match parameters.segment_bytes {
            0 => "tcp_mss_default",
            _ => "tcp_mss",
        };
        object[key] = json!(run.segment_bytes);
    }
    object
}

fn connected(stream: &StreamEnd) -> Value {
    json!({
        "socket": stream.own.id,
        "local_host": stream.local.ip().to_string(),
        "local_port": stream.local.port(),
        "remote_host": stream.remote.ip().to_string(),
        "remote_port": stream.remote.port(),
    })
}

fn system_info() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (kind, release) = ("/proc/sys/kernel/ostype", "/proc/sys/kernel/osrelease");
    let name = read("/proc/sys/kernel/hostname");
    let architecture = std::env::consts::ARCH;
    let words = [read(kind), name, read(release)].map(|word| word.trim().to_owned());
    format!("{} {architecture}", words.join(" "))
}

/// One element of `intervals`.
#[must_use]
pub fn interval(run: &LinkRun, interval: &Interval) -> Value {
    let is_udp = run.parameters.transport == Transport::Udp;
    let streams: Vec<Value> = interval
        .streams
        .iter()
        .map(|stream| interval_stream(interval, stream, is_udp))
        .collect();
    let first = sends_first(run);
    let mut object = json!({
        "streams": streams,
        "sum": interval_sum(interval, first, is_udp),
    });
    if run.parameters.direction == Direction::Both {
        object["sum_bidir_reverse"] = interval_sum(interval, !first, is_udp);
    }
    object
}

/// Whether the main sum is of streams that this end sends on: client to server with `--bidir`.
fn sends_first(run: &LinkRun) -> bool {
    match run.parameters.direction {
        Direction::Forward | Direction::Both => run.side == Side::Client,
        Direction::Reverse => run.side == Side::Server,
    }
}

fn times(interval: &Interval, bytes: u64) -> Map<String, Value> {
    let seconds = (interval.end_s - interval.start_s).max(1e-9);
    let mut object = Map::new();
    object.insert("start".into(), json!(interval.start_s));
    object.insert("end".into(), json!(interval.end_s));
    object.insert("seconds".into(), json!(seconds));
    object.insert("bytes".into(), json!(bytes));
    let rate = bytes as f64 * 8.0 / seconds;
    object.insert("bits_per_second".into(), json!(rate));
    object
}

fn put_datagrams(object: &mut Map<String, Value>, jitter_s: f64, lost: u64, packets: u64) {
    object.insert("jitter_ms".into(), json!(jitter_s * 1e3));
    object.insert("lost_packets".into(), json!(lost));
    object.insert("packets".into(), json!(packets));
    let percent = 100.0 * lost as f64 / packets.max(1) as f64;
    object.insert("lost_percent".into(), json!(percent));
}

fn interval_stream(interval: &Interval, stream: &StreamInterval, is_udp: bool) -> Value {
    let mut object = times(interval, stream.bytes);
    object.insert("socket".into(), json!(stream.id));
    match (is_udp, stream.sends) {
        (true, true) => {
            object.insert("packets".into(), json!(stream.packets));
        }
        (true, false) => {
            put_datagrams(&mut object, stream.jitter_s, stream.lost, stream.packets);
        }
        (false, true) => {
            let info = stream.tcp.unwrap_or_default();
            let window = u64::from(info.congestion_window) * u64::from(info.segment_bytes);
            object.insert("retransmits".into(), json!(stream.retransmits.unwrap_or(0)));
            object.insert("snd_cwnd".into(), json!(window));
            object.insert("snd_wnd".into(), json!(info.send_window.unwrap_or(0)));
            object.insert("rtt".into(), json!(info.rtt_us));
            object.insert("rttvar".into(), json!(info.rtt_var_us));
            object.insert("pmtu".into(), json!(info.path_mtu));
            object.insert("reorder".into(), json!(info.reordering));
        }
        (false, false) => {}
    }
    object.insert("omitted".into(), json!(interval.omitted));
    object.insert("sender".into(), json!(stream.sends));
    Value::Object(object)
}

fn interval_sum(interval: &Interval, sends: bool, is_udp: bool) -> Value {
    let streams = || {
        interval
            .streams
            .iter()
            .filter(|stream| stream.sends == sends)
    };
    let sum = |part: fn(&StreamInterval) -> u64| streams().map(part).sum::<u64>();
    let mut object = times(interval, sum(|stream| stream.bytes));
    let packets = sum(|stream| stream.packets);
    match (is_udp, sends) {
        (true, true) => {
            object.insert("packets".into(), json!(packets));
        }
        (true, false) => {
            let jitter: f64 = streams().map(|stream| stream.jitter_s).sum();
            let jitter = jitter / streams().count().max(1) as f64;
            put_datagrams(&mut object, jitter, sum(|stream| stream.lost), packets);
        }
        (false, true) => {
            let retransmits = sum(|stream| stream.retransmits.unwrap_or(0));
            object.insert("retransmits".into(), json!(retransmits));
        }
        (false, false) => {}
    }
    object.insert("omitted".into(), json!(interval.omitted));
    object.insert("sender".into(), json!(sends));
    Value::Object(object)
}

/// The `end` object.
#[must_use]
pub fn end(run: &LinkRun) -> Value {
    let is_udp = run.parameters.transport == Transport::Udp;
    let streams: Vec<Value> = run
        .streams
        .iter()
        .map(|stream| match is_udp {
            true => json!({"udp": udp_stream(run, stream)}),
            false => json!({
                "sender": tcp_sender(run, stream),
                "receiver": tcp_receiver(run, stream),
            }),
        })
        .collect();
    let first = sends_first(run);
    let mut object = Map::new();
    object.insert("streams".into(), Value::Array(streams));
    put_sums(&mut object, run, first, "");
    if run.parameters.direction == Direction::Both {
        put_sums(&mut object, run, !first, "_bidir_reverse");
    }
    let peer = run.peer.as_ref();
    let cpu = json!({
        "host_total": run.process.total,
        "host_user": run.process.user,
        "host_system": run.process.system,
        "remote_total": peer.map_or(0.0, |peer| peer.cpu_total),
        "remote_user": peer.map_or(0.0, |peer| peer.cpu_user),
        "remote_system": peer.map_or(0.0, |peer| peer.cpu_system),
    });
    object.insert("cpu_utilization_percent".into(), cpu);
    let theirs = peer.and_then(|peer| peer.congestion.clone());
    let (sender, receiver) = match first {
        true => (run.congestion.clone(), theirs),
        false => (theirs, run.congestion.clone()),
    };
    for (key, name) in [
        ("sender_tcp_congestion", sender),
        ("receiver_tcp_congestion", receiver),
    ] {
        if let Some(name) = name {
            object.insert(key.into(), json!(name));
        }
    }
    Value::Object(object)
}

fn span(run: &LinkRun, bytes: u64, sender: bool) -> Map<String, Value> {
    let whole = Interval {
        end_s: run.seconds,
        ..Interval::default()
    };
    let mut object = times(&whole, bytes);
    object.insert("sender".into(), json!(sender));
    object
}

/// The sender's and the receiver's account of a stream.
fn accounts(stream: &StreamEnd) -> (Option<&StreamResult>, Option<&StreamResult>) {
    match stream.sends {
        true => (Some(&stream.own), stream.peer.as_ref()),
        false => (stream.peer.as_ref(), Some(&stream.own)),
    }
}

fn tcp_sender(run: &LinkRun, stream: &StreamEnd) -> Value {
    let (sender, _) = accounts(stream);
    let mut object = span(run, sender.map_or(0, |one| one.bytes), stream.sends);
    object.insert("socket".into(), json!(stream.own.id));
    if let Some(count) = sender.and_then(|one| one.retransmits) {
        object.insert("retransmits".into(), json!(count));
    }
    if stream.sends {
        let view = run.own.streams.iter().find(|view| view.id == stream.own.id);
        let seen = || {
            let all = run.intervals.iter().flat_map(|interval| &interval.streams);
            all.filter(|one| one.id == stream.own.id)
                .filter_map(|one| one.tcp)
                .chain(stream.tcp)
        };
        let rtts = || seen().map(|info| info.rtt_us);
        let reorder = seen().map(|info| info.reordering).max();
        let view = view.copied().unwrap_or_default();
        object.insert("reorder".into(), json!(reorder.unwrap_or(0)));
        object.insert("max_snd_cwnd".into(), json!(view.congestion_window_max));
        object.insert(
            "max_snd_wnd".into(),
            json!(view.send_window_max.unwrap_or(0)),
        );
        object.insert("max_rtt".into(), json!(rtts().max().unwrap_or(0)));
        object.insert("min_rtt".into(), json!(rtts().min().unwrap_or(0)));
        object.insert("mean_rtt".into(), json!(view.mean_rtt_us));
    }
    Value::Object(object)
}

fn tcp_receiver(run: &LinkRun, stream: &StreamEnd) -> Value {
    let (_, receiver) = accounts(stream);
    let mut object = span(run, receiver.map_or(0, |one| one.bytes), stream.sends);
    object.insert("socket".into(), json!(stream.own.id));
    Value::Object(object)
}

fn udp_stream(run: &LinkRun, stream: &StreamEnd) -> Value {
    let (sender, receiver) = accounts(stream);
    let bytes = sender.or(receiver).map_or(0, |one| one.bytes);
    let mut object = span(run, bytes, stream.sends);
    object.insert("socket".into(), json!(stream.own.id));
    let account = receiver.or(sender);
    let (lost, packets) = account.map_or((0, 0), StreamResult::lost_and_packets);
    let jitter = account.map_or(0.0, |one| one.jitter_s);
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    put_datagrams(&mut object, jitter, count(lost), count(packets));
    object.insert("out_of_order".into(), json!(stream.out_of_order));
    Value::Object(object)
}

fn put_sums(object: &mut Map<String, Value>, run: &LinkRun, sends: bool, suffix: &str) {
    let (sent, received) = run.moved(sends);
    let is_udp = run.parameters.transport == Transport::Udp;
    let mut sum_sent = span(run, sent, sends);
    let mut sum_received = span(run, received, sends);
    if is_udp {
        let (lost, packets, jitter) = loss(run, sends);
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        put_datagrams(&mut sum_sent, 0.0, 0, count(packets));
        put_datagrams(&mut sum_received, jitter, count(lost), count(packets));
        let mut sum = span(run, sent.max(received), sends);
        put_datagrams(&mut sum, jitter, count(lost), count(packets));
        object.insert(format!("sum{suffix}"), Value::Object(sum));
    } else {
        let counts = run
            .streams_that(sends)
            .map(|stream| accounts(stream).0.and_then(|one| one.retransmits));
        if let Some(count) = counts.sum::<Option<u64>>() {
            sum_sent.insert("retransmits".into(), json!(count));
        }
    }
    object.insert(format!("sum_sent{suffix}"), Value::Object(sum_sent));
    object.insert(format!("sum_received{suffix}"), Value::Object(sum_received));
}
