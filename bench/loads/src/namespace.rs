//! Running the comparison in a network namespace of its own (network_namespaces(7)).
//!
//! There every port is free, nothing else is disturbed, and the congestion control of every
//! socket is one sysctl. Invariant: the host's own network settings are never changed. Not
//! promised: another speed than that of the host's loopback.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The default for sockets that do not choose.
const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
/// Tells the re-executed program that it is inside already.
pub const INSIDE_FLAG: &str = "--inside-namespace";

/// Replaces this process by itself inside a fresh network namespace. Returns only on failure.
///
/// # Errors
/// Fails where neither root nor user namespaces allow one.
pub fn enter() -> Result<()> {
    let program = std::env::current_exe().context("own path")?;
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--"]).arg(program);
    command.args(std::env::args_os().skip(1)).arg(INSIDE_FLAG);
    Err(command.exec()).context("cannot run unshare (Debian package util-linux)")
}

/// Brings the namespace's loopback up and gives it an empty `/run`, so that sockets and pid files
/// of servers started here meet none of the host's.
///
/// # Errors
/// Fails without the programs `ip` (Debian package iproute2) and `mount`.
pub fn furnish() -> Result<()> {
    must_run("ip", &["link", "set", "lo", "up"])?;
    must_run("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
    for directory in ["/run/rpcbind", "/run/ganesha", "/run/lock"] {
        fs::create_dir_all(directory).context(directory)?;
    }
    Ok(())
}

fn must_run(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program).args(arguments).status();
    let status = status.with_context(|| format!("cannot run {program}"))?;
    ensure!(
        status.success(),
        "{program} {} failed: {status}",
        arguments.join(" ")
    );
    Ok(())
}

/// The congestion control of sockets that do not choose one.
///
/// # Errors
/// Fails where /proc is not mounted.
pub fn congestion_control() -> Result<String> {
    let text = fs::read_to_string(CONGESTION_CONTROL).context(CONGESTION_CONTROL)?;
    Ok(text.trim().to_owned())
}

/// Sets it, for this namespace only.
///
/// # Errors
/// Fails where this is not root's (or the user namespace's) own namespace.
pub fn set_congestion_control(name: &str) -> Result<()> {
    fs::write(CONGESTION_CONTROL, name).with_context(|| format!("{CONGESTION_CONTROL} = {name}"))
}
