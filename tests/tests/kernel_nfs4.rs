//! The kernel's client over NFSv4.1 and 4.2, in a guest, against one node.
//!
//! The jobs are those of version 3, and a few more. Invariant: nothing in here knows towline but
//! the place where it shows what clients hold. Not promised: speed, which an emulated processor
//! cannot show.
#![allow(
    clippy::print_stdout,
    reason = "a test tells how to replay it and what it saw"
)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use towline_tests::guest::{Guest, Job, run};
use towline_tests::node::{Node, Settings};
use towline_tests::process::{command, must_run};
use towline_tests::skip::unless_installed;

/// Longest time for one job.
const JOB_LIMIT: Duration = Duration::from_secs(300);
/// What the guest's own programs lack: util-linux' and coreutils', which every Debian has.
const PROGRAMS: [&str; 3] = ["/usr/bin/flock", "/usr/bin/fallocate", "/usr/bin/cp"];
/// Length of the large file in bytes: more than a client reads ahead.
const LARGE_BYTES: usize = 96 << 20;

/// A node whose clients have a short lease, so that a restart is over soon.
fn node() -> Result<Node> {
    Node::start_with(Settings {
        configuration: "[nfs]\nv4 = true\nlease = \"15s\"\n".to_owned(),
        ..Settings::default()
    })
}

fn job(node: &Node, (version, name): (&str, &str), settings: &str) -> Result<Job> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest");
    let prelude = fs::read_to_string(directory.join("prelude.sh"))?;
    let script = fs::read_to_string(directory.join("jobs").join(name)).context("job")?;
    let port = node.nfs().port();
    let script = format!("PORT={port}\nVERS={version}\n{settings}\n{prelude}\n{script}");
    let mut job = Job::new(&script, JOB_LIMIT);
    job.programs.extend(PROGRAMS.map(Into::into));
    Ok(job)
}

fn pass(node: &mut Node, which: (&str, &str), settings: &str) -> Result<()> {
    if !unless_installed("qemu-system-x86_64", "qemu-system-x86 seabios")? {
        return Ok(());
    }
    let result = run(&job(node, which, settings)?)?;
    println!("{}\n{which:?}: {:?}", result.output, result.elapsed);
    node.must_run()?;
    ensure!(
        result.exit_code == 0,
        "{which:?} failed:\n{}\n{}",
        result.output,
        node.log()
    );
    Ok(())
}

