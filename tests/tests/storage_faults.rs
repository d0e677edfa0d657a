//! Disks that fail, fill up late, are of several parts or not there: what a client is told.
//!
//! The faults are real ones: file systems on loop devices, which need root. Not covered here:
//! power loss (`daemon/store/tests/crash.rs`) and nodes that are killed (`crash.rs`).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nfs3_types::nfs3::{
    self, GETATTR3args, LOOKUP3args, Nfs3Option, Nfs3Result, READDIRPLUS3args, REMOVE3args,
    RENAME3args, RMDIR3args, nfs_fh3, nfsstat3,
};
use towline_tests::loopback::{self, LyingDisk, Mounted};
use towline_tests::nfs::{Connection, at, block_on, mount_as};
use towline_tests::node::{Node, Settings};
use towline_tests::process::{command, run};
use towline_tests::skip::{impossible, unless_installed};

/// Longest time for one client call.
const CLIENT_LIMIT: Duration = Duration::from_secs(60);

fn node(volumes: &str) -> Result<Node> {
    Node::start_with(Settings {
        configuration: volumes.to_owned(),
        ..Settings::default()
    })
}

/// The status that curl got.
fn curl(arguments: &[&str]) -> Result<String> {
    let mut curl = command("curl", &["--silent", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_code}", "--max-time", "50"]);
    curl.args(arguments);
    let finished = run(curl, CLIENT_LIMIT)?;
    Ok(String::from_utf8_lossy(&finished.output).into_owned())
}

/// A resumable upload whose fsync failed was asked for again, the second fsync had nothing left to
/// complain of, and the client got 201 for a file that was gone after a remount.
#[test]
fn an_upload_whose_fsync_failed_never_becomes_a_success() -> Result<()> {
    const TOTAL: usize = 60_000_000;
    if !loopback::is_possible() {
        return impossible("only root can make a disk that fails");
    }
    let disk = LyingDisk::new(24 << 20)?;
    let path = disk.path().display();
    let node = node(&format!(
        "[volumes.v]\nkind = \"project\"\npath = \"{path}\"\nsquash = \"none\"\n\
         anonymous_uid = 0\nanonymous_gid = 0\n"
    ))?;
    let url = node.url("v", "f");
    let piece = node.scratch().join("piece");
    std::fs::write(&piece, vec![7; TOTAL / 2])?;
    let piece = piece.to_string_lossy();
    for (first, expected) in [(0, &["308"][..]), (TOTAL / 2, &["500", "507"][..])] {
        let range = format!(
            "Content-Range: bytes {first}-{}/{TOTAL}",
            first + TOTAL / 2 - 1
        );
        let status = curl(&["-H", &range, "-T", &piece, &url])?;
        ensure!(
            expected.contains(&status.as_str()),
            "the piece at {first}: {status}\n{}",
            node.log()
        );
    }
    for _attempt in 0..3 {
        let question = format!("Content-Range: bytes */{TOTAL}");
        let status = curl(&["-X", "PUT", "-H", &question, "-d", "", &url])?;
        ensure!(
            status != "201" && status != "204",
            "a lost file was published"
        );
        ensure!(curl(&[&url])? == "404", "a lost file is shown");
    }
    ensure!(node.log().contains("condemned"), "the operator is not told");
    Ok(())
}

async fn look_up(client: &mut Connection, dir: &nfs_fh3, name: &str) -> Result<nfs_fh3> {
    let place = LOOKUP3args {
        what: at(dir, name),
    };
    match client.lookup(&place).await? {
        Nfs3Result::Ok(found) => Ok(found.object),
        Nfs3Result::Err((status, _)) => anyhow::bail!("LOOKUP of {name}: {status:?}"),
    }
}

/// fsid and fileid: what tells one file from another (RFC 1813 section 2.6).
async fn numbers(client: &mut Connection, object: &nfs_fh3) -> Result<(u64, u64)> {
    let object = object.clone();
    match client.getattr(&GETATTR3args { object }).await? {
        Nfs3Result::Ok(seen) => Ok((seen.obj_attributes.fsid, seen.obj_attributes.fileid)),
        Nfs3Result::Err((status, _)) => anyhow::bail!("GETATTR: {status:?}"),
    }
}

/// Subvolumes and snapshots number their inodes alike. Every second one shared its fsid with the
/// one before, so that `diff` took two files for one; and their way up was stale.
#[test]
fn files_of_two_subvolumes_are_two_files_and_the_way_up_is_open() -> Result<()> {
    const SUBVOLUMES: usize = 6;
    if !loopback::is_possible() {
        return impossible("only root can mount a file system with subvolumes");
    }
    if !unless_installed("mkfs.btrfs", "btrfs-progs")? {
        return Ok(());
    }
    let scratch = tempfile::tempdir()?;
    let (image, place) = (scratch.path().join("image"), scratch.path().join("disk"));
    let disk = loopback::image(&image, 256 << 20, &["mkfs.btrfs", "-q"], &place)?;
    for number in 0..SUBVOLUMES {
        let path = disk.path().join(format!("sub{number}"));
        let mut create = command("btrfs", &["-q", "subvolume", "create"]);
        create.arg(&path);
        let made = run(create, CLIENT_LIMIT)?;
        ensure!(made.status.success(), "{}", made.errors);
        std::fs::write(path.join("f"), format!("content {number}"))?;
    }
    let node = node(&format!(
        "[volumes.v]\nkind = \"model\"\npath = \"{}\"\n",
        disk.path().display()
    ))?;
    block_on(async {
        let mut client = mount_as(&node, "/v", (1000, 1000)).await?;
        let root = client.root_nfs_fh3();
        let mut seen = std::collections::HashSet::new();
        for number in 0..SUBVOLUMES {
            let dir = look_up(&mut client, &root, &format!("sub{number}")).await?;
            let file = look_up(&mut client, &dir, "f").await?;
            let numbers_of_file = numbers(&mut client, &file).await?;
            ensure!(
                seen.insert(numbers_of_file),
                "two files are {numbers_of_file:?}"
            );
            let above = look_up(&mut client, &dir, "..").await?;
            ensure!(
                numbers(&mut client, &above).await? == numbers(&mut client, &root).await?,
                "the way up leads elsewhere"
            );
        }
        let listed = READDIRPLUS3args {
            dir: root.clone(),
            cookie: 0,
            cookieverf: nfs3::cookieverf3::default(),
            dircount: 8_192,
            maxcount: 32_768,
        };
        let Nfs3Result::Ok(listed) = client.readdirplus(&listed).await? else {
            anyhow::bail!("READDIRPLUS is refused");
        };
        let entries = listed.reply.entries.into_inner();
        let described = entries.iter().filter(|entry| {
            entry.name.0.as_ref().starts_with(b"sub")
                && matches!(entry.name_handle, Nfs3Option::Some(_))
        });
        ensure!(described.count() == SUBVOLUMES, "a subvolume has no handle");
        Ok(())
    })
}

fn refusal<T, E>(result: Nfs3Result<T, E>) -> Option<nfsstat3> {
    match result {
        Nfs3Result::Ok(_) => None,
        Nfs3Result::Err((status, _)) => Some(status),
    }
}

/// A mount point cannot be removed or renamed, now or later: "later" made clients ask for ever.
#[test]
fn a_mount_point_is_refused_for_good() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return impossible("only root can mount");
    }
    let node = node("[volumes.projects]\nsquash = \"none\"\n")?;
    let place = node.volume("projects").join("mp");
    let mounted = Mounted::new(&["-t", "tmpfs", "none"], &place)?;
    std::fs::write(node.volume("projects").join("file"), b"x")?;
    let refusals = block_on(async {
        let mut client = mount_as(&node, "/projects", (0, 0)).await?;
        let root = client.root_nfs_fh3();
        let removed = client
            .rmdir(&RMDIR3args {
                object: at(&root, "mp"),
            })
            .await?;
        let rename = RENAME3args {
            from: at(&root, "mp"),
            to: at(&root, "elsewhere"),
        };
        let renamed = client.rename(&rename).await?;
        let file = REMOVE3args {
            object: at(&root, "file"),
        };
        let other = client.remove(&file).await?;
        ensure!(matches!(other, Nfs3Result::Ok(_)), "nothing can be removed");
        Ok([
            refusal(removed).context("RMDIR succeeded")?,
            refusal(renamed).context("RENAME succeeded")?,
        ])
    })?;
    for status in refusals {
        ensure!(matches!(status, nfsstat3::NFS3ERR_ACCES), "{status:?}");
    }
    let status = curl(&["-X", "DELETE", &node.url("projects", "mp")])?;
    ensure!(status == "409", "HTTP answered {status}");
    drop(mounted);
    let status = curl(&["-X", "DELETE", &node.url("projects", "mp")])?;
    ensure!(
        status == "204",
        "HTTP answered {status} when nothing is mounted"
    );
    Ok(())
}

