//! Publishing from another machine: whoever is not the node's owner sends a folder with a token.
//!
//! Invariant: what was sent comes back byte for byte, nothing is sent twice that the node has or
//! that broke off on its way, and no hash opens a file that its sender may not read. The other
//! machine is another user of this one, whom the node does not take for its owner.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use towline_tests::cli::{answer, json, metric, outcome, run_refused, run_well, stranger};
use towline_tests::content;
use towline_tests::node::{Node, Settings};

const ACME: &str = "acme-publishes-0123456789";
const LAB: &str = "lab-publishes-0123456789";
const READER: &str = "acme-reads-0123456789";
const SENT: &str = "towline_models_uploaded_bytes_total";
const WEIGHTS_BYTES: u64 = 40_000_001;

fn node() -> Result<Node> {
    let token = |token: &str, prefix: &str, rights: &str| {
        format!(
            "[[models.tokens]]\ntoken = \"{token}\"\nprefix = \"{prefix}\"\nrights = \"{rights}\"\n"
        )
    };
    let text = [
        token(ACME, "acme/", "publish"),
        token(LAB, "lab/", "publish"),
        token(READER, "acme/", "read"),
    ];
    Node::start_with(Settings {
        configuration: text.concat(),
        ..Settings::default()
    })
}

/// A folder that the node is not told of.
fn folder(at: &Path) -> Result<String> {
    let folder = at.join("folder");
    fs::create_dir_all(folder.join("sub dir"))?;
    fs::write(folder.join("config.json"), "{\"a\":1}\n")?;
    fs::write(folder.join("sub dir/a+b.txt"), "hi\n")?;
    fs::write(folder.join("sub dir/again.txt"), "hi\n")?;
    fs::write(folder.join("empty"), "")?;
    content::write(&folder.join("weights.bin"), 5, WEIGHTS_BYTES)?;
    Ok(folder.display().to_string())
}

fn bytes_of(folder: &str) -> Result<u64> {
    let names = ["config.json", "sub dir/a+b.txt", "weights.bin"];
    let sizes = names.map(|name| fs::metadata(Path::new(folder).join(name)));
    sizes
        .into_iter()
        .try_fold(0, |sum, data| Ok(sum + data?.len()))
}

#[test]
fn a_folder_is_sent_once_and_published_with_a_token() -> Result<()> {
    let node = node()?;
    let folder = folder(&node.scratch())?;
    let push = |token: Option<&str>, name: &str| -> Result<Option<(i32, String)>> {
        let arguments = ["push", "--upload", "--json", &folder, name];
        stranger(&node, token, &arguments)?.map(outcome).transpose()
    };
    let Some((code, text)) = push(None, "acme/sent")? else {
        return Ok(());
    };
    ensure!(code == 65 && text.contains("TOWLINE_TOKEN"), "{text}");
    for (token, name) in [
        (READER, "acme/sent"),
        (LAB, "acme/sent"),
        (ACME, "lab/sent"),
    ] {
        let (code, text) = push(Some(token), name)?.context("not root")?;
        ensure!(code == 65 && text.contains("may not publish"), "{text}");
    }
    assert_eq!(metric(&node, SENT)?, 0, "nothing was sent in vain");
    let first = published(push(Some(ACME), "acme/sent:v1")?)?;
    let (sent, all) = (metric(&node, SENT)?, bytes_of(&folder)?);
    assert_eq!(sent, all, "each file once");
    let at = node.volume("models").join("acme/sent/v1");
    let diff = Command::new("diff")
        .arg("-r")
        .arg(&at)
        .arg(&folder)
        .status()?;
    ensure!(diff.success(), "what was published differs");
    ensure!(published(push(Some(ACME), "acme/sent:v1")?)?["unchanged"] == true);
    fs::write(Path::new(&folder).join("config.json"), "{\"a\":2}\n")?;
    fs::remove_file(Path::new(&folder).join("empty"))?;
    let second = published(push(Some(ACME), "acme/sent:v1")?)?;
    ensure!(second["revision"] != first["revision"]);
    assert_eq!(metric(&node, SENT)?, all + 8, "the one new file alone");
    ensure!(
        !at.join("empty").exists(),
        "the folder is the whole revision"
    );
    assert_eq!(fs::read_to_string(at.join("config.json"))?, "{\"a\":2}\n");
    run_well(&node, &["verify"])?;
    let staged = node.scratch().join("data/.towline/uploads");
    for holder in fs::read_dir(staged)? {
        assert_eq!(
            fs::read_dir(holder?.path())?.count(),
            0,
            "nothing is left behind"
        );
    }
    ensure!(!node.log().contains(ACME), "a token was logged");
    // A publisher's own key, and a node that cannot read the folder itself.
    let key = node.scratch().join("key").display().to_string();
    json(&node, &["models", "keygen", &key])?;
    run_well(
        &node,
        &[
            "push",
            "--upload",
            "--sign-key",
            &key,
            &folder,
            "acme/signed",
        ],
    )?;
    let shown = run_well(&node, &["models", "show", "acme/signed"])?;
    ensure!(shown.contains("(not trusted)"), "{shown}");
    Ok(())
}

