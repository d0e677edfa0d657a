//! What `towline bench` says with its exit code (0 done, 1 goal missed, 2 could not run, 3 slower
//! than what was saved, 64 wrong usage), and in which forms; wrong words and what is said to them.
//!
//! The share is a server of this test, whose speed is known because it waits.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use towline_tests::bench::{bench, parsed};
use towline_tests::share::slow_server;

/// Bytes of its one file.
const BYTES: usize = 1 << 20;

/// A server that waits before each 256 KiB; its URL.
fn server(wait: Duration) -> Result<String> {
    slow_server(BYTES, 256 << 10, wait)
}

/// The exit code and what was said on standard error.
fn code(words: &[&str]) -> Result<(i32, String)> {
    let finished = bench(words)?;
    let code = finished.status.code().context("ended by a signal")?;
    Ok((code, finished.errors))
}

#[test]
fn the_code_tells_what_became_of_a_share() -> Result<()> {
    let url = server(Duration::from_millis(1))?;
    let share = ["share", &url, "-t", "0.1", "--depths", "1"];
    for (more, wanted) in [
        (&[][..], 0),
        (&["--target", "share=1kbps,link=9.4Gbps"], 0),
        (&["--target", "share=100Tbps"], 1),
        (&["--preset", "dual-10g"], 1),
        (&["--target", "disk=1Gbps"], 64),
        (&["--target", "share=9.4"], 64),
        (&["--preset", "dual-9g"], 64),
        (&["--html", "/nowhere/at/all.html"], 64),
        (&["--json", "--csv"], 64),
    ] {
        let (code, said) = code(&[&share[..], more].concat())?;
        ensure!(code == wanted, "{more:?}: {code} {said}");
        ensure!(wanted != 64 || !said.is_empty(), "{more:?}");
    }
    let (code, said) = code(&["share", "http://127.0.0.1:9/x", "-t", "0.1"])?;
    ensure!(
        code == 2 && said.contains("does not answer"),
        "{code} {said}"
    );
    Ok(())
}

#[test]
fn what_became_slower_than_what_was_saved_is_told() -> Result<()> {
    let (fast, slow) = (
        server(Duration::from_millis(2))?,
        server(Duration::from_millis(25))?,
    );
    let folder = tempfile::tempdir()?;
    let folder = folder.path().to_string_lossy().into_owned();
    let share = ["-t", "0.1", "--depths", "1"];
    let at = |url| [&["share", url], &share[..]].concat();
    let kept = ["--folder", folder.as_str()];
    let save = [&["save", "before"], &kept[..], &at(&fast)].concat();
    let (saved, said) = code(&save)?;
    ensure!(saved == 0, "{said}");
    // The same again, words and all; a wide threshold, because the machine is shared.
    let again = [&["compare", "before", "--threshold", "1000%"], &kept[..]].concat();
    let (same, said) = code(&again)?;
    ensure!(same == 0, "{same} {said}");
    let json = [&["compare", "before", "--json"], &kept[..], &at(&slow)].concat();
    let finished = bench(&json)?;
    ensure!(finished.status.code() == Some(3), "{}", finished.errors);
    let changes = parsed(&finished)?;
    let changes = changes.as_array().context("no changes")?;
    let worse = changes
        .iter()
        .filter(|change| change["is_regression"] == true);
    ensure!(worse.count() > 0, "{changes:#?}");
    // A goal is judged in every run; other options and other kinds are not compared.
    let goal = ["save", "goal", "--target", "share=100Tbps"];
    let (missed, _) = code(&[&goal[..], &kept[..], &at(&fast)].concat())?;
    ensure!(missed == 1);
    let other = [
        &["compare", "before"],
        &kept[..],
        &at(&fast),
        &["--size", "1M"],
    ]
    .concat();
    let (differs, said) = code(&other)?;
    ensure!(differs == 2 && said.contains("differs"), "{differs} {said}");
    let (unknown, said) = code(&[&["compare", "after"], &kept[..]].concat())?;
    ensure!(unknown == 2 && said.contains("before"), "{said}");
    for wrong in [
        &["share"][..],
        &["10.0.0.2"],
        &["link", "h", "--len", "9G"],
        &["link", "h", "-n", "1M", "-t", "1"],
        &["link", "h", "-u", "--zerocopy", "sendfile"],
    ] {
        let (wrong, said) = code(&[&["save", "x"], &kept[..], wrong].concat())?;
        ensure!(wrong == 64, "{wrong} {said}");
    }
    Ok(())
}

#[test]
fn every_form_holds_the_same_figures() -> Result<()> {
    let url = server(Duration::from_millis(1))?;
    let share = ["share", &url, "-t", "0.1", "--depths", "1"];
    let report = parsed(&bench(&[&share[..], &["--json"]].concat())?)?;
    let figures = report["figures"].as_array().context("no figures")?;
    let csv = bench(&[&share[..], &["--csv"]].concat())?;
    let csv = String::from_utf8(csv.output)?;
    let stream = bench(&[&share[..], &["--json-stream"]].concat())?;
    let stream = String::from_utf8(stream.output)?;
    let events: Result<Vec<Value>, _> = stream.lines().map(serde_json::from_str).collect();
    let events = events?;
    let end = events.last().context("no events")?;
    ensure!(end["event"] == "end", "{end:#}");
    for figure in figures {
        let name = figure["name"].as_str().context("no name")?;
        ensure!(csv.contains(&format!(",{name},")), "{name} is not in {csv}");
        let found = end["data"]["figures"].as_array().context("no figures")?;
        ensure!(found.iter().any(|one| one["name"] == name), "no {name}");
    }
    let measured = events.iter().filter(|event| event["event"] == "interval");
    ensure!(measured.count() >= 4, "{stream}");
    Ok(())
}