/// Waits until the node says in `/healthz` what is expected.
fn await_health(node: &Node, expected: &str) -> Result<()> {
    const LOOKS: usize = 300;
    let url = format!("http://{}/healthz", node.http());
    for _look in 0..LOOKS {
        if curl(&[&url])? == expected {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("health is not {expected}\n{}", node.log())
}

/// A disk that is mounted late, or a folder that is moved away: the node went on serving what the
/// path did not lead to any more, and nothing said so.
#[test]
fn a_disk_that_is_mounted_late_is_noticed_and_can_be_waited_for() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return impossible("only root can mount");
    }
    let scratch = tempfile::tempdir()?;
    let place = scratch.path().join("disk");
    std::fs::create_dir(&place)?;
    let volume = format!(
        "[volumes.v]\nkind = \"project\"\npath = \"{}\"\n",
        place.display()
    );
    let node = node(&volume)?;
    await_health(&node, "200")?;
    let late = Mounted::new(&["-t", "tmpfs", "none"], &place)?;
    await_health(&node, "503")?;
    ensure!(
        node.log().contains("was mounted or unmounted"),
        "{}",
        node.log()
    );
    let towline = towline_tests::paths::program("towline")?;
    let url = format!("http://{}", node.http());
    let mut status = command(
        towline.to_str().context("path")?,
        &["status", "--node", &url],
    );
    status.stdin(std::process::Stdio::null());
    let shown = run(status, CLIENT_LIMIT)?;
    let shown = String::from_utf8_lossy(&shown.output).into_owned();
    ensure!(shown.contains("restart the node"), "{shown}");

    let file = scratch.path().join("waiting.toml");
    std::fs::write(&file, format!("{volume}require_mount = true\n"))?;
    let check = || -> Result<(bool, String)> {
        let file = file.to_str().context("path")?;
        let program = towline.to_str().context("path")?;
        let checked = run(command(program, &["config", "check", file]), CLIENT_LIMIT)?;
        Ok((checked.status.success(), checked.errors))
    };
    ensure!(check()?.0, "a mounted disk is refused: {}", check()?.1);
    drop(late);
    let (is_accepted, why) = check()?;
    ensure!(
        !is_accepted && why.contains("no file system is mounted"),
        "{why}"
    );
    await_health(&node, "200")
}

