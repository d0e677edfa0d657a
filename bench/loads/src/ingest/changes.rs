//! What a changed model costs: bytes that are new, and bytes that the store writes for it.
//!
//! Invariant: every row starts from the same base model, known before, and nothing else. "New" is
//! what cutting alone says; "written" is what a store on this file system wrote, which is more
//! where blocks cannot be shared (ext4). Not promised: the same figures for real fine-tunes, in
//! which every tensor changes a little.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use towline_store::survey::Survey;
use towline_store::{
    ClientFault, Options, Progress, PublishOptions, RepoName, Source, SourceEntry, Store, TagName,
};

use super::weights::Model;
use super::xet;

/// Largest share of a model that may be new when only its layout changed (goal G5).
pub const LAYOUT_SHARE_MAX: f64 = 0.002;

/// Largest number of index entries, as a share of Xet's (goal G5).
pub const ENTRIES_SHARE_MAX: f64 = 1.0 / 16.0;

/// One change of a model.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was changed.
    pub change: &'static str,
    /// Length of the changed model in bytes.
    pub bytes: u64,
    /// Bytes of chunks that the base has not.
    pub new_bytes: u64,
    /// The same, cut as Xet does.
    pub xet_new_bytes: u64,
    /// Entries of the index for base and change.
    pub entries: u64,
    /// The same, cut as Xet does.
    pub xet_entries: u64,
    /// Bytes that a store wrote for it.
    pub written: u64,
    /// Bytes that it linked as whole files.
    pub linked: u64,
    /// Bytes whose blocks it shared.
    pub cloned: u64,
    /// Largest share that may be new.
    pub share_max: f64,
}

impl Row {
    fn share(&self) -> f64 {
        self.new_bytes as f64 / self.bytes as f64
    }

    /// Whether its marks are met.
    #[must_use]
    pub fn passes(&self) -> bool {
        let entries = self.entries as f64 <= self.xet_entries as f64 * ENTRIES_SHARE_MAX;
        self.share() <= self.share_max && entries
    }

    /// For `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "change": self.change,
            "bytes": self.bytes,
            "new_bytes": self.new_bytes,
            "xet_new_bytes": self.xet_new_bytes,
            "index_entries": self.entries,
            "xet_index_entries": self.xet_entries,
            "written_bytes": self.written,
            "linked_bytes": self.linked,
            "cloned_bytes": self.cloned,
            "pass": self.passes(),
        })
    }
}

/// The table for people.
#[must_use]
pub fn to_text(rows: &[Row]) -> String {
    let mut text = String::from(
        "change of a model     new     limit   xet new   written  linked  cloned  entries/xet\n",
    );
    for row in rows {
        let share = |bytes: u64| format!("{:.2} %", bytes as f64 * 100.0 / row.bytes as f64);
        text += &format!(
            "{:20} {:>8} {:>6.1} % {:>9} {:>9} {:>7} {:>7}  {:>4}/{:<6} {}\n",
            row.change,
            share(row.new_bytes),
            row.share_max * 100.0,
            share(row.xet_new_bytes),
            share(row.written),
            share(row.linked),
            share(row.cloned),
            row.entries,
            row.xet_entries,
            if row.passes() { "ok" } else { "MISSED" },
        );
    }
    text
}

/// Files in memory, as a source.
struct Files(Vec<Vec<u8>>);

impl Source for Files {
    fn entries(&self) -> towline_store::Result<Vec<SourceEntry>> {
        let entries = self.0.iter().enumerate().map(|(at, bytes)| {
            Ok(SourceEntry {
                path: format!("model-{at}.safetensors").parse()?,
                size: bytes.len() as u64,
                sha256: None,
                git_oid: None,
            })
        });
        entries.collect()
    }

