//! What a user's Linux machine sees: the kernel's NFS client, in a guest, against one node.
//!
//! Every test boots a guest of its own with a job from `tests/guest/jobs`. Invariant: nothing in
//! here knows towline; the same jobs pass against any correct NFSv3 server with these exports.
//! Not promised: speed, which an emulated processor cannot show.
#![allow(
    clippy::print_stdout,
    reason = "a test tells how to replay it and what it saw"
)]

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use towline_tests::guest::{Guest, Job, run};
use towline_tests::model::{Shelf, files};
use towline_tests::node::Node;
use towline_tests::process::{command, must_run};
use towline_tests::skip::{impossible, unless_installed};

/// Longest time for one job. The longest (20,000 operations of fsx) takes a third of it.
const JOB_LIMIT: Duration = Duration::from_secs(300);
/// Length of the large file in bytes: many READs of 1 MiB, and more than a client reads ahead.
const LARGE_BYTES: usize = 96 << 20;

fn job(node: &Node, name: &str, settings: &str) -> Result<Job> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest");
    let prelude = fs::read_to_string(directory.join("prelude.sh"))?;
    let script = fs::read_to_string(directory.join("jobs").join(name)).context("job")?;
    let port = node.nfs().port();
    Ok(Job::new(
        &format!("PORT={port}\n{settings}\n{prelude}\n{script}"),
        JOB_LIMIT,
    ))
}

fn pass(node: &mut Node, name: &str, settings: &str) -> Result<()> {
    if !unless_installed("qemu-system-x86_64", "qemu-system-x86 seabios")? {
        return Ok(());
    }
    let result = run(&job(node, name, settings)?)?;
    println!("{}\n{name}: {:?}", result.output, result.elapsed);
    node.must_run()?;
    ensure!(
        result.exit_code == 0,
        "{name} failed:\n{}\n{}",
        result.output,
        node.log()
    );
    Ok(())
}

