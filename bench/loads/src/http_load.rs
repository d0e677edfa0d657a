//! Loads for a server of files over HTTP/1.1 (RFC 9110, RFC 9112), from one client thread.
//!
//! Three streams exist: whole-file GETs, random ranges of a fixed size, and whole-file GETs of a
//! file that is pushed out of the page cache behind the reader, so that every byte comes from the
//! disk. Bodies are discarded in the kernel. Invariant: a reply whose status or length is not the
//! expected one ends the run. Not promised: that the bytes are right; the whole-system tests
//! compare those.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Advice, fadvise};

use crate::cpu::CpuMeter;
use crate::figures::Outcome;
use towline_bench::poll::{Poll, connect, discard};

/// Longest response head accepted, in bytes: nginx and towline send about 300.
const HEAD_BYTES_MAX: usize = 4096;
/// Most bytes thrown away by one call: beyond the largest receive buffer a socket grows to.
const DISCARD_BYTES: usize = 8 * 1024 * 1024;
/// How far behind the reader the page cache is dropped, in bytes: well beyond what both socket
/// buffers can still hold references to.
const DROP_STEP_BYTES: u64 = 32 * 1024 * 1024;
/// Longest silence of all connections together before the load counts as hung.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// What one connection asks for, again and again.
#[derive(Clone, Debug)]
pub enum Stream {
    /// The whole file.
    Whole {
        /// Absolute URL path.
        path: String,
    },
    /// Aligned ranges of `range_bytes` at random places.
    Ranges {
        /// Absolute URL path.
        path: String,
        /// Length of the file in bytes.
        file_bytes: u64,
        /// Length of each range in bytes.
        range_bytes: u64,
    },
    /// The whole file, whose pages are dropped behind the reader.
    Cold {
        /// Absolute URL path.
        path: String,
        /// The same file on disk.
        file: PathBuf,
    },
}

/// A whole load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub server: SocketAddr,
    /// One connection each; the label groups outcomes.
    pub streams: Vec<(&'static str, Stream)>,
    /// Not counted.
    pub warm_up: Duration,
    /// Counted.
    pub measured: Duration,
}

/// Runs the load and returns one outcome per label. Server time is that of all labels together.
///
/// # Errors
/// Fails when a connection breaks, a reply is wrong or nothing arrives for twenty seconds.
pub fn run(plan: &Plan, meter: &CpuMeter) -> Result<BTreeMap<&'static str, Outcome>> {
    let mut poll = Poll::new(false)?;
    let mut clients = Vec::new();
    for (index, (label, stream)) in plan.streams.iter().enumerate() {
        let mut client = Client::new(plan.server, label, stream.clone(), index as u64)?;
        poll.add(&client.socket, index, false)?;
        client.ask()?;
        clients.push(client);
    }
    let mut scratch = vec![0; DISCARD_BYTES];
    let mut outcomes = BTreeMap::new();
    drive(
        &mut poll,
        &mut clients,
        &mut scratch,
        plan.warm_up,
        &mut outcomes,
    )?;
    outcomes.clear();
    let (cpu_before, started) = (meter.seconds(), Instant::now());
    drive(
        &mut poll,
        &mut clients,
        &mut scratch,
        plan.measured,
        &mut outcomes,
    )?;
    let (seconds, cpu) = (
        started.elapsed().as_secs_f64(),
        meter.seconds() - cpu_before,
    );
    for outcome in outcomes.values_mut() {
        outcome.seconds = seconds;
        outcome.server_cpu_seconds = cpu;
    }
    Ok(outcomes)
}

fn drive(
    poll: &mut Poll,
    clients: &mut [Client],
    scratch: &mut [u8],
    length: Duration,
    outcomes: &mut BTreeMap<&'static str, Outcome>,
) -> Result<()> {
    poll.drive((length, SILENCE_LIMIT), |_, ready| {
        let client = clients.get_mut(ready.token);
        let client = client.context("token of no connection")?;
        client.advance(scratch, outcomes.entry(client.label).or_default())
    })
}

struct Client {
    socket: TcpStream,
    label: &'static str,
    stream: Stream,
    random: Random,
    head: Vec<u8>,
    body_bytes_left: u64,
    asked_at: Instant,
    cold: Option<ColdFile>,
}

