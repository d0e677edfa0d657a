//! What a protocol core is to the driver: bytes in, bytes and file spans out, no I/O.
//!
//! The driver calls [`Protocol::advance`] with the bytes that have arrived. The core takes what
//! it understands off the front and writes its answer to an [`Output`]. What may block (opening
//! a file that is not cached, a directory change, an fsync) is handed to [`Output::defer`] and
//! comes back through [`Protocol::completed`], on the connection's own thread.
//!
//! Invariant: for one connection these calls never overlap and all happen on one thread, so a
//! core needs no lock. Not promised: that deferred jobs finish in the order of their submission,
//! or at all if the connection closes first (the job still runs; its result is dropped).

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::handle::Address;
use crate::span::{FileSpan, PayloadFault, SpanFault};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Address and port of the peer; for relayed TLS the address of the outer connection.
    pub address: SocketAddr,
    /// Address and port on this node that the peer connected to.
    pub local: SocketAddr,
}

/// What a core wants after [`Protocol::advance`].
#[derive(Debug)]
pub enum Demand {
    /// Call again when more input has arrived; what is left unread stays in front of it.
    Input,
    /// The next `length` bytes of input are payload; call [`Protocol::received`] behind them.
    Payload(Payload),
    /// Read nothing more until a deferred job has completed, then call `advance` again.
    Pause,
    /// Send what was put out, then close. Unread input is thrown away.
    Close,
    /// Send what was put out, then give the descriptor and the unread input to the control
    /// plane ([`Service::hand_off`]). Nothing may be deferred at that moment.
    HandOff,
}

/// Bytes on their way from the socket into a file.
#[derive(Debug)]
pub struct Payload {
    /// Where they go; `None` reads them and throws them away.
    pub sink: Option<PayloadSink>,
    /// How many bytes of input belong to the payload. Zero is allowed.
    pub length: u64,
}

/// The place in a file where a payload begins.
#[derive(Clone, Debug)]
pub struct PayloadSink {
    /// The file, open for writing.
    pub file: std::sync::Arc<crate::span::OpenFile>,
    /// Bytes from the start of the file, at most 2^63-1.
    pub offset: u64,
    /// Who writes: decides which set-id bits the file keeps.
    pub who: towline_sys::identity::Identity,
}

/// One reply whose head promises the bytes of a span: both go out, or neither.
///
/// The driver secures the span (resident, or already read) before the head leaves. Where that
/// fails it calls `recover` with the head, and sends what that returns instead; `None` closes
/// the connection. Spans in framed replies are at most [`FRAMED_SPAN_BYTES_MAX`] long.
#[derive(Debug)]
pub struct Framed {
    /// Where in the output buffer the head begins; it ends where the buffer ends now.
    pub head_start: usize,
    /// The bytes that follow the head.
    pub span: FileSpan,
    /// Zero bytes that follow the span (XDR padding), at most 3.
    pub padding: u8,
    /// Makes the reply that goes out instead.
    pub recover: fn(&[u8], SpanFault) -> Option<Vec<u8>>,
}

/// Longest span of a [`Framed`] reply, in bytes: what one pooled pipe of 1 MiB holds.
pub const FRAMED_SPAN_BYTES_MAX: u64 = 1 << 20;

/// Largest output buffer that is kept for the next request, in bytes: a window of small replies.
const REUSED_BYTES_MAX: usize = 256 << 10;

/// A job that may block. It runs on a pool thread.
pub type Job<D> = Box<dyn FnOnce() -> D + Send>;

/// One thing to send, in the order of its putting out. Framed replies may overtake each other.
#[derive(Debug)]
pub enum Unit {
    /// The next `usize` bytes of the output buffer.
    Bytes(usize),
    /// Bytes of a file, strictly in order.
    Span(FileSpan),
    /// The next `head_bytes` of the buffer and a span, as one.
    Framed {
        /// Length of the head in the output buffer.
        head_bytes: usize,
        /// See [`Framed::span`].
        span: FileSpan,
        /// See [`Framed::padding`].
        padding: u8,
        /// See [`Framed::recover`].
        recover: fn(&[u8], SpanFault) -> Option<Vec<u8>>,
    },
}

/// Where a core puts its answers. One per worker, empty at the start of every call.
pub struct Output<D> {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that belong to a unit already.
    claimed: usize,
    units: Vec<Unit>,
    jobs: Vec<Job<D>>,
}

impl<D> Default for Output<D> {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            claimed: 0,
            units: Vec::new(),
            jobs: Vec::new(),
        }
    }
}

impl<D> Output<D> {
    /// The buffer to append bytes to. They go out in order with everything else.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Puts out the bytes of a file, in order. An empty span is nothing.
    pub fn span(&mut self, span: FileSpan) {
        self.claim();
        if span.length > 0 {
            self.units.push(Unit::Span(span));
        }
    }

    /// Puts out one framed reply; its head stands at the end of the buffer.
    ///
    /// # Panics
    /// If `head_start` lies before bytes that belong to an earlier unit, or behind the buffer.
    pub fn framed(&mut self, framed: Framed) {
        let head = framed.head_start;
        assert!(
            self.claimed <= head && head <= self.buffer.len(),
            "a head is the newest bytes"
        );
        assert!(
            framed.span.length <= FRAMED_SPAN_BYTES_MAX,
            "a framed span fits in one pipe"
        );
        if head > self.claimed {
            self.units.push(Unit::Bytes(head - self.claimed));
        }
        let head_bytes = self.buffer.len() - head;
        self.claimed = self.buffer.len();
        let Framed {
            span,
            padding,
            recover,
            ..
        } = framed;
        self.units.push(Unit::Framed {
            head_bytes,
            span,
            padding,
            recover,
        });
    }