fn write_large(node: &Node) -> Result<()> {
    let mut file = File::create(node.volume("models").join("large.bin"))?;
    let mut line = 0_u64;
    let mut block = Vec::with_capacity(1 << 20);
    for _mebibyte in 0..LARGE_BYTES >> 20 {
        block.clear();
        while block.len() < 1 << 20 {
            block.extend_from_slice(&line.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
            line += 1;
        }
        file.write_all(&block)?;
    }
    Ok(())
}

fn node_with_hello() -> Result<Node> {
    let node = Node::start()?;
    fs::write(
        node.volume("models").join("hello.txt"),
        "hello from the host\n",
    )?;
    Ok(node)
}

#[test]
fn a_published_model_is_read_through_both_volumes() -> Result<()> {
    let mut shelf = Shelf::new()?;
    let mut sums = command("sha256sum", &[]);
    sums.current_dir(&shelf.source);
    sums.args(files(&shelf.source)?.keys());
    let sums = String::from_utf8(must_run(sums, Duration::from_secs(60))?)?;
    let settings = format!("REVISION={}\nSUMS='{}'", shelf.revision, sums.trim_end());
    pass(&mut shelf.node, "models.sh", &settings)
}

#[test]
fn names_links_and_open_files_behave() -> Result<()> {
    pass(&mut node_with_hello()?, "names.sh", "")
}

#[test]
fn the_callers_rights_decide() -> Result<()> {
    // Without root there is one uid only: that of the node.
    if !rustix::process::geteuid().is_root() {
        return impossible("acting as other users needs root");
    }
    let mut node = node_with_hello()?;
    let projects = node.volume("projects");
    fs::write(projects.join("root-only"), "secret\n")?;
    fs::set_permissions(projects.join("root-only"), Permissions::from_mode(0o600))?;
    fs::write(projects.join("team-only"), "for the team\n")?;
    chown(projects.join("team-only"), Some(0), Some(2000))?;
    fs::set_permissions(projects.join("team-only"), Permissions::from_mode(0o640))?;
    for (name, mode) in [
        ("team-writes", 0o664),
        ("sgid-plain", 0o2664),
        ("sgid-program", 0o2775),
    ] {
        fs::write(projects.join(name), "for the team\n")?;
        chown(projects.join(name), Some(0), Some(2000))?;
        fs::set_permissions(projects.join(name), Permissions::from_mode(mode))?;
    }
    pass(&mut node, "rights.sh", "")?;
    let by_root = fs::metadata(projects.join("by-root"))?;
    assert_eq!(
        (by_root.uid(), by_root.gid()),
        (65534, 65534),
        "squashed on the host too"
    );
    assert_eq!(fs::metadata(projects.join("by-alice"))?.uid(), 1000);
    Ok(())
}

#[test]
fn a_clone_of_thousands_of_files_is_whole() -> Result<()> {
    const FILES: usize = 3000;
    let mut node = Node::start()?;
    let source = node.scratch().join("source");
    for directory in 0..30 {
        fs::create_dir_all(source.join(format!("part-{directory}")))?;
    }
    for index in 0..FILES {
        let place = if index == 1 {
            source.clone()
        } else {
            source.join(format!("part-{}", index % 30))
        };
        fs::write(
            place.join(format!("file-{index}.txt")),
            format!("{index}\n").repeat(index % 90),
        )?;
    }
    let git = |arguments: &[&str]| -> Result<()> {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
        let mut git = command("git", &identity);
        git.args(arguments).current_dir(&source);
        must_run(git, Duration::from_secs(60)).map(drop)
    };
    git(&["init", "--quiet"])?;
    git(&["add", "."])?;
    git(&["commit", "--quiet", "-m", "all"])?;
    let bare = node
        .volume("models")
        .join("repository.git")
        .display()
        .to_string();
    git(&["clone", "--quiet", "--bare", ".", &bare])?;
    pass(&mut node, "git.sh", &format!("FILES={FILES}"))
}

#[test]
fn twenty_thousand_random_operations_read_back_right() -> Result<()> {
    let seed = std::env::var("TOWLINE_SEED").unwrap_or_else(|_| "20260801".to_owned());
    println!("replay: TOWLINE_SEED={seed} cargo test -p towline-tests --test kernel_nfs random");
    pass(
        &mut Node::start()?,
        "fsx.sh",
        &format!("SEED={seed} OPERATIONS=20000"),
    )
}

#[test]
fn parallel_writers_and_readers_see_their_bytes() -> Result<()> {
    let mut node = Node::start()?;
    write_large(&node)?;
    pass(&mut node, "parallel.sh", "")
}

#[test]
fn a_directory_of_fifty_thousand_entries_is_listed_once_each() -> Result<()> {
    const ENTRIES: usize = 50_000;
    let mut node = Node::start()?;
    let many = node.volume("models").join("many");
    fs::create_dir(&many)?;
    for index in 0..ENTRIES {
        File::create(many.join(format!("entry-{index:05}")))?;
    }
    pass(&mut node, "many.sh", &format!("ENTRIES={ENTRIES}"))
}

#[test]
fn a_running_copy_outlives_restarts_of_the_node() -> Result<()> {
    if !unless_installed("qemu-system-x86_64", "qemu-system-x86 seabios")? {
        return Ok(());
    }
    let mut node = Node::start()?;
    write_large(&node)?;
    let mut guest = Guest::start(&job(&node, "restart.sh", "")?)?;
    guest.wait_for_line("copy-starts")?;
    let copy = node.volume("projects").join("copy.bin");
    wait_for_length(&copy, LARGE_BYTES as u64 / 8)?;
    node.kill();
    node.restart()?;
    wait_for_length(&copy, LARGE_BYTES as u64 / 2)?;
    let status = node.drain()?;
    ensure!(
        status.success(),
        "drain ended with {status}:\n{}",
        node.log()
    );
    node.restart()?;
    let result = guest.finish()?;
    println!("{}", result.output);
    ensure!(
        result.exit_code == 0,
        "the copy failed:\n{}\n{}",
        result.output,
        node.log()
    );
    Ok(())
}

fn wait_for_length(path: &Path, bytes: u64) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < JOB_LIMIT {
        if fs::metadata(path).is_ok_and(|found| found.len() >= bytes) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    anyhow::bail!("{} never reached {bytes} bytes", path.display())
}
