//! Jobs for the kernel's NFS client in a guest, against one node: what both versions' tests share.
//!
//! Invariant: a job is a file of `tests/guest/jobs` behind its prelude, and knows nothing of
//! towline. Not promised: that a job suits every version.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::guest::{Guest, Job, run};
use crate::node::Node;
use crate::process::{command, must_run};
use crate::skip::unless_installed;

/// Longest time for one job. The longest (20,000 operations of fsx) takes a third of it.
pub const JOB_LIMIT: Duration = Duration::from_secs(300);
/// Length of the large file in bytes: many READs of 1 MiB, and more than a client reads ahead.
pub const LARGE_BYTES: u64 = 96 << 20;

/// Whether there is an emulator; tells that the test is skipped if not.
///
/// # Errors
/// Where a skip is not allowed.
pub fn has_guest() -> Result<bool> {
    unless_installed("qemu-system-x86_64", "qemu-system-x86 seabios")
}

/// The job of a file, with the shell's assignments in front of it.
///
/// # Errors
/// A file that is not there.
pub fn job(node: &Node, name: &str, settings: &str) -> Result<Job> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest");
    let prelude = fs::read_to_string(directory.join("prelude.sh"))?;
    let script = fs::read_to_string(directory.join("jobs").join(name)).context("job")?;
    let port = node.nfs().port();
    let script = format!("PORT={port}\n{settings}\n{prelude}\n{script}");
    Ok(Job::new(&script, JOB_LIMIT))
}

/// Runs a job to its end; what it printed.
///
/// # Errors
/// A job or a node that failed, with what both said.
pub fn pass(node: &mut Node, job: &Job) -> Result<String> {
    let result = run(job).with_context(|| format!("the node said:\n{}", node.log()))?;
    node.must_run()?;
    ensure!(
        result.exit_code == 0,
        "failed after {:?}:\n{}\n{}",
        result.elapsed,
        result.output,
        node.log()
    );
    Ok(result.output)
}

/// Waits for the end of a job that was started; what it printed.
///
/// # Errors
/// As [`pass`].
pub fn finish(guest: Guest, node: &Node) -> Result<String> {
    let result = guest
        .finish()
        .with_context(|| format!("the node said:\n{}", node.log()))?;
    ensure!(
        result.exit_code == 0,
        "the job failed:\n{}\n{}",
        result.output,
        node.log()
    );
    Ok(result.output)
}

/// Waits until something is so, at most as long as a job may take.
///
/// # Errors
/// What the question reports, or that it never became so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < JOB_LIMIT {
        if is_so()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    bail!("{what} did not come")
}

/// Kills and drains the node under a copy of the large file that a guest makes.
///
/// # Errors
/// A copy that does not go on, or is not whole.
pub fn restart_under_a_copy(node: &mut Node, job: &Job) -> Result<String> {
    write_large(node)?;
    let mut guest = Guest::start(job)?;
    guest.wait_for_line("copy-starts")?;
    let copy = node.volume("projects").join("copy.bin");
    let reached = |bytes: u64| {
        wait_until("the copy", || {
            Ok(fs::metadata(&copy).is_ok_and(|found| found.len() >= bytes))
        })
    };
    reached(LARGE_BYTES / 8)?;
    node.kill();
    node.restart()?;
    reached(LARGE_BYTES / 2)?;
    let status = node.drain()?;
    ensure!(
        status.success(),
        "drain ended with {status}:\n{}",
        node.log()
    );
    node.restart()?;
    finish(guest, node)
}

/// Makes `large.bin` in the volume of models, no line of it like another.
///
/// # Errors
/// A disk that is full.
pub fn write_large(node: &Node) -> Result<()> {
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

/// Makes a folder with so many empty files in the volume of models.
///
/// # Errors
/// A disk that is full.
pub fn write_many(node: &Node, entries: usize) -> Result<()> {
    let many = node.volume("models").join("many");
    fs::create_dir(&many)?;
    for index in 0..entries {
        File::create(many.join(format!("entry-{index:05}")))?;
    }
    Ok(())
}

/// Makes a bare repository of so many files, in so many folders, in the volume of models.
///
/// # Errors
/// What git reports.
pub fn write_repository(node: &Node, files: usize, folders: usize) -> Result<()> {
    let source = node.scratch().join("source");
    for folder in 0..folders {
        fs::create_dir_all(source.join(format!("part-{folder}")))?;
    }
    for index in 0..files {
        let place = match index {
            1 => source.clone(),
            _ => source.join(format!("part-{}", index % folders)),
        };
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
    let bare = bare.display().to_string();
    git(&["clone", "--quiet", "--bare", ".", &bare])
}
