//! What a worker waits with: readiness of sockets, and file data read into pipes meanwhile.
//!
//! Two engines do the same: [`ring`] with io_uring, and [`portable`] with epoll and a few threads
//! where io_uring is forbidden. Readiness is edge-triggered in both: an event says that something
//! changed, and the worker goes on until the kernel says `EAGAIN`. Invariant: the same worker code
//! runs on both, so both give the same bytes. Not promised: an order among events.

pub(crate) mod portable;
pub(crate) mod ring;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::mailbox::Wake;
use crate::token::Token;

/// Which engine a node is to use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EngineChoice {
    /// io_uring where it works, else the portable one.
    Auto,
    /// io_uring, or do not start.
    Uring,
    /// epoll and threads.
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
    pub(crate) file: Arc<std::fs::File>,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    pub(crate) pipe: Arc<OwnedFd>,
}

/// One worker's way of waiting.
pub(crate) trait Engine {
    /// Watches a socket until [`Engine::forget`]. Its token comes with every event.
    fn watch(&mut self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno>;

    /// Asks for one [`Event::Writable`] when the socket takes bytes again.
    fn want_write(&mut self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno>;

    /// Stops watching. Call before the descriptor is closed.
    fn forget(&mut self, fd: BorrowedFd<'_>, token: Token);

    /// Reads file data into a pipe; ends in [`Event::Filled`].
    fn fill(&mut self, order: FillOrder) -> Result<(), Errno>;

    /// Waits until something happens or the time is up, and tells all that did.
    fn wait(&mut self, timeout: Duration, events: &mut Vec<Event>) -> Result<(), Errno>;
}

/// Makes the engine that was chosen, and says which one it is.
///
/// # Errors
/// With [`EngineChoice::Uring`] the kernel's refusal; with the others only a lack of descriptors.
pub(crate) fn make(
    choice: EngineChoice,
    wake: &Arc<Wake>,
) -> Result<(Box<dyn Engine>, &'static str), Errno> {
    if choice != EngineChoice::Portable {
        match ring::Ring::new(wake) {
            Ok(ring) => return Ok((Box::new(ring), "uring")),
            Err(error) if choice == EngineChoice::Uring => return Err(error),
            Err(error) => tracing::info!(%error, "io_uring is not available, using epoll"),
        }
    }
    Ok((Box::new(portable::Portable::new(wake)?), "portable"))
}

/// Whether io_uring works here with what the data plane needs.
#[must_use]
pub fn uring_works() -> bool {
    Wake::new().is_ok_and(|wake| ring::Ring::new(&Arc::new(wake)).is_ok())
}
