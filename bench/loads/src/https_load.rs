//! Whole files and ranges over HTTPS, from as many client threads as there are connections.
//!
//! The client decrypts every byte, as a real one must. Invariant: a reply whose status or length is
//! not the expected one ends the run, and the server must prove its certificate. Not promised: that
//! the client is faster than the server; the server's time per byte is what compares then.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::cpu::CpuMeter;
use crate::figures::Outcome;
use crate::http_load::Random;

/// Bytes taken from a reply by one call.
const READ_BYTES: usize = 256 << 10;

/// Longest time that a server may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// What every connection asks for, again and again.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub server: SocketAddr,
    /// Connections, each on a thread.
    pub connections: usize,
    /// Absolute URL path.
    pub path: String,
    /// Aligned ranges of so many bytes at random places of a file so long; `None`: the whole file.
    pub range: Option<(u64, u64)>,
    /// Not counted.
    pub warm_up: Duration,
    /// Counted.
    pub measured: Duration,
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// The configuration of a client that trusts one certificate, named localhost.
///
/// # Errors
/// A certificate that cannot be read.
pub fn client(certificate: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_file_iter(certificate)? {
        roots.add(one?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Runs the load.
///
/// # Errors
/// A connection that breaks, or a wrong reply.
pub fn run(plan: &Plan, config: &Arc<ClientConfig>, meter: &CpuMeter) -> Result<Outcome> {
    let counted = Mutex::new(Outcome::default());
    let began = Instant::now();
    let (from, until) = (began + plan.warm_up, began + plan.warm_up + plan.measured);
    let cpu = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for seed in 0..plan.connections {
            let counted = &counted;
            let body = move || one(plan, config, seed as u64, (from, until), counted);
            threads.push(scope.spawn(body));
        }
        std::thread::sleep(from.saturating_duration_since(Instant::now()));
        let before = meter.seconds();
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        let cpu = meter.seconds() - before;
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        Ok::<_, anyhow::Error>(cpu)
    })?;
    let mut outcome = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcome.seconds = plan.measured.as_secs_f64();
    outcome.server_cpu_seconds = cpu;
    Ok(outcome)
}

fn one(
    plan: &Plan,
    config: &Arc<ClientConfig>,
    seed: u64,
    (from, until): (Instant, Instant),
    counted: &Mutex<Outcome>,
) -> Result<()> {
    let socket = TcpStream::connect(plan.server)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(SILENCE_MAX))?;
    let name = ServerName::try_from("localhost")?;
    let mut stream = StreamOwned::new(ClientConnection::new(config.clone(), name)?, socket);
    let mut random = Random::new(seed);
    let mut buffer = vec![0; READ_BYTES];
    while Instant::now() < until {
        let asked = Instant::now();
        let mut left = ask(plan, &mut stream, &mut random, &mut buffer)?;
        let mut late = 0;
        while left > 0 && Instant::now() < until {
            let most = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = stream.read(buffer.get_mut(..most).unwrap_or(&mut []))?;
            ensure!(count > 0, "the server closed the connection in a body");
            left -= count as u64;
            if Instant::now() >= from {
                late += count as u64;
            }
        }
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.bytes += late;
        if asked >= from && left == 0 {
            counted.record(asked.elapsed().as_micros());
        }
    }
    Ok(())
}

/// Sends one request and reads the head of its reply; how many bytes of body are left.
fn ask(plan: &Plan, stream: &mut Stream, random: &mut Random, buffer: &mut [u8]) -> Result<u64> {
    let range = plan.range.map_or(String::new(), |(bytes, file)| {
        let first = random.below(file / bytes) * bytes;
        format!("Range: bytes={first}-{}\r\n", first + bytes - 1)
    });
    let path = &plan.path;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{range}\r\n");
    stream.write_all(request.as_bytes())?;
    let mut held = 0;
    let end = loop {
        let room = buffer.get_mut(held..).unwrap_or(&mut []);
        let count = stream.read(room)?;
        ensure!(
            count > 0,
            "the server closed the connection instead of answering"
        );
        held += count;
        let seen = buffer.get(..held).unwrap_or(&[]);
        if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        ensure!(held < buffer.len(), "a head without end");
    };
    let head = String::from_utf8_lossy(buffer.get(..end).unwrap_or(&[])).into_owned();
    let wanted = if plan.range.is_some() {
        " 206 "
    } else {
        " 200 "
    };
    ensure!(
        head.starts_with("HTTP/1.1") && head.contains(wanted),
        "got: {head}"
    );
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<u64>().ok())?
    });
    let length = length.with_context(|| format!("no Content-Length in: {head}"))?;
    if let Some((bytes, _)) = plan.range {
        ensure!(length == bytes, "got: {head}");
    }
    length
        .checked_sub((held - end) as u64)
        .context("more bytes than announced")
}
