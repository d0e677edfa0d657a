//! Read-only S3 as programs use it that we did not write: boto3, with keys and without, and a
//! streamer that loads tensors straight from objects.
//!
//! Invariant: every object is compared with the published folder byte for byte. Not promised: the
//! streamer where only `tests/run` without `--full` has installed things; it skips then.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use towline_tests::model::{self, Shelf};
use towline_tests::paths;
use towline_tests::process::{command, must_run};
use towline_tests::python::Python;
use towline_tests::skip::impossible;

const CLIENT_LIMIT: Duration = Duration::from_secs(180);
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
