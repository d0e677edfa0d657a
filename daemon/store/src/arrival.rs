//! A revision that is still arriving: bytes come in any order from any number of threads, survive
//! a kill of the process, and can be read while the rest is on its way.
//!
//! Each file is cut into *blocks* of 256 KiB for this (the chunk table is not known before the
//! bytes are). A block counts as present when all its bytes are written; its BLAKE3 goes to a log
//! then. Every two seconds the data is synced, then the log, then one bit per block in a map.
//! After a crash blocks with a bit are trusted, and blocks that only the log knows are hashed
//! again and trusted if they match, so what the kernel has written anyway is not fetched again.
//! As bytes come, threads of this arrival cut and hash the files from their beginnings.
//!
//! Invariant: a bit is set on the disk only after its block is durable; what is published has the
//! hashes that were promised. Not promised: that bytes read before the end are the promised ones;
//! most sources promise a hash of the whole file only. A reader who cannot bear that waits.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use towline_base::clock;

use crate::error::{ClientFault, Result, StorageFault, StoreError, io};
use crate::layout;
use crate::manifest::check_paths;
use crate::name::{FileId, GitId, RepoName, RepoPath, RevisionId, Sha256};
use crate::progress::Progress;
use crate::publish::clear_way;
use crate::store::{Inner, Store};
use crate::visible::Staged;

mod file;
mod follow;
mod live;
mod plan;
mod publish;
mod ranges;
mod record;
mod shared;

use file::ArrivingFile;
pub(crate) use live::Arrivals;
use record::Record;
use shared::Shared;

/// Bytes that are present or missing together.
pub const BLOCK_BYTES: u64 = 256 << 10;

/// Files shorter than this are given their place at the end, together, in bytes.
const EARLY_BYTES_MIN: u64 = 8 << 20;

/// A file that is to arrive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ArrivalFile {
    /// Where it goes.
    pub path: RepoPath,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, if the source has promised one. A file that is here by it is not fetched.
    pub sha256: Option<Sha256>,
    /// Its git id, if the source has promised one.
    pub git_oid: Option<GitId>,
}

/// A revision that is to arrive. The same plan again goes on where the last one stopped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ArrivalPlan {
    /// The repository it becomes a revision of.
    pub repo: RepoName,
    /// The id that it has at its source; `None`: computed as git does.
    pub rev: Option<RevisionId>,
    /// The revision before it.
    pub parent: Option<RevisionId>,
    /// When it was made, in seconds since 1970-01-01 UTC; `None`: when it is complete here.
    pub created: Option<u64>,
    /// What was said about it; empty: `pull`.
    pub message: String,
    /// Where it comes from, and can be had again.
    pub origin: String,
    /// Its files.
    pub files: Vec<ArrivalFile>,
}

/// How far an arrival is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ArrivalProgress {
    /// Bytes of all files.
    pub bytes_total: u64,
    /// Bytes that are present, those included that were here before.
    pub bytes_present: u64,
    /// Bytes of files that were in the store before.
    pub bytes_known: u64,
    /// Bytes that an earlier attempt has left and that were found good.
    pub bytes_resumed: u64,
    /// Files.
    pub files_total: u64,
    /// Files that are complete.
    pub files_present: u64,
}

