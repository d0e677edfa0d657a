//! Signatures on real nodes: who signs, what is refused without, and that nothing is served whose
//! signature is missing or does not hold.
//!
//! Invariant: what was refused is seen to be refused by every door: the command line, the hub, S3's
//! and the files' HTTP, and the folders that NFS shows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use towline_tests::cli::{answer, json, run, run_refused, run_well};
use towline_tests::node::{Node, Settings};

/// A node with this configuration, and a folder to publish.
fn node(configuration: &str) -> Result<(Node, String)> {
    let node = Node::start_with(Settings {
        configuration: configuration.to_owned(),
        ..Settings::default()
    })?;
    let folder = node.scratch().join("folder");
    fs::create_dir_all(folder.join("sub"))?;
    fs::write(folder.join("config.json"), "{\"a\":1}\n")?;
    fs::write(folder.join("sub/a.txt"), "hi\n")?;
    Ok((node, folder.display().to_string()))
}

/// Makes a key with a node's command line: its file, and the line that trusts it.
fn key(node: &Node, at: &Path, name: &str) -> Result<(String, String)> {
    let path = at.join(format!("{name}.key")).display().to_string();
    let made = json(node, &["models", "keygen", &path, "--name", name])?;
    let line = made["trusted_key"].as_str().context("no key")?.to_owned();
    run_refused(node, &["models", "keygen", &path], (64, "is there already"))?;
    Ok((path, line))
}

fn strict(keys: &str) -> String {
    format!("[models]\nrequire_signature = true\n{keys}\n")
}

/// What the doors of HTTP say of a file of `acme/x:main`.
fn doors(node: &Node) -> Result<[u16; 2]> {
    let base = format!("http://{}", node.http());
    let hub = answer(&format!("{base}/hf/acme/x/resolve/main/config.json"), &[])?;
    let files = answer(&node.url("models", "acme/x/main/config.json"), &[])?;
    for (code, text) in [&hub, &files] {
        let told = text.contains("not signed by a key that the node trusts");
        ensure!(told == (*code == 403), "{text}");
    }
    Ok([hub.0, files.0])
}

#[test]
fn what_no_trusted_key_has_signed_is_neither_taken_nor_served() -> Result<()> {
    let keys = tempfile::tempdir()?;
    let (bootstrap, _) = node("")?;
    let (alice, line) = key(&bootstrap, keys.path(), "alice")?;
    let (mallory, _) = key(&bootstrap, keys.path(), "mallory")?;
    drop(bootstrap);
    let (mut node, folder) = node(&strict(&format!("trusted_keys = [\"{line}\"]")))?;
    let push = ["push", folder.as_str(), "acme/x"];
    run_refused(&node, &push, (65, "--sign-key"))?;
    let stranger = [&push[..], &["--sign-key", &mallory]].concat();
    run_refused(&node, &stranger, (65, "not among models.trusted_keys"))?;
    ensure!(!node.volume("models").join("acme").exists());
    let signed = [&push[..], &["--sign-key", &alice]].concat();
    let first = json(&node, &signed)?;
    ensure!(json(&node, &signed)?["unchanged"] == true);
    let shown = json(&node, &["models", "show", "acme/x"])?;
    let by = &shown["revisions"][0]["signed_by"];
    ensure!(
        by[0]["name"] == "alice" && by[0]["trusted"] == true,
        "{shown}"
    );
    ensure!(run_well(&node, &["models", "show", "acme/x"])?.contains("alice (trusted)"));
    assert_eq!(doors(&node)?, [200, 200]);
    node.drain()?;
    flip(&node)?;
    node.restart()?;
    assert_eq!(doors(&node)?, [403, 403]);
    ensure!(!node.volume("models").join("acme/x/main").exists());
    let (code, text) = run(&node, &["verify"])?;
    ensure!(
        code == 1 && text.contains("is not for this content"),
        "{text}"
    );
    ensure!(text.contains("nobody"), "{text}");
    ensure!(run_well(&node, &["models"])?.contains("not served"));
    let tag = ["models", "tag", "acme/x", "v2"];
    run_refused(
        &node,
        &tag,
        (65, "not signed by a key that this node trusts"),
    )?;
    let wrong = ["models", "sign", "acme/x", "--sign-key", &mallory];
    run_well(&node, &wrong)?;
    assert_eq!(doors(&node)?, [403, 403]);
    run_well(&node, &["models", "sign", "acme/x", "--sign-key", &alice])?;
    assert_eq!(doors(&node)?, [200, 200]);
    let again = json(&node, &["models", "show", "acme/x"])?;
    ensure!(again["revisions"][0]["revision"] == first["revision"]);
    run_well(&node, &["verify"])?;
    Ok(())
}

/// Changes one bit of the only signature.
fn flip(node: &Node) -> Result<()> {
    let folder = node.volume("models").join(".towline/manifests");
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let entries: Vec<PathBuf> = entries.collect::<Result<_>>()?;
    let mut entries = entries.iter();
    let path = entries.find(|path| path.extension().is_some_and(|end| end == "sig"));
    let path = path.context("no signature")?;
    let mut bytes = fs::read(path)?;
    *bytes.last_mut().context("empty")? ^= 1;
    fs::write(path, bytes)?;
    Ok(())
}

#[test]
fn what_was_there_before_is_served_when_the_node_has_signed_it() -> Result<()> {
    let (mut node, folder) = node("")?;
    run_well(&node, &["push", &folder, "acme/x"])?;
    ensure!(run_well(&node, &["models", "show", "acme/x"])?.contains("nobody"));
    assert_eq!(doors(&node)?, [200, 200]);
    let (own, _) = key(&node, &node.scratch(), "own")?;
    let (_, line) = key(&node, &node.scratch(), "other")?;
    node.reconfigure(&strict(&format!("trusted_keys = [\"{line}\"]")))?;
    assert_eq!(doors(&node)?, [403, 403]);
    let status = json(&node, &["status"])?;
    ensure!(
        status
            .to_string()
            .contains("1 revisions of models are not served"),
        "{status}"
    );
    let sign = ["models", "sign", "acme/x"];
    run_refused(&node, &sign, (65, "models.signing_key"))?;
    run_refused(
        &node,
        &["pull", &folder, "acme/y"],
        (65, "models.signing_key"),
    )?;
    let keys = format!("trusted_keys = [\"{line}\"]\nsigning_key = \"{own}\"");
    node.reconfigure(&strict(&keys))?;
    assert_eq!(doors(&node)?, [403, 403]);
    run_well(&node, &sign)?;
    assert_eq!(doors(&node)?, [200, 200]);
    run_well(&node, &["pull", &folder, "acme/y"])?;
    let endpoint = format!("http://{}/hf", node.http());
    run_well(
        &node,
        &["pull", "hf://acme/x", "acme/z", "--endpoint", &endpoint],
    )?;
    for name in ["acme/x", "acme/y", "acme/z"] {
        let shown = run_well(&node, &["models", "show", name])?;
        ensure!(shown.contains("this node (trusted)"), "{shown}");
    }
    run_well(&node, &["verify"])?;
    let open = Path::new(&own);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(open, mode)?;
    ensure!(
        node.reconfigure(&strict(&keys)).is_err(),
        "others may read the key"
    );
    ensure!(node.log().contains("others may read"), "{}", node.log());
    Ok(())
}