fn published(ended: Option<(i32, String)>) -> Result<Value> {
    let (code, text) = ended.context("not root")?;
    ensure!(code == 0, "push ended with {code}: {text}");
    Ok(serde_json::from_str(&text)?)
}

/// Asks the node with a token, as any program may.
fn ask(node: &Node, token: &str, verb: &str, body: &Value) -> Result<Value> {
    let url = format!("http://{}/v1/models/{verb}", node.http());
    let field = format!("Authorization: Bearer {token}");
    // As the owner, curl would be asked for no token.
    let mut curl = Command::new("setpriv");
    curl.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "curl",
        "-sS",
    ]);
    curl.args([
        "--noproxy",
        "*",
        "-H",
        &field,
        "-d",
        &body.to_string(),
        &url,
    ]);
    let (code, text) = outcome(curl)?;
    ensure!(code == 0, "{text}");
    serde_json::from_str(&text).with_context(|| text.clone())
}

#[test]
fn an_upload_that_broke_off_goes_on_where_it_stood() -> Result<()> {
    let node = node()?;
    let folder = folder(&node.scratch())?;
    let arguments = ["push", "--upload", "--json", &folder, "acme/sent"];
    let Some(push) = stranger(&node, Some(ACME), &arguments)? else {
        return Ok(());
    };
    let weights = fs::read(Path::new(&folder).join("weights.bin"))?;
    let sha256 = hash(&weights);
    let having = json!({
        "name": "acme/sent", "files": [{ "sha256": sha256, "size": WEIGHTS_BYTES }],
    });
    let missing = ask(&node, ACME, "missing", &having)?;
    let place = missing["files"][0]["place"].as_str().context("no place")?;
    let half = weights.len() / 2;
    cut_off(&node, place, weights.get(..half).context("short")?)?;
    let held = || -> Result<u64> {
        let missing = ask(&node, ACME, "missing", &having)?;
        missing["files"][0]["held"].as_u64().context("no count")
    };
    // The node notices the end of the connection a moment later.
    let mut came = held()?;
    for _ in 0..100 {
        if came == half as u64 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        came = held()?;
    }
    assert_eq!(came, half as u64);
    let other = ask(
        &node,
        LAB,
        "missing",
        &json!({
            "name": "lab/x", "files": [{ "sha256": sha256, "size": WEIGHTS_BYTES }],
        }),
    )?;
    ensure!(
        other["files"][0]["held"] == 0,
        "another's upload shows: {other}"
    );
    published(Some(outcome(push)?))?;
    let all = bytes_of(&folder)?;
    assert_eq!(metric(&node, SENT)?, all - half as u64, "the rest was sent");
    let got = fs::read(node.volume("models").join("acme/sent/main/weights.bin"))?;
    ensure!(got == weights, "the two halves do not fit");
    Ok(())
}

/// Begins a PUT of the weights and drops the connection behind these bytes.
fn cut_off(node: &Node, place: &str, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(node.http())?;
    write!(
        stream,
        "PUT {place} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {WEIGHTS_BYTES}\r\n\r\n"
    )?;
    stream.write_all(bytes)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut rest = Vec::new();
    let _refused = stream.read_to_end(&mut rest);
    Ok(())
}

fn hash(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Knowing the hash of a private file is no way to its bytes.
#[test]
fn a_hash_is_no_key_to_a_private_file() -> Result<()> {
    let node = node()?;
    let folder = folder(&node.scratch())?;
    run_well(&node, &["push", &folder, "acme/private"])?;
    if stranger(&node, None, &[])?.is_none() {
        return Ok(());
    }
    let sha256 = hash(&fs::read(Path::new(&folder).join("weights.bin"))?);
    let file = json!({ "sha256": sha256, "size": WEIGHTS_BYTES });
    let having = |name: &str| json!({ "name": name, "files": [file] });
    let missing = ask(&node, LAB, "missing", &having("lab/stolen"))?;
    ensure!(
        missing["files"].as_array().map(Vec::len) == Some(1),
        "{missing}"
    );
    let known = ask(&node, ACME, "missing", &having("acme/own"))?;
    ensure!(
        known["files"].as_array().map(Vec::len) == Some(0),
        "{known}"
    );
    let publish = json!({
        "name": "lab/stolen", "tag": "main", "message": "",
        "files": [{ "path": "weights.bin", "sha256": sha256 }],
    });
    let refused = ask(&node, LAB, "publish", &publish)?;
    let why = refused["error"].as_str().unwrap_or("");
    ensure!(why.contains("was not uploaded"), "{refused}");
    ensure!(!node.volume("models").join("lab").exists());
    let traversing = json!({
        "name": "acme/own", "tag": "main", "message": "",
        "files": [{ "path": "../../weights.bin", "sha256": sha256 }],
    });
    let refused = ask(&node, ACME, "publish", &traversing)?;
    ensure!(refused["error"].is_string(), "{refused}");
    let url = format!(
        "http://{}/hf/lfs/x/{sha256}/1/9999999999/{}",
        node.http(),
        "0".repeat(32)
    );
    let (code, text) = answer(&url, &["-T", &format!("{folder}/config.json")])?;
    ensure!(code == 403, "{text}");
    run_refused(
        &node,
        &["push", "--upload", &folder, "no name"],
        (64, "not a model name"),
    )?;
    Ok(())
}
