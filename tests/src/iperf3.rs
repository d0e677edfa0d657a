//! `iperf3` and `towline bench` as each other's ends, for the interoperability tests.
//!
//! Invariant: readiness is read from the kernel's table of listening sockets, never tried with a
//! connection, which would be a test of its own. Every process is killed by its pid when dropped.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::paths;
use crate::process::{Finished, Running, command, run};

/// How long a server may take until it listens.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// How long an interrupted client may take to end.
const INTERRUPTED_LIMIT: Duration = Duration::from_secs(5);
/// Longest test.
const TEST_LIMIT: Duration = Duration::from_secs(40);

/// A server that listens.
#[derive(Debug)]
pub struct Listening {
    /// The process.
    pub process: Running,
    /// Its port.
    pub port: u16,
}

impl Listening {
    /// `iperf3 -s` with more options.
    ///
    /// # Errors
    /// Fails when it does not listen in time.
    pub fn iperf3(options: &[&str]) -> Result<Self> {
        Self::start("iperf3", &["-s"], options)
    }

    /// `towline bench serve` with more options.
    ///
    /// # Errors
    /// Fails when it does not listen in time.
    pub fn towline(options: &[&str]) -> Result<Self> {
        let program = paths::program("towline")?;
        Self::start(&program.to_string_lossy(), &["bench", "serve"], options)
    }

    fn start(program: &str, verb: &[&str], options: &[&str]) -> Result<Self> {
        for _attempt in 0..5 {
            let port = free_port()?;
            let mut command = command(program, verb);
            command.args(["-p", &port.to_string()]).args(options);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(Stdio::null());
            let mut process = Running::start(command)?;
            let started = Instant::now();
            while started.elapsed() < READY_LIMIT {
                if listens(port)? {
                    return Ok(Self { process, port });
                }
                if process.ended()?.is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        bail!("{program} does not listen")
    }

    /// Open descriptors of the server.
    ///
    /// # Errors
    /// Fails when it is gone.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.process.pid()))?.count())
    }

    /// Waits until the server holds no more descriptors than when it was idle.
    ///
    /// # Errors
    /// Fails when it goes on holding some.
    pub fn falls_back_to(&self, idle: usize) -> Result<()> {
        let begun = Instant::now();
        while self.descriptors()? > idle {
            ensure!(begun.elapsed() < Duration::from_secs(5), "descriptors left");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// A port that nobody has now.
fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}

/// Whether somebody listens on this port (proc(5), state 0A).
fn listens(port: u16) -> Result<bool> {
    let wanted = format!(":{port:04X} ");
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        let found = text.lines().any(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            let local = words.next().map(|local| format!("{local} "));
            let state = words.nth(1);
            local.is_some_and(|local| local.ends_with(&wanted)) && state == Some("0A")
        });
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    /// `towline bench link`.
    Towline,
    /// `iperf3 -c`.
    Iperf3,
}

impl Client {
    fn command(self, port: u16, options: &[&str]) -> Result<Command> {
        let mut command = match self {
            Self::Towline => command(paths::program("towline")?, &["bench", "link", "127.0.0.1"]),
            Self::Iperf3 => command("iperf3", &["-c", "127.0.0.1"]),
        };
        command.args(["-p", &port.to_string()]).args(options);
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Starts a test against a port of this host; what it prints is thrown away.
    ///
    /// # Errors
    /// Fails when it cannot be started.
    pub fn start(self, port: u16, options: &[&str]) -> Result<Running> {
        let mut command = self.command(port, options)?;
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Running::start(command)
    }
}

/// A test that is interrupted after `delay`: its exit code and what it printed.
///
/// # Errors
/// Fails when it cannot be started or does not end.
pub fn interrupted(
    client: Client,
    port: u16,
    options: &[&str],
    delay: Duration,
) -> Result<(Option<i32>, String)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("out");
    let mut command = client.command(port, options)?;
    command.stdout(fs::File::create(&path)?);
    command.stderr(Stdio::null());
    let mut running = Running::start(command)?;
    std::thread::sleep(delay);
    running.signal(Signal::INT);
    let code = running.wait(INTERRUPTED_LIMIT)?.code();
    Ok((code, fs::read_to_string(&path)?))
}

/// `towline bench link` against a port of this host.
///
/// # Errors
/// Fails when it cannot be started or hangs.
pub fn towline_client(port: u16, options: &[&str]) -> Result<Finished> {
    run(Client::Towline.command(port, options)?, TEST_LIMIT)
}

/// `iperf3 -c` against a port of this host.
///
/// # Errors
/// Fails when it cannot be started or hangs.
pub fn iperf3_client(port: u16, options: &[&str]) -> Result<Finished> {
    run(Client::Iperf3.command(port, options)?, TEST_LIMIT)
}

/// The JSON of a client that ended well. The C program of 3.12 exits with 0 even on failure, so
/// `error` is looked for.
///
/// # Errors
/// Fails when the test failed or the output is no JSON.
pub fn document(finished: &Finished) -> Result<Value> {
    let text = String::from_utf8_lossy(&finished.output);
    let context = || format!("{}{text}", finished.errors);
    ensure!(finished.status.success(), "{}", context());
    let value: Value = serde_json::from_slice(&finished.output).with_context(context)?;
    ensure!(value.get("error").is_none(), "{}", context());
    Ok(value)
}

/// A number in a document by its path, such as `/end/sum_sent/bytes`.
///
/// # Errors
/// Fails when there is none.
pub fn number(document: &Value, path: &str) -> Result<f64> {
    let found = document.pointer(path).and_then(Value::as_f64);
    found.with_context(|| format!("no {path} in {document:#}"))
}
