//! One HTTP connection: heads come in, replies go out in the same order.
//!
//! Governed by RFC 9112. A request that can be answered from memory is answered at once. For any
//! other a job goes to a pool thread and the head *stays unread* in front of the input; when the
//! job is done the head is read again and answered with its result. So nothing of a head is
//! copied, and a reply can never overtake another. Invariant: at most one job of a connection
//! runs. What is not below `/files/` is handed to the control plane with its bytes unread.

use std::cell::RefCell;
use std::mem;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use towline_base::clock;
use towline_io::{Demand, Output, Payload, PayloadFault, Peer, Protocol};

use crate::get::{self, Done};
use crate::head::{self, Body, Head, HeadFault, Method};
use crate::path::PREFIX;
use crate::reply::{self, ReplyHead, Tone};
use crate::server::Server;
use crate::status::{Extra, Refusal, Status};
use crate::worker::Worker;

/// Longest unwanted body that is read and thrown away, in bytes, so that the connection can go
/// on; a longer one closes it. At 10 Gb/s this is 7 ms.
pub const DRAIN_BYTES_MAX: u64 = 8 << 20;

/// Methods of a file or directory (RFC 9110 section 10.2.1).
pub(crate) const METHODS: &str = "GET, HEAD, PUT, DELETE, MKCOL, OPTIONS";

/// The state of one connection.
pub struct Connection {
    pub(crate) server: Arc<Server>,
    pub(crate) worker: Rc<RefCell<Worker>>,
    pub(crate) peer: Peer,
    scanned: usize,
    phase: Phase,
    /// When the request under way began, if anybody wants to know.
    started: Option<Instant>,
}

/// Where the connection stands.
enum Phase {
    /// A head comes.
    Head,
    /// The job of the head in front of the input runs.
    Waiting,
    /// It has finished.
    Answer(Done),
    /// A body that nobody wanted is thrown away.
    Drain,
}

/// What is to be done behind a head.
pub(crate) enum Flow {
    /// The reply is out.
    Replied,
    /// A job was deferred; the head is read again when it is done.
    Wait,
    /// The control plane answers.
    HandOff,
}

/// The request under way, as its handlers see it.
pub(crate) struct Request<'a, 'b> {
    pub(crate) head: &'b Head<'a>,
    /// The path behind [`PREFIX`], as sent.
    pub(crate) below: &'a [u8],
    pub(crate) tone: Tone,
}

impl Connection {
    pub(crate) fn new(server: Arc<Server>, worker: Rc<RefCell<Worker>>, peer: Peer) -> Self {
        Self {
            server,
            worker,
            peer,
            scanned: 0,
            phase: Phase::Head,
            started: None,
        }
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.peer.address.ip()
    }

    /// Answers the head in front of the input, or begins to.
    fn request(
        &mut self,
        head: &Head<'_>,
        answer: Option<Done>,
        output: &mut Output<Done>,
    ) -> Flow {
        let tone = Tone::of(head, drained(head).is_some());
        let Some(below) = head.path.strip_prefix(PREFIX) else {
            if Some(head.path) == PREFIX.strip_suffix(b"/") {
                return self.redirect(PREFIX, tone, output);
            }
            return Flow::HandOff;
        };
        let request = Request { head, below, tone };
        match head.method {
            Method::Get | Method::Head => get::answer(self, &request, answer, output),
            Method::Put | Method::Delete | Method::Mkcol | Method::Options | Method::Other => {
                let refusal = Refusal::new(
                    Status::NOT_ALLOWED,
                    "files know GET, HEAD, PUT, DELETE and MKCOL; use one of them",
                );
                self.refuse(&refusal.with(Extra::Allow(METHODS)), tone, output)
            }
        }
    }

    /// Puts out a whole reply that says no.
    pub(crate) fn refuse(
        &mut self,
        refusal: &Refusal,
        tone: Tone,
        output: &mut Output<Done>,
    ) -> Flow {
        let mut worker = self.worker.borrow_mut();
        let (_, date) = worker.date();
        worker.counters.replied(refusal.status);
        reply::refuse(output.buffer(), refusal, &date, tone);
        Flow::Replied
    }

