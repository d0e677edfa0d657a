//! What an arrival remembers on the disk: a log of blocks that are there, maps of those that are
//! durable, and which files are done.
//!
//! The log is only ever appended to and its entries carry a check of their own, so a torn end is
//! passed over. Invariant: a map is written after the data it speaks of was synced, and synced
//! itself before anything else counts on it. Not promised: a small log; it goes with the arrival.

use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use towline_io::backend::{File, Open};

use super::file::ArrivingFile;
use crate::disk::DiskAccess;
use crate::error::{Result, io};
use crate::name::{FileId, GitId, Sha256};
use crate::table::Format;

/// File number u32, block u64, hash 32, check 4.
const ENTRY_BYTES: usize = 48;

/// Longest map that is read, in bytes: a file of 64 TiB.
const MAP_BYTES_MAX: usize = 32 << 20;

/// What became of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Done {
    pub(super) id: FileId,
    pub(super) sha256: Sha256,
    pub(super) git_oid: GitId,
    pub(super) format: Format,
}

#[derive(Deserialize, Serialize)]
struct DoneText {
    id: String,
    sha256: String,
    git_oid: String,
    format: u8,
}

#[derive(Debug)]
pub(super) struct Record {
    directory: String,
    log: Arc<dyn File>,
    end: Mutex<u64>,
}

pub(super) fn map_path(directory: &str, number: usize) -> String {
    format!("{directory}/{number}.map")
}

fn done_path(directory: &str, number: usize) -> String {
    format!("{directory}/{number}.done")
}

/// What became of a file of an arrival, if it is done.
pub(super) fn done(disk: &DiskAccess, directory: &str, number: usize) -> Option<Done> {
    let bytes = disk.read_whole(&done_path(directory, number), 4_096).ok()?;
    let text: DoneText = serde_json::from_slice(&bytes).ok()?;
    Some(Done {
        id: text.id.parse().ok()?,
        sha256: text.sha256.parse().ok()?,
        git_oid: text.git_oid.parse().ok()?,
        format: Format::from_number(text.format)?,
    })
}

/// Writes down what became of a file.
pub(super) fn set_done(
    disk: &DiskAccess,
    directory: &str,
    number: usize,
    done: &Done,
) -> Result<()> {
    let text = DoneText {
        id: done.id.to_string(),
        sha256: done.sha256.to_string(),
        git_oid: done.git_oid.to_string(),
        format: done.format.number(),
    };
    let bytes = serde_json::to_vec(&text).unwrap_or_default();
    disk.write_whole(&done_path(directory, number), &bytes)
        .map(drop)
}

impl Record {
    pub(super) fn open(disk: &DiskAccess, directory: &str) -> Result<Self> {
        let path = format!("{directory}/log");
        let log = match disk.backend.open(&path, Open::Write) {
            Err(Errno::NOENT) => {
                let log = disk
                    .backend
                    .open(&path, Open::Create)
                    .map_err(io("create", &path))?;
                disk.sync_parent(&path)?;
                log
            }
            other => other.map_err(io("open", &path))?,
        };
        let end = log.length().map_err(io("read", &path))?;
        Ok(Self {
            directory: directory.to_owned(),
            log,
            // A torn entry at the end must not shift those behind it.
            end: Mutex::new(end.next_multiple_of(ENTRY_BYTES as u64)),
        })
    }

    /// A block is whole, and this is its hash.
    pub(super) fn append(&self, file: usize, block: u64, hash: &[u8; 32]) -> Result<()> {
        let mut entry = Vec::with_capacity(ENTRY_BYTES);
        entry.extend_from_slice(&(file as u32).to_le_bytes());
        entry.extend_from_slice(&block.to_le_bytes());
        entry.extend_from_slice(hash);
        entry.extend(blake3::hash(&entry).as_bytes().iter().take(4));
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        self.log
            .write_at(&entry, *end)
            .map_err(io("write", "the log of an arrival"))?;
        *end += entry.len() as u64;
        Ok(())
    }

