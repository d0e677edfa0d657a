//! What a user's Linux machine sees: the kernel's NFS client, in a guest, against one node.
//!
//! Every test boots a guest of its own with a job from `tests/guest/jobs`. Invariant: nothing in
//! here knows towline; the same jobs pass against any correct NFSv3 server with these exports.
//! Not promised: speed, which an emulated processor cannot show.
#![allow(
    clippy::print_stdout,
    reason = "a test tells how to replay it and what it saw"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::Duration;

use anyhow::Result;
use towline_tests::kernel::{self, has_guest, write_large, write_many, write_repository};
use towline_tests::model::{Shelf, files};
use towline_tests::node::Node;
use towline_tests::process::{command, must_run};
use towline_tests::skip::impossible;

fn pass(node: &mut Node, name: &str, settings: &str) -> Result<()> {
    if !has_guest()? {
        return Ok(());
    }
    let told = kernel::pass(node, &kernel::job(node, name, settings)?)?;
    println!("{name}:\n{told}");
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
    write_repository(&node, FILES, 30)?;
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
    write_many(&node, ENTRIES)?;
    pass(&mut node, "many.sh", &format!("ENTRIES={ENTRIES}"))
}

#[test]
fn a_running_copy_outlives_restarts_of_the_node() -> Result<()> {
    if !has_guest()? {
        return Ok(());
    }
    let mut node = Node::start()?;
    let job = kernel::job(&node, "restart.sh", "")?;
    println!("{}", kernel::restart_under_a_copy(&mut node, &job)?);
    Ok(())
}