/// An arrival under way. Clones are the same arrival; dropping the last one stops it, and what has
/// arrived stays for the next [`Store::begin`] with the same plan.
#[derive(Clone, Debug)]
pub struct Arrival {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Starts an arrival, or goes on with one that was stopped.
    ///
    /// # Errors
    /// [`BusyFault::Writing`] if it is under way, [`ClientFault::Quota`] if there is no room for
    /// it, [`ClientFault`] if the plan cannot be a revision.
    pub fn begin(&self, plan: ArrivalPlan) -> Result<Arrival> {
        let inner = &self.inner;
        check(&plan)?;
        inner.state().check_name(&plan.repo, None)?;
        let key = plan::key(&plan);
        let directory = format!("{}/{key}", layout::ARRIVALS);
        // Only its key is taken under the lock: room for it may have to be asked for far away.
        let _starting = inner.arrivals.start(&key)?;
        let known = ArrivingFile::known_files(inner, &plan, &directory)?;
        let missing = plan
            .files
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none());
        let room = inner.reserve(missing.map(|(file, _)| file.size).sum())?;
        if inner.disk.make_directories(&directory)? || !inner.disk.exists(&plan::path(&directory)) {
            inner
                .disk
                .write_whole(&plan::path(&directory), &plan::encode(&plan))?;
        }
        let files = plan.files.iter().zip(known).enumerate();
        let files: Vec<ArrivingFile> = files
            .map(|(number, (file, known))| ArrivingFile::new(&directory, number, file.size, known))
            .collect();
        let record = Record::open(&inner.disk, &directory)?;
        record.restore(&inner.disk, &files)?;
        let shared = Arc::new(Shared {
            inner: Arc::clone(inner),
            key: key.clone(),
            directory,
            plan,
            files,
            record,
            wanted: Mutex::default(),
            changed: Condvar::new(),
            turn: Mutex::default(),
            closed: AtomicBool::new(false),
            flushed: Mutex::new(clock::now()),
            hashed: Progress::default(),
            _room: room,
        });
        inner.arrivals.add(&shared);
        let threads = Mutex::new(follow::start(&shared)?);
        inner.arrivals.count_begun();
        Ok(Arrival {
            handle: Arc::new(Handle { shared, threads }),
        })
    }

    /// Arrivals that were stopped and can go on, with their plans.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn stopped_arrivals(&self) -> Result<Vec<ArrivalPlan>> {
        let plans = plan::stored(&self.inner.disk)?;
        let stopped = plans.into_iter();
        let stopped = stopped.filter(|(key, _)| !self.inner.arrivals.has(key));
        Ok(stopped.map(|(_, plan)| plan).collect())
    }

    /// Forgets a stopped arrival and removes what has come of it.
    ///
    /// # Errors
    /// [`BusyFault::Writing`] if it is under way.
    pub fn abandon(&self, plan: &ArrivalPlan) -> Result<()> {
        let key = plan::key(plan);
        let _starting = self.inner.arrivals.start(&key)?;
        self.inner
            .disk
            .remove_all(&format!("{}/{key}", layout::ARRIVALS))
    }
}

fn check(plan: &ArrivalPlan) -> Result<()> {
    if plan.files.is_empty() {
        return Err(ClientFault::Empty.into());
    }
    if plan.origin.len() > crate::books::TEXT_BYTES_MAX {
        return Err(ClientFault::Argument("an origin is at most 2048 bytes long").into());
    }
    let mut paths: Vec<_> = plan.files.iter().map(|file| &file.path).collect();
    paths.sort();
    check_paths(paths.into_iter())?;
    let sum = plan
        .files
        .iter()
        .try_fold(0u64, |sum, file| sum.checked_add(file.size));
    sum.map(drop)
        .ok_or_else(|| ClientFault::Argument("the sizes are not real").into())
}

