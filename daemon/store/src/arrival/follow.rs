//! The threads of an arrival that cut and hash its files as their bytes come.
//!
//! Each takes the next file and reads it from its beginning, waiting where bytes are missing, so
//! that little is left to do when the last byte has come. A large file gets its place and its row
//! in the index as soon as it is done, so that a restart finds it. Invariant: a file that is not
//! what was promised is forgotten whole and is missing again. Not promised: an order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::file::Known;
use super::record::{Done, set_done};
use super::{EARLY_BYTES_MIN, Shared, thread_fault};
use crate::cutting::{Cut, Nowhere, cut_file};
use crate::error::{PeerFault, Result, StorageFault, StoreError, io};
use crate::hasher::Hasher;
use crate::hold::Hold;
use crate::index::{Changes, IndexedFile};
use crate::ingest::{Ingested, Stored};
use crate::progress::Progress;
use crate::source::SourceEntry;
use crate::table::ChunkTable;

/// Most files of one arrival that are hashed at once.
const FOLLOWERS_MAX: usize = 4;

/// Starts the threads.
pub(super) fn start(shared: &Arc<Shared>) -> Result<Vec<JoinHandle<()>>> {
    let next = Arc::new(AtomicUsize::new(0));
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let large = shared
        .files
        .iter()
        .filter(|file| file.size >= EARLY_BYTES_MIN)
        .count();
    let count = (processors / 2).clamp(1, FOLLOWERS_MAX).min(large);
    let mut threads = Vec::new();
    for _ in 0..count {
        let (shared, next) = (Arc::clone(shared), Arc::clone(&next));
        let thread = std::thread::Builder::new()
            .name("store-arrival".into())
            .spawn(move || follow(&shared, &next))
            .map_err(|_| StorageFault::Thread("a thread of an arrival could not be started"))?;
        threads.push(thread);
    }
    Ok(threads)
}

fn follow(shared: &Arc<Shared>, next: &AtomicUsize) {
    let Ok(hasher) = Hasher::start() else {
        return;
    };
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(file) = shared.files.get(number) else {
            return;
        };
        if file.size < EARLY_BYTES_MIN || file.known().is_some() {
            continue;
        }
        // What goes wrong here is found again, and said, when the arrival is finished.
        if let Err(error) = settle(shared, &hasher, number) {
            let fatal = !matches!(error, StoreError::Peer(_));
            if shared.is_closed() || fatal {
                return;
            }
        }
    }
}

fn entry(shared: &Shared, number: usize) -> Result<SourceEntry> {
    let planned = shared.planned(number)?;
    Ok(SourceEntry {
        path: planned.path.clone(),
        size: planned.size,
        sha256: planned.sha256,
        git_oid: planned.git_oid,
    })
}

/// Cuts and hashes a file as it comes, and checks it.
fn cut(shared: &Shared, hasher: &Hasher, number: usize, progress: &Progress) -> Result<Cut> {
    let file = shared.file(number)?;
    let read = |offset: u64, buffer: &mut [u8]| {
        let range = offset..offset + buffer.len() as u64;
        shared.wait(number, &range, None)?;
        let count = file.read_present(&shared.inner, offset, buffer)?;
        if count == buffer.len() {
            return Ok(());
        }
        let (path, reason) = (
            file.own_path(),
            "it is shorter than what was written".to_owned(),
        );
        Err(StorageFault::Damaged { path, reason }.into())
    };
    let entry = entry(shared, number)?;
    let result = cut_file(hasher, &read, &entry, &mut Nowhere, progress);
    if let Err(StoreError::Peer(PeerFault::Hash { .. })) = &result {
        file.reset(&shared.inner.disk);
    }
    result
}

