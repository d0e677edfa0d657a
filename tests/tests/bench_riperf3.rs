//! `towline bench` against `riperf3`, a second program that speaks iperf3 and shares no code with
//! the C one: what both agree on is the protocol and not one program's habit.
//!
//! Functional only: amounts are small and rates limited. The crate runs inside the test.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use riperf3::{ClientBuilder, ServerBuilder, TransportProtocol};
use serde_json::Value;
use towline_tests::iperf3::{Listening, document, number, towline_client};

/// What one test asks for, in the words of both programs.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    build: fn(ClientBuilder) -> ClientBuilder,
    reverse_sum: bool,
}

const CASES: [Case; 7] = [
    Case {
        name: "tcp",
        options: &["-t", "1", "-b", "100M"],
        build: |client| client.duration(1).bandwidth(100_000_000),
        reverse_sum: false,
    },
    Case {
        name: "parallel",
        options: &["-t", "1", "-b", "50M", "-P", "3"],
        build: |client| client.duration(1).bandwidth(50_000_000).num_streams(3),
        reverse_sum: false,
    },
    Case {
        name: "reverse",
        options: &["-t", "1", "-b", "100M", "-R"],
        build: |client| client.duration(1).bandwidth(100_000_000).reverse(true),
        reverse_sum: false,
    },
    Case {
        name: "both ways",
        options: &["-t", "1", "-b", "50M", "--bidir"],
        build: |client| client.duration(1).bandwidth(50_000_000).bidir(true),
        reverse_sum: true,
    },
    Case {
        name: "datagrams",
        options: &["-t", "1", "-u", "-b", "10M"],
        build: |client| {
            let udp = client.protocol(TransportProtocol::Udp);
            udp.duration(1).bandwidth(10_000_000)
        },
        reverse_sum: false,
    },
    Case {
        name: "datagrams, reverse",
        options: &["-t", "1", "-u", "-b", "10M", "-R"],
        build: |client| {
            let udp = client.protocol(TransportProtocol::Udp).reverse(true);
            udp.duration(1).bandwidth(10_000_000)
        },
        reverse_sum: false,
    },
    Case {
        name: "bytes",
        options: &["-n", "3M"],
        build: |client| client.bytes(3 << 20),
        reverse_sum: false,
    },
];

fn check(case: &Case, value: &Value) -> Result<()> {
    let mut suffixes = vec![""];
    if case.reverse_sum {
        suffixes.push("_bidir_reverse");
    }
    for suffix in suffixes {
        let sent = number(value, &format!("/end/sum_sent{suffix}/bytes"))?;
        let received = number(value, &format!("/end/sum_received{suffix}/bytes"))?;
        ensure!(
            received > 0.0 && received <= sent,
            "{suffix}: {received} of {sent}"
        );
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(2).enable_all().build()?)
}

#[test]
fn riperf3_as_client_of_towline() -> Result<()> {
    let server = Listening::towline(&[])?;
    let runtime = runtime()?;
    for case in CASES {
        let client = ClientBuilder::new("127.0.0.1").port(Some(server.port));
        let client = (case.build)(client).build().context(case.name)?;
        let test = async { tokio::time::timeout(Duration::from_secs(20), client.run()).await };
        let report = runtime
            .block_on(test)
            .context(case.name)?
            .context(case.name)?;
        check(&case, &serde_json::to_value(&report)?).context(case.name)?;
    }
    Ok(())
}

#[test]
fn towline_as_client_of_riperf3() -> Result<()> {
    let runtime = runtime()?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    for case in CASES {
        let server = ServerBuilder::new().port(Some(port)).one_off(true).build();
        let server = server.context(case.name)?;
        let answering = runtime.spawn(async move { server.run_once().await.map(drop) });
        let options = [case.options, &["--json"]].concat();
        // It listens within the two seconds that the client tries again.
        let value = document(&towline_client(port, &options)?).context(case.name)?;
        check(&case, &value).context(case.name)?;
        let limit = Duration::from_secs(20);
        let ended = async { tokio::time::timeout(limit, answering).await };
        runtime
            .block_on(ended)
            .context(case.name)??
            .context(case.name)?;
    }
    Ok(())
}
