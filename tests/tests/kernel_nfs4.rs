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
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use towline_tests::cli::towline;
use towline_tests::guest::{Guest, Job};
use towline_tests::kernel::{
    self, has_guest, wait_until, write_large, write_many, write_repository,
};
use towline_tests::model::{NAME, Shelf, push};
use towline_tests::node::{Node, Settings};
use towline_tests::process::{command, must_run};

/// What the guest's own programs lack: util-linux' and coreutils', which every Debian has.
const PROGRAMS: [&str; 3] = ["/usr/bin/flock", "/usr/bin/fallocate", "/usr/bin/cp"];

/// What makes a restart over soon.
const SHORT_LEASE: &str = "[nfs]\nv4 = true\nlease = \"15s\"\n";

/// A node whose clients have a short lease, so that a restart is over soon.
fn node() -> Result<Node> {
    Node::start_with(Settings {
        configuration: SHORT_LEASE.to_owned(),
        ..Settings::default()
    })
}

fn job(node: &Node, (version, name): (&str, &str), settings: &str) -> Result<Job> {
    let mut job = kernel::job(node, name, &format!("VERS={version}\n{settings}"))?;
    job.programs.extend(PROGRAMS.map(Into::into));
    Ok(job)
}

fn pass(node: &mut Node, which: (&str, &str), settings: &str) -> Result<()> {
    if !has_guest()? {
        return Ok(());
    }
    let told = kernel::pass(node, &job(node, which, settings)?)?;
    println!("{which:?}:\n{told}");
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
    write_repository(&node, FILES, 10)?;
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
    write_many(&node, ENTRIES)?;
    pass(&mut node, ("4.1", "many.sh"), &format!("ENTRIES={ENTRIES}"))
}

#[test]
fn a_running_copy_outlives_restarts_of_the_node_over_4_2() -> Result<()> {
    if !has_guest()? {
        return Ok(());
    }
    let mut node = node()?;
    let job = job(&node, ("4.2", "restart.sh"), "")?;
    println!("{}", kernel::restart_under_a_copy(&mut node, &job)?);
    Ok(())
}

/// The lock of a program in the guest is the same lock after the node was killed and restarted.
#[test]
fn a_lock_outlives_the_node() -> Result<()> {
    if !has_guest()? {
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
    println!("{}", kernel::finish(guest, &node)?);
    Ok(())
}

/// A program in one guest gets the lock that it waits for as soon as one in another guest gives it
/// back. Without a word from the node Linux asks again after 30 s.
#[test]
fn a_lock_that_goes_wakes_the_one_who_waits_in_another_guest() -> Result<()> {
    /// Longest time from one to the other; a machine under load needs some of it.
    const WOKEN_MAX: Duration = Duration::from_secs(12);
    if !has_guest()? {
        return Ok(());
    }
    let node = node()?;
    let mut holder = Guest::start(&job(&node, ("4.2", "holder.sh"), "NAME=holder")?)?;
    holder.wait_for_line("lock-held")?;
    let mut waiter = holder.beside(&job(&node, ("4.1", "waiter.sh"), "NAME=waiter")?)?;
    waiter.wait_for_line("lock-awaited")?;
    // Long enough that it has asked once, and is not about to ask again.
    std::thread::sleep(Duration::from_secs(4));
    two_clients_are_shown(&node)?;
    File::create(node.volume("projects").join("let-go"))?;
    holder.wait_for_line("lock-let-go")?;
    let gone = Instant::now();
    waiter.wait_for_line("lock-got")?;
    let waited = gone.elapsed();
    println!("woken after {waited:?}");
    ensure!(waited < WOKEN_MAX, "it was not told: {waited:?}");
    println!("{}", kernel::finish(waiter, &node)?);
    println!("{}", kernel::finish(holder, &node)?);
    Ok(())
}

/// What an operator sees while one guest holds a lock and another waits for it.
fn two_clients_are_shown(node: &Node) -> Result<()> {
    let ask = |words: &[&str]| -> Result<serde_json::Value> {
        let text = must_run(towline(node, words)?, Duration::from_secs(10))?;
        Ok(serde_json::from_slice(&text)?)
    };
    let clients = ask(&["nfs", "clients", "--json"])?;
    let clients = clients["clients"].as_array().context("clients")?.clone();
    let is_well = |client: &&serde_json::Value| {
        let name = client["name"].as_str().unwrap_or("");
        let is_guest = name.ends_with("holder") || name.ends_with("waiter");
        is_guest && client["reachable"] == true && client["expired"] == false
    };
    ensure!(clients.iter().filter(is_well).count() == 2, "{clients:?}");
    let locks = ask(&["nfs", "locks", "--json"])?;
    let [lock] = &locks["locks"].as_array().context("locks")?[..] else {
        anyhow::bail!("one lock: {locks}");
    };
    let file = fs::metadata(node.volume("projects").join("waited"))?.ino();
    let is_it = lock["volume"] == "projects" && lock["file"] == file && lock["write"] == true;
    ensure!(is_it, "{lock}");
    let nobody = towline(node, &["nfs", "revoke", "77"])?;
    let (code, said) = towline_tests::cli::outcome(nobody)?;
    ensure!(
        code == 65 && said.contains("no client has the id"),
        "{code}: {said}"
    );
    Ok(())
}

/// A published file is opened again without a call, and a tag that moves is seen all the same.
#[test]
fn a_model_is_opened_again_without_calls_until_its_tag_moves() -> Result<()> {
    /// Longest time for a push whose files a client was promised; a lease is 15 s.
    const PUSH_MAX: Duration = Duration::from_secs(10);
    if !has_guest()? {
        return Ok(());
    }
    let shelf = Shelf::with_configuration(SHORT_LEASE)?;
    let node = &shelf.node;
    let opened = || -> Result<Vec<u64>> {
        let of =
            |operation: &&str| counted(node, &format!("operations_total{{op=\"{operation}\"}}"));
        ["open", "read", "close"].iter().map(of).collect()
    };
    let mut guest = Guest::start(&job(node, ("4.2", "promises.sh"), "")?)?;
    guest.wait_for_line("read-once")?;
    let before = opened()?;
    ensure!(
        counted(node, "held{kind=\"delegation\"}")? > 0,
        "nothing was promised"
    );
    File::create(node.volume("projects").join("again"))?;
    guest.wait_for_line("read-again")?;
    let after = opened()?;
    ensure!(
        before == after,
        "{before:?} OPEN, READ and CLOSE became {after:?}"
    );
    fs::write(shelf.source.join("config.json"), "{\"is\": \"moved\"}\n")?;
    let started = Instant::now();
    push(node, &shelf.source, NAME)?;
    let took = started.elapsed();
    println!("pushed in {took:?}");
    ensure!(took < PUSH_MAX, "the push waited {took:?}");
    ensure!(
        counted(node, "callbacks_total{call=\"cb_recall\"}")? > 0,
        "no recall"
    );
    ensure!(counted(node, "delegations_revoked_total")? == 0, "revoked");
    File::create(node.volume("projects").join("moved"))?;
    println!("{}", kernel::finish(guest, node)?);
    Ok(())
}

/// A sample of the node's metrics about version 4.
fn counted(node: &Node, sample: &str) -> Result<u64> {
    let url = format!("http://{}/metrics", node.http());
    let text = must_run(command("curl", &["-sS", &url]), Duration::from_secs(10))?;
    let text = String::from_utf8(text)?;
    let start = format!("towline_nfs4_{sample} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    Ok(line.with_context(|| start.clone())?.parse()?)
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
