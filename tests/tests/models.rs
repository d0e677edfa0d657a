//! Models on real nodes: published, pulled from node to node and from a plain web server, read
//! through every door, damaged and healed.
//!
//! The clients are the command line of this project, curl, python's web server and a user-space
//! NFS client; those of the hub have a file of their own, and so have nodes that are killed.
//! Invariant: what was acknowledged is there, whole, at every door.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use towline_tests::cli::{curl, json, metric, run, run_well, towline};
use towline_tests::content;
use towline_tests::model::{same, small as model};
use towline_tests::node::{Node, Settings};
use towline_tests::skip::impossible;
use towline_tests::slow::SlowWay;
use towline_tests::small_disk::SmallDisk;

#[test]
fn a_model_is_pushed_pulled_and_read_through_every_door() -> Result<()> {
    let (one, two) = (Node::start()?, Node::start()?);
    let folder = one.scratch().join("model");
    model(&folder, 7)?;
    let path = folder.display().to_string();
    let first = json(&one, &["push", &path, "acme/tiny:v1", "--message", "first"])?;
    ensure!(
        first["files"] == 3 && first["unchanged"] == false,
        "{first}"
    );
    let again = json(&one, &["push", &path, "acme/tiny:v1", "--message", "first"])?;
    ensure!(
        again["unchanged"] == true && again["bytes_written"] == 0,
        "{again}"
    );
    ensure!(again["revision"] == first["revision"]);

    let endpoint = format!("http://{}/hf", one.http());
    let pulled = json(
        &two,
        &["pull", "hf://acme/tiny@v1", "--endpoint", &endpoint],
    )?;
    ensure!(pulled["revision"] == first["revision"], "{pulled}");
    same(&folder, &two.volume("models").join("acme/tiny/v1"))?;
    let rev = first["revision"].as_str().context("a revision")?;
    let hub = two
        .volume("models")
        .join(".towline/hub/models--acme--tiny/snapshots")
        .join(rev);
    same(&folder, &hub)?;

    let fetched = metric(&two, "towline_models_fetched_bytes_total{source=\"hub\"}")?;
    ensure!(fetched == 9_000_012, "{fetched}");
    ensure!(metric(&two, "towline_models_stored_bytes ")? == 9_000_012);
    ensure!(metric(&one, "towline_models_linked_bytes_total ")? == 0);
    ensure!(metric(&one, "towline_models_published_bytes_total ")? == 9_000_012);

    // The same bytes over HTTP and NFS, and nothing of the store's inside.
    let whole = fs::read(folder.join("model.bin"))?;
    ensure!(curl(&two.url("models", "acme/tiny/v1/model.bin"))? == whole);
    ensure!(
        curl(&two.url(
            "hub",
            &format!("models--acme--tiny/snapshots/{rev}/model.bin")
        ))? == whole
    );
    let copy = two.scratch().join("over-nfs");
    let source = format!(
        "nfs://127.0.0.1/models/acme/tiny/v1/model.bin?nfsport={port}&mountport={port}",
        port = two.nfs().port()
    );
    let status = Command::new("nfs-cp")
        .arg(&source)
        .arg(&copy)
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success() && fs::read(&copy)? == whole, "over NFS");
    ensure!(
        curl(&two.url("models", ".towline/")).is_err(),
        "the inside must be hidden"
    );
    let listing = String::from_utf8(curl(&two.url("models", ""))?)?;
    ensure!(!listing.contains(".towline"), "{listing}");
    Ok(())
}

#[test]
fn tags_pins_and_names_are_kept_or_refused_with_a_reason() -> Result<()> {
    let mut node = Node::start()?;
    let folder = node.scratch().join("model");
    model(&folder, 8)?;
    let path = folder.display().to_string();
    run_well(&node, &["push", &path, "acme/tiny"])?;
    run_well(&node, &["models", "tag", "acme/tiny:main", "v2"])?;
    run_well(&node, &["models", "pin", "acme/tiny:v2"])?;
    node.kill();
    node.restart()?;
    let list = json(&node, &["models"])?;
    let revision = &list["models"][0]["revisions"][0];
    ensure!(
        revision["tags"] == serde_json::json!(["main", "v2"]),
        "{list}"
    );
    ensure!(revision["pinned"].is_u64(), "{list}");
    for (arguments, code, word) in [
        (&["models", "rm", "acme/tiny:v2"][..], 65, "pinned"),
        (&["models", "rm", "acme/tiny"], 64, "name what to remove"),
        (&["push", &path, "no name"], 64, "no name"),
        (&["push", &path, "../evil:x"], 64, "evil"),
        (&["push", "/nowhere/at/all", "a/b"], 64, "/nowhere/at/all"),
        (
            &["pull", "hf://a/b", "--endpoint", "http://127.0.0.1:9/hf"],
            75,
            "127.0.0.1:9",
        ),
        (&["pull", "ftp://x/y", "a/b"], 65, "sources are"),
        (&["models", "show", "acme/none"], 65, "no model"),
    ] {
        let (got, text) = run(&node, arguments)?;
        ensure!(
            got == code && text.contains(word),
            "{arguments:?}: {got} {text}"
        );
    }
    run_well(&node, &["models", "unpin", "acme/tiny:v2"])?;
    run_well(&node, &["models", "rm", "acme/tiny:v2"])?;
    ensure!(!node.volume("models").join("acme/tiny/main").exists());
    run_well(&node, &["gc", "--grace", "0"])?;
    run_well(&node, &["gc", "--grace", "0"])?;
    let usage = json(&node, &["models", "du"])?;
    ensure!(usage["stored"] == 0, "{usage}");
    Ok(())
}

