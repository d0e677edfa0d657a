//! How fast models are cut, named and indexed, and how much of a changed model is new.
//!
//! Speed is measured against the way Xet cuts (its rolling hash from the crate `gearhash`, chunks
//! of 8 to 128 KiB around 64 KiB, BLAKE3 of each), on the same file in the page cache, in
//! interleaved rounds, as bytes per second of this thread's own processor time. Invariant: both
//! sides read the file with the same calls and hash every byte. Not promised: that Xet's own
//! program reaches the same figure; SHA-256 and writing are in neither.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use towline_store::survey::Survey;

use crate::figures::median;

pub mod changes;
pub mod push;
pub mod weights;
pub mod xet;

/// Least speed of cutting, naming and indexing on one core, in GB per second (goal G7).
pub const GB_PER_S_MIN: f64 = 3.0;

/// Least ratio to Xet's cutting and hashing (goal G7).
pub const RATIO_MIN: f64 = 2.0;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Speed {
    /// Length of the file in bytes.
    pub bytes: u64,
    /// GB per processor second of towline, by round.
    pub towline: Vec<f64>,
    /// GB per processor second of the yardstick, by round.
    pub xet: Vec<f64>,
    /// Chunks that towline made.
    pub towline_chunks: u64,
    /// Chunks that the yardstick made.
    pub xet_chunks: u64,
}

impl Speed {
    /// Median of the ratios of each round.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let ratios = self
            .towline
            .iter()
            .zip(&self.xet)
            .map(|(ours, theirs)| ours / theirs);
        median(&ratios.collect::<Vec<_>>())
    }

    /// Whether both marks are met.
    #[must_use]
    pub fn passes(&self) -> bool {
        median(&self.towline) >= GB_PER_S_MIN && self.ratio() >= RATIO_MIN
    }

    /// For `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "bytes": self.bytes,
            "towline_gb_per_cpu_s": self.towline,
            "xet_gb_per_cpu_s": self.xet,
            "ratio": self.ratio(),
            "towline_chunks": self.towline_chunks,
            "xet_chunks": self.xet_chunks,
            "pass": self.passes(),
        })
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!(
            "cut + name + index, one core, {} MiB of weights in the page cache\n  \
             towline  {:6.2} GB/s   (at least {GB_PER_S_MIN:.1})   {} chunks\n  \
             xet      {:6.2} GB/s                     {} chunks (cut and hashed only)\n  \
             ratio    {:6.2}        (at least {RATIO_MIN:.1})\n",
            self.bytes >> 20,
            median(&self.towline),
            self.towline_chunks,
            median(&self.xet),
            self.xet_chunks,
            self.ratio(),
        )
    }
}

/// Processor time of this thread, in seconds.
fn thread_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Measures both in `rounds` rounds on a file of about `mib` MiB below `directory`.
///
/// # Errors
/// Fails when the file cannot be made or read.
pub fn speed(directory: &Path, mib: u64, rounds: usize) -> Result<Speed> {
    let path = directory.join(format!("ingest-{mib}.safetensors"));
    if !path.exists() {
        let beside = directory.join("ingest.making");
        std::fs::write(&beside, weights::Model::of(mib << 20, 1).file(0))?;
        std::fs::rename(&beside, &path)?;
    }
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    let bytes = file.metadata()?.len();
    let mut speed = Speed {
        bytes,
        towline: Vec::new(),
        xet: Vec::new(),
        towline_chunks: 0,
        xet_chunks: 0,
    };
    // The first round only warms caches.
    for round in 0..=rounds {
        let place = tempfile::tempdir_in(directory)?;
        let mut survey = Survey::start(place.path())?;
        let before = thread_seconds();
        let read = |offset: u64, buffer: &mut [u8]| {
            let came = file.read_exact_at(buffer, offset);
            came.map_err(|_| towline_store::ClientFault::Argument("the file was cut").into())
        };
        let surveyed = survey.add(bytes, &read)?;
        let ours = thread_seconds() - before;
        let before = thread_seconds();
        let xet = xet::cut_and_hash(bytes, &mut |offset, buffer| {
            Ok(file.read_exact_at(buffer, offset)?)
        })?;
        let theirs = thread_seconds() - before;
        ensure!(
            surveyed.new_chunks > 0 && !xet.is_empty(),
            "nothing was cut"
        );
        if round > 0 {
            speed.towline.push(bytes as f64 / 1e9 / ours);
            speed.xet.push(bytes as f64 / 1e9 / theirs);
        }
        speed.towline_chunks = surveyed.table.chunks.len() as u64;
        speed.xet_chunks = xet.len() as u64;
    }
    Ok(speed)
}
