//! How much of a bounded volume is used: what `df` shows, and whether an upload finds room.
//!
//! The truth is a walk over the volume, which costs a statx(2) for each file; between two walks
//! the change of the whole disk's use since then is taken for the volume's own. Invariant: walks
//! take at most one part in [`REST_FACTOR`] of the time. Not promised: exactness while others
//! write to the same disk; the next walk puts it right.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use towline_base::clock;

use crate::evict::{self, Bounds};
use crate::volume::Result;

/// Least age of a walk before another is made for somebody who asks.
const AGE_MIN: Duration = Duration::from_secs(1);

/// A walk is followed by a pause of so many times its own length.
const REST_FACTOR: u32 = 20;

/// The bound of a volume.
#[derive(Debug)]
pub(super) struct Bound {
    /// Bytes of disk that its files may take together.
    pub(super) bytes_max: u64,
    measured: Mutex<Option<Measured>>,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    /// Bytes of disk that its files took.
    bytes: u64,
    /// Bytes used on the whole disk then.
    disk_used: u64,
    at: Instant,
    took: Duration,
}

impl Measured {
    fn of(root: &OwnedFd, disk_used: u64) -> Self {
        let started = clock::now();
        let bytes = evict::measure(root);
        let at = clock::now();
        Self {
            bytes,
            disk_used,
            at,
            took: at - started,
        }
    }

    /// What is used now, if nobody but this volume has used the disk since.
    fn estimate(&self, disk_used: u64) -> u64 {
        if disk_used >= self.disk_used {
            self.bytes.saturating_add(disk_used - self.disk_used)
        } else {
            self.bytes.saturating_sub(self.disk_used - disk_used)
        }
    }
}

impl Bound {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            measured: Mutex::default(),
        }
    }

    /// Bytes that the volume's files take. Walks over them unless that was done just now.
    pub(super) fn used(&self, root: &OwnedFd, disk_used: u64) -> u64 {
        let mut measured = match self.measured.try_lock() {
            Ok(measured) => measured,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody walks: wait for that rather than walk beside it.
            Err(TryLockError::WouldBlock) => {
                let done = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
                return done.map_or(0, |done| done.estimate(disk_used));
            }
        };
        let is_fresh = |last: &Measured| {
            let age = clock::now() - last.at;
            age < AGE_MIN.max(last.took * REST_FACTOR)
        };
        match *measured {
            Some(last) if is_fresh(&last) => last.estimate(disk_used),
            Some(_) | None => {
                let now = Measured::of(root, disk_used);
                *measured = Some(now);
                now.bytes
            }
        }
    }

    /// Removes what was not used for longest until `bytes` find room, as far as that goes.
    pub(super) fn make_room(&self, root: &OwnedFd, bytes: u64) -> Result<()> {
        let bounds = Bounds {
            bytes_max: Some(self.bytes_max.saturating_sub(bytes)),
            age_max: None,
        };
        evict::sweep_in(rustix::io::dup(root)?, &bounds);
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_walks_the_disk_tells_what_has_changed() {
        let measured = Measured {
            bytes: 100,
            disk_used: 1_000,
            at: clock::now(),
            took: Duration::ZERO,
        };
        assert_eq!(measured.estimate(1_050), 150);
        assert_eq!(measured.estimate(970), 70);
        assert_eq!(measured.estimate(0), 0);
    }
}