    /// Runs `job` on a pool thread; its result comes to [`Protocol::completed`].
    pub fn defer(&mut self, job: impl FnOnce() -> D + Send + 'static) {
        self.jobs.push(Box::new(job));
    }

    /// Takes everything out: the buffer, its units in order, and the jobs. For drivers and tests.
    pub fn take(&mut self) -> (Vec<u8>, Vec<Unit>, Vec<Job<D>>) {
        self.claim();
        self.claimed = 0;
        use std::mem::take;
        (
            take(&mut self.buffer),
            take(&mut self.units),
            take(&mut self.jobs),
        )
    }

    /// Takes over what another core put out into its own output, which is then empty; `map` turns
    /// the results of its jobs into ours. For services that hold cores of several protocols.
    ///
    /// # Panics
    /// If this output is not empty.
    pub fn absorb<E: 'static>(&mut self, other: &mut Output<E>, map: fn(E) -> D)
    where
        D: 'static,
    {
        assert!(self.is_empty(), "an output is absorbed whole");
        std::mem::swap(&mut self.buffer, &mut other.buffer);
        std::mem::swap(&mut self.units, &mut other.units);
        std::mem::swap(&mut self.claimed, &mut other.claimed);
        let mapped = other
            .jobs
            .drain(..)
            .map(|job| -> Job<D> { Box::new(move || map(job())) });
        self.jobs.extend(mapped);
    }

    /// Gives an empty buffer back, so that its room is used again.
    pub(crate) fn reuse(&mut self, buffer: Vec<u8>) {
        if self.buffer.capacity() == 0 && buffer.capacity() <= REUSED_BYTES_MAX {
            self.buffer = buffer;
        }
    }

    /// Whether nothing was put out since the last [`Output::take`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.units.is_empty() && self.jobs.is_empty()
    }

    fn claim(&mut self) {
        if self.buffer.len() > self.claimed {
            self.units
                .push(Unit::Bytes(self.buffer.len() - self.claimed));
            self.claimed = self.buffer.len();
        }
    }
}

/// The state of one connection of one protocol.
pub trait Protocol: Sized {
    /// What a deferred job gives back.
    type Done: Send + 'static;

    /// Takes bytes off the front of `input` and puts out answers. Called when input arrives and
    /// again while it returns [`Demand::Payload`] or a pause has ended. It should go on through
    /// pipelined requests by itself and return [`Demand::Input`] only when a whole request is
    /// not there.
    fn advance(&mut self, input: &mut &[u8], output: &mut Output<Self::Done>) -> Demand;

    /// A payload has been taken off the stream, and stored unless `outcome` says otherwise.
    fn received(
        &mut self,
        outcome: Result<(), PayloadFault>,
        output: &mut Output<Self::Done>,
    ) -> Demand;

    /// A deferred job has finished. The return value counts like that of `advance`, except that
    /// [`Demand::Input`] also means "call `advance` if input is there".
    fn completed(&mut self, done: Self::Done, output: &mut Output<Self::Done>) -> Demand;

    /// A word for this connection from elsewhere in the process, sent by its
    /// [`Address`]. It may put something out at once.
    fn told(&mut self, _word: Self::Done, _output: &mut Output<Self::Done>) {}

    /// Whether it may stay open however long it is idle, because something is sent over it by and
    /// by that nobody asks for. It still ends when the node stops.
    fn is_kept(&self) -> bool {
        false
    }

    /// Whether the connection stands between requests: then the idle timeout counts, otherwise
    /// the head and progress timeouts.
    fn is_idle(&self) -> bool;

    /// The peer took too long for what it is sending, and the connection is about to be closed.
    /// A core that has a word for it puts it out and says so; it is asked nothing more then.
    fn timed_out(&mut self, _output: &mut Output<Self::Done>) -> bool {
        false
    }

    /// Bytes of partial messages that the core itself holds, charged to the receive budget.
    fn bytes_held(&self) -> usize {
        0
    }
}

/// A connection that leaves the data plane.
#[derive(Debug)]
pub struct HandOff {
    /// The socket, in non-blocking mode.
    pub stream: OwnedFd,
    /// Who is at the other end.
    pub peer: Peer,
    /// Input that was read and not understood by the core.
    pub unread: Vec<u8>,
}

/// The protocols of one worker: makes the cores, owns what they share on that thread.
pub trait Service {
    /// The core for one connection.
    type Connection: Protocol;

    /// Makes the core for a new connection on `listener` (the index given to the worker), which
    /// others reach by `address`; `None` closes it at once.
    fn accept(
        &mut self,
        listener: usize,
        peer: Peer,
        address: Address<<Self::Connection as Protocol>::Done>,
    ) -> Option<Self::Connection>;

    /// Takes a connection that asked for [`Demand::HandOff`].
    fn hand_off(&mut self, connection: HandOff);

    /// Called about ten times a second on the worker's thread, for caches that age.
    fn tick(&mut self);
}
