//! towline's link measurement against the C program's, between two of its own processes each.
//!
//! Invariant: the same options on both sides, the server on one core, the client on the other,
//! reno for both; processor time is that of client and server together, as the system counts it.
//! The receiver of `iperf3` copies what it receives and towline's discards it in the kernel unless
//! a row says that both copy: such rows are there so that nobody is misled.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Settings, Subject, interleave};
use crate::cpu;
use crate::figures::Outcome;
use crate::namespace::set_congestion_control;
use crate::servers::{Server, program};
use crate::table::{Marks, Row, Unit};

/// Port of the peer's server, and of the subject's that discards, and of the one that copies.
const PORTS: [u16; 3] = [5201, 5202, 5203];
/// How long a server may take until it listens.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// One server and the client that belongs to it.
struct Pair {
    server: Server,
    client: Vec<String>,
    port: u16,
}

struct Case {
    load: &'static str,
    peer: &'static [&'static str],
    subject: &'static [&'static str],
    copies: bool,
    marks: Marks,
}

const fn marks(throughput_min: Option<f64>, cpu_max: Option<f64>) -> Marks {
    Marks {
        throughput_min,
        cpu_max,
        throughput_goal: None,
    }
}

const CASES: [Case; 9] = [
    Case {
        load: "1 stream",
        peer: &[],
        subject: &[],
        copies: false,
        marks: marks(Some(0.97), Some(1.0)),
    },
    Case {
        load: "4 streams",
        peer: &["-P", "4"],
        subject: &["-P", "4"],
        copies: false,
        marks: marks(Some(0.97), Some(1.0)),
    },
    Case {
        load: "1 stream, sendfile against none",
        peer: &[],
        subject: &["--zerocopy", "sendfile"],
        copies: false,
        marks: marks(Some(1.3), Some(1.0)),
    },
    Case {
        load: "4 streams, sendfile against none",
        peer: &["-P", "4"],
        subject: &["-P", "4", "--zerocopy", "sendfile"],
        copies: false,
        marks: marks(Some(1.3), Some(1.0)),
    },
    Case {
        load: "1 stream, sendfile both",
        peer: &["-Z"],
        subject: &["--zerocopy", "sendfile"],
        copies: false,
        marks: marks(None, None),
    },
    Case {
        load: "1 stream, both receivers copy",
        peer: &[],
        subject: &[],
        copies: true,
        marks: marks(None, Some(1.0)),
    },
    Case {
        load: "4 streams, both receivers copy",
        peer: &["-P", "4"],
        subject: &["-P", "4"],
        copies: true,
        marks: marks(None, Some(1.0)),
    },
    Case {
        load: "1 stream, sendfile against none, both receivers copy",
        peer: &[],
        subject: &["--zerocopy", "sendfile"],
        copies: true,
        marks: marks(Some(1.3), Some(1.0)),
    },
    Case {
        load: "4 streams, sendfile against none, both receivers copy",
        peer: &["-P", "4"],
        subject: &["-P", "4", "--zerocopy", "sendfile"],
        copies: true,
        marks: marks(Some(1.3), Some(1.0)),
    },
];

/// Runs every row.
///
/// # Errors
/// Fails when a server cannot be started or a test fails.
pub fn compare(settings: &Settings, directory: &Path) -> Result<Vec<Row>> {
    cpu::pin_to_client_core()?;
    set_congestion_control("reno")?;
    let [port, discards, copies] = PORTS;
    let peer = iperf3(port, directory)?;
    let subjects = match &settings.subject {
        Subject::Nothing => None,
        Subject::SamePeer => Some([iperf3(discards, directory)?, iperf3(copies, directory)?]),
        Subject::Towline(choice) => Some([
            towline(&choice.program, discards, &[], directory)?,
            towline(&choice.program, copies, &["--receive", "copy"], directory)?,
        ]),
    };
    let is_towline = matches!(settings.subject, Subject::Towline(_));
    let mut rows = Vec::new();
    for case in &CASES {
        if !settings.wants(case.load) {
            continue;
        }
        let mut row = Row {
            load: case.load.to_owned(),
            peer_name: peer.server.name().to_owned(),
            unit: Unit::Gib,
            marks: case.marks,
            peer: Vec::new(),
            subject: Vec::new(),
        };
        let peer_side = || one_round(settings, &peer, case.peer);
        let options = if is_towline { case.subject } else { case.peer };
        let subject = subjects.as_ref().map(|[discards, copies]| {
            let pair = if case.copies { copies } else { discards };
            move || one_round(settings, pair, options)
        });
        let subject = subject.as_ref().map(|side| side as super::Side);
        interleave(&mut row, settings.rounds, &peer_side, subject)?;
        rows.push(row);
    }
    Ok(rows)
}

