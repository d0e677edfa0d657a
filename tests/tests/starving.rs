//! Peers that are slow, that pause, or that are many: others get what they came for.
//!
//! Honest clients are curl and the crate `nfs3_client`; latencies are judged against what a person
//! would call stuck, not measured. Not covered here: ten thousand attackers (`connections.rs`) and
//! hostile bytes (`hostile.rs`).

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nfs3_types::nfs3::{LOOKUP3args, Nfs3Result, READ3args, nfs_fh3};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
use towline_bench::rpc::{CallWriter, Caller, NFS, connect_reserved};
use towline_loads::nfs_session::{Endpoint, lookup, mount};
use towline_tests::content;
use towline_tests::nfs::{Connection, at, block_on, mount_as};
use towline_tests::node::{Node, Settings};
use towline_tests::process::{command, run};

const MIB: u64 = 1 << 20;
const SEED: u64 = 23;
/// Longest time for one client call.
const CLIENT_LIMIT: Duration = Duration::from_secs(60);
/// What an honest reader of 1 MiB waits at most beside slow ones, on a busy machine.
const STUCK: Duration = Duration::from_secs(5);

fn node(configuration: &str) -> Result<Node> {
    Node::start_with(Settings {
        configuration: configuration.to_owned(),
        ..Settings::default()
    })
}

/// A connection from an address of its own whose receive buffer holds next to nothing.
fn connect_narrow(to: SocketAddr, number: u8) -> Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_recv_buffer_size(&socket, 4_096)?;
    bind(
        &socket,
        &SocketAddr::from((Ipv4Addr::new(127, 0, 2, number), 0)),
    )?;
    connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

fn forget_pages(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    let advice = rustix::fs::Advice::DontNeed;
    Ok(rustix::fs::fadvise(&file, 0, None, advice)?)
}

async fn look_up(client: &mut Connection, name: &str) -> Result<nfs_fh3> {
    let root = client.root_nfs_fh3();
    let place = LOOKUP3args {
        what: at(&root, name),
    };
    match client.lookup(&place).await? {
        Nfs3Result::Ok(found) => Ok(found.object),
        Nfs3Result::Err((status, _)) => anyhow::bail!("LOOKUP of {name}: {status:?}"),
    }
}

async fn read(client: &mut Connection, file: &nfs_fh3, offset: u64, count: u64) -> Result<Vec<u8>> {
    let arguments = READ3args {
        file: file.clone(),
        offset,
        count: u32::try_from(count)?,
    };
    match client.read(&arguments).await? {
        Nfs3Result::Ok(read) => Ok(read.data.as_ref().to_vec()),
        Nfs3Result::Err((status, _)) => anyhow::bail!("READ: {status:?}"),
    }
}

/// Readers that take nothing, each of a part of the file that is not in memory.
fn slow_readers(node: &Node, parts: u64) -> Result<Vec<TcpStream>> {
    let caller = Caller {
        uid: 1000,
        gid: 1000,
    };
    let endpoint = Endpoint {
        nfs: node.nfs(),
        mount: node.nfs(),
    };
    let root = mount(endpoint, "/projects", caller)?;
    let file = lookup(endpoint, &root, "slow", caller)?;
    let mut slow = Vec::new();
    for number in 0..parts {
        let first = number * 8 * MIB;
        if number % 3 == 0 {
            let mut stream = connect_reserved(node.nfs())?;
            sockopt::set_socket_recv_buffer_size(&stream, 4_096)?;
            for part in 0..8 {
                let mut call = CallWriter::new();
                call.begin(u32::try_from(part)?, NFS, 6, caller);
                call.opaque(&file);
                call.long(first + part * MIB);
                call.number(u32::try_from(MIB)?);
                call.end(0);
                stream.write_all(&call.take())?;
            }
            slow.push(stream);
        } else {
            let mut stream = connect_narrow(node.http(), u8::try_from(1 + number)?)?;
            let last = first + 8 * MIB - 1;
            write!(
                stream,
                "GET /files/projects/slow HTTP/1.1\r\nHost: localhost\r\n\
                 Range: bytes={first}-{last}\r\n\r\n"
            )?;
            slow.push(stream);
        }
    }
    Ok(slow)
}

