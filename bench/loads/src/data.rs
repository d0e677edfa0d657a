//! The files that loads read and write, made once and kept.
//!
//! Invariant: a file is complete under its final name (made beside it, then renamed) and has the
//! length asked for. Content is a cheap sequence without repetition, so nothing is deduplicated.
//! Not promised: that two machines make equal content.

use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use towline_sys::mapping::HeldInMemory;

use crate::http_load::Random;

/// Length of each cold file in bytes.
pub const COLD_BYTES: u64 = 1 << 30;
/// Cold files, one per cold stream.
pub const COLD_FILES: usize = 4;
/// Names in the directory that LOOKUP loads search.
pub const NAMES: usize = 1000;

/// Paths and URL parts of everything a load needs below one data directory.
#[derive(Debug)]
pub struct Data {
    /// What servers serve: `models`, `projects` and `cache` lie in it.
    pub directory: PathBuf,
    /// Length of the file of hot loads, and of the one that WRITE loads overwrite, in bytes.
    pub hot_bytes: u64,
    /// Keeps the file of hot loads hot on hosts that reclaim the page cache in the background.
    held: Option<HeldInMemory>,
}

impl Data {
    /// Makes what is missing.
    ///
    /// # Errors
    /// Fails when the directory cannot be written, for instance for want of space.
    pub fn prepare(directory: &Path, hot_bytes: u64, cold: bool) -> Result<Self> {
        let mut data = Self {
            directory: directory.to_owned(),
            hot_bytes,
            held: None,
        };
        for volume in ["models", "projects", "cache"] {
            let path = directory.join(volume);
            fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
            fs::set_permissions(&path, Permissions::from_mode(0o777))?;
        }
        make_file(&data.hot(), hot_bytes, 1)?;
        make_file(&data.written(), hot_bytes, 2)?;
        warm(&data.hot())?;
        data.held = hold(&data.hot());
        warm(&data.written())?;
        let names = directory.join("models/names");
        fs::create_dir_all(&names)?;
        for name in data.names() {
            let path = names.join(name);
            if !path.exists() {
                fs::write(path, b"")?;
            }
        }
        for index in (0..COLD_FILES).filter(|_| cold) {
            make_file(&data.cold(index), COLD_BYTES, 3 + index as u64)?;
        }
        Ok(data)
    }

    /// The file of hot loads.
    #[must_use]
    pub fn hot(&self) -> PathBuf {
        self.directory.join("models/hot.bin")
    }

    /// The file that WRITE loads overwrite.
    #[must_use]
    pub fn written(&self) -> PathBuf {
        self.directory.join("projects/written.bin")
    }

    /// A file of cold loads.
    #[must_use]
    pub fn cold(&self, index: usize) -> PathBuf {
        self.directory.join(format!("models/cold-{index}.bin"))
    }

    /// Names in `models/names`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        (0..NAMES)
            .map(|index| format!("shard-{index:05}.safetensors"))
            .collect()
    }
}

fn make_file(path: &Path, bytes: u64, seed: u64) -> Result<()> {
    if fs::metadata(path).is_ok_and(|found| found.len() == bytes) {
        return Ok(());
    }
    let unfinished = path.with_extension("unfinished");
    let file = File::create(&unfinished).with_context(|| unfinished.display().to_string())?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let mut random = Random::new(seed);
    for _word in 0..bytes / 8 {
        writer.write_all(&random.below(u64::MAX).to_le_bytes())?;
    }
    let file = writer.into_inner().context("flush")?;
    // Dirty pages cannot be dropped from the cache, and their writing would disturb the loads.
    file.sync_all()?;
    fs::set_permissions(&unfinished, Permissions::from_mode(0o666))?;
    fs::rename(&unfinished, path).with_context(|| path.display().to_string())
}

/// Locks a file in memory where the user may.
fn hold(path: &Path) -> Option<HeldInMemory> {
    let held = File::open(path).map(|file| HeldInMemory::new(file.as_fd()));
    match held {
        Ok(Ok(held)) => Some(held),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the hot file is not locked in memory and may grow cold");
            None
        }
        Err(_) => None,
    }
}

fn warm(path: &Path) -> Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}
