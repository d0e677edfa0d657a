//! Reading cold file data with a few threads: for hosts that forbid io_uring.
//!
//! The threads exist only from the first cold read on. Invariant: the same results as from
//! [`super::ring`]. Not promised: as many cold reads at a time; [`FILLERS`] are.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::{Event, FillOrder, Filler};
use crate::mailbox::Wake;
use crate::token::Token;

/// Threads that read cold data for one worker: as many as a disk likes requests at a time.
const FILLERS: usize = 4;

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

pub(super) struct Threads {
    wake: Arc<Wake>,
    exchange: Arc<Exchange>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Threads {
    pub(super) fn new(wake: &Arc<Wake>) -> Self {
        Self {
            wake: wake.clone(),
            exchange: Arc::default(),
            threads: Vec::new(),
        }
    }

    fn start(&mut self) -> Result<(), Errno> {
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

impl Filler for Threads {
    fn fill(&mut self, order: FillOrder) -> Result<(), Errno> {
        self.start()?;
        self.exchange.lock().orders.push_back(order);
        self.exchange.changed.notify_one();
        Ok(())
    }

    fn collect(&mut self, events: &mut Vec<Event>) {
        let results = std::mem::take(&mut self.exchange.lock().results);
        let filled = |(token, result)| Event::Filled(token, result);
        events.extend(results.into_iter().map(filled));
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None // The threads ring the worker's own bell.
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.exchange.lock().is_closed = true;
        self.exchange.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
