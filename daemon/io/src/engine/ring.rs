//! Readiness and file reads through io_uring(7).
//!
//! Sockets are watched by one multishot POLL_ADD each; cold file data goes into pipes by SPLICE,
//! which the kernel runs on its own threads with full read-ahead. No operation here points at
//! memory of ours, so nothing can be freed under the kernel. Descriptors that an operation uses
//! are held by it: a poll keeps its socket alive until it is cancelled ([`Engine::forget`]), and a
//! fill keeps file and pipe in [`Ring::fills`] until its completion. Source: io_uring_enter(2),
//! kernel 5.19 or later (multishot poll, single issuer from 6.0 is used when there).

use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::io::Errno;

use super::{Engine, Event, FillOrder};
use crate::mailbox::Wake;
use crate::token::Token;

/// Entries of the submission queue: submissions of one turn; a full queue is submitted at once.
const ENTRIES: u32 = 1024;

/// Entries of the completion queue: more than the sockets that change in one turn. The kernel
/// keeps what does not fit (IORING_FEAT_NODROP), so this bounds memory, not correctness.
const COMPLETIONS: u32 = 8192;

const KIND_SHIFT: u32 = 56;
const KIND_READ: u64 = 1;
const KIND_WRITE: u64 = 2;
const KIND_FILL: u64 = 3;
const KIND_CANCEL: u64 = 4;
const KIND_MAIL: u64 = 5;

pub(crate) struct Ring {
    ring: IoUring,
    wake: Arc<Wake>,
    /// Orders under way: they keep the descriptors that the kernel reads from and writes to.
    fills: HashMap<u64, FillOrder>,
    /// Descriptor by token of every watch, to arm a poll again that the kernel ended.
    watched: HashMap<u64, i32>,
}

impl Ring {
    pub(crate) fn new(wake: &Arc<Wake>) -> Result<Self, Errno> {
        let with_tasks = IoUring::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(ENTRIES);
        let ring = match with_tasks {
            Ok(ring) => ring,
            Err(_) => {
                let plain = IoUring::builder().setup_cqsize(COMPLETIONS).build(ENTRIES);
                plain.map_err(|error| errno_of(&error))?
            }
        };
        let mut probe = io_uring::Probe::new();
        ring.submitter()
            .register_probe(&mut probe)
            .map_err(|error| errno_of(&error))?;
        let needed = [
            opcode::PollAdd::CODE,
            opcode::Splice::CODE,
            opcode::AsyncCancel::CODE,
        ];
        if !needed.iter().all(|code| probe.is_supported(*code))
            || !ring.params().is_feature_nodrop()
        {
            return Err(Errno::NOSYS);
        }
        let fills = HashMap::new();
        let mut this = Self {
            ring,
            wake: wake.clone(),
            fills,
            watched: HashMap::new(),
        };
        this.arm_mail()?;
        Ok(this)
    }

    fn arm_mail(&mut self) -> Result<(), Errno> {
        let fd = self.wake.fd().as_raw_fd();
        self.poll(fd, libc::POLLIN as u32, true, KIND_MAIL << KIND_SHIFT)
    }

    fn poll(&mut self, fd: i32, mask: u32, multi: bool, data: u64) -> Result<(), Errno> {
        let entry = opcode::PollAdd::new(types::Fd(fd), mask)
            .multi(multi)
            .build();
        self.push(&entry.user_data(data))
    }

    fn push(&mut self, entry: &squeue::Entry) -> Result<(), Errno> {
        for _ in 0..2 {
            let mut queue = self.ring.submission();
            // SAFETY: the entries made in this file carry descriptors and integers only; the
            // descriptors are kept open by `watched` sockets, `fills` and `wake` as the module's
            // header says, and no entry points at memory.
            let pushed = unsafe { queue.push(entry) };
            drop(queue);
            match pushed {
                Ok(()) => return Ok(()),
                Err(_) => {
                    self.ring.submit().map_err(|error| errno_of(&error))?;
                }
            }
        }
        Err(Errno::BUSY)
    }