#[test]
fn a_web_server_is_pulled_and_heals_what_is_damaged_later() -> Result<()> {
    let node = Node::start()?;
    let folder = node.scratch().join("model");
    model(&folder, 9)?;
    let mut server = Command::new("python3")
        .args([
            "-u",
            "-m",
            "http.server",
            "0",
            "--bind",
            "127.0.0.1",
            "--directory",
        ])
        .arg(&folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let outcome = (|| -> Result<()> {
        let mut said = std::io::BufReader::new(server.stdout.take().context("no output")?);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut said, &mut line)?;
        let port = line
            .split_whitespace()
            .nth(5)
            .context("no port")?
            .to_owned();
        run_well(
            &node,
            &["pull", &format!("http://127.0.0.1:{port}/"), "web/tiny:v1"],
        )?;
        same(&folder, &node.volume("models").join("web/tiny/v1"))?;

        let place = node.volume("models").join("web/tiny/v1/model.bin");
        let mut bytes = fs::read(&place)?;
        bytes[5_000_000] ^= 1;
        let file = fs::OpenOptions::new().write(true).open(&place)?;
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes[5_000_000..5_000_001], 5_000_000)?;
        drop(file);
        let report = json(&node, &["verify"])?;
        ensure!(report["damages"][0]["remedy"] == "healed", "{report}");
        same(&folder, &node.volume("models").join("web/tiny/v1"))?;
        ensure!(json(&node, &["verify"])?["damages"] == serde_json::json!([]));
        Ok(())
    })();
    server.kill()?;
    server.wait()?;
    outcome
}

#[test]
fn a_model_is_read_through_every_door_while_it_arrives() -> Result<()> {
    const BYTES: u64 = 64 << 20;
    let origin = Node::start()?;
    let big = origin.scratch().join("big");
    fs::create_dir_all(&big)?;
    content::write(&big.join("model.bin"), 4, BYTES)?;
    let pushed = json(&origin, &["push", &big.display().to_string(), "acme/big"])?;
    let rev = pushed["revision"].as_str().context("a revision")?;
    let slow = SlowWay::to(origin.http(), 8 << 20)?.address();
    let node = Node::start()?;
    let endpoint = format!("http://{slow}/hf");
    let start = Instant::now();
    let mut pull = towline(&node, &["pull", "hf://acme/big", "--endpoint", &endpoint])?
        .stdout(Stdio::null())
        .spawn()?;
    let outcome = (|| -> Result<()> {
        let place = node
            .volume("models")
            .join("acme/big")
            .join(rev)
            .join("model.bin");
        while !place.exists() {
            ensure!(start.elapsed() < Duration::from_secs(5), "nothing is shown");
            std::thread::sleep(Duration::from_millis(10));
        }
        // The last bytes come last, unless somebody waits for them.
        let url = node.url("models", &format!("acme/big/{rev}/model.bin"));
        let tail = Command::new("curl")
            .args(["-sS", "--fail", "--noproxy", "*", "-r", "-65536", &url])
            .output()?;
        content::judge(4, BYTES - 65_536, &tail.stdout)?;
        ensure!(tail.stdout.len() == 65_536);
        let took = start.elapsed();
        eprintln!("the last 64 KiB were read {took:?} after the pull began");
        ensure!(
            took < Duration::from_secs(5),
            "the tail came after {took:?}"
        );
        // Whole, through the hub's face and over NFS, from before the end of the pull.
        let hub = format!("http://{}/hf/acme/big/resolve/main/model.bin", node.http());
        let over_hub = std::thread::spawn(move || curl(&hub));
        let copy = node.scratch().join("over-nfs");
        let port = node.nfs().port();
        let source = format!(
            "nfs://127.0.0.1/models/acme/big/{rev}/model.bin?nfsport={port}&mountport={port}"
        );
        let copied = Command::new("nfs-cp")
            .arg(&source)
            .arg(&copy)
            .stdout(Stdio::null())
            .status()?;
        ensure!(copied.success(), "nfs-cp");
        content::judge(4, 0, &fs::read(&copy)?)?;
        let whole = over_hub.join().ok().context("curl panicked")??;
        ensure!(whole.len() as u64 == BYTES);
        content::judge(4, 0, &whole)
    })();
    let status = pull.wait()?;
    outcome?;
    ensure!(status.success(), "the pull ended with {status}");
    let took = start.elapsed();
    eprintln!("the pull took {took:?}");
    same(&big, &node.volume("models").join("acme/big/main"))
}

