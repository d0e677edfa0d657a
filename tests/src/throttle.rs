//! A slow disk for the programs of a test: reads of one device at a fixed rate (cgroups(7)).
//!
//! Invariant: only what [`Throttle::command`] makes is slowed down; the group goes when dropped.
//! Works with the block controller of either version of cgroups, as root. Not promised: what the
//! kernel lets through in its first tenth of a second.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use rustix::fs::{major, minor};

use crate::process::command;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A group of processes that read slowly.
#[derive(Debug)]
pub struct Throttle {
    group: PathBuf,
}

impl Throttle {
    /// Reads of the device below `path` at this many bytes per second; `None` where this kernel or
    /// user cannot.
    #[must_use]
    pub fn new(path: &Path, bytes_per_s: u64) -> Option<Self> {
        let device = fs::metadata(path).ok()?.dev();
        let device = format!("{}:{}", major(device), minor(device));
        let one = ("/sys/fs/cgroup/blkio", "blkio.throttle.read_bps_device");
        let rows = [
            (one.0, one.1, format!("{device} {bytes_per_s}")),
            (
                "/sys/fs/cgroup",
                "io.max",
                format!("{device} rbps={bytes_per_s}"),
            ),
        ];
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("towline-test-{}-{number}", std::process::id());
        for (root, setting, value) in rows {
            let group = Path::new(root).join(&name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let throttle = Self { group };
            if fs::write(throttle.group.join(setting), value).is_ok() {
                return Some(throttle);
            }
        }
        None
    }

    /// A command whose process is in the group.
    ///
    /// # Errors
    /// When the group's name is no text.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Result<Command> {
        let members = self.group.join("cgroup.procs");
        let members = members.to_str().context("a name that is no text")?;
        let enter = "echo $$ > \"$0\" && exec \"$@\"";
        let words = [&["-c", enter, members, program], arguments].concat();
        Ok(command("sh", &words))
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // A process that has just ended may still be counted for a moment.
        for _ in 0..100 {
            if fs::remove_dir(&self.group).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
