//! Publishing a model against copying it: what cutting, naming, hashing and durability cost.
//!
//! Both read the same file and end with its bytes durable (the copy by fsync). Invariant: rounds
//! alternate, and each starts from an empty store. Not promised: figures of a quiet disk.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use towline_store::{DirectorySource, Options, Progress, PublishOptions, Store, TagName};

use super::weights::Model;
use crate::figures::median;

/// Seconds of each round.
#[derive(Clone, Debug, Default)]
pub struct Push {
    /// Length of the model in bytes.
    pub bytes: u64,
    /// Publishing.
    pub publish: Vec<f64>,
    /// Copying.
    pub copy: Vec<f64>,
    /// Publishing the same content again.
    pub again: Vec<f64>,
}

impl Push {
    /// For `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "bytes": self.bytes,
            "publish_s": self.publish,
            "copy_s": self.copy,
            "again_s": self.again,
        })
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let rate = |seconds: &[f64]| self.bytes as f64 / 1e9 / median(seconds);
        format!(
            "push of {} MiB, durable: {:.2} GB/s; cp and fsync: {:.2} GB/s; the same again: \
             {:.2} GB/s\n",
            self.bytes >> 20,
            rate(&self.publish),
            rate(&self.copy),
            rate(&self.again),
        )
    }
}

/// Measures `rounds` rounds with a model of `mib` MiB below `directory`.
///
/// # Errors
/// Fails when the files cannot be made, or the store refuses them.
pub fn measure(directory: &Path, mib: u64, rounds: usize) -> Result<Push> {
    let from = tempfile::tempdir_in(directory)?;
    let path = from.path().join("model.safetensors");
    std::fs::write(&path, Model::of(mib << 20, 3).file(0))?;
    let mut push = Push {
        bytes: std::fs::metadata(&path)?.len(),
        ..Push::default()
    };
    // What is still being written must not slow the first round.
    File::open(&path)?.sync_all()?;
    for _ in 0..rounds {
        let place = tempfile::tempdir_in(directory)?;
        let started = Instant::now();
        let copy = place.path().join("copy");
        std::fs::copy(&path, &copy).context("copy")?;
        File::open(&copy)?.sync_all()?;
        push.copy.push(started.elapsed().as_secs_f64());
        std::fs::remove_file(&copy)?;
        let store = Store::open_directory(place.path(), Options::default())?;
        for seconds in [&mut push.publish, &mut push.again] {
            let started = Instant::now();
            let source = DirectorySource::open(from.path())?;
            let (repo, options) = ("bench/model".parse()?, PublishOptions::default());
            store.publish(
                &repo,
                &TagName::main(),
                &source,
                &options,
                &Progress::default(),
            )?;
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(push)
}