/// Fills a disk until it is full, and again whenever something is freed, until told to stop.
fn fill(place: &Path, stop: &AtomicBool) -> Result<()> {
    let mut file = fs::File::create(place)?;
    let mut piece = vec![1; 1 << 20];
    while !stop.load(Ordering::Relaxed) {
        if file.write_all(&piece).is_err() {
            piece.truncate(4_096);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

#[test]
fn a_full_disk_is_said_and_nothing_that_was_published_suffers() -> Result<()> {
    let place = tempfile::tempdir()?;
    let Some(disk) = SmallDisk::mount(place.path().join("small"), "96m")? else {
        return impossible("a small file system needs the right to mount one");
    };
    let root = disk.path().join("models");
    fs::create_dir(&root)?;
    let configuration = format!("[volumes.models]\npath = \"{}\"\n", root.display());
    let mut node = Node::start_with(Settings {
        configuration,
        ..Settings::default()
    })?;
    let kept = node.scratch().join("kept");
    model(&kept, 1)?;
    run_well(&node, &["push", &kept.display().to_string(), "acme/kept"])?;
    // More than there is: refused before the first byte, with what there is.
    let large = node.scratch().join("large");
    fs::create_dir_all(&large)?;
    content::write(&large.join("model.bin"), 2, 200 << 20)?;
    let (code, text) = run(&node, &["push", &large.display().to_string(), "acme/large"])?;
    ensure!(
        code == 65 && text.contains("are free below"),
        "{code}: {text}"
    );
    // The disk fills up while files come.
    let many = node.scratch().join("many");
    fs::create_dir_all(&many)?;
    for number in 0..300 {
        content::write(&many.join(format!("{number}.bin")), number, 100_000)?;
    }
    let (filling, stop) = (disk.path().join("filling"), AtomicBool::new(false));
    let (code, text) = std::thread::scope(|scope| {
        let filler = scope.spawn(|| fill(&filling, &stop));
        let outcome = run(&node, &["push", &many.display().to_string(), "acme/many"]);
        stop.store(true, Ordering::Relaxed);
        filler.join().ok().context("the filler panicked")??;
        outcome
    })?;
    ensure!(code != 0, "30 MB went onto a full disk: {text}");
    let said = text.contains("no space left") || text.contains("are free below");
    ensure!(said, "{code}: {text}");
    same(&kept, &root.join("acme/kept/main"))?;
    ensure!(!root.join("acme/many").exists());
    fs::remove_file(&filling)?;
    // There is room again: the same push works, on this node and after a restart.
    run_well(&node, &["push", &many.display().to_string(), "acme/many"])?;
    same(&many, &root.join("acme/many/main"))?;
    node.kill();
    node.restart()?;
    let report = json(&node, &["verify"])?;
    ensure!(report["damages"] == serde_json::json!([]), "{report}");
    same(&kept, &root.join("acme/kept/main"))?;
    node.kill();
    Ok(())
}

/// Three who want the same at once: one transfer, and it is there for all of them.
#[test]
fn three_pulls_of_one_model_at_once_are_one_transfer_and_three_successes() -> Result<()> {
    let (origin, node) = (Node::start()?, Node::start()?);
    let folder = origin.scratch().join("big");
    fs::create_dir_all(&folder)?;
    let bytes = 96 << 20;
    content::write(&folder.join("model.bin"), 9, bytes)?;
    run_well(
        &origin,
        &["push", &folder.display().to_string(), "acme/big"],
    )?;
    let endpoint = format!("http://{}/hf", origin.http());
    // Two of the same, and one that gives it another tag.
    let names = ["acme/big", "acme/big", "acme/big:v2"];
    let pulls = names.map(|name| {
        let words = ["pull", "hf://acme/big", name, "--endpoint", &endpoint];
        let mut command = towline(&node, &words)?;
        anyhow::Ok(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?,
        )
    });
    for pull in pulls {
        let output = pull?.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{}: {text}", output.status);
    }
    let fetched = metric(&node, "towline_models_fetched_bytes_total")?;
    ensure!(fetched < bytes + (1 << 20), "{fetched} bytes were fetched");
    for tag in ["main", "v2"] {
        same(&folder, &node.volume("models").join("acme/big").join(tag))?;
    }
    Ok(())
}
