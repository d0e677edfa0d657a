//! A file system of a test's own: an image on a loop device, so that a disk can fill up, fail or
//! be of a kind that this machine does not use.
//!
//! Invariant: what was mounted is unmounted when dropped. Not promised: that this machine has loop
//! devices; only root may use them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::{command, run};

/// Longest time for making or mounting a file system.
const MOUNT_LIMIT: Duration = Duration::from_secs(60);

/// A mounted directory, unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    path: PathBuf,
}

impl Mounted {
    /// Mounts with the arguments of mount(8) that stand before the directory.
    ///
    /// # Errors
    /// What mount(8) says.
    pub fn new(arguments: &[&str], path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        let mut mount = command("mount", arguments);
        mount.arg(path);
        must(mount)?;
        let path = path.to_owned();
        Ok(Self { path })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a node that still holds a file must not keep the test from its end.
        let _best_effort = Command::new("umount")
            .arg("--lazy")
            .arg(&self.path)
            .status();
    }
}

/// An image file of `bytes` with a file system made by `maker`, mounted at `path`.
///
/// # Errors
/// What the programs say.
pub fn image(image: &Path, bytes: u64, maker: &[&str], path: &Path) -> Result<Mounted> {
    File::create(image)?.set_len(bytes)?;
    let (program, arguments) = maker.split_first().context("no program to make it with")?;
    let mut make = command(program, arguments);
    make.arg(image);
    must(make)?;
    let image = image.to_str().context("an odd name")?;
    Mounted::new(&["-o", "loop", image], path)
}

/// A disk that says it has 256 MiB and can hold far less: writes fail when the kernel makes them,
/// after it has taken the bytes. The file system has no journal, so it stays writable.
#[derive(Debug)]
pub struct LyingDisk {
    // Dropped in this order.
    file_system: Mounted,
    _memory: Mounted,
    _directory: TempDir,
}

impl LyingDisk {
    /// Makes one that holds about `bytes_max`.
    ///
    /// # Errors
    /// What the programs say.
    pub fn new(bytes_max: u64) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let memory = directory.path().join("memory");
        let size = format!("size={bytes_max}");
        let memory = Mounted::new(&["-t", "tmpfs", "-o", &size, "none"], &memory)?;
        let maker = [
            "mkfs.ext4",
            "-q",
            "-F",
            "-O",
            "^has_journal",
            "-E",
            "nodiscard",
        ];
        let place = directory.path().join("disk");
        let disk = image(&memory.path().join("image"), 256 << 20, &maker, &place)?;
        Ok(Self {
            file_system: disk,
            _memory: memory,
            _directory: directory,
        })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file_system.path()
    }
}

/// Whether file systems can be mounted from images here: by root, where there are loop devices.
#[must_use]
pub fn is_possible() -> bool {
    rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists()
}

fn must(command: Command) -> Result<()> {
    let shown = format!("{command:?}");
    let finished = run(command, MOUNT_LIMIT)?;
    ensure!(finished.status.success(), "{shown}: {}", finished.errors);
    Ok(())
}
