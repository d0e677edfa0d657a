//! `towline bench` and the C program `iperf3` as each other's ends: every case of the protocol
//! page's table, in both directions; guests who behave badly have a file of their own.
//!
//! Functional only: rates are limited or amounts small, and nothing here is a measurement.
//! Invariant: after every case the server answers the next one at once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use towline_tests::iperf3::{Listening, document, iperf3_client, number, towline_client};
use towline_tests::node::{Node, Settings};
use towline_tests::process::{command, run};
use towline_tests::skip::unless_installed;

/// One case of the table: the options of the client's side, and what must hold.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    streams: usize,
    check: fn(&Value) -> Result<()>,
}

const CASES: [Case; 14] = [
    case("iv-tcp", &["-t", "1", "-b", "200M"], 1, both_totals),
    case(
        "iv-par",
        &["-t", "1", "-P", "3", "-b", "50M"],
        3,
        both_totals,
    ),
    case("iv-rev", &["-t", "1", "-R", "-b", "200M"], 1, retransmits),
    case(
        "iv-bidir",
        &["-t", "1", "--bidir", "-b", "100M"],
        2,
        both_ways,
    ),
    case(
        "iv-bidir-2",
        &["-t", "1", "--bidir", "-P", "2", "-b", "50M"],
        4,
        both_ways,
    ),
    case("iv-udp", &["-t", "1", "-u", "-b", "20M"], 1, no_loss),
    case(
        "iv-udp-rev64",
        &["-t", "1", "-u", "-R", "--udp-counters-64bit", "-b", "20M"],
        1,
        no_loss,
    ),
    case(
        "iv-udp-par",
        &["-t", "1", "-u", "-b", "5M", "-P", "3"],
        3,
        no_loss,
    ),
    case("iv-bytes", &["-n", "5M"], 1, five_mebibytes),
    case("iv-bytes-rev", &["-n", "5M", "-R"], 1, five_mebibytes),
    case("iv-blocks", &["-k", "5", "-l", "128K"], 1, five_blocks),
    case("iv-omit", &["-O", "1", "-t", "2", "-b", "100M"], 1, omitted),
    case(
        "iv-omit-udp",
        &["-O", "1", "-t", "2", "-u", "-b", "20M"],
        1,
        omitted,
    ),
    case(
        "iv-zerocopy",
        &["-t", "1", "-b", "200M", "-Z"],
        1,
        both_totals,
    ),
];

const fn case(
    name: &'static str,
    options: &'static [&'static str],
    streams: usize,
    check: fn(&Value) -> Result<()>,
) -> Case {
    Case {
        name,
        options,
        streams,
        check,
    }
}

/// Bytes sent and received in a direction; UDP of 3.12 has one sum for both.
fn moved(value: &Value, suffix: &str) -> Result<(f64, f64)> {
    let sum = |name: &str| number(value, &format!("/end/{name}{suffix}/bytes"));
    match sum("sum_sent") {
        Ok(sent) => Ok((sent, sum("sum_received")?)),
        Err(_) => Ok((sum("sum")?, sum("sum")?)),
    }
}

fn both_totals(value: &Value) -> Result<()> {
    let (sent, received) = moved(value, "")?;
    ensure!(received > 0.0 && received <= sent, "{received} of {sent}");
    Ok(())
}

fn retransmits(value: &Value) -> Result<()> {
    both_totals(value)?;
    number(value, "/end/sum_sent/retransmits").map(drop)
}

fn both_ways(value: &Value) -> Result<()> {
    for suffix in ["", "_bidir_reverse"] {
        let (sent, received) = moved(value, suffix)?;
        ensure!(
            received > 0.0 && received <= sent,
            "{suffix}: {received} of {sent}"
        );
    }
    Ok(())
}

fn no_loss(value: &Value) -> Result<()> {
    ensure!(
        number(value, "/end/sum/lost_packets")? == 0.0,
        "lost: {value:#}"
    );
    ensure!(number(value, "/end/sum/packets")? > 10.0, "few: {value:#}");
    ensure!(number(value, "/end/sum/jitter_ms")?.is_finite());
    Ok(())
}

fn five_mebibytes(value: &Value) -> Result<()> {
    ensure!(number(value, "/start/test_start/duration")? == 0.0);
    let (sent, received) = moved(value, "")?;
    ensure!(sent >= 5.0 * 1024.0 * 1024.0, "{sent}");
    // The end comes at once. Towards the one who counts, the sender fills the sockets until it
    // hears of it: some MiB on an idle machine, more where the client waits for a processor.
    ensure!(received < 32.0 * 1024.0 * 1024.0, "{received}");
    let seconds = number(value, "/end/sum_received/seconds")?;
    ensure!(seconds < 0.9, "{seconds} s");
    Ok(())
}

fn five_blocks(value: &Value) -> Result<()> {
    ensure!(moved(value, "")?.0 == 5.0 * 131_072.0, "{value:#}");
    Ok(())
}

/// The first interval is omitted, and the total is that of two seconds and not of three.
fn omitted(value: &Value) -> Result<()> {
    let first = value.pointer("/intervals/0/sum/omitted");
    ensure!(first == Some(&Value::Bool(true)), "{value:#}");
    let rate = number(value, "/start/test_start/target_bitrate")
        .or_else(|_| number(value, "/start/target_bitrate"))?;
    let (sent, _) = moved(value, "")?;
    let two_seconds = rate * 2.0 / 8.0;
    ensure!(
        (0.7..1.2).contains(&(sent / two_seconds)),
        "{sent} of {two_seconds}"
    );
    Ok(())
}

