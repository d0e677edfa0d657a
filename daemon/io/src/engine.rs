//! What a worker waits with: readiness of sockets, and file data read into pipes meanwhile.
//!
//! Sockets are watched by epoll(7) in every engine; cold file data is read by a [`Filler`]:
//! io_uring ([`ring`]), or a few threads ([`threads`]) where that is forbidden. Readiness through
//! io_uring was tried and took 7 to 11 % more CPU than nginx on a large hot GET where epoll takes
//! 1 %.
//! Readiness is edge-triggered: an event says that something changed, and the worker goes on until
//! the kernel refuses. Invariant: the same worker code runs on both, so both give the same bytes.
//! Not promised: an order among events.

mod ring;
mod threads;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::mailbox::Wake;
use crate::token::Token;

/// Which engine a node is to use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EngineChoice {
    /// io_uring where it works, else threads.
    Auto,
    /// io_uring, or do not start.
    Uring,
    /// Threads.
    Portable,
}

/// Something happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A watched descriptor may be read.
    Readable {
        /// Whose.
        token: Token,
        /// Whether the peer has sent all that it will, or is gone: then reading goes on until it
        /// says so, because no later edge will.
        is_last: bool,
    },
    /// A watched descriptor may be written again.
    Writable(Token),
    /// The mailbox has messages.
    Mail,
    /// A fill has ended with so many bytes in its pipe.
    Filled(Token, Result<usize, Errno>),
}

/// File data to be read into a pipe by whoever may block.
#[derive(Debug)]
pub(crate) struct FillOrder {
    pub(crate) token: Token,
    pub(crate) file: Arc<crate::span::OpenFile>,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    pub(crate) pipe: Arc<OwnedFd>,
}

/// Reads file data into pipes while the worker goes on.
trait Filler {
    /// Begins; ends in one [`Event::Filled`] from [`Filler::collect`].
    fn fill(&mut self, order: FillOrder) -> Result<(), Errno>;

    /// Tells what has ended.
    fn collect(&mut self, events: &mut Vec<Event>);

    /// What becomes readable when something has ended, besides the worker's own wake.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 1024;

const MAIL: u64 = u64::MAX;
const FILLER: u64 = u64::MAX - 1;

const WATCHED: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ET);

/// One worker's way of waiting.
pub(crate) struct Engine {
    epoll: OwnedFd,
    filler: Box<dyn Filler>,
    buffer: Vec<epoll::Event>,
    name: &'static str,
}

impl Engine {
    /// Makes the engine that was chosen.
    ///
    /// # Errors
    /// With [`EngineChoice::Uring`] the kernel's refusal; with the others only a lack of
    /// descriptors.
    pub(crate) fn new(choice: EngineChoice, wake: &Arc<Wake>) -> Result<Self, Errno> {
        let (filler, name): (Box<dyn Filler>, _) = match choice {
            EngineChoice::Portable => (Box::new(threads::Threads::new(wake)), "portable"),
            EngineChoice::Uring => (Box::new(ring::Ring::new()?), "uring"),
            EngineChoice::Auto => match ring::Ring::new() {
                Ok(ring) => (Box::new(ring), "uring"),
                Err(error) => {
                    tracing::info!(%error, "io_uring is not available, threads read cold data");
                    (Box::new(threads::Threads::new(wake)), "portable")
                }
            },
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, wake.fd(), epoll::EventData::new_u64(MAIL), edge)?;
        if let Some(fd) = filler.fd() {
            epoll::add(&epoll, fd, epoll::EventData::new_u64(FILLER), edge)?;
        }
        let buffer = Vec::with_capacity(EVENTS_MAX);
        Ok(Self {
            epoll,
            filler,
            buffer,
            name,
        })
    }

    /// Which one it is: `uring` or `portable`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Watches a socket until [`Engine::forget`]. Its token comes with every event.
    pub(crate) fn watch(&mut self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token.to_bits()),
            WATCHED,
        )
    }

    /// Asks for an [`Event::Writable`] when the socket takes bytes again.
    pub(crate) fn want_write(&mut self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        // Asking anew makes the kernel look now: a socket that takes bytes already has no edge
        // to come.
        epoll::modify(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token.to_bits()),
            WATCHED,
        )
    }

    /// Stops watching. Call before the descriptor is closed.
    pub(crate) fn forget(&mut self, fd: BorrowedFd<'_>) {
        if let Err(error) = epoll::delete(&self.epoll, fd) {
            tracing::debug!(%error, "a closed socket was not watched");
        }
    }

    /// Reads file data into a pipe; ends in [`Event::Filled`].
    pub(crate) fn fill(&mut self, order: FillOrder) -> Result<(), Errno> {
        self.filler.fill(order)
    }

    /// Waits until something happens or the time is up, and tells all that did.
    pub(crate) fn wait(&mut self, timeout: Duration, events: &mut Vec<Event>) -> Result<(), Errno> {
        self.buffer.clear();
        let timespec = Timespec::try_from(timeout).map_err(|_| Errno::INVAL)?;
        let buffer = rustix::buffer::spare_capacity(&mut self.buffer);
        match epoll::wait(self.epoll.as_fd(), buffer, Some(&timespec)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        for event in &self.buffer {
            match event.data.u64() {
                MAIL => {
                    events.push(Event::Mail);
                    self.filler.collect(events);
                }
                FILLER => self.filler.collect(events),
                bits => tell(Token::from_bits(bits), event.flags, events),
            }
        }
        Ok(())
    }
}

fn tell(token: Token, flags: epoll::EventFlags, events: &mut Vec<Event>) {
    use epoll::EventFlags as Flags;
    let is_last = flags.intersects(Flags::RDHUP | Flags::HUP | Flags::ERR);
    if is_last || flags.contains(Flags::IN) {
        events.push(Event::Readable { token, is_last });
    }
    if flags.intersects(Flags::OUT | Flags::HUP | Flags::ERR) {
        events.push(Event::Writable(token));
    }
}

/// Whether io_uring works here with what the data plane needs.
#[must_use]
pub fn uring_works() -> bool {
    ring::Ring::new().is_ok()
}
