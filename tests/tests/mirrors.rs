//! Folders as programs mirror them that we did not write: rclone, lftp, wget, fsspec; and what a
//! browser's rules ask of the node.
//!
//! Invariant: what arrives is compared with the folder, name by name. Not promised: Windows
//! clients.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use towline_tests::cli::answer;
use towline_tests::node::{Node, Settings};
use towline_tests::process::{command, must_run, run};
use towline_tests::python::Python;
use towline_tests::skip::unless_installed;

const CLIENT_LIMIT: Duration = Duration::from_secs(120);
/// Files in the long folder: more than fit on one page of any server that pages.
const FILES: usize = 2_500;
const TOKEN: &str = "a-token-for-this-test-only-1";

/// A node whose volume `projects` has a folder `long` with names that are hard on mirrors.
fn node(configuration: &str) -> Result<(Node, BTreeSet<String>)> {
    let node = Node::start_with(Settings {
        configuration: configuration.to_owned(),
        ..Settings::default()
    })?;
    let folder = node.volume("projects").join("long");
    fs::create_dir(&folder)?;
    let mut names: BTreeSet<String> = (0..FILES).map(|at| format!("f{at}")).collect();
    for odd in ["12:30.log", "a b", "100%", "#x", "q?s=1", "ü"] {
        names.insert(odd.to_owned());
    }
    for name in &names {
        fs::write(folder.join(name), name)?;
    }
    fs::create_dir(folder.join("sub"))?;
    fs::write(folder.join("sub/inner"), "inner")?;
    Ok((node, names))
}

fn names_in(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() {
            ensure!(
                fs::read_to_string(entry.path())? == name,
                "{name} holds something else"
            );
            names.insert(name);
        }
    }
    Ok(names)
}

#[test]
fn rclone_and_lftp_mirror_a_long_folder_whole() -> Result<()> {
    if !unless_installed("rclone", "rclone")? || !unless_installed("lftp", "lftp")? {
        return Ok(());
    }
    let (node, names) = node("")?;
    let url = node.url("projects", "long/");
    let by_rclone = node.scratch().join("rclone");
    let mut rclone = command("rclone", &["copy", "--quiet", "--http-url", &url, ":http:"]);
    rclone.arg(&by_rclone).env("HOME", node.scratch());
    must_run(rclone, CLIENT_LIMIT)?;
    let missing: Vec<_> = names.difference(&names_in(&by_rclone)?).cloned().collect();
    ensure!(missing.is_empty(), "rclone lacks {missing:?}");
    ensure!(
        by_rclone.join("sub/inner").is_file(),
        "rclone lacks a folder"
    );
    let by_lftp = node.scratch().join("lftp");
    let script = format!(
        "set net:max-retries 2; mirror . {}; quit",
        by_lftp.display()
    );
    let mut lftp = command("lftp", &["-e", &script, &url]);
    lftp.env("HOME", node.scratch());
    must_run(lftp, CLIENT_LIMIT)?;
    let missing: Vec<_> = names.difference(&names_in(&by_lftp)?).cloned().collect();
    ensure!(missing.is_empty(), "lftp lacks {missing:?}");
    Ok(())
}

#[test]
fn fsspec_stays_in_the_folder_that_it_searches() -> Result<()> {
    let Some(python) = Python::installed("web")? else {
        return Ok(());
    };
    let (node, names) = node("")?;
    let mut find = python.script("web_find.py", &node.scratch());
    find.arg(node.url("projects", "long/"));
    let found = String::from_utf8(must_run(find, CLIENT_LIMIT)?)?;
    ensure!(found.trim() == (names.len() + 1).to_string(), "{found}");
    Ok(())
}

#[test]
fn clients_that_know_basic_only_log_in() -> Result<()> {
    if !unless_installed("wget", "wget")? || !unless_installed("lftp", "lftp")? {
        return Ok(());
    }
    let volume = format!("[volumes.projects]\nkind = \"project\"\ntokens = [\"{TOKEN}\"]\n");
    let (node, _) = node(&volume)?;
    let url = node.url("projects", "long/f7");
    let login = format!("any:{TOKEN}");
    let mut wget = command("wget", &["--quiet", "--output-document=-", "--user=any"]);
    wget.arg(format!("--password={TOKEN}")).arg(&url);
    ensure!(must_run(wget, CLIENT_LIMIT)? == b"f7");
    for way in [["--user", &login], ["--anyauth", "--user"]] {
        let mut curl = command("curl", &["--silent", "--fail"]);
        curl.args(way);
        if way[0] == "--anyauth" {
            curl.arg(&login);
        }
        curl.arg(&url);
        ensure!(must_run(curl, CLIENT_LIMIT)? == b"f7", "{way:?}");
    }
    let place = url.replacen("http://", &format!("http://any:{TOKEN}@"), 1);
    let script = format!("set net:max-retries 1; cat {place}; quit");
    let mut lftp = command("lftp", &["-e", &script]);
    lftp.env("HOME", node.scratch());
    ensure!(must_run(lftp, CLIENT_LIMIT)? == b"f7");
    let wrong = run(command("curl", &["--fail", "--silent", &url]), CLIENT_LIMIT)?;
    ensure!(!wrong.status.success(), "it was given without a token");
    Ok(())
}

#[test]
fn no_page_of_another_site_uses_the_node_and_one_that_was_named_does() -> Result<()> {
    let rules = "[listen]\nnames = [\"files.lab\"]\norigins = [\"https://app.example\"]\n";
    let (node, _) = node(rules)?;
    let url = node.url("projects", "long/f1");
    let with = |arguments: &[&str]| answer(&url, arguments);
    for (field, status) in [
        ("Host: evil.example", 421),
        ("Host: files.lab:8420", 200),
        ("Host: localhost", 200),
        ("Origin: https://evil.example", 403),
        ("Origin: null", 403),
        ("Origin: https://app.example", 200),
    ] {
        let (code, said) = with(&["--header", field])?;
        ensure!(code == status, "{field}: {code} {said}");
    }
    for method in ["PUT", "DELETE"] {
        let (code, _) = with(&[
            "--request",
            method,
            "--header",
            "Origin: http://evil.example",
        ])?;
        ensure!(code == 403, "{method}: {code}");
    }
    ensure!(node.volume("projects").join("long/f1").is_file());
    let (code, head) = with(&[
        "--include",
        "--request",
        "OPTIONS",
        "--header",
        "Origin: https://app.example",
        "--header",
        "Access-Control-Request-Method: PUT",
    ])?;
    let allows = head.contains("Access-Control-Allow-Origin: https://app.example");
    ensure!(code == 204 && allows && head.contains("PUT"), "{head}");
    // The control plane behind the same door.
    let status = format!("http://{}/v1/status", node.http());
    ensure!(answer(&status, &["--header", "Host: evil.example"])?.0 == 421);
    ensure!(answer(&status, &["--header", "Origin: https://evil.example"])?.0 == 403);
    Ok(())
}
