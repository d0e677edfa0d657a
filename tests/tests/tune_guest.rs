//! What `towline tune` makes of links that a small kernel does not have: bonds, VLANs, bridges, fq.
//!
//! They are made in a guest with Debian's kernel, by ip(8) and tc(8). Invariant: nothing on this
//! machine is changed. Not promised: Thunderbolt, which no emulated machine has; its rules are
//! tested on composed fact sheets.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use towline_tests::guest::{Job, run};
use towline_tests::paths;
use towline_tests::skip::unless_installed;

/// Longest time for the job, boot included, on an emulated processor that others use too.
const JOB_LIMIT: Duration = Duration::from_secs(240);

/// What was printed after a line of this name.
fn part<'a>(told: &'a str, name: &str) -> Result<&'a str> {
    let after = told.split(&format!("@@ {name}\n")).nth(1);
    let after = after.with_context(|| format!("no {name} in {told}"))?;
    Ok(after.split("@@ ").next().unwrap_or(""))
}

fn report(told: &str, name: &str) -> Result<Value> {
    let text = part(told, name)?;
    serde_json::from_str(text).with_context(|| format!("{name}: {text}"))
}

/// State and reading of a check.
fn check<'a>(report: &'a Value, id: &str, subject: &str) -> Result<(&'a str, &'a str)> {
    let all = report["checks"].as_array().context("no checks")?;
    let mut found = all
        .iter()
        .filter(|check| check["id"] == id && check["subject"] == subject);
    let one = found
        .next()
        .with_context(|| format!("no {id} of {subject}"))?;
    let word = |field: &str| one[field].as_str().unwrap_or("");
    Ok((word("state"), word("read")))
}

fn link<'a>(report: &'a Value, name: &str) -> Result<&'a Value> {
    let all = report["facts"]["links"].as_array().context("no links")?;
    let mut named = all.iter().filter(|link| link["name"] == name);
    named.next().with_context(|| format!("no link {name}"))
}

fn told_by_guest() -> Result<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/jobs");
    let script = fs::read_to_string(directory.join("tune.sh"))?;
    let mut job = Job::new(&format!("set -eu\n{script}"), JOB_LIMIT);
    job.files = vec![(paths::program("towline")?, "towline".to_owned())];
    job.programs = ["/sbin/ip", "/sbin/tc"].map(PathBuf::from).to_vec();
    job.programs.push(paths::program("towline")?);
    let result = run(&job)?;
    ensure!(result.exit_code == 0, "the job failed: {}", result.output);
    Ok(result.output.replace('\r', ""))
}

#[test]
fn bonds_vlans_bridges_and_fq_are_seen_as_they_are() -> Result<()> {
    if !unless_installed("qemu-system-x86_64", "qemu-system-x86 seabios")? {
        return Ok(());
    }
    let told = told_by_guest()?;
    let vlan = report(&told, "vlan")?;
    let facts = link(&vlan, "lag0.100")?;
    ensure!(
        facts["kind"] == "vlan" && facts["vlan_id"] == 100,
        "{facts}"
    );
    ensure!(facts["lower"] == "lag0", "{facts}");
    let facts = link(&vlan, "lag0")?;
    ensure!(
        facts["kind"] == "bond" && facts["bond_mode"] == "802.3ad",
        "{facts}"
    );
    ensure!(facts["bond_hash"] == "layer3+4", "{facts}");
    ensure!(link(&vlan, "port1")?["master"] == "lag0");
    // The links in question are the whole stack, top first.
    let links = vlan["links"].to_string();
    ensure!(
        links.starts_with("[\"lag0.100\",\"lag0\",") && links.contains("port2"),
        "{links}"
    );
    let (state, read) = check(&vlan, "e2e.lacp", "lag0")?;
    ensure!(state == "ok" && read.contains("802.3ad"), "{state} {read}");
    let (state, _) = check(&vlan, "link.mtu_vlan_bridge", "lag0")?;
    ensure!(state == "ok", "{state}");

    let small = report(&told, "small-member")?;
    let (state, read) = check(&small, "link.mtu_vlan_bridge", "lag0")?;
    ensure!(state == "fail" && read.contains("port2"), "{state} {read}");
    let repaired = part(&told, "repaired")?;
    ensure!(
        repaired.contains("mtu 1500") && repaired.contains("mtu 1400"),
        "{repaired}"
    );

    let bridge = report(&told, "bridge")?;
    ensure!(link(&bridge, "br0")?["kind"] == "bridge");
    ensure!(link(&bridge, "port3")?["master"] == "br0");

    let (state, read) = check(&report(&told, "without-fq")?, "nic.qdisc", "eth0")
        .map(|(state, read)| (state.to_owned(), read.to_owned()))?;
    ensure!(state == "fail", "{state} {read}");
    let with = report(&told, "with-fq")?;
    let (state, read) = check(&with, "nic.qdisc", "eth0")?;
    ensure!(state == "ok" && read.contains("fq"), "{state} {read}");
    Ok(())
}
