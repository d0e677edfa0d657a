//! Large files of models in parts: huggingface_hub sends them, also while the node is killed, and
//! whoever sends them by hand is told what is wrong with them.
//!
//! The clients are `hf upload` of today and of 0.36, and curl. Invariant: what came in parts is
//! byte for byte what was sent or is not there; parts that came before a kill -9 are not asked for
//! again within an upload. Not promised: that a client which is started again leaves them out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use towline_tests::cli::{answer, metric, run_well};
use towline_tests::content;
use towline_tests::model::Shelf;
use towline_tests::node::{Node, Settings};
use towline_tests::process::{Running, must_run};
use towline_tests::python::Python;

const CLIENT_LIMIT: Duration = Duration::from_secs(240);
const TOKEN: &str = "hf_0123456789abcdef0123456789abcdef01";
const PARTS: &str = "towline_models_uploaded_parts_total";
const MIB: u64 = 1 << 20;

fn configuration() -> String {
    format!(
        "[limits]\nupload_part = \"1MiB\"\n\
         [[models.tokens]]\ntoken = \"{TOKEN}\"\nprefix = \"acme/\"\nrights = \"publish\"\n"
    )
}

fn pointed(endpoint: &str, mut client: Command) -> Command {
    client.env("HF_ENDPOINT", endpoint).env("HF_TOKEN", TOKEN);
    client.env("HF_HUB_DISABLE_XET", "1");
    client
}

fn uploads_in_parts(environment: &str) -> Result<()> {
    let Some(python) = Python::installed(environment)? else {
        return Ok(());
    };
    let shelf = Shelf::with_configuration(&configuration())?;
    let weights = shelf.source.join("model.safetensors");
    let mut bytes = fs::read(&weights)?;
    // Not the weights that the node has already: those would not be sent.
    *bytes.last_mut().context("no weights")? ^= 1;
    fs::write(&weights, &bytes)?;
    let home = shelf.node.scratch().join("home");
    fs::create_dir_all(&home)?;
    let source = shelf.source.display().to_string();
    let mut hf = pointed(&shelf.endpoint(), python.program("hf", &home));
    hf.args(["upload", "acme/parts", &source, "."]);
    must_run(hf, CLIENT_LIMIT)?;
    let wanted = (bytes.len() as u64).div_ceil(MIB);
    assert_eq!(metric(&shelf.node, PARTS)?, wanted);
    let local = home.join("local");
    let mut hf = pointed(&shelf.endpoint(), python.program("hf", &home));
    hf.args(["download", "acme/parts", "--local-dir"])
        .arg(&local);
    must_run(hf, CLIENT_LIMIT)?;
    shelf.judge(&local)?;
    run_well(&shelf.node, &["verify"])?;
    assert_eq!(metric(&shelf.node, "towline_models_staged_bytes")?, 0);
    assert_eq!(
        metric(&shelf.node, "towline_models_staged_promised_bytes")?,
        0
    );
    Ok(())
}

#[test]
fn hf_upload_sends_parts() -> Result<()> {
    uploads_in_parts("hub")
}

#[test]
fn the_old_hf_upload_sends_parts() -> Result<()> {
    uploads_in_parts("hub-0.36")
}

/// The parts of the one upload that is under way.
fn parts_here(node: &Node) -> usize {
    let uploads = node.scratch().join("data/.towline/uploads");
    let holders = fs::read_dir(uploads).into_iter().flatten().flatten();
    let folders = holders.flat_map(|at| fs::read_dir(at.path()).into_iter().flatten().flatten());
    let folders = folders.filter(|at| at.path().extension().is_some_and(|end| end == "parts"));
    let parts = folders.flat_map(|at| fs::read_dir(at.path()).into_iter().flatten().flatten());
    parts
        .filter(|at| at.path().extension().is_some_and(|end| end != "new"))
        .count()
}

