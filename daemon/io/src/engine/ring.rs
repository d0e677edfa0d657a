//! Reading cold file data through io_uring(7).
//!
//! Data goes into pipes by IORING_OP_SPLICE, which the kernel runs on its own threads with full
//! read-ahead. No operation here points at memory of ours, so nothing can be freed under the
//! kernel; the descriptors that one uses stay in [`Ring::fills`] until its completion. The ring
//! itself is watched like a socket. Source: io_uring_enter(2), kernel 5.7 or later. Not promised:
//! an order of completions.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};
use rustix::io::Errno;

use super::{Event, FillOrder, Filler};
use crate::token::Token;

/// Entries of the submission queue: each fill is submitted at once, so few ever wait.
const ENTRIES: u32 = 64;

pub(super) struct Ring {
    ring: IoUring,
    /// Orders under way: they keep the descriptors that the kernel reads from and writes to.
    fills: HashMap<u64, FillOrder>,
}

impl Ring {
    pub(super) fn new() -> Result<Self, Errno> {
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
            ring,
            fills: HashMap::new(),
        })
    }
}

impl Filler for Ring {
    fn fill(&mut self, order: FillOrder) -> Result<(), Errno> {
        let from = types::Fd(order.file.as_raw_fd());
        let to = types::Fd(order.pipe.as_raw_fd());
        let bytes = u32::try_from(order.bytes).unwrap_or(u32::MAX);
        let offset = i64::try_from(order.offset).map_err(|_| Errno::INVAL)?;
        let bits = order.token.to_bits();
        // NONBLOCK concerns the pipe only: a full one ends the fill instead of holding a kernel
        // thread for ever. The file is read with all the waiting that it needs.
        let entry = opcode::Splice::new(from, offset, to, -1, bytes)
            .flags(libc::SPLICE_F_NONBLOCK)
            .build()
            .user_data(bits);
        // SAFETY: the entry carries descriptors and integers only and points at no memory; both
        // descriptors are kept open by the order, which stays in `fills` until the completion.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_| Errno::BUSY)?;
        self.fills.insert(bits, order);
        match self.ring.submit() {
            Ok(_) => Ok(()),
            // The entry stays queued and goes along with the next one or the next collect.
            Err(error) if matches!(errno_of(&error), Errno::INTR | Errno::BUSY | Errno::AGAIN) => {
                Ok(())
            }
            Err(error) => Err(errno_of(&error)),
        }
    }

    fn collect(&mut self, events: &mut Vec<Event>) {
        if !self.ring.submission().is_empty()
            && let Err(error) = self.ring.submit()
        {
            tracing::debug!(%error, "a fill waits for the next turn");
        }
        let fills = &mut self.fills;
        events.extend(self.ring.completion().map(|entry| {
            let bits = entry.user_data();
            fills.remove(&bits);
            let result = usize::try_from(entry.result())
                .map_err(|_| Errno::from_raw_os_error(-entry.result()));
            Event::Filled(Token::from_bits(bits), result)
        }));
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the descriptor belongs to `self.ring` and is open as long as `self` is, which
        // the returned lifetime borrows.
        Some(unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) })
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}
