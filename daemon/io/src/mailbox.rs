//! How other threads reach a worker: a queue and an eventfd(2) that wakes its engine.
//!
//! Invariant: a message put in is seen by the worker's next turn. Bounded by what can be under
//! way: every message answers something that the worker asked for, or is one of the few orders and
//! words of others (`ORDERS_MAX`). Not promised: an order between senders.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// Most messages that senders other than the worker's own jobs may leave unread: connections
/// handed in by the TLS relay, and words for single connections. More are refused.
pub(crate) const ORDERS_MAX: usize = 4096;

/// Wakes a worker.
#[derive(Debug)]
pub(crate) struct Wake {
    fd: OwnedFd,
    /// Whether the worker has been rung and has not looked yet: saves a system call per message.
    is_rung: AtomicBool,
}

impl Wake {
    pub(crate) fn new() -> Result<Self, Errno> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            fd,
            is_rung: AtomicBool::new(false),
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            // Only a full counter could fail, and then the worker is awake anyway.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    /// Called by the worker before it looks: whatever is put in later rings again.
    fn hear(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.fd, &mut count);
        self.is_rung.store(false, Ordering::Release);
    }
}

/// A worker's queue.
#[derive(Debug)]
pub(crate) struct Mailbox<M> {
    wake: Arc<Wake>,
    messages: Mutex<Vec<M>>,
}

impl<M> Mailbox<M> {
    pub(crate) fn new(wake: Arc<Wake>) -> Self {
        Self {
            wake,
            messages: Mutex::new(Vec::new()),
        }
    }

    /// Puts in an answer to something that the worker asked for.
    pub(crate) fn answer(&self, message: M) {
        self.messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(message);
        self.wake.ring();
    }

    /// Puts in an order; gives it back if too many are waiting.
    pub(crate) fn order(&self, message: M) -> Result<(), M> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() >= ORDERS_MAX {
            return Err(message);
        }
        messages.push(message);
        drop(messages);
        self.wake.ring();
        Ok(())
    }

    /// Takes all messages.
    pub(crate) fn take(&self) -> Vec<M> {
        self.wake.hear();
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
