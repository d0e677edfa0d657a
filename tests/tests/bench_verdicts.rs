//! Planted causes, each found by `towline bench link`: a small receive buffer, a shaped link, a
//! receiver without processor, a policer that drops.
//!
//! Needs root for network namespaces. Rates are those of veth on this machine and not looked at.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;
use serde_json::Value;
use towline_tests::netns::{Row, SERVER};
use towline_tests::paths::program;
use towline_tests::process::{Running, command, run};
use towline_tests::skip::{impossible, unless_installed};

/// Longest test.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether namespaces can be made here; else the test says that it was skipped.
fn can_run() -> Result<bool> {
    if !geteuid().is_root() {
        impossible("planted causes need root for network namespaces")?;
        return Ok(false);
    }
    unless_installed("ip", "iproute2")
}

fn hidden(mut command: std::process::Command) -> Result<Running> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    Running::start(command)
}

/// Starts a server at the end of the row; `before` are words in front of it, such as `taskset`.
fn serve(row: &Row, before: &[&str]) -> Result<Running> {
    let towline = program("towline")?;
    let towline = towline.to_string_lossy().into_owned();
    let words = [
        towline.as_str(),
        "bench",
        "serve",
        "--allow",
        "10.77.0.0/16",
    ];
    let server = hidden(row.at_server(&[before, &words].concat()))?;
    // Ready when the port is in the table of that namespace; no connection is tried.
    for _ in 0..200 {
        let table = row.at_server(&["cat", "/proc/net/tcp6", "/proc/net/tcp"]);
        let text = run(table, LIMIT)?.output;
        if String::from_utf8_lossy(&text).contains(":1451 ") {
            return Ok(server);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("the server does not listen")
}

/// The verdict on the way from client to server: its limit, and all of it for messages.
fn verdict(row: &Row, before: &[&str], options: &[&str]) -> Result<(String, Value)> {
    let towline = program("towline")?;
    let towline = towline.to_string_lossy().into_owned();
    let words = [
        towline.as_str(),
        "bench",
        "link",
        SERVER,
        "-t",
        "3",
        "--json",
    ];
    let finished = run(row.at_client(&[before, &words, options].concat()), LIMIT)?;
    let text = String::from_utf8_lossy(&finished.output).into_owned();
    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{}{text}", finished.errors))?;
    let verdict = value
        .pointer("/towline/report/verdict")
        .context("no verdict")?;
    let limit = verdict
        .get("limit")
        .and_then(Value::as_str)
        .context("no limit")?;
    Ok((limit.to_owned(), verdict.clone()))
}

#[test]
fn a_small_receive_buffer_is_the_receivers() -> Result<()> {
    if !can_run()? {
        return Ok(());
    }
    let row = Row::new()?;
    let small = "net.ipv4.tcp_rmem=4096 16384 16384";
    run(row.at_server(&["sysctl", "-qw", small]), LIMIT)?;
    let _server = serve(&row, &[])?;
    let (limit, verdict) = verdict(&row, &[], &[])?;
    ensure!(limit == "receiver", "{verdict:#}");
    let cause = verdict["cause"].as_str().unwrap_or_default();
    ensure!(cause.contains("receive window of at most"), "{verdict:#}");
    Ok(())
}

#[test]
fn a_shaped_link_is_the_paths() -> Result<()> {
    if !can_run()? {
        return Ok(());
    }
    let row = Row::new()?;
    row.shape(&["rate", "100mbit", "burst", "64k", "latency", "100ms"])?;
    let _server = serve(&row, &[])?;
    let (limit, found) = verdict(&row, &[], &["-C", "reno"])?;
    ensure!(limit == "path", "{found:#}");
    let (limit, found) = verdict(&row, &[], &["-C", "bbr"])?;
    ensure!(limit == "path", "{found:#}");
    Ok(())
}

#[test]
fn a_policer_is_the_paths_loss() -> Result<()> {
    if !can_run()? {
        return Ok(());
    }
    let row = Row::new()?;
    // A bucket without a queue behind it: what does not fit is dropped, as a policer does.
    row.shape(&["rate", "200mbit", "burst", "70k", "limit", "70k"])?;
    let _server = serve(&row, &[])?;
    let (limit, verdict) = verdict(&row, &[], &["-C", "reno"])?;
    ensure!(limit == "path", "{verdict:#}");
    let cause = verdict["cause"].as_str().unwrap_or_default();
    ensure!(cause.contains("lost on the way"), "{verdict:#}");
    Ok(())
}

#[test]
fn a_receiver_without_processor_is_the_cpus() -> Result<()> {
    if !can_run()? {
        return Ok(());
    }
    if std::thread::available_parallelism()?.get() < 2 {
        return impossible("a pinned receiver needs a second core");
    }
    let row = Row::new()?;
    // Somebody else wants the same core, and more of it.
    let spin = "while :; do :; done";
    let _spinner = hidden(command("taskset", &["-c", "1", "sh", "-c", spin]))?;
    let _server = serve(&row, &["nice", "-n", "15", "taskset", "-c", "1"])?;
    let (limit, verdict) = verdict(&row, &["taskset", "-c", "0"], &[])?;
    ensure!(limit == "cpu", "{verdict:#}");
    let cause = verdict["cause"].as_str().unwrap_or_default();
    ensure!(cause.contains("receiving"), "{verdict:#}");
    Ok(())
}
