//! Readiness through epoll(7), file reads by a few threads: for hosts that forbid io_uring.
//!
//! The threads exist only from the first cold read on. Invariant: the same events as from
//! [`super::ring`]. Not promised: as many cold reads at a time; [`FILLERS`] are.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::{Engine, Event, FillOrder};
use crate::mailbox::Wake;
use crate::token::Token;

/// Threads that read cold data for one worker: as many as a disk likes requests at a time.
const FILLERS: usize = 4;

/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 1024;

const MAIL: u64 = u64::MAX;

const WATCHED: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ET);

/// Orders on their way to the threads, results on their way back. Bounded by the worker's pipes:
/// an order holds one.
#[derive(Default)]
struct Exchange {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    orders: VecDeque<FillOrder>,
    results: Vec<(Token, Result<usize, Errno>)>,
    is_closed: bool,
}

pub(crate) struct Portable {
    epoll: OwnedFd,
    wake: Arc<Wake>,
    buffer: Vec<epoll::Event>,
    exchange: Arc<Exchange>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Portable {
    pub(crate) fn new(wake: &Arc<Wake>) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(MAIL);
        epoll::add(
            &epoll,
            wake.fd(),
            data,
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        let buffer = Vec::with_capacity(EVENTS_MAX);
        let exchange = Arc::default();
        Ok(Self {
            epoll,
            wake: wake.clone(),
            buffer,
            exchange,
            threads: Vec::new(),
        })
    }

    fn start_threads(&mut self) -> Result<(), Errno> {
        while self.threads.len() < FILLERS {
            let (exchange, wake) = (self.exchange.clone(), self.wake.clone());
            let thread = std::thread::Builder::new()
                .name("towline-fill".into())
                .spawn(move || exchange.work(&wake))
                .map_err(|_| Errno::AGAIN)?;
            self.threads.push(thread);
        }
        Ok(())
    }
}

impl Exchange {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, wake: &Wake) {
        loop {
            let mut state = self.lock();
            let order = loop {
                if state.is_closed {
                    return;
                }
                match state.orders.pop_front() {
                    Some(order) => break order,
                    None => {
                        state = self
                            .changed
                            .wait(state)
                            .unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(state);
            let mut offset = order.offset;
            let from = Some(&mut offset);
            // Of the pipe only: a full one ends the fill instead of holding this thread.
            let flags = SpliceFlags::NONBLOCK;
            let result = splice(&*order.file, from, &*order.pipe, None, order.bytes, flags);
            self.lock().results.push((order.token, result));
            wake.ring();
        }
    }
}

impl Engine for Portable {
    fn watch(&mut self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token.to_bits()),
            WATCHED,
        )
    }

    fn want_write(&mut self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        // Asking anew makes the kernel look now: a socket that takes bytes already has no edge
        // to come.
        epoll::modify(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token.to_bits()),
            WATCHED,
        )
    }

    fn forget(&mut self, fd: BorrowedFd<'_>, _: Token) {
        if let Err(error) = epoll::delete(&self.epoll, fd) {
            tracing::debug!(%error, "a closed socket was not watched");
        }
    }

    fn fill(&mut self, order: FillOrder) -> Result<(), Errno> {
        self.start_threads()?;
        self.exchange.lock().orders.push_back(order);
        self.exchange.changed.notify_one();
        Ok(())
    }

    fn wait(&mut self, timeout: Duration, events: &mut Vec<Event>) -> Result<(), Errno> {
        self.buffer.clear();
        let timespec = Timespec::try_from(timeout).map_err(|_| Errno::INVAL)?;
        let buffer = rustix::buffer::spare_capacity(&mut self.buffer);
        match epoll::wait(self.epoll.as_fd(), buffer, Some(&timespec)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        for event in &self.buffer {
            use epoll::EventFlags as Flags;
            let bits = event.data.u64();
            if bits == MAIL {
                events.push(Event::Mail);
                let results = std::mem::take(&mut self.exchange.lock().results);
                let filled = |(token, result)| Event::Filled(token, result);
                events.extend(results.into_iter().map(filled));
                continue;
            }
            let token = Token::from_bits(bits);
            let flags = event.flags;
            if flags.intersects(Flags::IN | Flags::RDHUP | Flags::HUP | Flags::ERR) {
                let is_last = flags.intersects(Flags::RDHUP | Flags::HUP | Flags::ERR);
                events.push(Event::Readable { token, is_last });
            }
            if flags.intersects(Flags::OUT | Flags::HUP | Flags::ERR) {
                events.push(Event::Writable(token));
            }
        }
        Ok(())
    }
}

impl Drop for Portable {
    fn drop(&mut self) {
        self.exchange.lock().is_closed = true;
        self.exchange.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