impl Client {
    fn new(server: SocketAddr, label: &'static str, stream: Stream, seed: u64) -> Result<Self> {
        let cold = match &stream {
            Stream::Cold { file, .. } => Some(ColdFile::open(file)?),
            Stream::Whole { .. } | Stream::Ranges { .. } => None,
        };
        Ok(Self {
            socket: connect(server)?,
            label,
            stream,
            random: Random::new(seed),
            head: Vec::with_capacity(HEAD_BYTES_MAX),
            body_bytes_left: 0,
            asked_at: Instant::now(),
            cold,
        })
    }

    fn ask(&mut self) -> Result<()> {
        let request = match &self.stream {
            Stream::Whole { path } | Stream::Cold { path, .. } => {
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            }
            Stream::Ranges {
                path,
                file_bytes,
                range_bytes,
            } => {
                let first = self.random.below(file_bytes / range_bytes) * range_bytes;
                let last = first + range_bytes - 1;
                format!(
                    "GET {path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes={first}-{last}\r\n\r\n"
                )
            }
        };
        self.asked_at = Instant::now();
        self.head.clear();
        // A request of 100 bytes always fits an idle socket's buffer, so a short write is a fault.
        let sent = self
            .socket
            .write(request.as_bytes())
            .context("send request")?;
        ensure!(sent == request.len(), "request cut short");
        Ok(())
    }

    /// Takes one step: some of the head, or as much of the body as has arrived.
    fn advance(&mut self, scratch: &mut [u8], outcome: &mut Outcome) -> Result<()> {
        if self.body_bytes_left == 0 {
            let Some(early) = self.read_head()? else {
                return Ok(());
            };
            outcome.bytes += early;
            self.took(early)?;
        }
        while self.body_bytes_left > 0 {
            let Some(bytes) = discard(&self.socket, scratch, self.body_bytes_left)? else {
                return Ok(());
            };
            outcome.bytes += bytes;
            self.body_bytes_left -= bytes;
            self.took(bytes)?;
        }
        outcome.record(self.asked_at.elapsed().as_micros());
        self.ask()
    }

    fn took(&mut self, bytes: u64) -> Result<()> {
        match &mut self.cold {
            Some(cold) => cold.took(bytes, self.body_bytes_left == 0),
            None => Ok(()),
        }
    }

    /// Returns the body bytes that came with the end of the head, `None` while it is incomplete.
    fn read_head(&mut self) -> Result<Option<u64>> {
        let mut buffer = [0; 512];
        let length = match self.socket.read(&mut buffer) {
            Ok(0) => bail!("the server closed the connection instead of answering"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("receive head"),
        };
        self.head.extend_from_slice(&buffer[..length]);
        let end = self.head.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            ensure!(self.head.len() < HEAD_BYTES_MAX, "response head too long");
            return Ok(None);
        };
        let text = std::str::from_utf8(&self.head[..end]).context("head is not text")?;
        let body_bytes = self.judge(text)?;
        let early = (self.head.len() - end - 4) as u64;
        ensure!(early <= body_bytes, "more bytes than announced");
        self.body_bytes_left = body_bytes - early;
        Ok(Some(early))
    }

    fn judge(&self, head: &str) -> Result<u64> {
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .unwrap_or("");
        let length = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .with_context(|| format!("no Content-Length in: {head}"))?;
        match &self.stream {
            Stream::Whole { .. } | Stream::Cold { .. } => ensure!(status == "200", "got: {head}"),
            Stream::Ranges { range_bytes, .. } => {
                ensure!(status == "206" && length == *range_bytes, "got: {head}");
            }
        }
        Ok(length)
    }
}

/// A file whose pages leave the cache once they were sent.
struct ColdFile {
    file: File,
    received: u64,
    dropped: u64,
}

impl ColdFile {
    fn open(path: &PathBuf) -> Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        fadvise(&file, 0, None, Advice::DontNeed).context("fadvise")?;
        Ok(Self {
            file,
            received: 0,
            dropped: 0,
        })
    }

    fn took(&mut self, bytes: u64, end: bool) -> Result<()> {
        self.received += bytes;
        if end {
            fadvise(&self.file, 0, None, Advice::DontNeed).context("fadvise")?;
            (self.received, self.dropped) = (0, 0);
        } else if self.received - self.dropped >= 2 * DROP_STEP_BYTES {
            let length = std::num::NonZeroU64::new(DROP_STEP_BYTES);
            fadvise(&self.file, self.dropped, length, Advice::DontNeed).context("fadvise")?;
            self.dropped += DROP_STEP_BYTES;
        }
        Ok(())
    }
}

/// A xorshift generator: cheap, and the same sequence for the same seed in every run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator; equal seeds give equal sequences.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, or zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.checked_rem(bound).unwrap_or(0)
    }
}
