//! Publishing with the hub's own clients: `hf upload` of today and of 0.36, then a download.
//!
//! Invariant: what was uploaded comes back byte for byte, the same again changes nothing, and
//! nobody without the right token changes anything. Not promised: uploads by Xet, which clients
//! use unless HF_HUB_DISABLE_XET is set.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use towline_tests::model::Shelf;
use towline_tests::process::{command, must_run, run};
use towline_tests::python::Python;

const CLIENT_LIMIT: Duration = Duration::from_secs(180);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "ffffffffffffffffffffffffffffffff";
const NAME: &str = "acme/uploaded";

fn client(shelf: &Shelf, mut client: Command) -> Command {
    client
        .env("HF_ENDPOINT", shelf.endpoint())
        .env("HF_TOKEN", TOKEN);
    client.env("HF_HUB_DISABLE_XET", "1");
    client
}

fn uploads(environment: &str) -> Result<()> {
    let Some(python) = Python::installed(environment)? else {
        return Ok(());
    };
    let text = format!("[[models.tokens]]\ntoken = \"{TOKEN}\"\nprefix = \"acme/\"\n");
    let shelf = Shelf::with_configuration(&text)?;
    // Not the weights that the node has already: those would not be sent.
    let mut weights = fs::read(shelf.source.join("model.safetensors"))?;
    *weights.last_mut().context("no weights")? ^= 1;
    fs::write(shelf.source.join("model.safetensors"), weights)?;
    let home = shelf.node.scratch().join("home");
    fs::create_dir_all(&home)?;
    let source = shelf.source.display().to_string();
    let upload = || {
        let mut hf = client(&shelf, python.program("hf", &home));
        hf.args(["upload", NAME, &source, "."]);
        hf
    };
    must_run(upload(), CLIENT_LIMIT)?;
    let first = revision(&shelf, NAME)?;
    must_run(upload(), CLIENT_LIMIT)?;
    assert_eq!(
        revision(&shelf, NAME)?,
        first,
        "the same again is no new revision"
    );
    let local = home.join("local");
    let mut hf = client(&shelf, python.program("hf", &home));
    hf.args(["download", NAME, "--local-dir"]).arg(&local);
    must_run(hf, CLIENT_LIMIT)?;
    shelf.judge(&local)?;
    let published = shelf.node.volume("models").join(NAME).join("main");
    shelf.judge(&published)?;
    let mut script = client(&shelf, python.script("hub_upload.py", &home));
    script.args([NAME, OTHER]);
    must_run(script, CLIENT_LIMIT)?;
    refused(&shelf, &python, &home)?;
    let url = format!("http://{}/metrics", shelf.node.http());
    let page = String::from_utf8(must_run(command("curl", &["-s", &url]), CLIENT_LIMIT)?)?;
    let count = |name: &str| {
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or(0_u64)
    };
    // The weights, once; then a change, and a file on a branch.
    let weights = fs::metadata(shelf.source.join("model.safetensors"))?.len();
    assert_eq!(
        count("towline_models_uploaded_bytes_total "),
        weights,
        "{page}"
    );
    ensure!(count("towline_models_commits_total ") >= 3, "{page}");
    ensure!(
        count("towline_models_uploads_refused_total ") >= 4,
        "{page}"
    );
    Ok(())
}

/// Whoever has no right token is told, and nothing is there afterwards.
fn refused(shelf: &Shelf, python: &Python, home: &Path) -> Result<()> {
    let folder = shelf.source.join("sub dir").display().to_string();
    for (token, name) in [(OTHER, "acme/nothing"), (TOKEN, "foreign/nothing")] {
        let mut hf = client(shelf, python.program("hf", home));
        hf.env("HF_TOKEN", token)
            .args(["upload", name, &folder, "."]);
        let finished = run(hf, CLIENT_LIMIT)?;
        ensure!(!finished.status.success(), "{name} was taken");
        assert!(!shelf.node.volume("models").join(name).exists());
    }
    Ok(())
}

/// What `main` is now, as the hub's view says.
fn revision(shelf: &Shelf, name: &str) -> Result<String> {
    let folder = format!("models--{}", name.replace('/', "--"));
    let view = shelf
        .node
        .volume("models")
        .join(".towline/hub")
        .join(folder);
    Ok(fs::read_to_string(view.join("refs/main"))?)
}

#[test]
fn hf_upload_publishes() -> Result<()> {
    uploads("hub")
}

#[test]
fn the_old_hf_upload_publishes() -> Result<()> {
    uploads("hub-0.36")
}
