//! Files of models on their way in: what does not fit is refused before its first byte, and those
//! who send slowly hold up nobody.
//!
//! The clients are curl, the command line, and sockets that send as slowly as they like. Invariant:
//! a disk that an upload did not fit on takes others, at once and after a restart.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use towline_tests::cli::{curl, metric, run, run_well};
use towline_tests::content;
use towline_tests::node::{Node, Settings};
use towline_tests::skip::impossible;
use towline_tests::small_disk::SmallDisk;

const TOKEN: &str = "acme-publishes-0123456789";
const STAGED: &str = "towline_models_staged_bytes";
const MIB: u64 = 1 << 20;

/// Slow uploads at once.
const SLOW: usize = 32;

/// How long one of them stands still: a pause of a minute is no attack.
const PAUSE: Duration = Duration::from_secs(61);

/// How long anything else may take meanwhile, on a machine that is busy with other tests.
const ANSWER_MAX: Duration = Duration::from_secs(3);

fn settings() -> Settings {
    Settings {
        configuration: format!(
            "[[models.tokens]]\ntoken = \"{TOKEN}\"\nprefix = \"acme/\"\nrights = \"publish\"\n"
        ),
        ..Settings::default()
    }
}

/// curl, without a proxy.
fn asking() -> Command {
    let mut command = Command::new("curl");
    command.args(["--noproxy", "*"]);
    command
}

