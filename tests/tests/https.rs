//! HTTPS as clients we did not write speak it: curl, the Python standard library, huggingface_hub,
//! and the verbs of the command line.
//!
//! Invariant: every body is compared in full. Not promised: speed; `bench/peers/http --tls`
//! measures that.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use towline_tests::certificate::{self, Certificate};
use towline_tests::cli;
use towline_tests::content;
use towline_tests::model::{self, Shelf};
use towline_tests::node::{Node, Settings, free_port};
use towline_tests::process::{Finished, command, must_run, run};
use towline_tests::python::Python;
use towline_tests::skip::{impossible, unless_installed};

const CLIENT_LIMIT: Duration = Duration::from_secs(120);
/// Length of the file that is fetched, in bytes: no multiple of a record.
const LENGTH: u64 = 40_000_003;
const SEED: u64 = 5;
/// Handshakes that are begun and not finished: more than a thread keeps.
const HALF_OPEN: usize = 5_000;
/// Connections that idle.
const IDLE: usize = 10_000;
/// Resident bytes that one of them may cost.
const IDLE_BYTES_EACH: u64 = 32 << 10;

struct Secure {
    node: Node,
    port: u16,
    own: Certificate,
    other: Certificate,
    folder: TempDir,
}

/// A node with HTTPS under two certificates.
fn secure() -> Result<Option<Secure>> {
    if !unless_installed("openssl", "openssl")? || !unless_installed("curl", "curl")? {
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let own = certificate::make(folder.path(), "own", "DNS:localhost,IP:127.0.0.1")?;
    let other = certificate::make(folder.path(), "other", "DNS:other.example")?;
    let port = free_port()?;
    let configuration = format!(
        "[listen]\nnames = [\"other.example\"]\n[limits]\nconnections = 60000\n\
         connections_per_address = 20000\n{}",
        table(port, &own, &other)
    );
    let node = Node::start_with(Settings {
        configuration,
        ..Settings::default()
    })?;
    content::write(&node.volume("projects").join("big"), SEED, LENGTH)?;
    fs::write(node.volume("projects").join("small"), "small body")?;
    Ok(Some(Secure {
        node,
        port,
        own,
        other,
        folder,
    }))
}

fn table(port: u16, own: &Certificate, other: &Certificate) -> String {
    format!(
        "[tls]\ncertificate = {:?}\nkey = {:?}\nport = {port}\n[[tls.more]]\n\
         certificate = {:?}\nkey = {:?}\n",
        own.certificate, own.key, other.certificate, other.key
    )
}

impl Secure {
    fn curl(&self, arguments: &[&str]) -> Result<Finished> {
        let mut curl = command("curl", &["--silent", "--show-error", "--max-time", "60"]);
        curl.arg("--cacert").arg(&self.own.certificate);
        curl.args(arguments);
        run(curl, CLIENT_LIMIT)
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }
}

#[test]
fn files_go_both_ways_under_both_versions_of_tls() -> Result<()> {
    let Some(secure) = secure()? else {
        return Ok(());
    };
    let wanted = content::bytes(SEED, 0, LENGTH as usize);
    for version in [["--tls-max", "1.2"], ["--tlsv1.3", "--http1.1"]] {
        let url = secure.url("/files/projects/big");
        let whole = secure.curl(&[version[0], version[1], &url])?;
        ensure!(whole.output == wanted, "{version:?}: {}", whole.errors);
        let part = secure.curl(&[version[0], version[1], "--range", "16383-99999", &url])?;
        ensure!(part.output == wanted[16_383..100_000], "{version:?}");
        let sent = secure.folder.path().join("sent");
        fs::write(&sent, &wanted)?;
        let place = secure.url(&format!("/files/projects/up-{}", version[0]));
        let mut upload = vec![version[0], version[1], "--fail", "--upload-file"];
        let sent = sent.display().to_string();
        upload.extend([sent.as_str(), place.as_str()]);
        let done = secure.curl(&upload)?;
        ensure!(done.status.success(), "{version:?}: {}", done.errors);
        let stored = secure
            .node
            .volume("projects")
            .join(format!("up-{}", version[0]));
        ensure!(
            fs::read(stored)? == wanted,
            "{version:?}: other bytes were stored"
        );
    }
    // Many requests over one connection, and the control plane behind the same door.
    let urls: Vec<String> = (0..20)
        .map(|_| secure.url("/files/projects/small"))
        .collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    ensure!(secure.curl(&urls)?.output == b"small body".repeat(20));
    ensure!(secure.curl(&[&secure.url("/healthz")])?.output == b"ok\n");
    ensure!(cli::metric(&secure.node, "towline_tls_accepted_total")? > 0);
    Ok(())
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() -> Result<()> {
    let Some(secure) = secure()? else {
        return Ok(());
    };
    let url = format!("https://other.example:{}/healthz", secure.port);
    let place = format!("other.example:{}:127.0.0.1", secure.port);
    let mut curl = command(
        "curl",
        &["--silent", "--show-error", "--resolve", &place, &url],
    );
    curl.arg("--cacert").arg(&secure.other.certificate);
    ensure!(must_run(curl, CLIENT_LIMIT)? == b"ok\n");
    // Whoever names no host gets the first one.
    let url = format!("https://127.0.0.1:{}/healthz", secure.port);
    ensure!(secure.curl(&[&url])?.output == b"ok\n");
    Ok(())
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() -> Result<()> {
    let Some(secure) = secure()? else {
        return Ok(());
    };
    let url = secure.url("/healthz");
    // Half a file, as a tool leaves it that writes in place: nothing changes.
    let good = fs::read(&secure.own.certificate)?;
    let old = secure.folder.path().join("old.pem");
    fs::write(&old, &good)?;
    fs::write(&secure.own.certificate, &good[..good.len() / 2])?;
    let started = Instant::now();
    while !secure.node.log().contains("is not used") {
        ensure!(
            started.elapsed() < Duration::from_secs(30),
            "{}",
            secure.node.log()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    let with = |authority: &std::path::Path| {
        let mut curl = command("curl", &["--silent", &url]);
        curl.arg("--cacert").arg(authority);
        run(curl, CLIENT_LIMIT)
    };
    ensure!(with(&old)?.output == b"ok\n", "the old one is gone");
    let renewed = certificate::make(secure.folder.path(), "own", "DNS:localhost,IP:127.0.0.1")?;
    let started = Instant::now();
    while with(&renewed.certificate)?.output != b"ok\n" {
        ensure!(
            started.elapsed() < Duration::from_secs(30),
            "{}",
            secure.node.log()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(
        !with(&old)?.status.success(),
        "the old certificate is still given"
    );
    Ok(())
}

#[test]
fn the_command_line_and_the_hubs_client_speak_https() -> Result<()> {
    if !unless_installed("openssl", "openssl")? {
        return Ok(());
    }
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let own = certificate::make(folder.path(), "own", "DNS:localhost,IP:127.0.0.1")?;
    let port = free_port()?;
    let shelf = Shelf::with_configuration(&table(port, &own, &own))?;
    let url = format!("https://localhost:{port}");
    let authority = own.certificate.display().to_string();
    let status = ["status", "--node", &url, "--ca-file", &authority];
    let said = cli::run_well(&shelf.node, &status)?;
    ensure!(said.contains("https"), "{said}");
    // Without the authority the message says what to do.
    cli::run_refused(&shelf.node, &["status", "--node", &url], (69, "--ca-file"))?;
    let home = shelf.node.scratch();
    let place = home.join("fetched");
    let mut fetch = python.program("hf", &home);
    fetch
        .args(["download", "acme/tiny-llama", "--local-dir"])
        .arg(&place)
        .env("HF_ENDPOINT", format!("{url}/hf"))
        .env("SSL_CERT_FILE", &own.certificate)
        .env("REQUESTS_CA_BUNDLE", &own.certificate);
    must_run(fetch, CLIENT_LIMIT)?;
    let wanted = model::files(&shelf.source)?;
    for (name, bytes) in &wanted {
        ensure!(&fs::read(place.join(name))? == bytes, "{name}");
    }
    Ok(())
}

#[test]
fn handshakes_that_are_not_finished_stop_nobody() -> Result<()> {
    let Some(mut secure) = secure()? else {
        return Ok(());
    };
    let mut held = Vec::new();
    for at in 0..HALF_OPEN {
        let mut stream = TcpStream::connect(("127.0.0.1", secure.port))
            .with_context(|| format!("connection {at}"))?;
        // Half of them begin a record and stop there.
        if at % 2 == 0 {
            stream.write_all(&[22, 3, 1])?;
        }
        held.push(stream);
    }
    let started = Instant::now();
    let url = secure.url("/files/projects/small");
    for _ in 0..10 {
        ensure!(secure.curl(&[&url])?.output == b"small body");
    }
    let elapsed = started.elapsed();
    ensure!(
        elapsed < Duration::from_secs(10),
        "ten requests took {elapsed:?}"
    );
    secure.node.must_run()?;
    drop(held);
    Ok(())
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_the_next_is_served() -> Result<()> {
    let Some(secure) = secure()? else {
        return Ok(());
    };
    let Some(python) = Python::installed("web")? else {
        return Ok(());
    };
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit
        .maximum
        .is_some_and(|most| most < 3 * IDLE as u64 + 1000)
    {
        return impossible("fewer than 31,000 descriptors may be open");
    }
    let before = secure.node.resident_bytes()?;
    let mut script = python.script("tls_idle.py", &secure.node.scratch());
    script
        .args([secure.port.to_string(), IDLE.to_string()])
        .arg(&secure.own.certificate);
    let mut idle = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(idle.stdout.take().context("no output")?).lines();
    let first = lines.next().context("the client ended")??;
    ensure!(first == "idle", "{first}");
    let each = secure.node.resident_bytes()?.saturating_sub(before) / IDLE as u64;
    let started = Instant::now();
    let url = secure.url("/files/projects/small");
    let answer = secure.curl(&[&url])?;
    let elapsed = started.elapsed();
    drop(idle.stdin.take());
    let last = lines.next().transpose()?;
    let status = idle.wait()?;
    ensure!(answer.output == b"small body", "{}", answer.errors);
    ensure!(
        elapsed < Duration::from_secs(2),
        "the next one took {elapsed:?}"
    );
    ensure!(
        each <= IDLE_BYTES_EACH,
        "{each} bytes for each idle connection"
    );
    ensure!(
        status.success() && last.as_deref() == Some("well"),
        "{last:?}"
    );
    Ok(())
}
