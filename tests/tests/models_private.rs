//! Private models through every door: with the right token they are models like all others, without
//! it nothing tells that they are there.
//!
//! Invariant: a door that answers without a token answers the same for a private model and for one
//! that is not there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use towline_tests::cli::{answer, outcome, run_well, stranger};
use towline_tests::model::{self, Shelf};
use towline_tests::process::{command, must_run, run};
use towline_tests::python::Python;
use towline_tests::skip::unless_installed;

const LIMIT: Duration = Duration::from_secs(180);
const READER: &str = "reader-0123456789abcdef";
const WRITER: &str = "writer-0123456789abcdef";
const ELSEWHERE: &str = "elsewhere-0123456789abcdef";
const S3_SECRET: &str = "0123456789abcdef/0123456789+abcdef";

/// A node on which `acme/` is private and `open/one` is not.
fn shelf() -> Result<Shelf> {
    let token = |token: &str, prefix: &str, rights: &str| {
        format!(
            "[[models.tokens]]\ntoken = \"{token}\"\nprefix = \"{prefix}\"\nrights = \"{rights}\"\n"
        )
    };
    let key = |id: &str, more: &str| {
        format!("[[s3.keys]]\nid = \"{id}\"\nsecret = \"{S3_SECRET}\"\n{more}")
    };
    let text = [
        "[listen]\ns3_port = 0\n".to_owned(),
        token(READER, "acme/", "read"),
        token(WRITER, "acme/", "publish"),
        token(ELSEWHERE, "lab/secret", "read"),
        key("OPENKEY", ""),
        key("ACMEKEY", "prefixes = [\"acme/\"]\n"),
    ];
    let shelf = Shelf::with_configuration(&text.concat())?;
    let folder = shelf.source.join("sub dir");
    for name in ["open/one", "lab/open", "lab/secret-plan"] {
        model::push(&shelf.node, &folder, name)?;
    }
    Ok(shelf)
}

fn ask(shelf: &Shelf, path: &str, token: Option<&str>) -> Result<(u16, String)> {
    let url = format!("http://{}/{path}", shelf.node.http());
    let field = token.map(|token| format!("Authorization: Bearer {token}"));
    let mut arguments = vec!["-H", "Accept: application/json"];
    arguments.extend(field.iter().flat_map(|field| ["-H", field.as_str()]));
    answer(&url, &arguments)
}

#[test]
fn without_its_token_a_private_model_is_not_there() -> Result<()> {
    let shelf = shelf()?;
    let revision = &shelf.revision;
    let places = [
        "files/models/acme/".to_owned(),
        "files/models/acme".to_owned(),
        "files/models/acme/tiny-llama/main/config.json".to_owned(),
        format!("files/models/acme/tiny-llama/{revision}/config.json"),
        "files/hub/models--acme--tiny-llama/refs/main".to_owned(),
        format!("files/hub/models--acme--tiny-llama/snapshots/{revision}/config.json"),
        "hf/acme/tiny-llama/resolve/main/config.json".to_owned(),
        format!("hf/acme/tiny-llama/resolve/{revision}/config.json"),
        "hf/api/models/acme/tiny-llama".to_owned(),
        "hf/api/models/acme/tiny-llama/tree/main".to_owned(),
        "hf/api/models/acme/tiny-llama/refs".to_owned(),
    ];
    for path in &places {
        // Twice: what one client made hot must not be served to the next.
        for _ in 0..2 {
            for token in [
                None,
                Some(ELSEWHERE),
                Some("hf_somebodys_own_token_of_the_hub"),
            ] {
                let (code, text) = ask(&shelf, path, token)?;
                ensure!(code == 404, "{path} with {token:?}: {text}");
                let other = path.replace("tiny-llama", "not-there");
                let (_, nothing) = ask(&shelf, &other, token)?;
                assert_eq!(undated(&text), undated(&nothing), "{path}");
            }
            for token in [READER, WRITER] {
                let (code, text) = ask(&shelf, path, Some(token))?;
                let wanted = if path.ends_with("/acme") { 301 } else { 200 };
                ensure!(code == wanted, "{path}: {text}");
            }
        }
    }
    for list in [
        "files/models/",
        "files/models/lab/",
        "files/hub/",
        "hf/api/models",
    ] {
        let (_, shown) = ask(&shelf, list, None)?;
        ensure!(
            !shown.contains("acme") && !shown.contains("secret"),
            "{shown}"
        );
        ensure!(shown.contains("open"), "{shown}");
    }
    let (_, shown) = ask(&shelf, "hf/api/models", Some(READER))?;
    ensure!(
        shown.contains("acme/tiny-llama") && !shown.contains("secret"),
        "{shown}"
    );
    ensure!(shown.contains("\"private\":true") && shown.contains("\"private\":false"));
    let (_, shown) = ask(&shelf, "files/models/lab/", Some(ELSEWHERE))?;
    ensure!(
        shown.contains("secret-plan") && shown.contains("open"),
        "{shown}"
    );
    registry(&shelf)?;
    control(&shelf)
}

