//! A small file system in memory, for tests of what happens when it is full.
//!
//! Invariant: it is gone when this is dropped. Not promised: that this machine allows to mount one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

/// A small file system of its own for one test.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of this size, as mount(8) writes it; `None` where that is not allowed.
    ///
    /// # Errors
    /// Fails when the place cannot be made.
    pub fn mount(at: PathBuf, size: &str) -> Result<Option<Self>> {
        fs::create_dir_all(&at)?;
        let options = format!("size={size},mode=0777");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&at);
        let done = mount.output()?;
        Ok(done.status.success().then_some(Self(at)))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
