//! `towline bench` and the C program `iperf3` as each other's ends: every case of the protocol
//! page's table, in both directions, and guests who behave badly.
//!
//! Functional only: rates are limited or amounts small, and nothing here is a measurement.
//! Invariant: after every case the server answers the next one at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use towline_tests::iperf3::{Listening, document, iperf3_client, number, towline_client};
use towline_tests::node::{Node, Settings};
use towline_tests::process::{Running, command, run};
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
    no_descriptor_is_left(&server, idle)
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

fn no_descriptor_is_left(server: &Listening, idle: usize) -> Result<()> {
    let begun = Instant::now();
    while server.descriptors()? > idle {
        ensure!(begun.elapsed() < Duration::from_secs(5), "descriptors left");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn a_second_client_is_told_that_the_server_is_busy() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let server = Listening::towline(&[])?;
    let port = server.port.to_string();
    let arguments = ["-c", "127.0.0.1", "-p", &port, "-t", "4", "-b", "10M"];
    let mut first = Running::start(quiet("iperf3", &arguments))?;
    std::thread::sleep(Duration::from_millis(700));
    let second = iperf3_client(server.port, &["-t", "1"])?;
    ensure!(second.errors.contains("busy"), "{}", second.errors);
    let third = towline_client(server.port, &["-t", "1"])?;
    ensure!(third.status.code() == Some(2), "{:?}", third.status);
    ensure!(third.errors.contains("busy"), "{}", third.errors);
    ensure!(
        first.wait(Duration::from_secs(10))?.success(),
        "the first was disturbed"
    );
    let server = Listening::iperf3(&[])?;
    let port = server.port.to_string();
    let arguments = ["-c", "127.0.0.1", "-p", &port, "-t", "4", "-b", "10M"];
    let mut first = Running::start(quiet("iperf3", &arguments))?;
    std::thread::sleep(Duration::from_millis(700));
    let second = towline_client(server.port, &["-t", "1"])?;
    ensure!(second.status.code() == Some(2), "{:?}", second.status);
    ensure!(second.errors.contains("busy"), "{}", second.errors);
    ensure!(
        first.wait(Duration::from_secs(10))?.success(),
        "the first was disturbed"
    );
    Ok(())
}

fn quiet(program: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = command(program, arguments);
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    command
}

#[test]
fn twenty_tests_without_a_pause_all_pass() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let (c, towline) = (Listening::iperf3(&[])?, Listening::towline(&[])?);
    for turn in 0..20 {
        let options = ["-n", "1M", "--json"];
        document(&towline_client(c.port, &options)?).with_context(|| format!("turn {turn}"))?;
        document(&iperf3_client(towline.port, &["-n", "1M", "-J"])?)
            .with_context(|| format!("turn {turn}"))?;
    }
    Ok(())
}

#[test]
fn an_interrupted_client_frees_the_slot_at_once() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let server = Listening::towline(&[])?;
    let idle = server.descriptors()?;
    let port = server.port.to_string();
    for (delay_ms, direction) in [(5, "-R"), (50, "--bidir"), (300, "-R"), (700, "-N")] {
        let arguments = [
            "-c",
            "127.0.0.1",
            "-p",
            &port,
            "-t",
            "9",
            "-b",
            "50M",
            direction,
        ];
        let mut client = Running::start(quiet("iperf3", &arguments))?;
        std::thread::sleep(Duration::from_millis(delay_ms));
        client.signal(Signal::INT);
        client.wait(Duration::from_secs(5))?;
        let begun = Instant::now();
        document(&towline_client(server.port, &["-n", "64K", "--json"])?)?;
        ensure!(
            begun.elapsed() < Duration::from_secs(3),
            "{delay_ms} ms {direction}"
        );
    }
    // Killed without a word, and the other way round: our client against the C program.
    let arguments = ["-c", "127.0.0.1", "-p", &port, "-t", "9", "-b", "50M"];
    let mut client = Running::start(quiet("iperf3", &arguments))?;
    std::thread::sleep(Duration::from_millis(300));
    client.kill();
    document(&towline_client(server.port, &["-n", "64K", "--json"])?)?;
    no_descriptor_is_left(&server, idle)?;
    let c = Listening::iperf3(&[])?;
    let program = towline_tests::paths::program("towline")?;
    let port = c.port.to_string();
    let arguments = [
        "bench",
        "link",
        "127.0.0.1",
        "-p",
        &port,
        "-t",
        "9",
        "-b",
        "50M",
    ];
    let mut client = Running::start(quiet(&program.to_string_lossy(), &arguments))?;
    std::thread::sleep(Duration::from_millis(1500));
    client.signal(Signal::INT);
    ensure!(client.wait(Duration::from_secs(5))?.code() == Some(130));
    document(&towline_client(c.port, &["-n", "64K", "--json"])?)?;
    Ok(())
}