fn write_large(node: &Node) -> Result<()> {
    let mut file = File::create(node.volume("models").join("large.bin"))?;
    let mut line = 0_u64;
    for _mebibyte in 0..LARGE_BYTES >> 20 {
        let mut block = Vec::with_capacity(1 << 20);
        while block.len() < 1 << 20 {
            block.extend_from_slice(&line.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
            line += 1;
        }
        file.write_all(&block)?;
    }
    Ok(())
}

/// A mount without options gets the newest version, and what that alone has works.
#[test]
fn a_plain_mount_speaks_4_2_and_uses_it() -> Result<()> {
    pass(&mut node()?, ("4.2", "plain.sh"), "")
}

#[test]
fn names_links_and_open_files_behave_over_4_2() -> Result<()> {
    let mut node = node()?;
    let hello = node.volume("models").join("hello.txt");
    fs::write(hello, "hello from the host\n")?;
    pass(&mut node, ("4.2", "names.sh"), "")
}

#[test]
fn a_clone_of_a_thousand_files_is_whole_over_4_2() -> Result<()> {
    const FILES: usize = 1000;
    let mut node = node()?;
    let source = node.scratch().join("source");
    for index in 0..FILES {
        let place = source.join(format!("part-{}", index % 10));
        fs::create_dir_all(&place)?;
        let place = if index == 1 { &source } else { &place };
        let text = format!("{index}\n").repeat(index % 90);
        fs::write(place.join(format!("file-{index}.txt")), text)?;
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
    let bare = node.volume("models").join("repository.git");
    git(&[
        "clone",
        "--quiet",
        "--bare",
        ".",
        &bare.display().to_string(),
    ])?;
    pass(&mut node, ("4.2", "git.sh"), &format!("FILES={FILES}"))
}

#[test]
fn random_operations_read_back_right_over_4_1() -> Result<()> {
    let seed = std::env::var("TOWLINE_SEED").unwrap_or_else(|_| "20261129".to_owned());
    println!("replay: TOWLINE_SEED={seed} cargo test -p towline-tests --test kernel_nfs4 random");
    let settings = format!("SEED={seed} OPERATIONS=10000");
    pass(&mut node()?, ("4.1", "fsx.sh"), &settings)
}

#[test]
fn parallel_writers_and_readers_see_their_bytes_over_4_2() -> Result<()> {
    let mut node = node()?;
    write_large(&node)?;
    pass(&mut node, ("4.2", "parallel.sh"), "")
}

#[test]
fn a_directory_of_twenty_thousand_entries_is_listed_once_each_over_4_1() -> Result<()> {
    const ENTRIES: usize = 20_000;
    let mut node = node()?;
    let many = node.volume("models").join("many");
    fs::create_dir(&many)?;
    for index in 0..ENTRIES {
        File::create(many.join(format!("entry-{index:05}")))?;
    }
    pass(&mut node, ("4.1", "many.sh"), &format!("ENTRIES={ENTRIES}"))
}

#[test]
fn a_running_copy_outlives_restarts_of_the_node_over_4_2() -> Result<()> {
    if !unless_installed("qemu-system-x86_64", "qemu-system-x86 seabios")? {
        return Ok(());
    }
    let mut node = node()?;
    write_large(&node)?;
    let mut guest = Guest::start(&job(&node, ("4.2", "restart.sh"), "")?)?;
    guest.wait_for_line("copy-starts")?;
    let copy = node.volume("projects").join("copy.bin");
    let reached = |bytes: usize| {
        wait_until("the copy", || {
            Ok(fs::metadata(&copy).is_ok_and(|found| found.len() >= bytes as u64))
        })
    };
    reached(LARGE_BYTES / 8)?;
    node.kill();
    node.restart()?;
    reached(LARGE_BYTES / 2)?;
    let status = node.drain()?;
    ensure!(status.success(), "drain ended with {status}");
    node.restart()?;
    finish(guest, &node)
}

/// The lock of a program in the guest is the same lock after the node was killed and restarted.
#[test]
fn a_lock_outlives_the_node() -> Result<()> {
    if !unless_installed("qemu-system-x86_64", "qemu-system-x86 seabios")? {
        return Ok(());
    }
    let mut node = node()?;
    let mut guest = Guest::start(&job(&node, ("4.2", "locks.sh"), "")?)?;
    guest.wait_for_line("lock-held")?;
    wait_until("the lock", || Ok(lock_owners(&node)? == 1))?;
    node.kill();
    node.restart()?;
    wait_until("the reclaimed lock", || Ok(lock_owners(&node)? == 1))?;
    File::create(node.volume("projects").join("go-on"))?;
    guest.wait_for_line("lock-kept")?;
    ensure!(lock_owners(&node)? == 1, "the lock is lost");
    File::create(node.volume("projects").join("looked"))?;
    finish(guest, &node)
}

/// How many owners have locks, as the node shows it.
fn lock_owners(node: &Node) -> Result<u64> {
    let url = format!("http://{}/v1/status", node.http());
    let text = must_run(command("curl", &["-sS", &url]), Duration::from_secs(10))?;
    let status: serde_json::Value = serde_json::from_slice(&text)?;
    status["nfs4"]["lock_owners"]
        .as_u64()
        .context("nfs4 in the status")
}

fn finish(guest: Guest, node: &Node) -> Result<()> {
    let result = guest.finish()?;
    println!("{}", result.output);
    ensure!(
        result.exit_code == 0,
        "the job failed:\n{}\n{}",
        result.output,
        node.log()
    );
    Ok(())
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < JOB_LIMIT {
        if is_so()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{what} did not come")
}
