//! Ten thousand connections that idle, dribble or lie, beside four honest clients.
//!
//! Governed by `daemon/THREATS.md`: bounded memory, honest clients, threat N7. Invariant: the
//! attackers come from four loopback addresses of their own, so limits per address cannot help
//! the honest by accident. Not promised: attackers beyond this machine's descriptors and ports.
#![allow(
    clippy::print_stdout,
    reason = "a test tells how to replay it and what it saw"
)]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::process::{Resource, getrlimit};
use towline_loads::cpu::CpuMeter;
use towline_loads::http_load::{Plan, Stream, run};
use towline_tests::content;
use towline_tests::node::{Node, Settings};
use towline_tests::skip::impossible;

/// Attackers in CI.
const ATTACKERS: usize = 10_000;
/// Loopback addresses they come from.
const ADDRESSES: usize = 4;
/// Resident bytes allowed without attackers, and more for each (M6).
const RESIDENT_BYTES_BASE: u64 = 256 << 20;
const RESIDENT_BYTES_EACH: u64 = 16 << 10;
/// How long the honest clients are measured, quiet and under attack.
const QUIET: Duration = Duration::from_secs(5);
const ATTACKED: Duration = Duration::from_secs(20);
/// How long the node may take to notice that all attackers are gone.
const RELEASE_LIMIT: Duration = Duration::from_secs(30);
/// Latencies below this differ by the scheduler's moods, in microseconds.
const NOISE_US: f64 = 1000.0;
const FILE_BYTES: u64 = 64 << 20;

/// What an attacker sends at first, and again every round.
#[derive(Clone, Copy)]
struct Behaviour {
    nfs: bool,
    first: &'static [u8],
    /// Sent each round: one byte a second is dribbling, nothing is idling.
    again: &'static [u8],
    /// Zero bytes sent after `first`.
    filler: usize,
}

const BEHAVIOURS: [Behaviour; 7] = [
    Behaviour {
        nfs: false,
        first: b"",
        again: b"",
        filler: 0,
    },
    Behaviour {
        nfs: false,
        first: b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b",
        again: b"",
        filler: 0,
    },
    Behaviour {
        nfs: false,
        first: b"GET /files/models/",
        again: b"a",
        filler: 0,
    },
    Behaviour {
        nfs: true,
        first: b"",
        again: b"",
        filler: 0,
    },
    Behaviour {
        nfs: true,
        first: b"\xff\xff\xff\xff",
        again: b"",
        filler: 0,
    },
    // A record of 1 MiB that stays short, and one that grows by a byte a second.
    Behaviour {
        nfs: true,
        first: b"\x80\x10\x00\x00",
        again: b"",
        filler: 64 << 10,
    },
    Behaviour {
        nfs: true,
        first: b"\x80\x10\x00\x00",
        again: b"\0",
        filler: 0,
    },
];

struct Attacker {
    socket: TcpStream,
    behaviour: Behaviour,
}

fn open(node: &Node, index: usize) -> Result<Option<Attacker>> {
    let behaviour = BEHAVIOURS[index % BEHAVIOURS.len()];
    let from = Ipv4Addr::new(127, 0, 1, 1 + (index % ADDRESSES) as u8);
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddr::from((from, 0)))?;
    let target = if behaviour.nfs {
        node.nfs()
    } else {
        node.http()
    };
    // A refusal is a right answer of a full node.
    if connect(&socket, &target).is_err() {
        return Ok(None);
    }
    let mut socket = TcpStream::from(socket);
    socket.set_nonblocking(true)?;
    let _closed_or_full = socket.write(behaviour.first);
    let _closed_or_full = socket.write(&vec![0; behaviour.filler]);
    Ok(Some(Attacker { socket, behaviour }))
}

