//! Sending to a node elsewhere what it lacks of a folder, then naming all of it.
//!
//! Invariant: a file that the node has is not sent, one that broke off goes on behind what has
//! come, and the tag moves once, after everything is there. Not promised: that the same file is
//! sent once when two people push it at the same time.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use towline_api as api;
use towline_base::clock;
use towline_store::Source;

use super::Push;
use super::signed::{self, Folder};
use crate::bar::Bar;
use crate::client;
use crate::failure::Failure;
use crate::options::NodeUrl;

/// Files that are sent at once: enough to fill a link while one waits for the node's disk.
const SENDERS_MAX: usize = 4;

/// How often a file is begun or gone on with before it is given up.
const ATTEMPTS_MAX: u32 = 6;

/// How often progress is drawn.
const PAUSE: Duration = Duration::from_millis(100);

/// Sends what is missing and has it published; the node's task.
pub(super) fn publish(
    push: &Push,
    node: &NodeUrl,
    directory: &Path,
) -> Result<api::Task<serde_json::Value>, Failure> {
    let (name, tag) = push.name_and_tag()?;
    let name = name.as_str();
    let folder = signed::folder(push, node, directory)?;
    let files = hashes(&folder);
    let wanted = files.iter().map(|(sha256, file)| (sha256, file.size));
    let signed = folder.signed.as_ref();
    let key = signed.map(|signed| signed.signature.key.as_str());
    let missing = ask(node, (name, key), wanted)?;
    let sending = Sending {
        node,
        name,
        key,
        folder: &folder,
        files: &files,
        missing: &missing,
        next: AtomicUsize::new(0),
        sent: AtomicU64::new(0),
        failure: Mutex::default(),
    };
    sending.all()?;
    let named = folder.manifest.files.iter().filter_map(|file| {
        Some(api::PublishFile {
            path: file.path.to_string(),
            sha256: file.sha256?.to_string(),
        })
    });
    let request = api::Publish {
        name: name.to_owned(),
        tag,
        message: push.message.clone(),
        files: named.collect(),
        signed: folder.signed.clone(),
    };
    client::post(node, "/v1/models/publish", &request)
}

/// One file for each hash.
struct Hashed {
    /// Its number in the folder.
    index: usize,
    size: u64,
}

fn hashes(folder: &Folder) -> BTreeMap<String, Hashed> {
    let entries = folder.source.entries.iter().zip(0..);
    let places: BTreeMap<_, usize> = entries.map(|(entry, index)| (&entry.path, index)).collect();
    let files = folder.manifest.files.iter().filter_map(|file| {
        let index = *places.get(&file.path)?;
        let size = file.size;
        Some((file.sha256?.to_string(), Hashed { index, size }))
    });
    files.collect()
}

/// Asks which of these files the node lacks.
fn ask<'f>(
    node: &NodeUrl,
    (name, key): (&str, Option<&str>),
    files: impl Iterator<Item = (&'f String, u64)>,
) -> Result<Vec<api::MissingFile>, Failure> {
    let files = files.map(|(sha256, size)| api::HavingFile {
        sha256: sha256.clone(),
        size,
    });
    let request = api::Having {
        name: name.to_owned(),
        key: key.map(str::to_owned),
        files: files.collect(),
    };
    let missing: api::Missing = client::post(node, "/v1/models/missing", &request)?;
    Ok(missing.files)
}

/// Files on their way.
struct Sending<'a> {
    node: &'a NodeUrl,
    name: &'a str,
    key: Option<&'a str>,
    folder: &'a Folder,
    files: &'a BTreeMap<String, Hashed>,
    missing: &'a [api::MissingFile],
    next: AtomicUsize,
    /// Bytes that have left.
    sent: AtomicU64,
    failure: Mutex<Option<Failure>>,
}

impl Sending<'_> {
    fn all(&self) -> Result<(), Failure> {
        let left = self
            .missing
            .iter()
            .map(|file| file.size.saturating_sub(file.held));
        let total: u64 = left.sum();
        let (bar, started) = (Bar::new(format!("send {}", self.name)), clock::now());
        std::thread::scope(|scope| {
            let count = SENDERS_MAX.min(self.missing.len());
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(|| self.some())).collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                let elapsed = clock::now().duration_since(started).as_secs_f64();
                bar.draw(self.sent.load(Ordering::Relaxed), total, elapsed);
                std::thread::sleep(PAUSE);
            }
        });
        self.failure().take().map_or(Ok(()), Err)
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one file after the other until none is left or one has failed.
    fn some(&self) {
        while let Some(file) = self.missing.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(failure) = self.one(file) {
                self.next.store(self.missing.len(), Ordering::Relaxed);
                *self.failure() = Some(failure);
                return;
            }
        }
    }

    /// Sends one file, going on where it broke off.
    fn one(&self, file: &api::MissingFile) -> Result<(), Failure> {
        let Some(hashed) = self.files.get(&file.sha256) else {
            let why = "the node asks for a file that nobody named";
            return Err(Failure::Internal(why.to_owned()));
        };
        let mut now = file.clone();
        let mut attempt = 1;
        loop {
            let failure = match self.send(&now, hashed) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if attempt == ATTEMPTS_MAX {
                return Err(self.named(hashed, &failure));
            }
            std::thread::sleep(Duration::from_secs(1 << (attempt - 1)));
            attempt += 1;
            // How much has come of it, and a place that is good, the node alone knows; one that
            // does not answer now may do so at the next attempt.
            let wanted = std::iter::once((&file.sha256, file.size));
            match ask(self.node, (self.name, self.key), wanted) {
                Ok(mut again) => match again.pop() {
                    Some(again) => now = again,
                    None => return Ok(()),
                },
                Err(Failure::Refused(why)) => return Err(Failure::Refused(why)),
                Err(_) => {}
            }
        }
    }

    fn send(&self, file: &api::MissingFile, hashed: &Hashed) -> Result<(), Failure> {
        let held = file.held.min(hashed.size);
        let mut body = Body {
            source: &self.folder.source,
            index: hashed.index,
            offset: held,
            size: hashed.size,
            sent: &self.sent,
        };
        client::put(self.node, &file.place, (held, hashed.size), &mut body)
    }

    fn named(&self, file: &Hashed, failure: &Failure) -> Failure {
        let entry = self.folder.source.entries.get(file.index);
        let path = entry.map_or(String::new(), |entry| entry.path.to_string());
        Failure::Temporary(format!(
            "{path} could not be sent: {failure}. What has come is kept for a day; push again"
        ))
    }
}

/// The rest of a file, counted as it leaves.
struct Body<'a> {
    source: &'a dyn Source,
    index: usize,
    offset: u64,
    size: u64,
    sent: &'a AtomicU64,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        let Some(bytes) = buffer.get_mut(..room).filter(|bytes| !bytes.is_empty()) else {
            return Ok(0);
        };
        let read = self.source.read_at(self.index, self.offset, bytes);
        read.map_err(io::Error::other)?;
        self.offset += room as u64;
        self.sent.fetch_add(room as u64, Ordering::Relaxed);
        Ok(room)
    }
}