    fn read_at(&self, index: usize, offset: u64, buffer: &mut [u8]) -> towline_store::Result<()> {
        let start = offset as usize;
        let file = self.0.get(index);
        let bytes = file.and_then(|bytes| bytes.get(start..start + buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(ClientFault::Argument("outside the file"))?);
        Ok(())
    }
}

/// The files of a model in `shards` shards.
fn shards(model: &Model, shards: usize, more: usize) -> Files {
    let each = model.tensors.len().div_ceil(shards);
    let parts = model.tensors.chunks(each).map(|tensors| {
        let part = Model {
            tensors: tensors.to_vec(),
        };
        part.file(more)
    });
    Files(parts.collect())
}

/// Measures every change of a model of about `mib` MiB, with stores below `directory`.
///
/// # Errors
/// Fails when a store cannot be made.
pub fn measure(directory: &Path, mib: u64) -> Result<Vec<Row>> {
    let model = Model::of(mib << 20, 7);
    let base = shards(&model, 2, 10);
    let mut reordered = model.clone();
    reordered.tensors.reverse();
    let mut tuned = model.clone();
    // Every tenth of the large tensors; the norms weigh nothing.
    let large = tuned
        .tensors
        .iter_mut()
        .filter(|tensor| tensor.bytes > 8_192);
    for tensor in large.step_by(10) {
        tensor.seed ^= 1 << 60;
    }
    let changed: u64 = tuned
        .tensors
        .iter()
        .zip(&model.tensors)
        .filter(|(one, other)| one.seed != other.seed)
        .map(|(one, _)| one.bytes)
        .sum();
    let whole: u64 = model.tensors.iter().map(|tensor| tensor.bytes).sum();
    let tuned_share = changed as f64 / whole as f64 + LAYOUT_SHARE_MAX;
    let cases = [
        ("the same again", shards(&model, 2, 10), 0.0),
        ("header + 1 KiB", shards(&model, 2, 1_034), LAYOUT_SHARE_MAX),
        (
            "tensors reordered",
            shards(&reordered, 2, 10),
            LAYOUT_SHARE_MAX,
        ),
        ("2 shards become 3", shards(&model, 3, 10), LAYOUT_SHARE_MAX),
        ("10 % of tensors new", shards(&tuned, 2, 10), tuned_share),
    ];
    let rows = cases.into_iter().map(|(change, files, share_max)| {
        let mut row = compare(directory, &base, &files)?;
        row.change = change;
        row.share_max = share_max;
        Ok(row)
    });
    rows.collect()
}

fn compare(directory: &Path, base: &Files, changed: &Files) -> Result<Row> {
    let place = tempfile::tempdir_in(directory)?;
    let mut survey = Survey::start(place.path())?;
    let mut seen = HashSet::new();
    let mut row = Row {
        change: "",
        bytes: changed.0.iter().map(|bytes| bytes.len() as u64).sum(),
        new_bytes: 0,
        xet_new_bytes: 0,
        entries: 0,
        xet_entries: 0,
        written: 0,
        linked: 0,
        cloned: 0,
        share_max: 0.0,
    };
    for (files, counts) in [(base, false), (changed, true)] {
        for (index, file) in files.0.iter().enumerate() {
            let size = file.len() as u64;
            let read = |offset: u64, buffer: &mut [u8]| files.read_at(index, offset, buffer);
            let surveyed = survey.add(size, &read)?;
            let pieces = xet::cut_and_hash(size, &mut |offset, buffer| Ok(read(offset, buffer)?))?;
            let (bytes, chunks) = xet::new_bytes(&mut seen, &pieces);
            row.entries += surveyed.new_chunks;
            row.xet_entries += chunks;
            if counts {
                row.new_bytes += size - surveyed.known_bytes;
                row.xet_new_bytes += bytes;
            }
        }
    }
    let place = tempfile::tempdir_in(directory)?;
    let store = Store::open_directory(place.path(), Options::default())?;
    let repo: RepoName = "bench/model".parse()?;
    let options = PublishOptions::default();
    store.publish(
        &repo,
        &TagName::main(),
        base,
        &options,
        &Progress::default(),
    )?;
    let tag: TagName = "changed".parse()?;
    let published = store.publish(&repo, &tag, changed, &options, &Progress::default())?;
    row.written = published.stored.written;
    row.linked = published.stored.linked;
    row.cloned = published.stored.cloned;
    Ok(row)
}