    /// Puts out a redirect to a place that is already encoded.
    pub(crate) fn redirect(&mut self, to: &[u8], tone: Tone, output: &mut Output<Done>) -> Flow {
        let mut worker = self.worker.borrow_mut();
        let (_, date) = worker.date();
        worker.counters.replied(Status::MOVED);
        let mut head = ReplyHead::begin(output.buffer(), Status::MOVED, &date, tone);
        head.text("Location", to);
        head.number("Content-Length", 0);
        head.end();
        Flow::Replied
    }

    /// Refuses what could not be read; HTTP/2 gets no answer in a language it does not speak.
    fn refuse_head(&mut self, fault: HeadFault, output: &mut Output<Done>) -> Demand {
        if fault != HeadFault::Http2 {
            self.refuse(&Refusal::from(fault), Tone::UNREADABLE, output);
        }
        Demand::Close
    }

    /// Ends a request whose reply is out.
    fn finish(&mut self, head: &Head<'_>) -> Option<Demand> {
        self.log(head.method);
        if !head.keep_alive {
            return Some(Demand::Close);
        }
        match drained(head) {
            None => Some(Demand::Close),
            Some(0) => None,
            Some(length) => {
                self.phase = Phase::Drain;
                Some(Demand::Payload(Payload { sink: None, length }))
            }
        }
    }

    fn log(&mut self, method: Method) {
        if let Some(started) = self.started.take() {
            let elapsed_us = clock::now().duration_since(started).as_micros() as u64;
            tracing::debug!(
                peer = %self.peer.address,
                proc = method.as_str(),
                elapsed_us,
                "http request"
            );
        }
    }
}

/// How many bytes of unwanted body to read so that the next request can follow; `None` if the
/// connection must close instead: a body too long, in chunks, or not sent yet.
fn drained(head: &Head<'_>) -> Option<u64> {
    match head.body {
        Body::Absent => Some(0),
        Body::Length(0) => Some(0),
        Body::Length(length) if length <= DRAIN_BYTES_MAX && !head.expects_continue => Some(length),
        Body::Length(_) | Body::Chunked => None,
    }
}

impl Protocol for Connection {
    type Done = Done;

    fn advance(&mut self, input: &mut &[u8], output: &mut Output<Done>) -> Demand {
        loop {
            let answer = match mem::replace(&mut self.phase, Phase::Head) {
                Phase::Head => None,
                Phase::Answer(done) => Some(done),
                Phase::Waiting => {
                    self.phase = Phase::Waiting;
                    return Demand::Pause;
                }
                Phase::Drain => {
                    self.phase = Phase::Drain;
                    return Demand::Input;
                }
            };
            let text = *input;
            let (head, length) = match head::parse(text, &mut self.scanned) {
                Ok(Some(found)) => found,
                Ok(None) => return Demand::Input,
                Err(fault) => return self.refuse_head(fault, output),
            };
            if self.started.is_none() && tracing::enabled!(tracing::Level::DEBUG) {
                self.started = Some(clock::now());
            }
            match self.request(&head, answer, output) {
                Flow::HandOff => return Demand::HandOff,
                Flow::Wait => {
                    self.phase = Phase::Waiting;
                    return Demand::Pause;
                }
                Flow::Replied => {
                    *input = text.get(length..).unwrap_or(&[]);
                    if let Some(demand) = self.finish(&head) {
                        return demand;
                    }
                }
            }
        }
    }

    fn received(
        &mut self,
        _outcome: Result<(), PayloadFault>,
        _output: &mut Output<Done>,
    ) -> Demand {
        self.phase = Phase::Head;
        Demand::Input
    }

    fn completed(&mut self, done: Done, _output: &mut Output<Done>) -> Demand {
        self.phase = Phase::Answer(done);
        Demand::Input
    }

    fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Head) && self.scanned == 0
    }
}
