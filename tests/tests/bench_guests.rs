//! Guests of `towline bench serve`, and of the C program, who behave badly: who come together,
//! leave without a word, send nonsense.
//!
//! Functional only: rates are limited or amounts small. Invariant: whatever a guest did, the server
//! answers the next one at once, and holds no descriptor for who is gone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use towline_tests::iperf3::{
    Client, Listening, document, interrupted, iperf3_client, towline_client,
};
use towline_tests::skip::unless_installed;

#[test]
fn a_second_client_is_told_that_the_server_is_busy() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let server = Listening::towline(&[])?;
    let mut first = Client::Iperf3.start(server.port, &["-t", "4", "-b", "10M"])?;
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
    let mut first = Client::Iperf3.start(server.port, &["-t", "4", "-b", "10M"])?;
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
    for (delay_ms, direction) in [(5, "-R"), (50, "--bidir"), (300, "-R"), (700, "-N")] {
        let options = ["-t", "9", "-b", "50M", direction];
        let delay = Duration::from_millis(delay_ms);
        interrupted(Client::Iperf3, server.port, &options, delay)?;
        let begun = Instant::now();
        document(&towline_client(server.port, &["-n", "64K", "--json"])?)?;
        ensure!(
            begun.elapsed() < Duration::from_secs(3),
            "{delay_ms} ms {direction}"
        );
    }
    // Killed without a word, and the other way round: our client against the C program.
    let options = ["-t", "9", "-b", "50M"];
    let mut client = Client::Iperf3.start(server.port, &options)?;
    std::thread::sleep(Duration::from_millis(300));
    client.kill();
    document(&towline_client(server.port, &["-n", "64K", "--json"])?)?;
    server.falls_back_to(idle)?;
    let c = Listening::iperf3(&[])?;
    let delay = Duration::from_millis(1500);
    let (code, _) = interrupted(Client::Towline, c.port, &options, delay)?;
    ensure!(code == Some(130), "{code:?}");
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
fn noise_during_a_test_does_not_disturb_it() -> Result<()> {
    if !unless_installed("iperf3", "iperf3")? {
        return Ok(());
    }
    let server = Listening::towline(&[])?;
    let idle = server.descriptors()?;
    let options = ["-t", "2", "-b", "20M", "-P", "2"];
    let mut client = Client::Iperf3.start(server.port, &options)?;
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
    server.falls_back_to(idle)
}