    fn digest(&mut self, entry: &cqueue::Entry, events: &mut Vec<Event>) -> Result<(), Errno> {
        let data = entry.user_data();
        let bits = data & ((1 << KIND_SHIFT) - 1);
        let token = Token::from_bits(bits);
        let has_ended = !cqueue::more(entry.flags());
        match data >> KIND_SHIFT {
            KIND_READ => {
                if entry.result() != -libc::ECANCELED {
                    let last = libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR;
                    let is_last = entry.result() < 0 || entry.result() & i32::from(last) != 0;
                    events.push(Event::Readable { token, is_last });
                }
                if has_ended && let Some(fd) = self.watched.get(&bits).copied() {
                    self.poll(fd, READ_MASK, true, data)?;
                }
            }
            KIND_WRITE if entry.result() != -libc::ECANCELED => {
                events.push(Event::Writable(token));
            }
            KIND_FILL => {
                self.fills.remove(&bits);
                let result = usize::try_from(entry.result())
                    .map_err(|_| Errno::from_raw_os_error(-entry.result()));
                events.push(Event::Filled(token, result));
            }
            KIND_MAIL => {
                events.push(Event::Mail);
                if has_ended {
                    self.arm_mail()?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

const READ_MASK: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;

impl Engine for Ring {
    fn watch(&mut self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        self.watched.insert(token.to_bits(), fd.as_raw_fd());
        self.poll(
            fd.as_raw_fd(),
            READ_MASK,
            true,
            KIND_READ << KIND_SHIFT | token.to_bits(),
        )
    }

    fn want_write(&mut self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        let data = KIND_WRITE << KIND_SHIFT | token.to_bits();
        self.poll(fd.as_raw_fd(), libc::POLLOUT as u32, false, data)
    }

    fn forget(&mut self, _: BorrowedFd<'_>, token: Token) {
        self.watched.remove(&token.to_bits());
        for kind in [KIND_READ, KIND_WRITE] {
            let cancel = opcode::AsyncCancel::new(kind << KIND_SHIFT | token.to_bits()).build();
            if let Err(error) = self.push(&cancel.user_data(KIND_CANCEL << KIND_SHIFT)) {
                tracing::warn!(%error, "a poll could not be cancelled: its socket stays open");
            }
        }
    }

    fn fill(&mut self, order: FillOrder) -> Result<(), Errno> {
        let from = types::Fd(order.file.as_raw_fd());
        let to = types::Fd(order.pipe.as_raw_fd());
        let bytes = u32::try_from(order.bytes).unwrap_or(u32::MAX);
        let offset = i64::try_from(order.offset).map_err(|_| Errno::INVAL)?;
        let bits = order.token.to_bits();
        let entry = opcode::Splice::new(from, offset, to, -1, bytes)
            .flags(libc::SPLICE_F_NONBLOCK)
            .build();
        // NONBLOCK concerns the pipe only: a full one ends the fill instead of holding a kernel
        // thread for ever. The file is read with all the waiting that it needs.
        self.fills.insert(bits, order);
        self.push(&entry.user_data(KIND_FILL << KIND_SHIFT | bits))
    }

    fn wait(&mut self, timeout: Duration, events: &mut Vec<Event>) -> Result<(), Errno> {
        let timespec = types::Timespec::from(timeout);
        let args = types::SubmitArgs::new().timespec(&timespec);
        match self.ring.submitter().submit_with_args(1, &args) {
            Ok(_) => {}
            Err(error) => match errno_of(&error) {
                Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN => {}
                other => return Err(other),
            },
        }
        // Taken out first: handling an entry may push new ones.
        let entries: Vec<cqueue::Entry> = self.ring.completion().collect();
        for entry in &entries {
            self.digest(entry, events)?;
        }
        Ok(())
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}
