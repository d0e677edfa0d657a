//! `towline bench model` on files by writers that we did not write (`gguf`, `safetensors`): by
//! path, HTTP and NFS, one reader and several, cold and warm.
//!
//! Invariant: every way loads all tensors, no less and little more: rate times time is the file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use towline_tests::bench::{LIMIT, bench, figure, parsed};
use towline_tests::node::Node;
use towline_tests::process::must_run;
use towline_tests::python::Python;

/// What lies between tensors and around a header, in bytes: alignment, at most.
const PADDING_MAX: f64 = 4096.0;

/// Bytes that a way loaded, by its figures.
fn loaded(report: &Value, name: &str) -> Result<f64> {
    let rate = figure(report, &format!("{name}_rate"))?;
    Ok(rate / 8.0 * figure(report, name)?)
}

#[test]
fn models_of_both_formats_are_loaded_whole_in_every_way() -> Result<()> {
    let Some(python) = Python::installed("weights")? else {
        return Ok(());
    };
    let node = Node::start()?;
    let models = node.volume("models");
    let mut writer = python.script("write_weights.py", &models);
    writer.arg(".");
    let said = String::from_utf8(must_run(writer, LIMIT)?)?;
    let mut words = said.split_whitespace().map(str::parse::<f64>);
    let count = words.next().context("no count")??;
    let bytes = words.next().context("no bytes")??;
    for name in ["model.safetensors", "model.gguf"] {
        let path = models.join(name).to_string_lossy().into_owned();
        // Their writers give them to nobody else; the node's clients are others.
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        let file_bytes = fs::metadata(&path)?.len() as f64;
        let http = format!("http://{}/files/models/{name}", node.http());
        let port = node.nfs().port();
        let nfs = format!("nfs://127.0.0.1/models/{name}?port={port}&mountport={port}");
        for place in [&path, &http, &nfs] {
            let finished = bench(&["model", place, "--readers", "3", "--json"])?;
            let report = parsed(&finished)?;
            ensure!(finished.status.success(), "{place}: {}", finished.errors);
            ensure!(figure(&report, "tensors")? == count, "{place}");
            ensure!(figure(&report, "verified_bytes")? == file_bytes, "{place}");
            for (way, readers) in [
                ("model", 1.0),
                ("faults", 1.0),
                ("range_readers_3", 3.0),
                ("faults_readers_3", 3.0),
            ] {
                let moved = loaded(&report, way)? / readers;
                let fits = moved > bytes && moved <= file_bytes + 1.0;
                ensure!(fits, "{place} {way}: {moved} of {bytes}");
                ensure!(moved > file_bytes - count * PADDING_MAX, "{place} {way}");
            }
            // A path can be emptied from memory; a server's memory cannot.
            let is_cold = figure(&report, "range_cold").is_ok();
            ensure!(is_cold == (place == &path), "{place}: {report:#}");
        }
    }
    let damaged = models.join("damaged.gguf");
    fs::write(&damaged, b"GGUF\x03\0\0\0 and no more")?;
    let refused = bench(&["model", &damaged.to_string_lossy()])?;
    ensure!(refused.status.code() == Some(2), "{:?}", refused.status);
    ensure!(refused.errors.contains("damaged"), "{}", refused.errors);
    Ok(())
}