fn streams_of(value: &Value) -> usize {
    let streams = value.pointer("/end/streams").and_then(Value::as_array);
    streams.map_or(0, Vec::len)
}

#[test]
fn towline_as_client_passes_every_case_against_iperf3() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    for case in CASES {
        let mut server = Listening::iperf3(&["-1"])?;
        let options = [case.options, &["--json"]].concat();
        let finished = towline_client(server.port, &options)?;
        let value = document(&finished).context(case.name)?;
        (case.check)(&value).context(case.name)?;
        ensure!(streams_of(&value) == case.streams, "{}", case.name);
        let ids = value.pointer("/end/streams").context("no streams")?;
        let first = ids
            .pointer("/0/sender/socket")
            .or(ids.pointer("/0/udp/socket"));
        ensure!(
            first.and_then(Value::as_i64) == Some(1),
            "{}: {ids}",
            case.name
        );
        let ended = server.process.wait(Duration::from_secs(5));
        ensure!(ended.context(case.name)?.success(), "{}: server", case.name);
    }
    Ok(())
}

#[test]
fn towline_as_server_passes_every_case_of_iperf3() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let server = Listening::towline(&[])?;
    let idle = server.descriptors()?;
    for case in CASES {
        let finished = iperf3_client(server.port, &[case.options, &["-J"]].concat())?;
        let value = document(&finished).context(case.name)?;
        (case.check)(&value).context(case.name)?;
        ensure!(streams_of(&value) == case.streams, "{}", case.name);
        let text = iperf3_client(server.port, case.options)?;
        let text = String::from_utf8_lossy(&text.output).into_owned();
        ensure!(text.contains("iperf Done."), "{}: {text}", case.name);
    }
    server.falls_back_to(idle)
}

#[test]
fn towline_speaks_with_itself() -> Result<()> {
    let server = Listening::towline(&[])?;
    for case in CASES {
        let options = [case.options, &["--json"]].concat();
        let value = document(&towline_client(server.port, &options)?).context(case.name)?;
        (case.check)(&value).context(case.name)?;
        let there = value.pointer("/towline/peer/cores");
        ensure!(
            there.is_some_and(Value::is_array),
            "{}: no peer view",
            case.name
        );
    }
    Ok(())
}

#[test]
fn the_servers_own_report_appears_at_the_client() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let (c, towline) = (Listening::iperf3(&[])?, Listening::towline(&[])?);
    let options = ["-t", "1", "-b", "20M", "--get-server-output"];
    let ours = towline_client(c.port, &options)?;
    let text = String::from_utf8_lossy(&ours.output);
    ensure!(
        text.contains("Server listening") || text.contains("Accepted"),
        "{text}"
    );
    let theirs = iperf3_client(towline.port, &options)?;
    let text = String::from_utf8_lossy(&theirs.output);
    ensure!(
        text.contains("Server output:") && text.contains("stream 1:"),
        "{text}"
    );
    Ok(())
}

#[test]
fn limits_and_sources_are_kept() -> Result<()> {
    let server = Listening::towline(&["--rate-max", "80M"])?;
    let value = document(&towline_client(server.port, &["-t", "2", "--json"])?)?;
    let received = number(&value, "/end/sum_received/bits_per_second")?;
    ensure!(received < 110e6, "{received}");
    let value = document(&towline_client(server.port, &["-t", "2", "-R", "--json"])?)?;
    let received = number(&value, "/end/sum_received/bits_per_second")?;
    ensure!((40e6..110e6).contains(&received), "{received}");
    let refused = towline_client(server.port, &["-u", "-b", "81M", "-t", "1"])?;
    ensure!(refused.status.code() == Some(2), "{}", refused.errors);
    ensure!(refused.errors.contains("rate"), "{}", refused.errors);
    Ok(())
}

#[test]
fn a_running_node_answers_within_its_limits() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port();
    let configuration =
        format!("[bench]\niperf3 = true\nport = {port}\ntime_max = \"5s\"\nrate_max_mbit = 100\n");
    let mut node = Node::start_with(Settings {
        configuration,
        arguments: Vec::new(),
        ..Settings::default()
    })?;
    let value = document(&iperf3_client(port, &["-t", "1", "-J"])?)?;
    both_totals(&value)?;
    ensure!(number(&value, "/end/sum_received/bits_per_second")? < 150e6);
    let value = document(&towline_client(port, &["-t", "1", "-R", "--json"])?)?;
    both_totals(&value)?;
    let refused = towline_client(port, &["-t", "6"])?;
    ensure!(refused.errors.contains("duration"), "{}", refused.errors);
    let mut curl = command("curl", &["--silent", "--max-time", "10"]);
    curl.arg(format!("http://{}/metrics", node.http()));
    let page = run(curl, Duration::from_secs(20))?.output;
    let page = String::from_utf8_lossy(&page).into_owned();
    for line in [
        "towline_bench_tests_total{result=\"done\"} 2",
        "towline_bench_tests_total{result=\"refused\"} 1",
        "towline_bench_running 0",
    ] {
        ensure!(page.contains(line), "no {line}");
    }
    ensure!(node.drain()?.success(), "{}", node.log());
    Ok(())
}