/// Without the fields that differ from second to second.
fn undated(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with("Date:"));
    lines.collect()
}

/// The registry asks for a token where one might help, for what is there and what is not alike.
fn registry(shelf: &Shelf) -> Result<()> {
    for name in ["acme/tiny-llama", "acme/nothing", "lab/secret-plan"] {
        let (code, text) = ask(shelf, &format!("v2/{name}/manifests/main"), None)?;
        ensure!(code == 401, "{text}");
        ensure!(text.contains("WWW-Authenticate: Basic realm="), "{text}");
    }
    let url = format!(
        "http://{}/v2/acme/tiny-llama/manifests/main",
        shelf.node.http()
    );
    let (code, text) = answer(&url, &["-u", &format!("anybody:{READER}")])?;
    // It is there, and has no GGUF file.
    ensure!(code == 404 && text.contains("MANIFEST_UNKNOWN"), "{text}");
    let (code, text) = ask(shelf, "v2/acme/nothing/manifests/main", Some(READER))?;
    ensure!(code == 404 && text.contains("NAME_UNKNOWN"), "{text}");
    Ok(())
}

/// What the command line of somebody else is told, and may do.
fn control(shelf: &Shelf) -> Result<()> {
    let node = &shelf.node;
    let ask = |token: &str, arguments: &[&str]| -> Result<Option<(i32, String)>> {
        let token = Some(token).filter(|token| !token.is_empty());
        stranger(node, token, arguments)?.map(outcome).transpose()
    };
    let Some((_, listed)) = ask("", &["models"])? else {
        return Ok(());
    };
    ensure!(
        !listed.contains("acme") && listed.contains("open/one"),
        "{listed}"
    );
    let wanted = [
        ("", "models show acme/tiny-llama", 65, "no model of that"),
        (READER, "models show acme/tiny-llama", 0, "(private)"),
        (READER, "models du", 0, "acme/tiny-llama"),
        ("", "models du", 0, "open/one"),
        (
            READER,
            "models tag acme/tiny-llama v2",
            65,
            "may not publish",
        ),
        (WRITER, "models tag acme/tiny-llama v2", 0, "done"),
        (WRITER, "models untag acme/tiny-llama:v2", 0, "done"),
        (WRITER, "models rm open/one:main", 65, "may not publish"),
        (WRITER, "gc", 65, "only root"),
        (
            "no-token-of-this-node",
            "models",
            65,
            "none of [[models.tokens]]",
        ),
    ];
    for (token, words, code, told) in wanted {
        let arguments: Vec<&str> = words.split(' ').collect();
        let (ended, text) = ask(token, &arguments)?.context("not root any more")?;
        let is_so = ended == code && text.contains(told);
        ensure!(is_so, "{words} ended with {ended}, not {code}: {text}");
        let leaks = token.is_empty() && words.ends_with("du") && text.contains("acme");
        ensure!(!leaks, "{text}");
    }
    ensure!(run_well(node, &["models"])?.contains("lab/secret-plan"));
    ensure!(!node.log().contains(READER) && !node.log().contains(WRITER));
    Ok(())
}