fn hash(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    let digits = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// Asks as a hub client does where a file goes; the node's word for it.
fn batch(node: &Node, oid: &str, size: u64) -> Result<Value> {
    create(node)?;
    let body = json!({
        "operation": "upload", "transfers": ["basic"], "objects": [{ "oid": oid, "size": size }],
    });
    let mut command = asking();
    command
        .args(["-sS", "-H", &format!("Authorization: Bearer {TOKEN}")])
        .args([
            "-H",
            "Content-Type: application/json",
            "-d",
            &body.to_string(),
        ])
        .arg(format!(
            "http://{}/hf/acme/slow.git/info/lfs/objects/batch",
            node.http()
        ));
    let output = command.output()?;
    ensure!(output.status.success(), "curl: {output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let object = answer["objects"].get(0).cloned();
    object.with_context(|| format!("no object: {answer}"))
}

/// Makes the repository that files are uploaded for; one that is there is as good.
fn create(node: &Node) -> Result<()> {
    let body = json!({ "name": "slow", "organization": "acme", "type": "model" });
    let output = asking()
        .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"])
        .args(["-H", &format!("Authorization: Bearer {TOKEN}")])
        .args(["-H", "Content-Type: application/json", "-d"])
        .arg(body.to_string())
        .arg(format!("http://{}/hf/api/repos/create", node.http()))
        .output()?;
    let code = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(matches!(code.as_str(), "200" | "409"), "create: {code}");
    Ok(())
}

fn place(node: &Node, oid: &str, size: u64) -> Result<String> {
    let object = batch(node, oid, size)?;
    let href = object["actions"]["upload"]["href"].as_str();
    Ok(href
        .with_context(|| format!("no place: {object}"))?
        .to_owned())
}

/// An upload by hand: its head is sent.
fn upload(node: &Node, oid: &str, size: u64) -> Result<TcpStream> {
    let url = place(node, oid, size)?;
    let path = url.splitn(4, '/').nth(3).context("a URL without a path")?;
    let mut socket = TcpStream::connect(node.http())?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let head = format!("PUT /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n");
    socket.write_all(head.as_bytes())?;
    Ok(socket)
}

fn reply(mut socket: TcpStream) -> Result<String> {
    let mut text = Vec::new();
    socket.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Sends a file with curl; the status, and the words.
fn put(url: &str, file: &Path) -> Result<(String, String)> {
    let mut command = asking();
    let format = "\n%{http_code}";
    command
        .args(["-sS", "-T"])
        .arg(file)
        .args(["-w", format, url]);
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (words, code) = text.rsplit_once('\n').context("no status")?;
    Ok((code.to_owned(), words.to_owned()))
}

/// Bytes of unfinished uploads. Status and metrics are asked one after the other, and what is under
/// way moves meanwhile: they must agree once it stands still.
fn staged(node: &Node) -> Result<u64> {
    let mut seen = (0, 0);
    for _ in 0..50 {
        let status = curl(&format!("http://{}/v1/status", node.http()))?;
        let status: Value = serde_json::from_slice(&status)?;
        let bytes = status["uploads"]["bytes"].as_u64();
        let bytes = bytes.with_context(|| format!("no uploads: {status}"))?;
        seen = (bytes, metric(node, STAGED)?);
        if seen.0 == seen.1 {
            return Ok(bytes);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("status and metrics differ: {seen:?}")
}

/// Waits until so many bytes lie there.
fn until_staged(node: &Node, wanted: impl Fn(u64) -> bool) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while !wanted(staged(node)?) {
        ensure!(Instant::now() < end, "{} bytes are staged", staged(node)?);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn an_upload_that_does_not_fit_is_refused_and_leaves_the_disk_as_it_was() -> Result<()> {
    let own = tempfile::tempdir()?;
    let Some(disk) = SmallDisk::mount(own.path().join("small"), "400m")? else {
        return impossible("a small file system needs the right to mount one");
    };
    let mut node = Node::start_with(Settings {
        below: Some(disk.path().to_owned()),
        ..settings()
    })?;
    // More than there is, and more than uploads may take together: said before the first byte.
    for size in [1 << 30, 250 * MIB] {
        let object = batch(&node, &"ab".repeat(32), size)?;
        ensure!(object["error"]["code"] == 507, "{object}");
        let words = object["error"]["message"].as_str().unwrap_or("");
        ensure!(words.contains("bytes are to come"), "{object}");
    }
    let folder = own.path().join("large");
    fs::create_dir_all(&folder)?;
    let large = folder.join("model.bin");
    content::write(&large, 3, 150 * MIB)?;
    // There was room when its sender asked, and none when it came.
    let oid = hash(&fs::read(&large)?);
    let url = place(&node, &oid, 150 * MIB)?;
    let filler = disk.path().join("filler");
    content::write(&filler, 4, 250 * MIB)?;
    let (code, words) = put(&url, &large)?;
    ensure!(
        code == "507" && words.contains("room for"),
        "{code}: {words}"
    );
    ensure!(staged(&node)? == 0, "nothing was written");
    fs::remove_file(&filler)?;
    // The disk is filled while it comes: what has come goes again, at once.
    let mut socket = upload(&node, &oid, 150 * MIB)?;
    let bytes = fs::read(&large)?;
    let (front, rest) = bytes.split_at(40 << 20);
    socket.write_all(front)?;
    until_staged(&node, |bytes| bytes >= 39 * MIB)?;
    content::write(&filler, 4, 310 * MIB)?;
    let _cut = socket.write_all(rest);
    let text = reply(socket)?;
    ensure!(text.starts_with("HTTP/1.1 507 "), "{text}");
    until_staged(&node, |bytes| bytes == 0)?;
    fs::remove_file(&filler)?;
    // One that broke off is kept, and goes with a collection whose grace is over.
    let mut socket = upload(&node, &oid, 150 * MIB)?;
    socket.write_all(front)?;
    until_staged(&node, |bytes| bytes >= 39 * MIB)?;
    drop(socket);
    std::thread::sleep(Duration::from_secs(1));
    let said = run_well(&node, &["status"])?;
    ensure!(said.contains("uploads that are not published"), "{said}");
    run_well(&node, &["gc"])?;
    ensure!(staged(&node)? >= 39 * MIB, "a day is not over");
    node.kill();
    node.restart()?;
    ensure!(staged(&node)? >= 39 * MIB, "it goes on after a restart");
    run_well(&node, &["gc", "--grace", "0"])?;
    ensure!(staged(&node)? == 0);
    // The disk takes what fits: by curl, and by a push that sends its files.
    let (code, words) = put(&place(&node, &oid, 150 * MIB)?, &large)?;
    ensure!(code == "200", "{code}: {words}");
    run_well(&node, &["gc", "--grace", "0"])?;
    let folder = folder.display().to_string();
    run_well(
        &node,
        &["push", "--upload", "--token", TOKEN, &folder, "acme/large"],
    )?;
    ensure!(staged(&node)? == 0, "published, and not staged any more");
    let (code, text) = run(&node, &["verify"])?;
    ensure!(code == 0, "{text}");
    node.kill();
    Ok(())
}

#[test]
fn slow_senders_hold_up_nobody_and_a_pause_of_a_minute_passes() -> Result<()> {
    let node = Node::start_with(settings())?;
    let size = 4 * MIB;
    let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    let mut still = upload(&node, &hash(&bytes), size)?;
    let (front, rest) = bytes.split_at(1_000_000);
    still.write_all(front)?;
    let mut sockets = Vec::new();
    for number in 1..SLOW {
        sockets.push(upload(&node, &hash(&number.to_le_bytes()), size)?);
    }
    let folder = node.scratch().join("folder");
    fs::create_dir_all(&folder)?;
    let stop = AtomicBool::new(false);
    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for socket in &mut sockets {
                    let _cut = socket.write_all(&[7; 2_000]);
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        let honest = (|| {
            for round in 0.. {
                let took = honest(&node, &folder, round)?;
                slowest = slowest.max(took);
                ensure!(took < ANSWER_MAX, "round {round}: {took:?}");
                if begun.elapsed() > PAUSE {
                    break;
                }
                std::thread::sleep(Duration::from_secs(2));
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        honest
    })?;
    eprintln!("the slowest call beside {SLOW} slow uploads took {slowest:?}");
    still.write_all(rest)?;
    let text = reply(still)?;
    ensure!(text.starts_with("HTTP/1.1 200 "), "after a pause: {text}");
    Ok(())
}

/// The bounds of every other transfer hold here too: what stands still, or dribbles, ends.
#[test]
fn a_dribble_is_cut_and_what_had_come_is_gone_on_with() -> Result<()> {
    let mut slow = settings();
    slow.configuration += "[limits]\nstall_timeout = \"3s\"\nprogress_per_s = \"64KiB\"\n";
    let node = Node::start_with(slow)?;
    let bytes: Vec<u8> = (0..MIB).map(|at| (at % 241) as u8).collect();
    let oid = hash(&bytes);
    let mut still = upload(&node, &oid, MIB)?;
    still.write_all(&bytes[..100_000])?;
    let text = reply(still)?;
    ensure!(
        text.starts_with("HTTP/1.1 408 ") && text.contains("limits.stall_timeout"),
        "{text}"
    );
    let mut socket = upload(&node, &hash(b"other"), MIB)?;
    let begun = Instant::now();
    while socket.write_all(&[7; 2_000]).is_ok() {
        ensure!(begun.elapsed() < Duration::from_secs(40), "it goes on");
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(
        begun.elapsed() > Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    until_staged(&node, |bytes| bytes > 100_000)?;
    ensure!(metric(&node, "towline_models_uploads_slow_total")? == 2);
    // A client that is fast enough goes on behind what is here.
    let url = place(&node, &oid, MIB)?;
    let rest = node.scratch().join("rest");
    fs::write(&rest, &bytes[100_000..])?;
    let range = format!("Content-Range: bytes 100000-{}/{MIB}", MIB - 1);
    let mut command = asking();
    command
        .args(["-sSf", "-H", &range, "-T"])
        .arg(&rest)
        .arg(url);
    ensure!(command.status()?.success(), "it does not go on");
    Ok(())
}

/// Calls as honest clients make them; the slowest.
fn honest(node: &Node, folder: &Path, round: u32) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for page in ["/healthz", "/metrics", "/v1/status", "/v1/models"] {
        let begun = Instant::now();
        let mut command = asking();
        command.args(["-sSf", "-m", "20", "-o", "/dev/null"]);
        command.arg(format!("http://{}{page}", node.http()));
        ensure!(command.status()?.success(), "{page}");
        slowest = slowest.max(begun.elapsed());
    }
    let begun = Instant::now();
    fs::write(folder.join("config.json"), format!("{{\"round\":{round}}}"))?;
    let folder = folder.display().to_string();
    run_well(
        node,
        &["push", "--upload", "--token", TOKEN, &folder, "acme/quick"],
    )?;
    Ok(slowest.max(begun.elapsed()))
}
