//! The clocks behind bounded caches and unfinished uploads of files: each sweeps its volumes every
//! now and then, one after another.
//!
//! Invariant: a cache without bounds is never touched. Not promised: that a cache never passes its
//! size between two sweeps; a quota of the file system does that.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use towline_base::ByteCount;
use towline_config::{Effective, VolumeKind};
use towline_volume::evict::{Bounds, sweep, sweep_uploads};

use crate::part::page::{Kind, Tier};
use crate::part::{Page, Part};

/// Time between two sweeps of a cache. A 10 Gb/s link writes 75 GB in it.
const INTERVAL: Duration = Duration::from_secs(60);

/// Longest time between two looks for unfinished uploads: each walks over the whole volume.
const UPLOADS_INTERVAL_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Parts of an upload's age after which is looked again: it is removed a quarter late at most.
const UPLOADS_LOOKS: u32 = 4;

/// The caches that have bounds, and what was evicted since the start.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    caches: Vec<(String, PathBuf, Bounds)>,
    files: AtomicU64,
    bytes: AtomicU64,
    spared: AtomicU64,
}

impl Caches {
    /// Those of the configuration.
    pub(crate) fn new(effective: &Effective) -> Self {
        let is_cache = |volume: &&towline_config::Volume| {
            volume.kind.value == VolumeKind::Cache && !volume.read_only.value
        };
        let caches = effective.volumes.iter().filter(is_cache).map(|volume| {
            let (bytes_max, age_max) = (volume.size_max.value, volume.age_max.value);
            (
                volume.name.clone(),
                volume.path.value.clone(),
                Bounds { bytes_max, age_max },
            )
        });
        let bounded = caches.filter(|(_, _, bounds)| *bounds != Bounds::default());
        Self {
            caches: bounded.collect(),
            ..Self::default()
        }
    }
}

impl Part for Caches {
    fn metrics(&self, page: &mut Page) {
        let rows = [
            (
                "towline_volume_evicted_files_total",
                Kind::Counter,
                "Files removed from bounded caches.",
                &self.files,
            ),
            (
                "towline_volume_evicted_bytes_total",
                Kind::Counter,
                "Bytes removed from bounded caches.",
                &self.bytes,
            ),
            (
                "towline_volume_spared_files_total",
                Kind::Counter,
                "Files not removed because in use.",
                &self.spared,
            ),
        ];
        page.rows(Tier::Stable, &rows);
    }

    fn every(&self) -> Option<Duration> {
        (!self.caches.is_empty()).then_some(INTERVAL)
    }

    fn tick(&self) {
        for (volume, path, bounds) in &self.caches {
            match sweep(path, bounds) {
                Ok(swept) => {
                    self.files.fetch_add(swept.files_removed, Ordering::Relaxed);
                    self.bytes.fetch_add(swept.bytes_removed, Ordering::Relaxed);
                    self.spared.fetch_add(swept.files_spared, Ordering::Relaxed);
                    if swept.files_removed > 0 {
                        let bytes = ByteCount(swept.bytes_removed).to_string();
                        tracing::info!(volume, bytes, "evicted old files from a cache");
                    }
                }
                Err(error) => tracing::warn!(volume, %error, "a cache could not be swept"),
            }
        }
    }
}

/// The volumes that uploads come into, and what of them was given up.
#[derive(Debug)]
pub(crate) struct Leftovers {
    volumes: Vec<(String, PathBuf)>,
    /// How long nobody may go on with one.
    age_max: Duration,
    removed: AtomicU64,
}

impl Leftovers {
    /// Those of the configuration.
    pub(crate) fn new(effective: &Effective) -> Self {
        let is_writable = |volume: &&towline_config::Volume| {
            volume.kind.value != VolumeKind::Model && !volume.read_only.value
        };
        let volumes = effective.volumes.iter().filter(is_writable);
        let volumes = volumes.map(|volume| (volume.name.clone(), volume.path.value.clone()));
        Self {
            volumes: volumes.collect(),
            age_max: effective.limits.upload_age.value,
            removed: AtomicU64::new(0),
        }
    }
}

impl Part for Leftovers {
    fn metrics(&self, page: &mut Page) {
        let rows = [(
            "towline_volume_uploads_removed_total",
            Kind::Counter,
            "Unfinished uploads removed because nobody went on with them.",
            &self.removed,
        )];
        page.rows(Tier::Stable, &rows);
    }

    fn every(&self) -> Option<Duration> {
        Some((self.age_max / UPLOADS_LOOKS).min(UPLOADS_INTERVAL_MAX))
    }

    fn tick(&self) {
        for (volume, path) in &self.volumes {
            match sweep_uploads(path, self.age_max) {
                Ok(0) => {}
                Ok(uploads) => {
                    self.removed.fetch_add(uploads, Ordering::Relaxed);
                    tracing::info!(volume, "removed uploads that nobody went on with");
                }
                Err(error) => {
                    tracing::warn!(volume, %error, "unfinished uploads could not be looked for");
                }
            }
        }
    }
}
