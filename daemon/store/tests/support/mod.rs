//! What the tests of the store share: sources in memory, a seeded generator, reading what clients
//! see on any backend.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses its own part, and a failed step is a failed test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use towline_io::backend::sim::Sim;
use towline_io::backend::{Backend, Open};
use towline_store::{
    ClientFault, Options, Progress, PublishOptions, Published, RepoName, Result, Source,
    SourceEntry, Store, TagName,
};

/// Files by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A source that holds its files in memory.
pub(crate) struct Memory(pub(crate) Vec<(String, Vec<u8>)>);

impl Memory {
    pub(crate) fn new(files: &Files) -> Self {
        Self(files.clone().into_iter().collect())
    }
}

impl Source for Memory {
    fn entries(&self) -> Result<Vec<SourceEntry>> {
        let entries = self.0.iter().map(|(path, bytes)| SourceEntry {
            path: path.parse().unwrap(),
            size: bytes.len() as u64,
            sha256: None,
            git_oid: None,
        });
        Ok(entries.collect())
    }

    fn read_at(&self, index: usize, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = offset as usize;
        let bytes = self.0[index].1.get(start..start + buffer.len());
        let bytes = bytes.ok_or(ClientFault::Argument("outside"))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// splitmix64: the same seed gives the same case on every machine.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// A clock that stands still until it is moved.
#[derive(Clone, Default)]
pub(crate) struct Time(pub(crate) Arc<AtomicU64>);

impl Time {
    pub(crate) fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Options with one worker, so that a run is the same each time, and that clock.
pub(crate) fn options(time: &Time) -> Options {
    let time = time.clone();
    Options {
        workers: Some(1),
        clock: Arc::new(move || time.now()),
        ..Options::default()
    }
}

pub(crate) fn open(sim: &Sim, time: &Time) -> Store {
    Store::open(Arc::new(sim.clone()), options(time)).unwrap()
}

pub(crate) fn publish(
    store: &Store,
    repo: &RepoName,
    tag: &TagName,
    files: &Files,
) -> Result<Published> {
    let source = Memory::new(files);
    store.publish(
        repo,
        tag,
        &source,
        &PublishOptions::default(),
        &Progress::default(),
    )
}

/// Everything below a directory, by path.
pub(crate) fn tree(backend: &dyn Backend, place: &str) -> Option<Files> {
    let mut files = Files::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        let below = |name: &str| match directory.as_str() {
            "" => name.to_owned(),
            directory => format!("{directory}/{name}"),
        };
        let at = if directory.is_empty() {
            place.to_owned()
        } else {
            format!("{place}/{directory}")
        };
        for entry in backend.list(&at).ok()? {
            let path = below(&entry.name);
            if entry.is_directory {
                directories.push(path);
                continue;
            }
            let file = backend.open(&format!("{place}/{path}"), Open::Read).ok()?;
            let mut bytes = vec![0; file.length().ok()? as usize];
            file.read_at(&mut bytes, 0).ok()?;
            files.insert(path, bytes);
        }
    }
    Some(files)
}

/// All bytes of a file.
pub(crate) fn read(backend: &dyn Backend, path: &str) -> Vec<u8> {
    let file = backend.open(path, Open::Read).unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}
