//! A running node's side of `towline tune`: it answers measurements, serves the report, counts.
//!
//! Asked with curl, and with the command line of another process. Invariant: everything is on
//! loopback. Not promised: rates, which loopback does not have.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use towline_tests::node::{Node, Settings};
use towline_tests::paths;
use towline_tests::process::Running;
use towline_tests::skip::unless_installed;

fn node(tune: &str) -> Result<Node> {
    Node::start_with(Settings {
        configuration: format!("[tune]\n{tune}\n"),
        arguments: Vec::new(),
        ..Settings::default()
    })
}

fn towline(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(paths::program("towline")?);
    Ok(command
        .args(arguments)
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()?)
}

fn curl(url: &str) -> Result<String> {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "20",
            url,
        ])
        .output()?;
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{url}: {why}");
    Ok(String::from_utf8(output.stdout)?)
}

fn status(node: &Node) -> Result<Value> {
    let url = format!("http://{}", node.http());
    let output = towline(&["status", "--json", "--node", &url])?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn peer_of(node: &Node) -> Result<String> {
    let told = status(node)?;
    let address = told["tune"][0].as_str().context("no tune address")?;
    Ok(address.to_owned())
}

fn metric(page: &str, name: &str) -> Option<u64> {
    let line = page.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.split(' ').nth(1)?.parse().ok()
}

#[test]
fn a_node_answers_a_measurement_and_counts_it() -> Result<()> {
    let node = node("port = 0")?;
    let peer = peer_of(&node)?;
    let log = node.log();
    ensure!(
        log.contains(&format!("tune      {peer}")),
        "not shown: {log}"
    );
    let output = towline(&["tune", "check", "--json", "--peer", &peer])?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let state = |id: &str| {
        let all = report["checks"].as_array().into_iter().flatten();
        let mut named = all.filter(|check| check["id"] == id);
        named.next().map(|check| check["state"].clone())
    };
    for id in [
        "e2e.pmtu_fwd",
        "e2e.pmtu_rev",
        "e2e.pmtu_blackhole",
        "e2e.mtu_mismatch",
        "e2e.tune_diff",
    ] {
        ensure!(state(id) == Some("ok".into()), "{id}: {:?}", state(id));
    }
    ensure!(state("e2e.retrans").is_some_and(|state| state == "ok" || state == "fail"));
    for way in ["there", "back"] {
        let mbit = report["peer"][way]["mbit"].as_f64();
        ensure!(mbit.is_some_and(|mbit| mbit > 100.0), "{way}: {mbit:?}");
    }
    if unless_installed("curl", "curl")? {
        let page = curl(&format!("http://{}/metrics", node.http()))?;
        let count = |what: &str| metric(&page, &format!("towline_tuning_peer_{what}_total"));
        ensure!(count("echoes").is_some_and(|count| count > 1000), "{page}");
        ensure!(
            count("sheets") == Some(1) && count("transfers") == Some(2),
            "{page}"
        );
        ensure!(count("refused") == Some(0), "{page}");
    }
    Ok(())
}

#[test]
fn a_node_that_drains_cuts_a_measurement_and_ends_cleanly() -> Result<()> {
    let mut node = node("port = 0")?;
    let peer = peer_of(&node)?;
    let mut asking = Command::new(paths::program("towline")?);
    asking
        .args(["tune", "check", "--peer", &peer])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut asking = Running::start(asking)?;
    // Into the transfers: a second of counters, then paths and round trips come first.
    std::thread::sleep(Duration::from_millis(2200));
    let ended = node.drain()?;
    ensure!(ended.success(), "{ended}: {}", node.log());
    // What was measured until then is still judged.
    let told = asking.wait(Duration::from_secs(30))?;
    ensure!(matches!(told.code(), Some(0 | 1)), "{told}");
    let again = towline(&["tune", "check", "--quick", "--peer", &peer])?;
    ensure!(again.status.code() == Some(2), "{:?}", again.status);
    Ok(())
}

#[test]
fn a_taken_port_is_a_note_unless_somebody_asked_for_it() -> Result<()> {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = taken.local_addr()?.port();
    let refused = Node::start_with(Settings {
        configuration: format!("[tune]\nport = {port}\n"),
        arguments: Vec::new(),
        ..Settings::default()
    });
    let why = format!("{:#}", refused.err().context("it started")?);
    ensure!(
        why.contains(&format!("cannot listen on 127.0.0.1:{port}")) && why.contains("[tune]"),
        "{why}"
    );
    // Whoever has the default port now, this node or another program, two of three nodes must go
    // without it and say so.
    let nodes = [node("")?, node("")?, node("")?];
    let mut without = 0;
    for node in &nodes {
        let told = status(node)?;
        if told["tune"] == serde_json::json!([]) {
            without += 1;
            let notes = told["notes"].to_string();
            ensure!(notes.contains("tune check --peer") && notes.contains("8421"));
        }
    }
    ensure!(without >= 2, "{without} without");
    let silent = node("answer = false")?;
    ensure!(status(&silent)?["tune"] == serde_json::json!([]));
    Ok(())
}

#[test]
fn the_report_and_its_metrics_are_served() -> Result<()> {
    if !unless_installed("curl", "curl")? {
        return Ok(());
    }
    let node = node("answer = false")?;
    let base: SocketAddr = node.http();
    let report: Value = serde_json::from_str(&curl(&format!("http://{base}/v1/tune"))?)?;
    // A client that knows the wire only reads all of it.
    let read: towline_api::tune::Report = serde_json::from_value(report.clone())?;
    let checks = report["checks"].as_array().context("no checks")?;
    ensure!(
        read.format == 1 && read.checks.len() == checks.len(),
        "{read:?}"
    );
    ensure!(checks.len() > 40, "{} checks", checks.len());
    let failed = checks.iter().filter(|check| check["state"] == "fail");
    let failed = u64::try_from(failed.count())?;
    let page = curl(&format!("http://{base}/metrics"))?;
    let findings = |severity: &str| {
        let name = format!("towline_tuning_findings{{severity=\"{severity}\"}}");
        metric(&page, &name).context(name)
    };
    let sum = findings("error")? + findings("warning")? + findings("information")?;
    ensure!(sum == failed, "{sum} counted, {failed} told");
    for check in checks.iter().filter(|check| check["state"] == "fail") {
        let id = check["id"].as_str().context("no id")?;
        ensure!(
            page.contains(&format!("towline_tuning_failed{{id=\"{id}\"")),
            "{id}: {page}"
        );
    }
    ensure!(metric(&page, "towline_tuning_age_seconds").is_some_and(|age| age < 60));
    // The command line reads the same host by itself: the same ids, and the code says the same.
    let own = towline(&["tune", "check", "--json"])?;
    let own: Value = serde_json::from_slice(&own.stdout)?;
    let ids = |report: &Value| -> Vec<Value> {
        let all = report["checks"].as_array().cloned().unwrap_or_default();
        all.iter().map(|check| check["id"].clone()).collect()
    };
    ensure!(ids(&own) == ids(&report));
    Ok(())
}
