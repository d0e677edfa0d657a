//! Moving file data into pipes through io_uring(7), by IORING_OP_SPLICE, which the kernel runs on
//! its own threads with full read-ahead.
//!
//! No operation here points at memory of ours, so nothing can be freed under the kernel. Invariant:
//! what an operation was given stays in [`SpliceRing::under_way`] until its completion, and with
//! it the descriptors. Source: io_uring_enter(2), kernel 5.7 or later. Not promised: an order of
//! completions.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};
use rustix::io::Errno;

use crate::errno_of;

/// Entries of the submission queue: each operation is submitted at once, so few ever wait.
const ENTRIES: u32 = 64;

/// Descriptors of one operation, open as long as this lives.
pub trait Ends {
    /// The file that is read.
    fn file(&self) -> BorrowedFd<'_>;

    /// The pipe that is filled.
    fn pipe(&self) -> BorrowedFd<'_>;
}

/// A ring that splices files into pipes.
#[derive(Debug)]
pub struct SpliceRing<E: Ends> {
    ring: Ring,
    under_way: HashMap<u64, E>,
}

/// The ring, which says nothing of itself.
struct Ring(IoUring);

impl std::fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Ring")
    }
}

impl<E: Ends> SpliceRing<E> {
    /// A ring.
    ///
    /// # Errors
    /// What io_uring_setup(2) reports where rings are forbidden; `NOSYS` where they cannot splice.
    pub fn new() -> Result<Self, Errno> {
        let ring = IoUring::builder()
            .build(ENTRIES)
            .map_err(|error| errno_of(&error))?;
        let mut probe = io_uring::Probe::new();
        ring.submitter()
            .register_probe(&mut probe)
            .map_err(|error| errno_of(&error))?;
        if !probe.is_supported(opcode::Splice::CODE) || !ring.params().is_feature_nodrop() {
            return Err(Errno::NOSYS);
        }
        Ok(Self {
            ring: Ring(ring),
            under_way: HashMap::new(),
        })
    }

    /// Begins to move up to `bytes` from `offset` of the file into the pipe. `number` comes back
    /// with the end; one that is under way must not be used again.
    ///
    /// # Errors
    /// `INVAL` for an offset beyond files, `BUSY` when the queue is full, and what
    /// io_uring_enter(2) reports.
    pub fn fill(&mut self, number: u64, ends: E, offset: u64, bytes: usize) -> Result<(), Errno> {
        let from = types::Fd(ends.file().as_raw_fd());
        let to = types::Fd(ends.pipe().as_raw_fd());
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let offset = i64::try_from(offset).map_err(|_| Errno::INVAL)?;
        // NONBLOCK concerns the pipe only: a full one ends the operation instead of holding a
        // kernel thread for ever. The file is read with all the waiting that it needs.
        let entry = opcode::Splice::new(from, offset, to, -1, bytes)
            .flags(libc::SPLICE_F_NONBLOCK)
            .build()
            .user_data(number);
        // SAFETY: the entry carries descriptors and integers only and points at no memory; both
        // descriptors are kept open by `ends`, which stays in `under_way` until the completion.
        let pushed = unsafe { self.ring.0.submission().push(&entry) };
        pushed.map_err(|_| Errno::BUSY)?;
        self.under_way.insert(number, ends);
        match self.submit() {
            // The entry stays queued and goes along with the next one or the next collect.
            Ok(()) | Err(Errno::INTR | Errno::BUSY | Errno::AGAIN) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tells what has ended: its number, and the bytes that are in the pipe now.
    ///
    /// # Errors
    /// What io_uring_enter(2) reports of operations that still wait to be submitted; they go along
    /// with the next call, and what has ended is told all the same.
    pub fn collect(
        &mut self,
        mut ended: impl FnMut(u64, Result<usize, Errno>),
    ) -> Result<(), Errno> {
        let is_waiting = !self.ring.0.submission().is_empty();
        let submitted = if is_waiting { self.submit() } else { Ok(()) };
        for entry in self.ring.0.completion() {
            let number = entry.user_data();
            self.under_way.remove(&number);
            let result = usize::try_from(entry.result())
                .map_err(|_| Errno::from_raw_os_error(-entry.result()));
            ended(number, result);
        }
        submitted
    }

    fn submit(&self) -> Result<(), Errno> {
        match self.ring.0.submit() {
            Ok(_) => Ok(()),
            Err(error) => Err(errno_of(&error)),
        }
    }
}

impl<E: Ends> AsFd for SpliceRing<E> {
    /// Becomes readable when an operation has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the ring and is open as long as `self` is, which the
        // returned lifetime borrows.
        unsafe { BorrowedFd::borrow_raw(self.ring.0.as_raw_fd()) }
    }
}