/// The answer to a hand-made greeting and parameters.
fn ask(port: u16, parameters: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    stream.write_all(&[b'c'; 37])?;
    let mut state = [0];
    stream.read_exact(&mut state)?;
    ensure!(state == [9], "{state:?}");
    stream.write_all(parameters)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn framed(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

#[test]
fn broken_parameters_are_refused_with_their_code() -> Result<()> {
    let server = Listening::towline(&["--time-max", "60"])?;
    let cases = [
        (framed(r#"{"tcp":true,"parallel":0}"#), 6),
        (framed(r#"{"tcp":true,"parallel":129}"#), 6),
        (framed(r#"{"tcp":true,"parallel":500}"#), 6),
        (framed(r#"{"tcp":true,"len":2097152}"#), 7),
        (framed(r#"{"udp":true,"len":15}"#), 20),
        (framed(r#"{"tcp":true,"time":61}"#), 37),
        (framed(r#"{"tcp":true,"omit":-1}"#), 12),
        (framed(r#"{"tcp":true,"len":"x"}"#), 114),
        (framed(r#"[]"#), 114),
        (framed("nonsense"), 114),
        (framed(&"[".repeat(5000)), 114),
        (framed(&" ".repeat(9 * 1024)), 114),
        (vec![0xff; 4], 114),
        (vec![0; 4], 114),
    ];
    for (parameters, code) in cases {
        let answer = ask(server.port, &parameters)?;
        let mut wanted = vec![0xfe, 0, 0, 0, code, 0, 0, 0, 0];
        let shown = String::from_utf8_lossy(&parameters).into_owned();
        if answer.first() != Some(&0xfe) {
            wanted.clear();
        }
        ensure!(
            answer == wanted && !answer.is_empty(),
            "{shown:.60}: {answer:?}"
        );
    }
    // A frame that is cut off and a missing length are no errors: the end, and a default.
    ensure!(ask(server.port, &framed(r#"{"tcp":true}"#)[..9])?.is_empty());
    ensure!(ask(server.port, &framed(r#"{"tcp":true}"#))?.first() == Some(&10));
    document(&towline_client(server.port, &["-n", "64K", "--json"])?)?;
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
fn noise_during_a_test_does_not_disturb_it() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let server = Listening::towline(&[])?;
    let idle = server.descriptors()?;
    let port = server.port.to_string();
    let arguments = [
        "-c",
        "127.0.0.1",
        "-p",
        &port,
        "-t",
        "2",
        "-b",
        "20M",
        "-P",
        "2",
    ];
    let mut client = Running::start(quiet("iperf3", &arguments))?;
    let tls_hello = [0x16, 3, 1, 0, 0xc8, 1, 0, 0, 0xc4, 3, 3];
    let noises: [&[u8]; 4] = [b"", &[b'x'; 37], &[b'c'; 18], &tls_hello];
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1800) {
        for noise in noises {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", server.port)) {
                let _gone_already = stream.write_all(noise);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(client.wait(Duration::from_secs(10))?.success());
    // And while nothing runs: each is a client that says nothing sensible.
    for noise in noises {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port))?;
        stream.write_all(noise)?;
        drop(stream);
    }
    document(&towline_client(server.port, &["-n", "64K", "--json"])?)?;
    no_descriptor_is_left(&server, idle)
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
