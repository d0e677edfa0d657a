//! Options and ends of `towline bench link` beside those of the C program: failures as JSON,
//! interrupts, zeros, part intervals, the way that sockets take, marks, and credentials.
//!
//! Functional only: every test is held to a low rate or a small amount.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use towline_tests::bench::{bench, parsed, towline};
use towline_tests::iperf3::{
    Client, Listening, document, interrupted, iperf3_client, number, towline_client,
};
use towline_tests::process::{command, must_run, run};
use towline_tests::skip::unless_installed;

/// Longest command.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn every_failure_is_one_document_with_an_error() -> Result<()> {
    for (words, code) in [
        (&["link", "127.0.0.1", "-p", "9", "--json"][..], 2),
        (&["link", "no-such-host.invalid", "-J"], 2),
        (&["link", "127.0.0.1", "-6", "-J"], 2),
        (&["link", "127.0.0.1", "-B", "192.0.2.1", "-J"], 2),
        (&["link", "127.0.0.1", "--bind-dev", "no-such", "-J"], 2),
        (&["link", "127.0.0.1", "--no-such-option", "-RJ"], 64),
        (&["link", "127.0.0.1", "-t", "1", "-n", "1M", "--json"], 64),
        (
            &["link", "127.0.0.1", "--logfile", "/nowhere/at/all", "-J"],
            64,
        ),
    ] {
        let finished = bench(words)?;
        ensure!(
            finished.status.code() == Some(code),
            "{words:?}: {finished:?}"
        );
        let told = parsed(&finished).with_context(|| format!("{words:?}"))?;
        let error = told["error"].as_str().context("no error")?;
        ensure!(
            !error.is_empty() && told["intervals"] == Value::Array(vec![]),
            "{told:#}"
        );
        ensure!(
            told["end"].is_object() && told["start"]["version"].is_string(),
            "{told:#}"
        );
    }
    let lines = bench(&["link", "127.0.0.1", "-p", "9", "--json-stream"])?;
    let lines = String::from_utf8(lines.output)?;
    let lines: Vec<Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(lines.len() == 2 && lines[0]["event"] == "error" && lines[1]["event"] == "end");
    Ok(())
}

#[test]
fn an_interrupt_is_told_to_both_ends_and_keeps_what_was_measured() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("server");
    let server = Listening::iperf3(&["--logfile", &log.to_string_lossy(), "--forceflush"])?;
    let (delay, options) = (Duration::from_millis(2500), ["-t", "0", "-b", "20M", "-J"]);
    let (code, text) = interrupted(Client::Towline, server.port, &options, delay)?;
    ensure!(code == Some(130), "{code:?}");
    let told: Value = serde_json::from_str(&text)?;
    let (_, text) = interrupted(Client::Iperf3, server.port, &options, delay)?;
    let wanted: Value = serde_json::from_str(&text)?;
    ensure!(
        told["error"] == wanted["error"],
        "{} {}",
        told["error"],
        wanted["error"]
    );
    ensure!(number(&told, "/end/sum_sent/bytes")? > 1e6, "{told:#}");
    ensure!(
        told["intervals"]
            .as_array()
            .is_some_and(|all| all.len() >= 2),
        "{told:#}"
    );
    let heard = std::fs::read_to_string(&log)?;
    let heard = heard.matches("the client has terminated").count();
    ensure!(heard == 2, "the server heard of it {heard} times");
    Ok(())
}

/// Begin and end of every interval in tenths of a second.
fn intervals(told: &Value) -> Result<Vec<(i64, i64)>> {
    let all = told["intervals"].as_array().context("no intervals")?;
    let tenths = |one: &Value, key: &str| number(one, key).map(|s| (s * 10.0).round() as i64);
    all.iter()
        .map(|one| Ok((tenths(one, "/sum/start")?, tenths(one, "/sum/end")?)))
        .collect()
}

#[test]
fn zeros_and_part_intervals_mean_what_they_mean_to_iperf3() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let server = Listening::iperf3(&[])?;
    for options in [
        &["-t", "2", "-i", "0"][..],
        &["-t", "3", "-i", "2"],
        &["-n", "0", "-t", "2", "-i", "1.5"],
        &["-k", "0", "-t", "1"],
    ] {
        let options = [options, &["-b", "20M", "-J"]].concat();
        let ours = intervals(&document(&towline_client(server.port, &options)?)?)?;
        let theirs = intervals(&document(&iperf3_client(server.port, &options)?)?)?;
        let near =
            |(a, b): (&(i64, i64), &(i64, i64))| (a.0 - b.0).abs() <= 2 && (a.1 - b.1).abs() <= 2;
        let alike = ours.len() == theirs.len() && ours.iter().zip(&theirs).all(near);
        ensure!(alike, "{options:?}: {ours:?}, iperf3 has {theirs:?}");
    }
    let options = ["-n", "1M", "-i", "60", "-J"];
    let short = document(&towline_client(server.port, &options)?)?;
    ensure!(
        intervals(&short)?.len() == 1,
        "a part interval is missing: {short:#}"
    );
    Ok(())
}