fn iperf3(port: u16, directory: &Path) -> Result<Pair> {
    let path = program("iperf3", "iperf3")?;
    let mut command = Command::new(&path);
    command.args(["-s", "-p", &port.to_string()]);
    let server = Server::start("iperf3", command, &directory.join(format!("log-{port}")))?;
    wait_for(port)?;
    let client = vec![path.display().to_string(), "-c".to_owned()];
    Ok(Pair {
        server,
        client,
        port,
    })
}

fn towline(path: &Path, port: u16, options: &[&str], directory: &Path) -> Result<Pair> {
    ensure!(path.is_file(), "no program {}", path.display());
    let mut command = Command::new(path);
    command.args(["bench", "serve", "-p", &port.to_string()]);
    command.args(options);
    let server = Server::start("towline", command, &directory.join(format!("log-{port}")))?;
    wait_for(port)?;
    let words = ["bench", "link", "--no-probe", "--no-goal"];
    let client = std::iter::once(path.display().to_string());
    Ok(Pair {
        server,
        client: client.chain(words.map(str::to_owned)).collect(),
        port,
    })
}

/// Waits until the port is in the namespace's table: a connection would be a test of its own.
fn wait_for(port: u16) -> Result<()> {
    let wanted = format!(":{port:04X} ");
    let begun = Instant::now();
    while begun.elapsed() < READY_LIMIT {
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text = fs::read_to_string(table).unwrap_or_default();
            if text
                .lines()
                .any(|line| line.contains(&wanted) && line.contains(" 0A "))
            {
                return Ok(());
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("nobody listens on port {port}")
}

/// One test; bytes are those that arrived, processor time is that of both ends.
fn one_round(settings: &Settings, pair: &Pair, options: &[&str]) -> Result<Outcome> {
    let seconds = settings.measured.as_secs().max(1);
    let mut words = pair.client.iter();
    let path = words.next().context("no client")?;
    let meter = pair.server.meter();
    let before = meter.seconds() + ended_children_seconds()?;
    let output = Command::new(path)
        .args(words)
        .args(["127.0.0.1", "-p", &pair.port.to_string(), "-J"])
        .args(["-t", &seconds.to_string(), "-l", "128K"])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {path}"))?;
    let used = meter.seconds() + ended_children_seconds()? - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{path}: {errors}{text}"))?;
    ensure!(value.get("error").is_none(), "{path}: {}", value["error"]);
    let number = |path: &str| value.pointer(path).and_then(Value::as_f64);
    let sum = "/end/sum_received";
    let bytes = number(&format!("{sum}/bytes")).context("no bytes")?;
    let seconds = number(&format!("{sum}/seconds")).context("no seconds")?;
    let mut outcome = Outcome::default();
    outcome.seconds = seconds;
    outcome.bytes = bytes as u64;
    outcome.server_cpu_seconds = used;
    Ok(outcome)
}

/// User and system seconds of children that have ended (proc(5) `stat`, fields 16 and 17).
fn ended_children_seconds() -> Result<f64> {
    let line = fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    let (_, tail) = line.rsplit_once(')').context("odd stat")?;
    let fields = tail.split_ascii_whitespace().skip(13).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