#[test]
fn hub_clients_read_private_models_with_their_token_alone() -> Result<()> {
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    let shelf = shelf()?;
    let home = shelf.node.scratch().join("home");
    fs::create_dir_all(&home)?;
    let hf = |token: Option<&str>, arguments: &[&str]| -> Command {
        let mut hf = python.program("hf", &home);
        hf.env("HF_ENDPOINT", shelf.endpoint()).args(arguments);
        if let Some(token) = token {
            hf.env("HF_TOKEN", token);
        }
        hf
    };
    let local = home.join("local");
    let to = local.display().to_string();
    let download = ["download", model::NAME, "--local-dir", &to];
    for token in [None, Some(ELSEWHERE)] {
        let finished = run(hf(token, &download), LIMIT)?;
        ensure!(!finished.status.success(), "{token:?} downloaded it");
        let told = finished.errors + &String::from_utf8_lossy(&finished.output);
        ensure!(
            told.contains("Repository") || told.contains("404"),
            "{told}"
        );
    }
    must_run(hf(Some(READER), &download), LIMIT)?;
    shelf.judge(&local)?;
    let who = String::from_utf8(must_run(hf(Some(READER), &["auth", "whoami"]), LIMIT)?)?;
    ensure!(who.contains("towline"), "{who}");
    // A token that reads does not publish; one that publishes reads what it has published.
    let folder = shelf.source.join("sub dir").display().to_string();
    let upload = ["upload", "acme/other", &folder, "."];
    let mut refused = hf(Some(READER), &upload);
    refused.env("HF_HUB_DISABLE_XET", "1");
    ensure!(!run(refused, LIMIT)?.status.success(), "a reader published");
    let mut taken = hf(Some(WRITER), &upload);
    taken.env("HF_HUB_DISABLE_XET", "1");
    must_run(taken, LIMIT)?;
    let other = home.join("other").display().to_string();
    let download = ["download", "acme/other", "--local-dir", &other];
    must_run(hf(Some(WRITER), &download), LIMIT)?;
    ensure!(Path::new(&other).join("a+b.txt").is_file());
    Ok(())
}

#[test]
fn a_key_of_s3_reads_the_private_models_that_it_names() -> Result<()> {
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    let shelf = shelf()?;
    let url = format!("http://{}/v1/status", shelf.node.http());
    let status = must_run(command("curl", &["-s", &url]), LIMIT)?;
    let status: Value = serde_json::from_slice(&status)?;
    let all = status["listeners"].as_array().context("no listeners")?;
    let s3 = all.iter().find(|listener| listener["protocol"] == "s3");
    let address = s3.context("no S3")?["address"]
        .as_str()
        .context("no address")?;
    let mut script = python.script("s3_private.py", &shelf.node.scratch());
    script.arg(format!("http://{address}")).arg(S3_SECRET);
    must_run(script, LIMIT)?;
    Ok(())
}

#[test]
fn nfs_shows_no_private_model() -> Result<()> {
    if !unless_installed("nfs-ls", "libnfs-utils")? {
        return Ok(());
    }
    let shelf = shelf()?;
    let port = shelf.node.nfs().port();
    let list = |path: &str| {
        let url = format!("nfs://127.0.0.1/{path}?version=3&nfsport={port}&mountport={port}");
        run(command("nfs-ls", &[&url]), LIMIT)
    };
    let shown = |path: &str| -> Result<String> {
        let listed = list(path)?;
        ensure!(listed.status.success(), "{path}: {}", listed.errors);
        Ok(String::from_utf8_lossy(&listed.output).into_owned())
    };
    let (root, lab, hub) = (shown("models")?, shown("models/lab")?, shown("hub")?);
    for (text, open) in [(&root, "open"), (&lab, "open"), (&hub, "models--open--one")] {
        ensure!(
            text.contains(open) && !text.contains("acme") && !text.contains("secret"),
            "{text}"
        );
    }
    for hidden in [
        "models/acme",
        "models/acme/tiny-llama/main",
        "models/lab/secret-plan",
    ] {
        ensure!(!list(hidden)?.status.success(), "{hidden} was mounted");
    }
    Ok(())
}
