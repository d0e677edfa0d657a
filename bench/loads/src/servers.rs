//! Starting and stopping the servers that are compared.
//!
//! Invariant: a server runs on one core with one worker, and is stopped by its own pid when its
//! [`Server`] is dropped. Ready means that its port accepts. Not promised: a graceful stop; these
//! serve benchmark files only.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cpu::{self, CpuMeter};

mod ganesha;
mod nginx;
mod towline;

pub use ganesha::ganesha;
pub use nginx::{NginxBodies, NginxTls, nginx, nginx_tls};
pub use towline::{TowlineChoice, towline};

/// How long a server may take to accept its first connection.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How long a server may take to stop before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running server.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
}

impl Server {
    /// Starts `command` on the server's core with its output in `log`.
    ///
    /// # Errors
    /// Fails when the program does not exist.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| log.display().to_string())?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        cpu::pin(cpu::SERVER_CORE)?;
        let child = command.spawn();
        cpu::pin_to_client_core()?;
        let child = child.with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// Waits until `address` accepts a connection.
    ///
    /// # Errors
    /// Fails when the server ends, or does not listen within twenty seconds.
    pub fn wait_for(&mut self, address: SocketAddr, log: &Path) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < READY_LIMIT {
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                bail!(
                    "{} ended with {status}:\n{}",
                    self.name,
                    last_lines(&text, 15)
                );
            }
            // Polling: a port that starts to listen gives no event to wait for.
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} does not listen on {address}", self.name)
    }

    /// What the server is called in the table.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A meter of this server's processor time.
    #[must_use]
    pub fn meter(&self) -> CpuMeter {
        CpuMeter::new(vec![self.child.id()])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _gone_already = kill_process(pid, Signal::TERM);
        }
        let started = Instant::now();
        while started.elapsed() < STOP_LIMIT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Path of a program on `PATH` or in the places of system programs.
pub(crate) fn program(name: &str, package: &str) -> Result<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("no program {name}: apt-get install {package}"))
}
