//! Fetching what an arrival lacks: several ranges at once, in order, and first what somebody
//! waits for.
//!
//! Invariant: every range ends as written, as failed for good, or is tried again, at most
//! [`ATTEMPTS_MAX`] times in a row without progress; a stop is seen within one read. Not promised:
//! an order among the ranges that are under way.

use std::collections::VecDeque;
use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use towline_base::clock;
use towline_store::Arrival;
use towline_store::arrival::BLOCK_BYTES;

use crate::error::TransferError;
use crate::source::Source;
use crate::watch::Watch;

/// Ranges under way at once. One connection rarely fills a long line; eight do.
pub(crate) const STREAMS: usize = 8;

/// Longest range that one request asks for, in bytes: what is lost at most when it breaks is a
/// block, so length only saves requests.
const RANGE_BYTES_MAX: u64 = 64 << 20;

/// Bytes read from a source at a time: one block of the arrival.
const READ_BYTES: usize = BLOCK_BYTES as usize;

/// Tries of one range without a byte of progress.
const ATTEMPTS_MAX: u32 = 6;

/// Wait before the second try; it doubles with each.
const PAUSE_FIRST: Duration = Duration::from_millis(250);

/// How often a thread looks whether somebody waits for a range.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

struct Fetcher<'a> {
    arrival: &'a Arrival,
    source: &'a dyn Source,
    watch: &'a dyn Watch,
    fetched: &'a AtomicU64,
    retries: &'a AtomicU64,
    queue: Mutex<VecDeque<(usize, Range<u64>)>>,
    fetching: AtomicUsize,
    failed: AtomicBool,
    error: Mutex<Option<TransferError>>,
}

/// Fetches everything that is missing. Counts the bytes that came, and what was tried again.
pub(crate) fn all(
    arrival: &Arrival,
    source: &dyn Source,
    (fetched, retries): (&AtomicU64, &AtomicU64),
    watch: &dyn Watch,
) -> Result<(), TransferError> {
    let files = 0..arrival.plan().files.len();
    let ranges = files.flat_map(|file| {
        let missing = arrival.missing(file).into_iter();
        missing.flat_map(move |range| pieces(range).map(move |piece| (file, piece)))
    });
    let fetcher = Fetcher {
        arrival,
        source,
        watch,
        fetched,
        retries,
        queue: Mutex::new(ranges.collect()),
        fetching: AtomicUsize::new(STREAMS),
        failed: AtomicBool::new(false),
        error: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for _ in 0..STREAMS {
            scope.spawn(|| fetcher.work());
        }
        scope.spawn(|| fetcher.serve_readers());
    });
    let error = fetcher
        .error
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    match error {
        Some(error) => Err(error),
        None if watch.is_stopped() => Err(TransferError::Stopped),
        None => Ok(arrival.flush()?),
    }
}

fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    let starts = (range.start..end).step_by(RANGE_BYTES_MAX as usize);
    starts.map(move |start| start..end.min(start + RANGE_BYTES_MAX))
}

impl Fetcher<'_> {
    fn work(&self) {
        while !self.is_over()
            && let Some((file, range)) = self.next()
        {
            self.fetch(file, range);
        }
        self.fetching.fetch_sub(1, Ordering::SeqCst);
    }

    /// Fetches what readers wait for, on a stream of its own, while the others go on.
    fn serve_readers(&self) {
        while !self.is_over() && self.fetching.load(Ordering::SeqCst) > 0 {
            match self.arrival.next_wanted() {
                Some((file, range)) => self.fetch(file, range),
                None => std::thread::sleep(LOOK_INTERVAL),
            }
        }
    }

    fn next(&self) -> Option<(usize, Range<u64>)> {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    fn is_over(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.watch.is_stopped()
    }

    fn fetch(&self, file: usize, mut range: Range<u64>) {
        let (mut attempts, mut pause) = (0, PAUSE_FIRST);
        while !self.is_over() && range.start < range.end {
            let before = range.start;
            let outcome = self.stream(file, &mut range);
            if range.start > before {
                (attempts, pause) = (0, PAUSE_FIRST);
            }
            match outcome {
                Ok(()) if range.start > before => {}
                Ok(()) => attempts += 1,
                Err(TransferError::Network(why)) if attempts + 1 < ATTEMPTS_MAX => {
                    tracing::debug!(error = why, offset = range.start, "a range is tried again");
                    attempts += 1;
                }
                Err(error) => return self.fail(error),
            }
            if attempts >= ATTEMPTS_MAX {
                let why = "the source ends its answers before their end";
                return self.fail(TransferError::Network(why.to_owned()));
            }
            if attempts > 0 {
                self.retries.fetch_add(1, Ordering::Relaxed);
                let until = clock::now() + pause;
                while clock::now() < until && !self.is_over() {
                    std::thread::sleep(LOOK_INTERVAL * 4);
                }
                pause *= 2;
            }
        }
    }

    /// One request; moves the start of `range` behind what was written.
    fn stream(&self, file: usize, range: &mut Range<u64>) -> Result<(), TransferError> {
        let Some(planned) = self.arrival.plan().files.get(file) else {
            return Err(TransferError::Usage("no such file".to_owned()));
        };
        let mut reader = self.source.open(&planned.path, range)?;
        let mut buffer = vec![0; READ_BYTES];
        while range.start < range.end && !self.is_over() {
            // Whole blocks are written at once; only they count as present.
            let to_block = BLOCK_BYTES - range.start % BLOCK_BYTES;
            let most = to_block.min(range.end - range.start) as usize;
            let room = buffer.get_mut(..most).unwrap_or(&mut []);
            let count = fill(&mut reader, room)?;
            if count == 0 {
                return Ok(());
            }
            let bytes = buffer.get(..count).unwrap_or(&[]);
            self.fetched.fetch_add(count as u64, Ordering::Relaxed);
            self.arrival.write(file, range.start, bytes)?;
            range.start += count as u64;
            give_way();
        }
        Ok(())
    }

    fn fail(&self, error: TransferError) {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() {
            *first = Some(error);
        }
        self.failed.store(true, Ordering::Relaxed);
    }
}

/// Lets who woke up have the processor: a read or write of a block takes some 100 us, and a kernel
/// may not look before the next tick (4 ms).
fn give_way() {
    std::thread::yield_now();
}

/// Reads until the buffer is full or the source ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, TransferError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(buffer.get_mut(filled..).unwrap_or(&mut [])) {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                give_way();
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // What came before is good.
            Err(_) if filled > 0 => break,
            Err(error) => return Err(TransferError::Network(error.to_string())),
        }
    }
    Ok(filled)
}
