//! What other threads hold of a worker: a handle for the control plane, and the addresses of single
//! connections.
//!
//! Invariant: what is sent waits in the worker's mailbox, and nobody waits for the worker. Not
//! promised: that a word reaches a connection; it may be gone by then, and the word with it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::mailbox::Mailbox;
use crate::protocol::Peer;
use crate::token::Token;
use crate::worker::cold::ColdRead;

/// A message to a worker.
pub(crate) enum Mail<D> {
    /// A deferred job has ended.
    Done(Token, D),
    /// A deferred job has panicked.
    Lost(Token),
    /// A cold read of a short framed reply has ended.
    Read(Token, ColdRead),
    /// A connection from elsewhere in the process.
    Adopt(OwnedFd, Peer, usize),
    /// A word for one connection.
    Word(Token, D),
    /// Finish what is under way, then end.
    Drain,
}

/// The other threads' way to a worker.
pub struct WorkerHandle<D> {
    mailbox: Arc<Mailbox<Mail<D>>>,
}

impl<D> Clone for WorkerHandle<D> {
    fn clone(&self) -> Self {
        Self::new(self.mailbox.clone())
    }
}

impl<D> WorkerHandle<D> {
    pub(crate) fn new(mailbox: Arc<Mailbox<Mail<D>>>) -> Self {
        Self { mailbox }
    }

    /// Gives the worker a connected socket, as if `listener` had accepted it.
    ///
    /// # Errors
    /// The socket comes back if the worker has too many messages waiting.
    pub fn adopt(&self, socket: OwnedFd, peer: Peer, listener: usize) -> Result<(), OwnedFd> {
        match self.mailbox.order(Mail::Adopt(socket, peer, listener)) {
            Ok(()) => Ok(()),
            Err(Mail::Adopt(socket, ..)) => Err(socket),
            Err(_) => unreachable!("a refused message comes back as it was"),
        }
    }

    /// Tells the worker to take no more connections and to end when the present ones are idle.
    pub fn drain(&self) {
        self.mailbox.answer(Mail::Drain);
    }
}

/// The way to one connection, from any thread. It keeps nothing open: a word for a connection that
/// has ended is dropped.
pub struct Address<D> {
    mailbox: Arc<Mailbox<Mail<D>>>,
    token: Token,
}

impl<D> Clone for Address<D> {
    fn clone(&self) -> Self {
        Self::new(self.mailbox.clone(), self.token)
    }
}

impl<D> Address<D> {
    pub(crate) fn new(mailbox: Arc<Mailbox<Mail<D>>>, token: Token) -> Self {
        Self { mailbox, token }
    }

    /// Sends a word, which comes to [`Protocol::told`](crate::Protocol::told); whether there was
    /// room for it.
    #[must_use]
    pub fn tell(&self, word: D) -> bool {
        self.mailbox.order(Mail::Word(self.token, word)).is_ok()
    }
}