/// Keeps `ATTACKERS` connections open until `stop`: dribbles, and replaces what was closed.
fn attack(node: &Node, stop: &AtomicBool, ready: &AtomicBool) -> Result<usize> {
    let mut attackers: Vec<Attacker> = Vec::with_capacity(ATTACKERS);
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        let round = Instant::now();
        attackers.retain_mut(|attacker| {
            let again = attacker.behaviour.again;
            let closed = matches!(attacker.socket.peek(&mut [0]), Ok(0))
                || attacker.socket.take_error().ok().flatten().is_some();
            let _closed_or_full = (!again.is_empty()).then(|| attacker.socket.write(again));
            !closed
        });
        // At most a tenth is opened at once: an attack, not only a flood of SYNs.
        for _open in 0..(ATTACKERS - attackers.len()).min(ATTACKERS / 10) {
            attackers.extend(open(node, opened)?);
            opened += 1;
        }
        if opened >= ATTACKERS {
            ready.store(true, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(round.elapsed()).min(
            if opened < ATTACKERS {
                Duration::from_millis(50)
            } else {
                Duration::from_secs(1)
            },
        ));
    }
    Ok(opened)
}

fn honest_p99_us(node: &Node, measured: Duration) -> Result<f64> {
    let stream = || {
        let path = "/files/models/model.bin".to_owned();
        (
            "honest",
            Stream::Ranges {
                path,
                file_bytes: FILE_BYTES,
                range_bytes: 64 << 10,
            },
        )
    };
    let plan = Plan {
        server: node.http(),
        streams: (0..4).map(|_| stream()).collect(),
        warm_up: Duration::from_millis(500),
        measured,
    };
    let mut outcomes = run(&plan, &CpuMeter::new(Vec::new()))?;
    let outcome = outcomes.remove("honest").context("nothing was answered")?;
    println!(
        "honest: {:.0} requests/s, p99 {:.0} us",
        outcome.requests_per_s(),
        outcome.latency_us(0.99)
    );
    Ok(outcome.latency_us(0.99))
}

fn attacked_node() -> Result<Option<Node>> {
    let wanted = ATTACKERS as u64 + 1000;
    if getrlimit(Resource::Nofile)
        .current
        .is_some_and(|limit| limit < wanted)
    {
        impossible("ten thousand connections need `ulimit -n 11000`")?;
        return Ok(None);
    }
    let node = Node::start_with(Settings::default())?;
    content::write(&node.volume("models").join("model.bin"), 6, FILE_BYTES)?;
    Ok(Some(node))
}

fn under_attack<T>(node: &Node, meanwhile: impl FnOnce() -> Result<T>) -> Result<T> {
    let (stop, ready) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let outcome = attack(node, &stop, &ready);
            ready.store(true, Ordering::Relaxed);
            outcome
        });
        let started = Instant::now();
        while !ready.load(Ordering::Relaxed) && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let outcome = meanwhile();
        stop.store(true, Ordering::Relaxed);
        let opened = attacker
            .join()
            .map_err(|_| anyhow::anyhow!("attacker panicked"))??;
        println!("{opened} connections opened");
        ensure!(opened >= ATTACKERS, "only {opened} connections: no attack");
        outcome
    })
}

#[test]
fn bounded_memory() -> Result<()> {
    let Some(mut node) = attacked_node()? else {
        return Ok(());
    };
    let quiet = node.descriptors()?;
    let largest = under_attack(&node, || {
        let mut largest = 0;
        for _second in 0..15 {
            largest = largest.max(node.resident_bytes()?);
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(largest)
    })?;
    node.must_run()?;
    println!("{} MiB resident at most", largest >> 20);
    let allowed = RESIDENT_BYTES_BASE + ATTACKERS as u64 * RESIDENT_BYTES_EACH;
    ensure!(
        largest <= allowed,
        "{largest} bytes resident, {allowed} allowed"
    );
    let started = Instant::now();
    while node.descriptors()? > quiet + 100 {
        let left = node.descriptors()?;
        ensure!(
            started.elapsed() < RELEASE_LIMIT,
            "{left} descriptors {RELEASE_LIMIT:?} after the attack, {quiet} before it"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("descriptors released after {:?}", started.elapsed());
    Ok(())
}

#[test]
fn honest_clients_keep_service() -> Result<()> {
    let Some(mut node) = attacked_node()? else {
        return Ok(());
    };
    let quiet = honest_p99_us(&node, QUIET)?;
    let attacked = under_attack(&node, || honest_p99_us(&node, ATTACKED))?;
    node.must_run()?;
    ensure!(
        attacked <= quiet.max(NOISE_US) * 2.0,
        "p99 {attacked} us under attack, {quiet} quiet"
    );
    Ok(())
}