    /// Makes everything durable that is present: data, then log, then maps.
    pub(super) fn flush(&self, disk: &DiskAccess, files: &[ArrivingFile]) -> Result<()> {
        let mut maps = Vec::new();
        for file in files.iter().filter(|file| file.has_map()) {
            let Some((bits, data)) = file.take_dirty() else {
                continue;
            };
            if let Err(errno) = data.sync_data() {
                // The kernel may have dropped the pages and call them clean: none is trusted.
                file.reset(disk);
                return Err(io("sync", &file.own_path())(errno));
            }
            maps.push((file.number, bits));
        }
        if maps.is_empty() {
            return Ok(());
        }
        self.log
            .sync_data()
            .map_err(io("sync", "the log of an arrival"))?;
        for (number, bits) in maps {
            let path = map_path(&self.directory, number);
            let map = match disk.backend.open(&path, Open::Write) {
                Err(Errno::NOENT) => {
                    let map = disk
                        .backend
                        .open(&path, Open::Create)
                        .map_err(io("create", &path))?;
                    disk.sync_parent(&path)?;
                    map
                }
                other => other.map_err(io("open", &path))?,
            };
            let bytes: Vec<u8> = bits.iter().flat_map(|word| word.to_le_bytes()).collect();
            map.write_at(&bytes, 0).map_err(io("write", &path))?;
            map.sync_data().map_err(io("sync", &path))?;
        }
        Ok(())
    }

    /// Finds out what an earlier attempt has left.
    pub(super) fn restore(&self, disk: &DiskAccess, files: &[ArrivingFile]) -> Result<()> {
        for file in files {
            let is_there = disk.exists(&file.own_path());
            let map = map_path(&self.directory, file.number);
            if !is_there || file.missing().is_empty() {
                continue;
            }
            file.data(disk)?;
            for (word, bytes) in read_words(disk, &map).iter().enumerate() {
                let set = (0..64u64).filter(|bit| bytes >> bit & 1 == 1);
                set.for_each(|bit| file.set(word as u64 * 64 + bit, true));
            }
        }
        self.restore_from_log(disk, files)
    }

    /// Blocks that only the log knows are hashed again.
    fn restore_from_log(&self, disk: &DiskAccess, files: &[ArrivingFile]) -> Result<()> {
        let mut buffer = Vec::new();
        let mut entries = vec![0; ENTRY_BYTES * 4_096];
        let mut offset = 0;
        loop {
            let count = self
                .log
                .read_at(&mut entries, offset)
                .map_err(io("read", "a log"))?;
            let (whole, _) = entries.split_at(count);
            let (whole, _) = whole.as_chunks::<ENTRY_BYTES>();
            if whole.is_empty() {
                return Ok(());
            }
            for entry in whole {
                let Some((number, block, hash)) = decode(entry) else {
                    continue;
                };
                let Some(file) = files.get(number).filter(|_| true) else {
                    continue;
                };
                let range = file.block(block);
                let is_there = disk.exists(&file.own_path());
                if range.start >= range.end || !is_there || file.is_present(&range) {
                    continue;
                }
                let data = file.data(disk)?;
                if file.hash_block(&data, block, &mut buffer)? == hash {
                    file.set(block, true);
                }
            }
            offset += (whole.len() * ENTRY_BYTES) as u64;
        }
    }
}

fn decode(entry: &[u8; ENTRY_BYTES]) -> Option<(usize, u64, [u8; 32])> {
    let (body, check) = entry.split_at_checked(ENTRY_BYTES - 4)?;
    if blake3::hash(body).as_bytes().get(..4)? != check {
        return None;
    }
    let (number, rest) = body.split_first_chunk::<4>()?;
    let (block, hash) = rest.split_first_chunk::<8>()?;
    Some((
        u32::from_le_bytes(*number) as usize,
        u64::from_le_bytes(*block),
        hash.try_into().ok()?,
    ))
}

fn read_words(disk: &DiskAccess, path: &str) -> Vec<u64> {
    let bytes = disk.read_whole(path, MAP_BYTES_MAX).unwrap_or_default();
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word)).collect()
}
