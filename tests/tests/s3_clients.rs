//! Read-only S3 as programs use it that we did not write: boto3, with keys and without, and a
//! streamer that loads tensors straight from objects. And the other way round: models that are
//! pulled from an S3 server that others wrote (moto), filled by boto3.
//!
//! Invariant: every object is compared with the published folder byte for byte. Not promised: the
//! streamer where only `tests/run` without `--full` has installed things; it skips then.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use towline_tests::model::{self, Shelf};
use towline_tests::node::{Node, Settings};
use towline_tests::paths;
use towline_tests::process::{Running, command, must_run};
use towline_tests::python::Python;
use towline_tests::skip::{impossible, unless_installed};
use towline_tests::slow::SlowWay;

const CLIENT_LIMIT: Duration = Duration::from_secs(180);
/// What an arrival keeps or loses as a whole when it is killed.
const BLOCK_BYTES: u64 = 256 << 10;
const ID: &str = "AKIDTOWLINETESTS";
const SECRET: &str = "0123456789abcdef/0123456789+abcdef";

/// A node with three models, and its endpoint of S3.
fn served(keys: &str) -> Result<(Shelf, String)> {
    let shelf = Shelf::with_configuration(&format!("[listen]\ns3_port = 0\n{keys}"))?;
    // Their names sort otherwise than their keys.
    let below = shelf.source.join("sub dir");
    for name in ["acme/tiny-llama-2", "other/one"] {
        model::push(&shelf.node, &below, name)?;
    }
    let url = format!("http://{}", shelf.node.http());
    let status = command(
        paths::program("towline")?,
        &["status", "--json", "--node", &url],
    );
    let status: Value = serde_json::from_slice(&must_run(status, CLIENT_LIMIT)?)?;
    let all = status["listeners"].as_array().context("no listeners")?;
    let s3 = all.iter().find(|listener| listener["protocol"] == "s3");
    let address = s3.context("S3 is not listened for")?["address"].as_str();
    Ok((shelf, format!("http://{}", address.context("no address")?)))
}

fn boto3(keys: &str) -> Result<()> {
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    let (shelf, endpoint) = served(keys)?;
    let home = shelf.node.scratch();
    let mut script = python.script("s3_read.py", &home);
    script
        .arg(&endpoint)
        .arg(&shelf.source)
        .arg(&shelf.revision)
        .args([ID, SECRET]);
    if !keys.is_empty() {
        script.env("KEYS_ARE_ASKED_FOR", "1");
    }
    must_run(script, CLIENT_LIMIT)?;
    Ok(())
}

#[test]
fn boto3_reads_without_keys() -> Result<()> {
    boto3("")
}

#[test]
fn boto3_reads_with_keys_and_nobody_else_does() -> Result<()> {
    boto3(&format!(
        "[[s3.keys]]\nid = \"{ID}\"\nsecret = \"{SECRET}\"\n"
    ))
}

/// Keys of S3 open what tokens of the volume hide.
#[test]
fn keys_stand_for_tokens() -> Result<()> {
    let keys = format!("[[s3.keys]]\nid = \"{ID}\"\nsecret = \"{SECRET}\"\n");
    boto3(&format!(
        "{keys}[volumes.models]\ntokens = [\"read:0123456789abcdef0123\"]\n"
    ))
}

#[test]
fn a_streamer_loads_tensors() -> Result<()> {
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    if !python.has("runai_model_streamer") {
        return impossible("runai-model-streamer is not installed: tests/run --full does that");
    }
    let keys = format!("[[s3.keys]]\nid = \"{ID}\"\nsecret = \"{SECRET}\"\n");
    let (shelf, endpoint) = served(&keys)?;
    let home = shelf.node.scratch();
    let mut script = python.script("s3_stream.py", &home);
    let uri = "s3://models/acme/tiny-llama/main/model.safetensors";
    script
        .arg(uri)
        .arg(Path::new(&shelf.source).join("model.safetensors"));
    script
        .env("AWS_ENDPOINT_URL", &endpoint)
        .env("AWS_REGION", "us-east-1");
    script
        .env("AWS_ACCESS_KEY_ID", ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET);
    script
        .env("RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING", "0")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    // It would send what is for this machine to the proxy too.
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        script.env_remove(name);
    }
    let said = String::from_utf8(must_run(script, CLIENT_LIMIT)?)?;
    ensure!(said.contains("tensors: 1"), "{said}");
    Ok(())
}

/// An S3 server that others wrote, with the model in the bucket `shelf` below `models/tiny`.
struct Foreign {
    server: Running,
    url: String,
    _home: TempDir,
}

impl Foreign {
    fn start(python: &Python, folder: &Path) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let mut script = python.script("s3_serve.py", home.path());
        script.arg(folder).args(["shelf", "models/tiny"]);
        script.env("AWS_EC2_METADATA_DISABLED", "true");
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = Running::start(script)?;
        let said = server.child().stdout.take().context("no output")?;
        let mut url = String::new();
        BufReader::new(said).read_line(&mut url)?;
        ensure!(url.starts_with("http://"), "moto did not start: {url}");
        Ok(Self {
            server,
            url: url.trim().to_owned(),
            _home: home,
        })
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.url.trim_start_matches("http://").parse()?)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.server.kill();
    }
}

