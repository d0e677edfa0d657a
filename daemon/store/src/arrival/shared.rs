//! What the threads of an arrival share: who waits for which bytes, and when what came is made
//! durable.
//!
//! Invariant: whoever waits for a range learns of it when its last block comes, or when the arrival
//! ends. Not promised: an order among those who wait.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use towline_base::clock;

use super::file::ArrivingFile;
use super::record::Record;
use super::{ArrivalFile, ArrivalPlan, BLOCK_BYTES};
use crate::error::{ClientFault, Result};
use crate::progress::Progress;
use crate::space::Reservation;
use crate::store::Inner;

/// How long bytes may be present before they are durable, at most.
const FLUSH_INTERVAL: Duration = Duration::from_millis(1_500);

/// Most ranges that readers may have asked for and nobody has fetched yet.
const WANTED_MAX: usize = 1_024;

/// What the threads of an arrival share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) inner: Arc<Inner>,
    pub(crate) key: String,
    pub(super) directory: String,
    pub(super) plan: ArrivalPlan,
    pub(super) files: Vec<ArrivingFile>,
    pub(super) record: Record,
    pub(super) wanted: Mutex<VecDeque<(usize, Range<u64>)>>,
    /// Woken whenever a block comes or something ends; guards nothing but the waiting.
    pub(super) changed: Condvar,
    pub(super) turn: Mutex<u64>,
    pub(super) closed: AtomicBool,
    pub(super) flushed: Mutex<Instant>,
    pub(super) hashed: Progress,
    pub(super) _room: Reservation,
}

impl Shared {
    pub(super) fn file(&self, number: usize) -> Result<&ArrivingFile> {
        let found = self.files.get(number);
        found.ok_or_else(|| ClientFault::Argument("no file with this number").into())
    }

    pub(super) fn planned(&self, number: usize) -> Result<&ArrivalFile> {
        let found = self.plan.files.get(number);
        found.ok_or_else(|| ClientFault::Argument("no file with this number").into())
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, u64> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        *self.turn() += 1;
        self.changed.notify_all();
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.hashed.stop();
        self.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits until a range is here. A range outside the file never is.
    pub(super) fn wait(
        &self,
        file: usize,
        range: &Range<u64>,
        timeout: Option<Duration>,
    ) -> Result<bool> {
        let file = self.file(file)?;
        let deadline = timeout.map(|timeout| clock::now() + timeout);
        let mut turn = self.turn();
        loop {
            // Whoever adds a block takes the lock of the turn after it, so none is missed.
            if file.is_present(range) {
                return Ok(true);
            }
            if self.is_closed() {
                return Err(ClientFault::Stopped.into());
            }
            let pause = match deadline {
                Some(deadline) => match deadline.checked_duration_since(clock::now()) {
                    Some(left) if !left.is_zero() => left,
                    _ => return Ok(false),
                },
                None => Duration::from_secs(60),
            };
            let woken = self.changed.wait_timeout(turn, pause);
            turn = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn want(&self, file: usize, range: Range<u64>) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.len() < WANTED_MAX && !wanted.contains(&(file, range.clone())) {
            wanted.push_back((file, range));
        }
    }

    pub(super) fn next_wanted(&self) -> Option<(usize, Range<u64>)> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((number, range)) = wanted.pop_front() {
            let Some(file) = self.files.get(number) else {
                continue;
            };
            let range = range.start / BLOCK_BYTES * BLOCK_BYTES
                ..range.end.next_multiple_of(BLOCK_BYTES).min(file.size);
            if range.start < range.end && !file.is_present(&range) {
                return Some((number, range));
            }
        }
        None
    }

    pub(super) fn flush_if_due(&self) -> Result<()> {
        let Ok(flushed) = self.flushed.try_lock() else {
            return Ok(());
        };
        if clock::now().duration_since(*flushed) < FLUSH_INTERVAL {
            return Ok(());
        }
        drop(flushed);
        self.flush()
    }

    pub(super) fn flush(&self) -> Result<()> {
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.record.flush(&self.inner.disk, &self.files);
        *flushed = clock::now();
        result
    }
}