/// Ten slow NFS readers of a cold file stopped all cold HTTP replies, ninety slow HTTP readers all
/// cold NFS reads, because each kept a pipe of the worker until its last byte had left.
#[test]
fn slow_readers_of_cold_files_hold_up_no_honest_one() -> Result<()> {
    const SLOW: u64 = 48;
    const HONEST_BYTES: u64 = 24 * MIB;
    let node = node("[io]\nworkers = 1\n")?;
    let volume = node.volume("projects");
    let (slow_file, cold) = (volume.join("slow"), volume.join("cold"));
    content::write(&slow_file, SEED, SLOW * 8 * MIB)?;
    content::write(&cold, SEED, HONEST_BYTES)?;
    forget_pages(&slow_file)?;
    let slow = slow_readers(&node, SLOW)?;
    std::thread::sleep(Duration::from_secs(2));
    for round in 0..6 {
        let first = round * 4 * MIB;
        forget_pages(&cold)?;
        let started = Instant::now();
        let mut curl = command("curl", &["--silent", "--show-error", "--max-time", "50"]);
        curl.args(["--range", &format!("{first}-{}", first + MIB - 1)]);
        curl.arg(node.url("projects", "cold"));
        let got = run(curl, CLIENT_LIMIT)?;
        ensure!(
            got.output.len() as u64 == MIB,
            "{} bytes: {}",
            got.output.len(),
            got.errors
        );
        content::judge(SEED, first, &got.output)?;
        let took = started.elapsed();
        ensure!(took < STUCK, "HTTP took {took:?} in round {round}");
        let second = first + 2 * MIB;
        forget_pages(&cold)?;
        let started = Instant::now();
        let data = block_on(async {
            let mut client = mount_as(&node, "/projects", (1000, 1000)).await?;
            let file = look_up(&mut client, "cold").await?;
            read(&mut client, &file, second, MIB).await
        })?;
        ensure!(data.len() as u64 == MIB, "{} bytes over NFS", data.len());
        content::judge(SEED, second, &data)?;
        let took = started.elapsed();
        ensure!(took < STUCK, "NFS took {took:?} in round {round}");
    }
    // None of the slow ones was cut meanwhile, and each gets what it asked for.
    let mut last = slow.into_iter().next_back().context("no slow reader")?;
    last.set_read_timeout(Some(CLIENT_LIMIT))?;
    let mut bytes = vec![0; 4 << 20];
    last.read_exact(&mut bytes)?;
    let body = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("no head")?
        + 4;
    content::judge(
        SEED,
        (SLOW - 1) * 8 * MIB,
        bytes.get(body..).context("no body")?,
    )
}

/// What curl says of an upload whose source pauses for so many seconds.
fn upload_with_pause(node: &Node, seconds: u32) -> Result<String> {
    let script = format!(
        "(printf a; sleep {seconds}; printf b) | curl --silent --output /dev/null --max-time 50 \
         --write-out '%{{http_code}}' -T - {}",
        node.url("projects", &format!("paused{seconds}"))
    );
    let mut shell = command("sh", &["-c", &script]);
    shell.stdin(Stdio::null());
    let finished = run(shell, CLIENT_LIMIT)?;
    Ok(String::from_utf8_lossy(&finished.output).into_owned())
}

/// An upload whose source paused was cut without a word after 10 to 20 s.
#[test]
fn an_upload_may_pause_and_is_told_when_it_pauses_too_long() -> Result<()> {
    let node = node("[limits]\nstall_timeout = \"6s\"\n")?;
    let status = upload_with_pause(&node, 3)?;
    ensure!(status == "201", "a pause within the limit: {status}");
    let status = upload_with_pause(&node, 15)?;
    ensure!(status == "408", "a pause beyond the limit: {status}");
    ensure!(
        node.log().contains("a transfer was closed"),
        "{}",
        node.log()
    );
    ensure!(
        !node.volume("projects").join("paused15").exists(),
        "half an upload is shown"
    );
    Ok(())
}