/// A node whose environment names that server.
fn puller(endpoint: &str) -> Result<Node> {
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
    ];
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Node::start_with(Settings {
        environment: variables.map(own).to_vec(),
        ..Settings::default()
    })
}

fn pull(node: &Node) -> Result<Command> {
    let url = format!("http://{}", node.http());
    let arguments = [
        "pull",
        "--node",
        &url,
        "s3://shelf/models/tiny",
        "acme/far:v1",
    ];
    Ok(command(paths::program("towline")?, &arguments))
}

/// Bytes that the node has fetched from object stores since it started.
fn fetched(node: &Node) -> Result<u64> {
    let url = format!("http://{}/metrics", node.http());
    let page = must_run(
        command("curl", &["-sS", "--noproxy", "*", &url]),
        CLIENT_LIMIT,
    )?;
    let page = String::from_utf8(page)?;
    let name = "towline_models_fetched_bytes_total{source=\"objects\"} ";
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    Ok(value.context("no such metric")?.parse()?)
}

fn judge(node: &Node, source: &Path) -> Result<()> {
    let found = model::files(&node.volume("models").join("acme/far/v1"))?;
    ensure!(found == model::files(source)?, "the objects differ");
    Ok(())
}

#[test]
fn objects_of_a_foreign_server_are_pulled() -> Result<()> {
    let Some(python) = Python::installed("s3")? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    model::write(folder.path())?;
    let foreign = Foreign::start(&python, folder.path())?;
    let node = puller(&foreign.url)?;
    must_run(pull(&node)?, CLIENT_LIMIT)?;
    judge(&node, folder.path())?;
    // A prefix that has nothing is said, and publishes nothing.
    let url = format!("http://{}", node.http());
    let nothing = ["pull", "--node", &url, "s3://shelf/none", "acme/none"];
    let mut nothing = command(paths::program("towline")?, &nothing);
    let said = nothing.output()?;
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(
        !said.status.success() && text.contains("has no files"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_killed_pull_of_objects_goes_on_where_it_stood() -> Result<()> {
    let Some(python) = Python::installed("s3")? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    model::write(folder.path())?;
    let bytes: usize = model::files(folder.path())?.values().map(Vec::len).sum();
    let foreign = Foreign::start(&python, folder.path())?;
    let way = SlowWay::to(foreign.address()?, 8 << 20)?;
    let mut node = puller(&format!("http://{}", way.address()))?;
    let mut first = Running::start(pull(&node)?)?;
    let started = Instant::now();
    while fetched(&node)? < bytes as u64 / 3 {
        ensure!(started.elapsed() < CLIENT_LIMIT, "nothing comes");
        std::thread::sleep(Duration::from_millis(20));
    }
    let before = fetched(&node)?;
    node.kill();
    first.kill();
    node.restart()?;
    must_run(pull(&node)?, CLIENT_LIMIT)?;
    judge(&node, folder.path())?;
    // What came between the count and the kill was counted by nobody.
    let again = (before + fetched(&node)?).saturating_sub(bytes as u64);
    eprintln!("{before} bytes before the kill, of these {again} again");
    // At most the block that each of the eight streams was in.
    ensure!(again <= 8 * BLOCK_BYTES, "{again} bytes were fetched twice");
    Ok(())
}

/// s3cmd compares what looks like an MD5, and once fetched every small file again.
#[test]
fn s3cmd_fetches_nothing_twice() -> Result<()> {
    if !unless_installed("s3cmd", "s3cmd")? {
        return Ok(());
    }
    let keys = format!("[[s3.keys]]\nid = \"{ID}\"\nsecret = \"{SECRET}\"\n");
    let (shelf, endpoint) = served(&keys)?;
    let host = endpoint.trim_start_matches("http://");
    let place = shelf.node.scratch().join("synced");
    std::fs::create_dir(&place)?;
    let sync = || {
        let mut s3cmd = command("s3cmd", &["sync", "--no-ssl", "--host", host]);
        s3cmd
            .args([
                "--host-bucket",
                host,
                "--access_key",
                ID,
                "--secret_key",
                SECRET,
            ])
            .args(["--config", "/dev/null", "s3://models/acme/tiny-llama/main/"])
            .arg(format!("{}/", place.display()))
            .env("HOME", shelf.node.scratch());
        must_run(s3cmd, CLIENT_LIMIT)
    };
    let first = String::from_utf8_lossy(&sync()?).into_owned();
    shelf.judge(&place)?;
    let second = String::from_utf8_lossy(&sync()?).into_owned();
    ensure!(first.contains("download:"), "{first}");
    ensure!(!second.contains("download:"), "fetched again: {second}");
    Ok(())
}