/// Gives a complete file its place in the store, and lets the index know of it at once.
fn settle(shared: &Arc<Shared>, hasher: &Hasher, number: usize) -> Result<()> {
    let cut = cut(shared, hasher, number, &shared.hashed)?;
    let (inner, sha256) = (&shared.inner, cut.sha256);
    // Said before the file moves: whoever is killed in between finds it where it went.
    let ready = Ready::of(cut);
    set_done(&inner.disk, &shared.directory, number, &ready.done)?;
    let placed = place(shared, number, ready)?;
    let id = placed.done.id;
    if let Some(table) = placed.table.clone() {
        inner.sync_files(std::iter::once(&id))?;
        let changes = Changes {
            files: vec![IndexedFile {
                id,
                sha256: Some(sha256),
                table,
            }],
            ..Changes::default()
        };
        let mut state = inner.state();
        inner.commit(&mut state, &changes)?;
    }
    shared.file(number)?.become_known(placed.known());
    Ok(())
}

/// A file that has been cut, with the bytes of its table: they are made, and named, once.
struct Ready {
    done: Done,
    encoded: Vec<u8>,
    table: ChunkTable,
}

impl Ready {
    fn of(cut: Cut) -> Self {
        let encoded = cut.table.encode();
        Self {
            done: Done {
                id: ChunkTable::id_of(&encoded),
                sha256: cut.sha256,
                git_oid: cut.git_oid,
                format: cut.format,
            },
            encoded,
            table: cut.table,
        }
    }
}

/// A file that has got its place.
struct Placed {
    done: Done,
    hold: Hold,
    /// Set if this arrival has brought it and the index does not know it.
    table: Option<Arc<ChunkTable>>,
}

impl Placed {
    fn known(self) -> Known {
        Known {
            done: self.done,
            hold: self.hold,
            arrived: self.table.is_some(),
        }
    }
}

/// Moves the bytes of a file to their place. They are not durable there yet.
fn place(shared: &Shared, number: usize, ready: Ready) -> Result<Placed> {
    let inner = &shared.inner;
    let file = shared.file(number)?;
    let (done, id) = (ready.done, ready.done.id);
    if let Some(hold) = inner.hold_known(&id)? {
        // Its own bytes go with the arrival: until then the folder that shows it links to them.
        let table = None;
        return Ok(Placed { done, hold, table });
    }
    let data = file.data(&inner.disk)?;
    data.set_length(file.size)
        .map_err(io("set the length of", &file.own_path()))?;
    let data = inner.disk.existing(&file.own_path(), data);
    let table = || inner.write_table(&id, (&ready.table, &ready.encoded));
    let hold = inner.place_file((&id, file.size), || Ok((data, table()?)))?;
    let table = Some(Arc::new(ready.table));
    Ok(Placed { done, hold, table })
}

/// Waits for the threads, does what they have left, and gives every file in order.
pub(super) fn finish(
    shared: &Arc<Shared>,
    threads: &Mutex<Vec<JoinHandle<()>>>,
) -> Result<Vec<Ingested>> {
    let threads = std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner));
    for thread in threads {
        thread.join().map_err(|_| thread_fault())?;
    }
    let hasher = Hasher::start()?;
    // Every promise is checked before the first of them moves: what is good stays for another try.
    let mut cuts = Vec::new();
    for (number, file) in shared.files.iter().enumerate() {
        if file.known().is_some() {
            continue;
        }
        if file.size == 0 {
            file.data(&shared.inner.disk)?;
        }
        cuts.push((number, cut(shared, &hasher, number, &Progress::default())?));
    }
    let mut tables = HashMap::new();
    for (number, cut) in cuts {
        let placed = place(shared, number, Ready::of(cut))?;
        tables.extend(placed.table.clone().map(|table| (number, table)));
        shared.file(number)?.become_known(placed.known());
    }
    let mut files = Vec::new();
    for (number, file) in shared.files.iter().enumerate() {
        let (done, hold, arrived) = file.known().ok_or_else(thread_fault)?;
        let bytes = file.size;
        files.push(Ingested {
            id: done.id,
            size: bytes,
            sha256: done.sha256,
            git_oid: done.git_oid,
            format: done.format,
            table: tables.remove(&number),
            stored: Stored {
                written: if arrived { bytes } else { 0 },
                linked: if arrived { 0 } else { bytes },
                ..Stored::default()
            },
            _hold: hold,
        });
    }
    Ok(files)
}
