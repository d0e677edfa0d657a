//! towline as the subject: `towline up` with one worker.
//!
//! Invariant: only settings that the peer is given too are set (one worker, the congestion
//! control of the case). Not promised: its defaults for several cores.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Server;

/// Which towline, and how.
#[derive(Clone, Debug)]
pub struct TowlineChoice {
    /// The program.
    pub program: PathBuf,
    /// Its I/O engine: `auto`, `uring` or `portable`.
    pub engine: String,
}

/// Starts towline for the volumes below `data`, with its files in `directory` and `more` of a
/// configuration.
///
/// # Errors
/// Fails when the program does not exist or does not start.
pub fn towline(
    choice: &TowlineChoice,
    (http, nfs): (SocketAddr, SocketAddr),
    data: &Path,
    directory: &Path,
    more: &str,
) -> Result<Server> {
    let configuration = format!(
        "[listen]\nportmap = \"off\"\n[io]\nengine = \"{}\"\nworkers = 1\n\
         congestion_control = \"reno\"\n{more}",
        choice.engine
    );
    let file = directory.join("towline.toml");
    std::fs::write(&file, configuration)?;
    let program = choice.program.canonicalize().with_context(|| {
        format!(
            "{}: build it with cargo build --release",
            choice.program.display()
        )
    })?;
    let mut command = Command::new(program);
    command
        .arg("up")
        .arg("--data")
        .arg(data)
        .arg("--config")
        .arg(&file);
    command.arg("--listen").arg(http.ip().to_string());
    command.arg("--http-port").arg(http.port().to_string());
    command.arg("--nfs-port").arg(nfs.port().to_string());
    let log = directory.join("towline.log");
    let mut server = Server::start("towline", command, &log)?;
    server.wait_for(http, &log)?;
    server.wait_for(nfs, &log)?;
    Ok(server)
}