#[test]
fn sockets_are_bound_and_marked_as_asked() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let server = Listening::iperf3(&[])?;
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let port = first.to_string();
    for is_udp in [false, true] {
        let way = ["-4", "-B", "127.0.0.3%lo", "--cport", &port, "-P", "2"];
        let options = [&way[..], &["-t", "1", "-b", "1M", "--dscp", "af41", "-J"]].concat();
        let options = [&options[..], if is_udp { &["-u"] } else { &[] }].concat();
        let told = document(&towline_client(server.port, &options)?)?;
        for index in 0..2_u16 {
            let stream = &told["start"]["connected"][usize::from(index)];
            ensure!(stream["local_host"] == "127.0.0.3", "{stream}");
            ensure!(stream["local_port"] == first + index, "{stream}");
        }
        ensure!(number(&told, "/start/test_start/tos")? == 136.0, "{told:#}");
    }
    let theirs = ["-n", "64K", "--dscp", "af41", "-J"];
    let theirs = document(&iperf3_client(server.port, &theirs)?)?;
    ensure!(
        number(&theirs, "/start/test_start/tos")? == 136.0,
        "{theirs:#}"
    );
    Ok(())
}

#[test]
fn a_log_file_is_added_to_and_standard_output_stays_empty() -> Result<()> {
    let server = Listening::towline(&[])?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    std::fs::write(&path, "before\n")?;
    let log = path.to_string_lossy().into_owned();
    let finished = towline_client(server.port, &["-n", "64K", "--logfile", &log])?;
    ensure!(
        finished.status.success() && finished.output.is_empty(),
        "{finished:?}"
    );
    let text = std::fs::read_to_string(&path)?;
    ensure!(
        text.starts_with("before\n") && text.contains("client to server"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_connection_that_does_not_stand_is_given_up_in_time() -> Result<()> {
    let row = towline_tests::netns::Row::new()?;
    let program = towline()?;
    // Nobody has this address: the router asks for it for seconds.
    let words = [
        &program,
        "bench",
        "link",
        "10.77.2.99",
        "--connect-timeout",
        "300",
        "-J",
    ];
    let begun = Instant::now();
    let options = [&words[..], &["--no-probe"]].concat();
    let finished = run(row.at_client(&options), LIMIT)?;
    ensure!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let told = parsed(&finished)?;
    let error = told["error"].as_str().context("no error")?;
    ensure!(error.contains("300 ms"), "{error}");
    Ok(())
}

#[test]
fn credentials_are_passed_over_and_a_wish_for_them_is_told() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? || !unless_installed("openssl", "openssl")? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (private, public, users) = (path("private.pem"), path("public.pem"), path("users.csv"));
    must_run(
        command("openssl", &["genrsa", "-out", &private, "2048"]),
        LIMIT,
    )?;
    let public_key = ["rsa", "-in", &private, "-pubout", "-out", &public];
    must_run(command("openssl", &public_key), LIMIT)?;
    std::fs::write(&users, "mario,0\n")?;
    let server = Listening::towline(&[])?;
    let port = server.port.to_string();
    let words = [
        "-c",
        "127.0.0.1",
        "-p",
        &port,
        "-n",
        "64K",
        "-J",
        "--username",
        "mario",
    ];
    let mut client = command("iperf3", &words);
    client.args(["--rsa-public-key-path", &public]);
    client.env("IPERF3_PASSWORD", "rossi");
    document(&run(client, LIMIT)?)?;
    let keys = [
        "--rsa-private-key-path",
        &private,
        "--authorized-users-path",
        &users,
    ];
    let server = Listening::iperf3(&keys)?;
    let refused = towline_client(server.port, &["-n", "64K", "-J"])?;
    ensure!(refused.status.code() == Some(2), "{refused:?}");
    let told = parsed(&refused)?;
    let error = told["error"].as_str().context("no error")?;
    ensure!(
        error.contains("password") && error.contains("--authorized-users-path"),
        "{error}"
    );
    Ok(())
}
