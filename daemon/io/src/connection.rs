//! The driver's side of one connection: its socket, its core, and what is under way for it.
//!
//! Invariant: `input` holds exactly the bytes that were read and not taken by the core or by a
//! payload. Not promised: anything about the core's own state.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::outbox::{Item, Outbox};
use crate::pool::Pool;
use crate::protocol::{Demand, Payload, PayloadSink, Peer, Protocol};
use crate::span::PayloadFault;

pub(crate) type Task = Box<dyn FnOnce() + Send>;

/// How long the connections of a listener may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two requests.
    pub idle_max: Duration,
    /// For the head of a request to arrive whole; `None` where only progress counts.
    pub head_max: Option<Duration>,
}

/// What the core is waiting for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wants {
    /// More input.
    Input,
    /// A deferred job's end.
    Job,
    /// Everything to be sent, then the end.
    Close,
    /// Everything to be sent, then the control plane.
    HandOff,
}

/// Whether a payload is let come together in the socket before it is taken out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Gathering {
    /// Nothing was asked of the socket for this payload.
    Untried,
    /// The socket tells of input only when so many bytes of it wait; since when.
    For(u32, Instant),
    /// The socket tells of every byte again, until the payload is over.
    Over,
}

/// A payload on its way from the socket into a file.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub(crate) sink: Option<PayloadSink>,
    pub(crate) left: u64,
    pub(crate) fault: Option<PayloadFault>,
}

/// What a connection's socket is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SocketKind {
    Tcp,
    /// TCP whose bytes the kernel encrypts.
    KernelTls,
    /// One end of a pair on this machine.
    Local,
}

impl SocketKind {
    pub(crate) fn of(socket: &OwnedFd) -> Self {
        match rustix::net::sockopt::socket_domain(socket) {
            Ok(rustix::net::AddressFamily::UNIX) => Self::Local,
            _ if towline_sys::kernel_tls::is_attached(socket) => Self::KernelTls,
            _ => Self::Tcp,
        }
    }
}

pub(crate) struct Connection<P: Protocol> {
    pub(crate) fd: OwnedFd,
    pub(crate) peer: Peer,
    pub(crate) kind: SocketKind,
    /// Times of the listener that it came from.
    pub(crate) patience: Patience,
    pub(crate) core: P,
    pub(crate) input: Vec<u8>,
    /// Whether the core has seen all of `input` and asked for more.
    pub(crate) has_seen_all: bool,
    pub(crate) receive_bytes: usize,
    /// Length of the last head that a payload followed. Behind a payload just so much is asked for,
    /// so that the next one begins on a boundary and goes into its file without a copy.
    pub(crate) head_bytes: usize,
    /// A payload has just ended: the next read is for a head.
    pub(crate) is_behind_payload: bool,
    pub(crate) outbox: Outbox,
    pub(crate) payload: Option<Receiving>,
    pub(crate) wants: Wants,
    /// Deferred jobs and cold reads under way.
    pub(crate) under_way: usize,
    /// Jobs that found the pool full.
    pub(crate) stalled: VecDeque<Task>,
    pub(crate) is_readable: bool,
    /// No further edge will tell of input: read until the end shows.
    pub(crate) is_last_edge: bool,
    /// How the present payload is let come together in the socket.
    pub(crate) gathering: Gathering,
    pub(crate) is_write_blocked: bool,
    /// Waits for a pipe, so for this node.
    pub(crate) awaits_pipe: bool,
    /// Is in the list of those whose pipes others may have.
    pub(crate) is_holder: bool,
    /// The peer has sent all that it will.
    pub(crate) has_ended: bool,
    /// Bytes still to be thrown away before the socket is closed; `None` unless lingering.
    pub(crate) linger: Option<usize>,
    pub(crate) is_queued: bool,
    /// Bytes of unfinished requests that are charged to the worker's budget.
    pub(crate) charged: usize,
    /// Waits because that budget is used up.
    pub(crate) is_starved: bool,
    /// When the unfinished request began.
    pub(crate) partial_since: Option<Instant>,
    /// Bytes moved since `watched_since`, for the progress rule.
    pub(crate) moved: u64,
    pub(crate) watched_since: Instant,
    /// When anything moved last, or the peer waited for this node.
    pub(crate) moved_at: Instant,
    /// Windows of late in which something moved, but too little.
    pub(crate) slow_windows: u32,
    pub(crate) unsent_before: u64,
    pub(crate) active_at: Instant,
}

impl<P: Protocol> Connection<P> {
    pub(crate) fn new(
        fd: OwnedFd,
        peer: Peer,
        kind: SocketKind,
        patience: Patience,
        core: P,
        now: Instant,
    ) -> Self {
        Self {
            fd,
            peer,
            kind,
            patience,
            core,
            input: Vec::new(),
            has_seen_all: true,
            receive_bytes: crate::limits::RECEIVE_BYTES_MIN,
            head_bytes: crate::limits::RECEIVE_BYTES_MIN,
            is_behind_payload: false,
            outbox: Outbox::default(),
            payload: None,
            wants: Wants::Input,
            under_way: 0,
            stalled: VecDeque::new(),
            is_readable: true,
            is_last_edge: false,
            gathering: Gathering::Untried,
            is_write_blocked: false,
            awaits_pipe: false,
            is_holder: false,
            has_ended: false,
            linger: None,
            is_queued: false,
            charged: 0,
            is_starved: false,
            partial_since: None,
            moved: 0,
            watched_since: now,
            moved_at: now,
            slow_windows: 0,
            unsent_before: 0,
            active_at: now,
        }
    }

    /// Whether nothing is under way: no request, no reply, no job.
    pub(crate) fn is_idle(&self) -> bool {
        self.core.is_idle()
            && self.payload.is_none()
            && self.under_way == 0
            && self.outbox.is_empty()
            && self.input.is_empty()
    }

    /// Whether this node is what the connection waits for: a job or a read, memory, a pipe, a turn.
    pub(crate) fn awaits_node(&self) -> bool {
        let is_read_for = matches!(self.outbox.items.front(), Some(Item::Filling(_)));
        self.under_way > 0 || self.is_starved || self.is_queued || self.awaits_pipe || is_read_for
    }

    /// Takes note of what the core wants next.
    pub(crate) fn obey(&mut self, demand: Demand) {
        match demand {
            Demand::Input => self.wants = Wants::Input,
            Demand::Payload(Payload { sink, length }) => {
                self.wants = Wants::Input;
                self.payload = Some(Receiving {
                    sink,
                    left: length,
                    fault: None,
                });
            }
            Demand::Pause => self.wants = Wants::Job,
            Demand::Close => self.wants = Wants::Close,
            Demand::HandOff => self.wants = Wants::HandOff,
        }
    }

    /// Offers the stalled jobs to the pool again; whether none is left.
    pub(crate) fn submit_stalled(&mut self, pool: &Pool) -> bool {
        while let Some(task) = self.stalled.pop_front() {
            if let Err(task) = pool.submit(task) {
                self.stalled.push_front(task);
                return false;
            }
        }
        true
    }
}
