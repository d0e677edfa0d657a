//! `towline bench share` against `fio`, which we did not write, and planted causes: a shaped way
//! and a slow disk get their verdicts; pages open in Chromium.
//!
//! Rounds are interleaved and medians compared, because the machine's speed drifts. The slow disk
//! is a server of this test that waits 20 ms before it sends any bytes of a file and never before a
//! head: device mapper and its delay target are not there on every kernel.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;
use serde_json::Value;
use towline_tests::netns::{Row, SERVER};
use towline_tests::paths::program;
use towline_tests::process::{Running, command, run};
use towline_tests::skip::{impossible, unless_installed};

/// Longest command.
const LIMIT: Duration = Duration::from_secs(120);
/// Rounds of a comparison.
const ROUNDS: usize = 5;
/// How far medians may lie apart: two programs copy from memory on shared cores, and rounds
/// differ by more than this.
const TOLERANCE_MEMORY: f64 = 0.15;

fn parsed(finished: &towline_tests::process::Finished) -> Result<Value> {
    let text = String::from_utf8_lossy(&finished.output);
    serde_json::from_str(&text).with_context(|| format!("{}{text}", finished.errors))
}

fn towline() -> Result<String> {
    Ok(program("towline")?.to_string_lossy().into_owned())
}

fn figure(report: &Value, name: &str) -> Result<f64> {
    let figures = report["figures"].as_array().context("no figures")?;
    let found = figures.iter().find(|figure| figure["name"] == name);
    let value = found.and_then(|figure| figure["value"].as_f64());
    value.with_context(|| format!("no figure {name}: {report:#}"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn agree(what: &str, ours: Vec<f64>, theirs: Vec<f64>, tolerance: f64) -> Result<()> {
    let (own, other) = (median(ours), median(theirs));
    ensure!(
        (own / other - 1.0).abs() <= tolerance,
        "{what}: {own:.3e} against {other:.3e}, further apart than {tolerance}"
    );
    Ok(())
}

#[test]
fn figures_of_a_path_agree_with_fio() -> Result<()> {
    if !unless_installed("fio", "fio")? {
        return Ok(());
    }
    let folder = tempfile::tempdir_in(".")?;
    let file = folder.path().join("large");
    std::fs::write(&file, vec![0x5a; 128 << 20])?;
    let (towline, path) = (towline()?, file.to_string_lossy().into_owned());
    let filename = format!("--filename={path}");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let words = [
            "bench", "share", &path, "-t", "1", "--depths", "1", "--json",
        ];
        let report = parsed(&run(command(&towline, &words), LIMIT)?)?;
        ours.push(figure(&report, "share")? / 8.0);
        let words = [
            "--name=x",
            &filename,
            "--rw=read",
            "--bs=1M",
            "--ioengine=io_uring",
            "--iodepth=1",
            "--runtime=1",
            "--time_based",
            "--invalidate=0",
            "--size=128M",
            "--output-format=json",
        ];
        let report = parsed(&run(command("fio", &words), LIMIT)?)?;
        let rate = report["jobs"][0]["read"]["bw_bytes"].as_f64();
        theirs.push(rate.context("fio told no rate")?);
    }
    agree(
        "sequential from memory, bytes/s",
        ours,
        theirs,
        TOLERANCE_MEMORY,
    )
}

fn hidden(mut command: std::process::Command) -> Result<Running> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    Running::start(command)
}

/// A node at the end of the row with one large file in `models`.
fn serve(row: &Row, data: &Path) -> Result<Running> {
    std::fs::create_dir_all(data.join("models"))?;
    std::fs::write(data.join("models/large"), vec![0x5a; 64 << 20])?;
    let (towline, data) = (towline()?, data.to_string_lossy().into_owned());
    let words = [
        &towline,
        "up",
        "--data",
        &data,
        "--listen",
        "0.0.0.0",
        "--allow",
        "10.77.0.0/16",
    ];
    let server = hidden(row.at_server(&words))?;
    for _ in 0..300 {
        let health = "http://127.0.0.1:8420/healthz";
        let asked = row.at_server(&["curl", "-sf", "-o", "/dev/null", health]);
        if run(asked, LIMIT)?.status.success() {
            return Ok(server);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("the node does not answer")
}

#[test]
fn a_shaped_way_is_found_over_http_and_nfs() -> Result<()> {
    if !geteuid().is_root() {
        return impossible("a shaped way needs root for network namespaces");
    }
    if !unless_installed("ip", "iproute2")? || !unless_installed("curl", "curl")? {
        return Ok(());
    }
    let row = Row::new()?;
    row.shape_back(&["rate", "1gbit", "burst", "256k", "latency", "50ms"])?;
    let folder = tempfile::tempdir()?;
    let _server = serve(&row, &folder.path().join("data"))?;
    let towline = towline()?;
    let http = format!("http://{SERVER}:8420/files/models/large");
    let nfs = format!("nfs://{SERVER}/models/large");
    for url in [&http, &nfs] {
        let words = [
            &towline, "bench", "share", url, "-t", "1", "--depths", "1,8", "--json",
        ];
        let report = parsed(&run(row.at_client(&words), LIMIT)?)?;
        let limit = &report["verdict"]["limit"];
        ensure!(limit == "path", "{url}: {:#}", report["verdict"]);
    }
    Ok(())
}

/// Answers HEAD at once and ranges after 20 ms, on one thread per connection, until the test ends.
fn slow_disk() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(port)
}

fn answer(mut stream: TcpStream) -> Result<()> {
    const BYTES: usize = 4 << 20;
    stream.set_nodelay(true)?;
    let (mut text, mut byte) = (Vec::new(), [0]);
    loop {
        stream.read_exact(&mut byte)?;
        text.push(byte[0]);
        if !text.ends_with(b"\r\n\r\n") {
            continue;
        }
        let request = String::from_utf8_lossy(&std::mem::take(&mut text)).into_owned();
        if request.starts_with("HEAD") {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n")?;
            continue;
        }
        let range = request.split("bytes=").nth(1).context("no range")?;
        let (first, last) = range
            .split("\r\n")
            .next()
            .unwrap_or("")
            .split_once('-')
            .context("-")?;
        let (first, last): (usize, usize) = (first.parse()?, last.parse()?);
        let length = last + 1 - first;
        write!(
            stream,
            "HTTP/1.1 206 Partial\r\nContent-Length: {length}\r\n\r\n"
        )?;
        for piece in vec![7_u8; length].chunks(64 << 10) {
            std::thread::sleep(Duration::from_millis(20));
            stream.write_all(piece)?;
        }
    }
}

#[test]
fn a_slow_disk_behind_a_server_is_found() -> Result<()> {
    let url = format!("http://127.0.0.1:{}/large", slow_disk()?);
    let words = [
        "bench", "share", &url, "-t", "0.5", "--size", "2M", "--json",
    ];
    let report = parsed(&run(command(&towline()?, &words), LIMIT)?)?;
    ensure!(
        report["verdict"]["limit"] == "disk",
        "{:#}",
        report["verdict"]
    );
    Ok(())
}

#[test]
fn the_page_opens_in_chromium_without_errors() -> Result<()> {
    if !unless_installed("chromium", "chromium")? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let page = folder
        .path()
        .join("page.html")
        .to_string_lossy()
        .into_owned();
    let place = folder.path().to_string_lossy().into_owned();
    let words = [
        "bench", "share", &place, "-t", "0.6", "--size", "8M", "--html", &page,
    ];
    let finished = run(command(&towline()?, &words), LIMIT)?;
    ensure!(finished.status.success(), "{}", finished.errors);
    let picture = folder.path().join("page.png");
    let profile = format!("--user-data-dir={place}/profile");
    let screenshot = format!("--screenshot={}", picture.display());
    let url = format!("file://{page}");
    let words = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--v=0",
        "--window-size=1100,2600",
        &profile,
        &screenshot,
        &url,
    ];
    let finished = run(command("chromium", &words), LIMIT)?;
    // A script, style or markup that fails is told on the console; so is anything not found.
    ensure!(!finished.errors.contains("CONSOLE"), "{}", finished.errors);
    let bytes = std::fs::read(&picture).with_context(|| finished.errors.clone())?;
    ensure!(
        bytes.starts_with(b"\x89PNG") && bytes.len() > 50_000,
        "an empty page"
    );
    Ok(())
}