impl Arrival {
    /// What is to arrive.
    #[must_use]
    pub fn plan(&self) -> &ArrivalPlan {
        &self.handle.shared.plan
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> ArrivalProgress {
        let mut progress = ArrivalProgress::default();
        for file in &self.handle.shared.files {
            file.count(&mut progress);
        }
        progress
    }

    /// Which bytes of a file are missing, in order; empty: complete.
    #[must_use]
    pub fn missing(&self, file: usize) -> Vec<Range<u64>> {
        self.handle
            .shared
            .files
            .get(file)
            .map(ArrivingFile::missing)
            .unwrap_or_default()
    }

    /// Whether all bytes of a range are here.
    #[must_use]
    pub fn is_present(&self, file: usize, range: &Range<u64>) -> bool {
        self.handle
            .shared
            .files
            .get(file)
            .is_some_and(|file| file.is_present(range))
    }

    /// Takes bytes of a file; those that are here already are not written again.
    ///
    /// # Errors
    /// [`crate::PeerFault::Range`] if they do not lie in the file; [`StorageFault`] if they cannot
    /// be kept.
    pub fn write(&self, file: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        let shared = &self.handle.shared;
        let arriving = shared.file(file)?;
        let path = &shared.planned(file)?.path;
        if arriving.write(&shared.inner.disk, &shared.record, (offset, bytes), path)? {
            shared.wake();
        }
        shared.flush_if_due()
    }

    /// Makes everything that is present durable now.
    ///
    /// # Errors
    /// [`StorageFault`]; a file whose sync failed starts anew.
    pub fn flush(&self) -> Result<()> {
        self.handle.shared.flush()
    }

    /// Asks that a range be fetched next, because somebody waits for it.
    pub fn want(&self, file: usize, range: Range<u64>) {
        self.handle.shared.want(file, range);
    }

    /// The next range that somebody waits for and that is still missing: the fetcher asks this
    /// before it goes on in order. Whole blocks.
    #[must_use]
    pub fn next_wanted(&self) -> Option<(usize, Range<u64>)> {
        self.handle.shared.next_wanted()
    }

    /// Waits until a range is here, asking for it first; `false`: `timeout` has passed.
    ///
    /// # Errors
    /// [`ClientFault::Stopped`] if the arrival ended without it.
    pub fn wait(&self, file: usize, range: &Range<u64>, timeout: Duration) -> Result<bool> {
        let shared = &self.handle.shared;
        if !self.is_present(file, range) {
            shared.want(file, range.clone());
        }
        shared.wait(file, range, Some(timeout))
    }

    /// Reads bytes that are here; fewer than the buffer only at the end of the file or where the
    /// bytes end that are here.
    ///
    /// # Errors
    /// [`StorageFault`] if they cannot be read.
    pub fn read_at(&self, file: usize, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let shared = &self.handle.shared;
        shared
            .file(file)?
            .read_present(&shared.inner, offset, buffer)
    }

    /// Where the bytes of a file lie now, relative to the store's root; they move once, when the
    /// file is complete, and an open descriptor stays good. `None`: no byte of it is here.
    #[must_use]
    pub fn data_path(&self, file: usize) -> Option<String> {
        self.handle.shared.files.get(file)?.data_path()
    }

    /// Shows the files under the revision's id while they arrive, with their full lengths; whoever
    /// reads them must ask first what is here. Returns the directory, relative to the store's root;
    /// `None` if the revision has no id yet, or is here already. Not durable: after a restart the
    /// directory is gone until the arrival goes on.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn show(&self) -> Result<Option<String>> {
        let shared = &self.handle.shared;
        let (plan, inner) = (&shared.plan, &shared.inner);
        let Some(rev) = plan.rev else {
            return Ok(None);
        };
        let state = inner.state();
        if state.books.revision(&plan.repo, &rev).is_some() {
            return Ok(None);
        }
        let mut files = Vec::new();
        for (number, file) in shared.files.iter().enumerate() {
            let data = match file.known() {
                Some((done, ..)) => layout::data(&done.id),
                None => {
                    let path = file.own_path();
                    let data = file.data(&inner.disk)?;
                    data.set_length(file.size).map_err(io("extend", &path))?;
                    path
                }
            };
            files.push((&shared.planned(number)?.path, data));
        }
        let place = layout::revision(&plan.repo, &rev);
        clear_way(inner, std::slice::from_ref(&place))?;
        Staged::arriving(&inner.disk, &files)?.place(&place)?;
        Ok(Some(place))
    }

    /// Takes the directory of [`Arrival::show`] away again, unless the revision has become known.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn hide(&self) -> Result<()> {
        let shared = &self.handle.shared;
        let Some(rev) = shared.plan.rev else {
            return Ok(());
        };
        let repo = &shared.plan.repo;
        let state = shared.inner.state();
        if state.books.revision(repo, &rev).is_some() {
            return Ok(());
        }
        crate::visible::hide_revision(&shared.inner.disk, repo, &rev)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.inner.arrivals.count_ended();
        self.shared.close();
        let threads = self
            .threads
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            let _ = thread.join();
        }
        // What came in the last moments is kept too, where that is possible.
        if self.shared.inner.disk.exists(&self.shared.directory) {
            let _ = self.shared.flush();
        }
    }
}

/// Files that stopped arrivals have completed: they are not to be collected.
pub(crate) fn kept_files(inner: &Inner) -> Result<Vec<FileId>> {
    let mut kept = Vec::new();
    for (key, plan) in plan::stored(&inner.disk)? {
        let directory = format!("{}/{key}", layout::ARRIVALS);
        for number in 0..plan.files.len() {
            kept.extend(record::done(&inner.disk, &directory, number).map(|done| done.id));
        }
    }
    Ok(kept)
}

pub(crate) fn thread_fault() -> StoreError {
    StorageFault::Thread("a thread of an arrival ended early").into()
}