fn survives_a_kill(environment: &str) -> Result<()> {
    const COUNT: u64 = 160;
    let Some(python) = Python::installed(environment)? else {
        return Ok(());
    };
    let mut node = Node::start_with(Settings {
        configuration: configuration(),
        ..Settings::default()
    })?;
    let home = node.scratch().join("home");
    fs::create_dir_all(&home)?;
    let large = home.join("model.bin");
    content::write(&large, 5, COUNT * MIB)?;
    let endpoint = format!("http://{}/hf", node.http());
    let mut hf = pointed(&endpoint, python.program("hf", &home));
    hf.args(["upload", "acme/killed"]).arg(&large);
    let log = home.join("log");
    hf.stdout(fs::File::create(&log)?);
    hf.stderr(fs::File::options().append(true).open(&log)?);
    let mut hf = Running::start(hf)?;
    let end = Instant::now() + CLIENT_LIMIT;
    while parts_here(&node) < COUNT as usize / 4 {
        ensure!(
            Instant::now() < end,
            "parts do not come: {}",
            fs::read_to_string(&log)?
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    node.kill();
    let here = parts_here(&node) as u64;
    node.restart()?;
    let status = hf.wait(CLIENT_LIMIT)?;
    ensure!(status.success(), "{}", fs::read_to_string(&log)?);
    // One may have been whole when its answer was lost.
    let again = metric(&node, PARTS)?;
    ensure!(here < COUNT, "the node was killed too late");
    ensure!(
        again <= COUNT - here + 1,
        "{here} were here, {again} came after"
    );
    let published = node.volume("models").join("acme/killed/main/model.bin");
    content::judge(5, 0, &fs::read(published)?)?;
    Ok(())
}

#[test]
fn hf_upload_goes_on_when_the_node_is_killed() -> Result<()> {
    survives_a_kill("hub")
}

#[test]
fn the_old_hf_upload_goes_on_when_the_node_is_killed() -> Result<()> {
    survives_a_kill("hub-0.36")
}

/// A file that is sent by hand, and where its parts go.
struct ByHand {
    node: Node,
    bytes: Vec<u8>,
    oid: String,
    parts: Vec<String>,
    complete: String,
}

fn hash(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    let digits = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

fn ask(url: &str, body: &Value) -> Result<(u16, String)> {
    let (token, body) = (format!("Authorization: Bearer {TOKEN}"), body.to_string());
    let kind = "Content-Type: application/json";
    answer(url, &["-H", &token, "-H", kind, "-d", &body])
}

fn body_of(text: &str) -> Result<Value> {
    let (_, body) = text.split_once("\r\n\r\n").context("no body")?;
    Ok(serde_json::from_str(body)?)
}

impl ByHand {
    fn new() -> Result<Self> {
        let node = Node::start_with(Settings {
            configuration: configuration(),
            ..Settings::default()
        })?;
        let made = json!({ "name": "hand", "organization": "acme", "type": "model" });
        ask(
            &format!("http://{}/hf/api/repos/create", node.http()),
            &made,
        )?;
        let bytes = content::bytes(9, 0, 3 * MIB as usize + 77);
        let oid = hash(&bytes);
        let mut by_hand = Self {
            node,
            bytes,
            oid,
            parts: Vec::new(),
            complete: String::new(),
        };
        let object = by_hand.batch(&["basic", "multipart"])?;
        let upload = object.pointer("/actions/upload").context("no upload")?;
        assert_eq!(upload["header"]["chunk_size"], MIB.to_string());
        for number in 1..=4 {
            let part = upload["header"][format!("{number:05}")].as_str();
            by_hand.parts.push(part.context("no part")?.to_owned());
        }
        by_hand.complete = upload["href"].as_str().context("no href")?.to_owned();
        Ok(by_hand)
    }

    fn batch(&self, transfers: &[&str]) -> Result<Value> {
        let url = format!(
            "http://{}/hf/acme/hand.git/info/lfs/objects/batch",
            self.node.http()
        );
        let objects = json!([{ "oid": self.oid, "size": self.bytes.len() }]);
        let body = json!({ "operation": "upload", "transfers": transfers, "objects": objects });
        let (code, text) = ask(&url, &body)?;
        ensure!(code == 200, "{text}");
        let answer = body_of(&text)?;
        let object = answer["objects"].get(0).cloned().context("no object")?;
        let has_parts = object.pointer("/actions/upload/header").is_some();
        assert_eq!(answer["transfer"] == "multipart", has_parts);
        Ok(object)
    }

    fn part(&self, number: usize) -> &[u8] {
        let from = (number - 1) * MIB as usize;
        let to = (from + MIB as usize).min(self.bytes.len());
        &self.bytes[from..to]
    }

    fn file(&self, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.node.scratch().join(hash(bytes));
        fs::write(&path, bytes)?;
        Ok(path)
    }

    /// Sends bytes as a part.
    fn send(&self, number: usize, bytes: &[u8]) -> Result<(u16, String)> {
        let file = self.file(bytes)?;
        put(&self.parts[number - 1], &file)
    }

    /// Sends a part as it should be; its ETag.
    fn send_well(&self, number: usize) -> Result<String> {
        let (code, text) = self.send(number, self.part(number))?;
        ensure!(code == 200, "part {number}: {text}");
        let mut lines = text.lines();
        let etag = lines.find_map(|line| {
            line.to_lowercase()
                .strip_prefix("etag: ")
                .map(str::to_owned)
        });
        etag.with_context(|| format!("no ETag: {text}"))
    }

    fn complete(&self, etags: &[(usize, &str)]) -> Result<(u16, String)> {
        let parts = etags.iter();
        let parts = parts.map(|(number, etag)| json!({ "partNumber": number, "etag": etag }));
        let parts: Vec<Value> = parts.collect();
        let body = json!({ "oid": self.oid, "parts": parts }).to_string();
        answer(
            &self.complete,
            &["-H", "Content-Type: application/json", "-d", &body],
        )
    }

    fn staged(&self) -> Result<u64> {
        metric(&self.node, "towline_models_staged_bytes")
    }
}

fn put(url: &str, file: &Path) -> Result<(u16, String)> {
    answer(url, &["-T", &file.display().to_string()])
}

fn refused(outcome: (u16, String), code: u16, words: &str) -> Result<()> {
    let (got, text) = outcome;
    ensure!(
        got == code && text.contains(words),
        "not {code} {words:?} but {got}: {text}"
    );
    Ok(())
}

#[test]
fn parts_by_hand_are_taken_in_any_order_and_whatever_is_wrong_is_said() -> Result<()> {
    let hand = ByHand::new()?;
    let basic = hand.batch(&["basic"])?;
    ensure!(basic.pointer("/actions/upload/header").is_none(), "{basic}");
    // The last first, and two at once.
    let fourth = hand.send_well(4)?;
    let (second, third) = std::thread::scope(|scope| {
        let second = scope.spawn(|| hand.send_well(2));
        let third = scope.spawn(|| hand.send_well(3));
        (second.join(), third.join())
    });
    let lost = |_| anyhow::anyhow!("a thread died");
    let (second, third) = (second.map_err(lost)??, third.map_err(lost)??);
    let own = hash(hand.part(1));
    let named = |first: &str| hand.complete(&[(1, first), (2, &second), (3, &third), (4, &fourth)]);
    refused(named(&own)?, 400, "part 1 is not here")?;
    refused(hand.complete(&[(2, &second)])?, 400, "does not name part 1")?;
    refused(hand.complete(&[(1, &own), (1, &own)])?, 400, "part 1 twice")?;
    refused(hand.complete(&[(9, &own)])?, 400, "no part 9")?;
    refused(named("../../../etc/passwd")?, 400, "part 1 is not here")?;
    refused(
        hand.send(1, &hand.part(1)[1..])?,
        400,
        "1 bytes of part 1 are missing",
    )?;
    refused(
        hand.send(1, &hand.bytes)?,
        400,
        "more bytes came than part 1 has",
    )?;
    let other = hand.parts[0].replace("/1/", "/2/");
    refused(put(&other, &hand.file(b"x")?)?, 403, "begin again")?;
    refused(put(&hand.complete, &hand.file(b"x")?)?, 403, "begin again")?;
    let taken = hand.staged()?;
    assert_eq!(taken, 2 * MIB + 77, "what was refused takes no room");
    // Other bytes: they are a part, and the file is none. Nothing of it stays.
    let mut wrong = hand.part(1).to_vec();
    wrong[0] ^= 1;
    let (code, text) = hand.send(1, &wrong)?;
    ensure!(code == 200, "{text}");
    refused(named(&own)?, 400, "part 1 is not here")?;
    refused(
        named(&hash(&wrong))?,
        400,
        "do not hash to what was announced",
    )?;
    assert_eq!(hand.staged()?, 0);
    refused(named(&own)?, 400, "part 1 is not here")?;
    ensure!(
        hand.batch(&["multipart"])?.get("actions").is_some(),
        "it is not here"
    );
    // All of them, one twice; the completion twice.
    let mut etags = Vec::new();
    for number in [1, 2, 3, 4, 2] {
        etags.push(hand.send_well(number)?);
    }
    let all = [
        (3, &*etags[2]),
        (1, &etags[0]),
        (4, &etags[3]),
        (2, &etags[1]),
    ];
    for _ in 0..2 {
        let (code, text) = hand.complete(&all)?;
        ensure!(code == 200, "{text}");
    }
    ensure!(
        hand.batch(&["multipart"])?.get("actions").is_none(),
        "it is here"
    );
    assert_eq!(hand.staged()?, hand.bytes.len() as u64);
    publish(&hand)
}

/// Commits the file, and reads it back.
fn publish(hand: &ByHand) -> Result<()> {
    let header = json!({ "key": "header", "value": { "summary": "s" } });
    let (path, oid, size) = ("a.bin", &hand.oid, hand.bytes.len());
    let file = json!({ "path": path, "algo": "sha256", "oid": oid, "size": size });
    let file = json!({ "key": "lfsFile", "value": file });
    let url = format!(
        "http://{}/hf/api/models/acme/hand/commit/main",
        hand.node.http()
    );
    let (token, body) = (
        format!("Authorization: Bearer {TOKEN}"),
        format!("{header}\n{file}\n"),
    );
    let arguments = [
        "-H",
        &token,
        "-H",
        "Content-Type: application/x-ndjson",
        "--data-binary",
    ];
    let (code, text) = answer(&url, &[&arguments[..], &[&body]].concat())?;
    ensure!(code == 200, "{text}");
    let published = hand.node.volume("models").join("acme/hand/main/a.bin");
    ensure!(
        fs::read(published)? == hand.bytes,
        "other bytes were published"
    );
    assert_eq!(hand.staged()?, 0);
    Ok(())
}