/// The node itself kept what it had open of a removed file: its room came back seconds later. And
/// an upload larger than the disk was taken until the disk was full.
#[test]
fn the_room_of_a_removed_file_is_free_when_its_removal_is_answered() -> Result<()> {
    const FILE_BYTES: usize = 32 << 20;
    const SLACK: u64 = 1 << 20;
    if !rustix::process::geteuid().is_root() {
        return impossible("only root can mount");
    }
    let scratch = tempfile::tempdir()?;
    let place = scratch.path().join("disk");
    let disk = Mounted::new(&["-t", "tmpfs", "-o", "size=64m,mode=777", "none"], &place)?;
    let free = || -> Result<u64> {
        let stat = rustix::fs::statvfs(disk.path())?;
        Ok(stat.f_bavail * stat.f_frsize)
    };
    let node = node(&format!(
        "[volumes.v]\nkind = \"project\"\npath = \"{}\"\n",
        disk.path().display()
    ))?;
    let source = scratch.path().join("source");
    std::fs::write(&source, vec![7; FILE_BYTES])?;
    let source = source.to_string_lossy().into_owned();
    let before = free()?;
    for is_removed_over_nfs in [false, true] {
        let url = node.url("v", "f");
        ensure!(curl(&["-T", &source, &url])? == "201", "{}", node.log());
        // Many connections, so that several workers keep the file open.
        for _reader in 0..8 {
            ensure!(curl(&["--range", "0-99", &url])? == "206", "{}", node.log());
        }
        ensure!(free()? + SLACK < before, "the file takes no room");
        if is_removed_over_nfs {
            block_on(async {
                let mut client = mount_as(&node, "/v", (65_534, 65_534)).await?;
                let root = client.root_nfs_fh3();
                look_up(&mut client, &root, "f").await?;
                let object = at(&root, "f");
                let removed = client.remove(&REMOVE3args { object }).await?;
                ensure!(refusal(removed).is_none(), "REMOVE is refused");
                Ok(())
            })?;
        } else {
            ensure!(curl(&["-X", "DELETE", &url])? == "204", "{}", node.log());
        }
        let after = free()?;
        ensure!(after + SLACK > before, "{after} of {before} bytes are free");
    }
    let large = scratch.path().join("large");
    std::fs::File::create(&large)?.set_len(100 << 20)?;
    let large = large.to_string_lossy().into_owned();
    let status = curl(&["-T", &large, &node.url("v", "large")])?;
    ensure!(status == "507", "an upload larger than the disk: {status}");
    let first = format!("Content-Range: bytes 0-{}/{}", FILE_BYTES - 1, 100 << 20);
    let status = curl(&["-H", &first, "-T", &source, &node.url("v", "large")])?;
    ensure!(status == "507", "the first piece of it: {status}");
    ensure!(free()? + SLACK > before, "what was refused takes room");
    Ok(())
}
