//! The clock behind bounded caches and models: sweeps caches every now and then, one at a time,
//! removes uploads that nobody goes on with, and writes down when models were used, so that the
//! store knows which to evict.
//!
//! Invariant: a cache without bounds is never touched. Not promised: that a cache never passes
//! its size between two sweeps; a quota of the file system does that.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use towline_base::ByteCount;
use towline_config::{Effective, VolumeKind};
use towline_volume::evict::{Bounds, sweep, sweep_uploads};

use crate::node::Facts;

/// Time between two sweeps of a cache. A 10 Gb/s link writes 75 GB in it.
const INTERVAL: Duration = Duration::from_secs(60);

/// What eviction has done since the start, for the metrics.
#[derive(Debug, Default)]
pub(crate) struct Evicted {
    pub(crate) files: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) spared: AtomicU64,
    /// Unfinished uploads that nobody went on with.
    pub(crate) uploads: AtomicU64,
}

/// The caches that have bounds.
pub(crate) fn bounded(effective: &Effective) -> Vec<(String, PathBuf, Bounds)> {
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
    caches
        .filter(|(_, _, bounds)| *bounds != Bounds::default())
        .collect()
}

/// Sweeps until the runtime ends.
pub(crate) async fn serve(caches: Vec<(String, PathBuf, Bounds)>, evicted: Arc<Evicted>) {
    if caches.is_empty() {
        return;
    }
    let mut timer = tokio::time::interval(INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        for (volume, path, bounds) in &caches {
            let (path, bounds) = (path.clone(), *bounds);
            match tokio::task::spawn_blocking(move || sweep(&path, &bounds)).await {
                Ok(Ok(swept)) => {
                    evicted
                        .files
                        .fetch_add(swept.files_removed, Ordering::Relaxed);
                    evicted
                        .bytes
                        .fetch_add(swept.bytes_removed, Ordering::Relaxed);
                    evicted
                        .spared
                        .fetch_add(swept.files_spared, Ordering::Relaxed);
                    if swept.files_removed > 0 {
                        let bytes = ByteCount(swept.bytes_removed).to_string();
                        tracing::info!(volume, bytes, "evicted old files from a cache");
                    }
                }
                Ok(Err(error)) => tracing::warn!(volume, %error, "a cache could not be swept"),
                Err(_) => return,
            }
        }
    }
}

/// Longest time between two looks for unfinished uploads: each walks over the whole volume.
const UPLOADS_INTERVAL_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Parts of an upload's age after which is looked again: it is removed a quarter late at most.
const UPLOADS_LOOKS: u32 = 4;

/// The volumes that uploads come into.
pub(crate) fn uploaded(effective: &Effective) -> Vec<(String, PathBuf)> {
    let is_writable = |volume: &&towline_config::Volume| {
        volume.kind.value != VolumeKind::Model && !volume.read_only.value
    };
    let volumes = effective.volumes.iter().filter(is_writable);
    volumes
        .map(|volume| (volume.name.clone(), volume.path.value.clone()))
        .collect()
}

/// Removes uploads that nobody has gone on with for `age_max`, until the runtime ends.
pub(crate) async fn serve_uploads(
    volumes: Vec<(String, PathBuf)>,
    age_max: Duration,
    evicted: Arc<Evicted>,
) {
    let interval = (age_max / UPLOADS_LOOKS).min(UPLOADS_INTERVAL_MAX);
    let mut timer = tokio::time::interval(interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        for (volume, path) in &volumes {
            let path = path.clone();
            match tokio::task::spawn_blocking(move || sweep_uploads(&path, age_max)).await {
                Ok(Ok(0)) => {}
                Ok(Ok(uploads)) => {
                    evicted.uploads.fetch_add(uploads, Ordering::Relaxed);
                    tracing::info!(volume, "removed uploads that nobody went on with");
                }
                Ok(Err(error)) => {
                    tracing::warn!(volume, %error, "unfinished uploads could not be looked for");
                }
                Err(_) => return,
            }
        }
    }
}

/// Lets the store write down when models were used, and removes uploads that were given up, until
/// the runtime ends.
pub(crate) async fn note_uses(facts: Arc<Facts>) {
    let mut timer = tokio::time::interval(INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let facts = facts.clone();
        let noted = tokio::task::spawn_blocking(move || {
            facts.models.iter().for_each(|desk| desk.note_uses());
            facts.models.iter().for_each(|desk| desk.sweep_uploads());
        });
        if noted.await.is_err() {
            return;
        }
    }
}