/// A download whose reader pauses, as `curl | tar` does. By default a minute passes; here as long
/// as a test may take, which was cut before.
#[test]
fn a_download_may_pause() -> Result<()> {
    const PAUSE: Duration = Duration::from_secs(26);
    const FILE_BYTES: u64 = 64 * MIB;
    let node = Node::start()?;
    content::write(&node.volume("projects").join("f"), SEED, FILE_BYTES)?;
    let mut stream = connect_narrow(node.http(), 1)?;
    write!(
        stream,
        "GET /files/projects/f HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    std::thread::sleep(PAUSE);
    let mut all = Vec::new();
    stream.set_read_timeout(Some(CLIENT_LIMIT))?;
    stream.read_to_end(&mut all)?;
    let body = all
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("no head")?
        + 4;
    let body = all.get(body..).context("no body")?;
    ensure!(body.len() as u64 == FILE_BYTES, "{} bytes", body.len());
    content::judge(SEED, 0, body)
}

/// With 256 descriptors cached files took all of them: "later" for seconds, no new connection, and
/// thousands of log lines.
#[test]
fn with_few_descriptors_everybody_gets_some() -> Result<()> {
    const FILES: usize = 600;
    const FLOOD: usize = 300;
    /// Lines of the log: those of a start, and ten for each of a few seconds.
    const LINES_MAX: usize = 60;
    let node = Node::start_with(Settings {
        wrapper: ["prlimit", "--nofile=256:256"].map(str::to_owned).to_vec(),
        ..Settings::default()
    })?;
    for number in 0..FILES {
        std::fs::write(
            node.volume("projects").join(format!("f{number}")),
            b"content",
        )?;
    }
    let read_all = || {
        block_on(async {
            let mut client = mount_as(&node, "/projects", (1000, 1000)).await?;
            for number in 0..FILES {
                let file = look_up(&mut client, &format!("f{number}")).await?;
                let data = read(&mut client, &file, 0, 100).await?;
                ensure!(data == b"content", "file {number} is {data:?}");
            }
            Ok(())
        })
    };
    read_all()?;
    let flood: Vec<TcpStream> = (0..FLOOD)
        .filter_map(|number| {
            let port = if number % 2 == 0 {
                node.http()
            } else {
                node.nfs()
            };
            connect_narrow(port, 1).ok()
        })
        .collect();
    read_all()?;
    for _request in 0..20 {
        let mut curl = command("curl", &["--silent", "--fail", "--max-time", "10"]);
        curl.arg(node.url("projects", "f7"));
        let got = run(curl, CLIENT_LIMIT)?;
        ensure!(got.output == b"content", "{}\n{}", got.errors, node.log());
    }
    let lines = node.log().lines().count();
    ensure!(lines < LINES_MAX, "{lines} lines in the log");
    drop(flood);
    Ok(())
}

/// Calls that are half sent had a node killed that may use 64 MiB.
#[test]
fn half_sent_calls_take_no_more_than_their_budget() -> Result<()> {
    const CALLS: u8 = 238;
    /// Bytes of memory that a small container has.
    const RESIDENT_BYTES_MAX: u64 = 64 << 20;
    let node = node("[limits]\nreceive_budget = \"4MiB\"\n")?;
    let before = node.resident_bytes()?;
    let mut calls = Vec::new();
    for number in 0..CALLS {
        let mut stream = connect_narrow(node.nfs(), 1 + number)?;
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        // A record of 1 MiB of which the last bytes never come.
        stream.write_all(&[0x80, 0x0f, 0xff, 0xff])?;
        let _what_is_taken = stream.write(&vec![0; 900 << 10]);
        calls.push(stream);
    }
    std::thread::sleep(Duration::from_secs(2));
    let after = node.resident_bytes()?;
    ensure!(
        after < RESIDENT_BYTES_MAX,
        "{before} bytes before, {after} after"
    );
    let mut curl = command("curl", &["--silent", "--fail", "--max-time", "10"]);
    curl.arg(format!("http://{}/healthz", node.http()));
    ensure!(
        run(curl, CLIENT_LIMIT)?.status.success(),
        "the node does not answer"
    );
    drop(calls);
    Ok(())
}
