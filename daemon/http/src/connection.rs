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

use crate::change;
use crate::done::{Done, Stored};
use crate::doors::{CORS_FIELDS, CORS_METHODS, CORS_SECONDS, Visit};
use crate::get;
use crate::head::{self, Body, Head, HeadFault, Method};
use crate::hub;
use crate::metrics::add;
use crate::models::Dress;
use crate::path::PREFIX;
use crate::registry;
use crate::reply::{self, ReplyHead, Tone};
use crate::s3;
use crate::server::Server;
use crate::status::{Extra, Refusal, Status};
use crate::upload::{Incoming, Progress};
use crate::validator::EntityTag;
use crate::worker::Worker;

/// Longest unwanted body that is read and thrown away, in bytes, so that the connection can go
/// on; a longer one closes it. At 10 Gb/s this is 7 ms.
pub const DRAIN_BYTES_MAX: u64 = 8 << 20;

/// Bytes of replies after which a core lets the driver send before it takes the next pipelined
/// request: a flood of small requests must not become a flood of memory. Two hundred replies.
pub const REPLIES_BYTES_MAX: usize = 64 << 10;

/// Methods of a file or directory (RFC 9110 section 10.2.1).
pub(crate) const METHODS: &str = "GET, HEAD, PUT, DELETE, MKCOL, OPTIONS";

/// The state of one connection.
pub struct Connection {
    pub(crate) server: Arc<Server>,
    pub(crate) worker: Rc<RefCell<Worker>>,
    pub(crate) peer: Peer,
    pub(crate) face: Face,
    scanned: usize,
    phase: Phase,
    /// When the request under way began, if anybody wants to know.
    started: Option<Instant>,
}

/// What a connection is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Face {
    /// `/files/`, `/hf/` and, handed off, the control plane.
    Files,
    /// Read-only S3 and nothing else.
    S3,
    /// What is below `/hf/`, without that prefix, and nothing else.
    Hub,
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
    /// The body of an upload arrives.
    Upload(Box<Incoming>),
    /// The job that ends an upload runs; the head is long gone.
    Ending(Tone),
}

/// What is to be done behind a head.
pub(crate) enum Flow {
    /// The reply is out.
    Replied,
    /// A job was deferred; the head is read again when it is done.
    Wait,
    /// The control plane answers.
    HandOff,
    /// The body goes into a file.
    Receive(Box<Incoming>),
}

/// The request under way, as its handlers see it.
pub(crate) struct Request<'a, 'b> {
    pub(crate) head: &'b Head<'a>,
    /// The path behind [`PREFIX`], as sent.
    pub(crate) below: &'a [u8],
    pub(crate) tone: Tone,
    /// For a file that goes out under another name than its own.
    pub(crate) dress: Option<&'b Dress>,
}

impl Connection {
    pub(crate) fn new(
        server: Arc<Server>,
        worker: Rc<RefCell<Worker>>,
        peer: Peer,
        face: Face,
    ) -> Self {
        Self {
            server,
            worker,
            peer,
            face,
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
        body: &[u8],
        answer: Option<Done>,
        output: &mut Output<Done>,
    ) -> Flow {
        let mut tone = Tone::of(head, drained(head).is_some());
        tone.is_s3 = self.face == Face::S3;
        match self.server.doors().judge(head) {
            Ok(Visit::Own) => {}
            Ok(Visit::Page(origin)) => tone.page = Some(origin),
            Ok(Visit::Preflight(origin)) => {
                tone.page = Some(origin);
                self.reply_preflight(tone, output);
                return Flow::Replied;
            }
            Err(refusal) => return self.refuse(&refusal, tone, output),
        }
        if self.face == Face::S3 {
            return s3::answer(self, head, tone, answer, output);
        }
        if hub::below(self.face, head.path).is_some() {
            let (below, dress) = (&[][..], None);
            let request = Request {
                head,
                below,
                tone,
                dress,
            };
            return hub::answer(self, &request, body, answer, output);
        }
        if registry::is_ours(head.path) {
            return registry::answer(self, head, tone, answer, output);
        }
        let Some(below) = head.path.strip_prefix(PREFIX) else {
            if Some(head.path) == PREFIX.strip_suffix(b"/") {
                return self.redirect(PREFIX, tone, output);
            }
            return Flow::HandOff;
        };
        let request = Request {
            head,
            below,
            tone,
            dress: None,
        };
        match head.method {
            Method::Get | Method::Head => get::answer(self, &request, answer, output),
            Method::Put | Method::Delete | Method::Mkcol => {
                change::answer(self, &request, answer, output)
            }
            Method::Options => {
                self.reply_options(tone, output);
                Flow::Replied
            }
            Method::Post | Method::Other => {
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

    /// Puts out a reply without a body.
    pub(crate) fn reply_empty(&mut self, status: Status, tone: Tone, output: &mut Output<Done>) {
        self.begin(status, tone, output, |_| {});
    }

    /// Tells that a file was stored, and what it is now.
    pub(crate) fn reply_stored(&mut self, stored: &Stored, tone: Tone, output: &mut Output<Done>) {
        let status = if stored.has_replaced {
            Status::NO_CONTENT
        } else {
            Status::CREATED
        };
        add(&self.worker.borrow().counters.published, 1);
        let tag = EntityTag::of(&stored.attributes);
        self.begin(status, tone, output, |head| {
            head.text("ETag", tag.as_bytes());
        });
    }

    /// Tells a browser what a page may ask (the Fetch standard, section 3.3.3).
    fn reply_preflight(&mut self, tone: Tone, output: &mut Output<Done>) {
        self.begin(Status::NO_CONTENT, tone, output, |head| {
            head.text("Access-Control-Allow-Methods", CORS_METHODS.as_bytes());
            head.text("Access-Control-Allow-Headers", CORS_FIELDS.as_bytes());
            head.text("Access-Control-Max-Age", CORS_SECONDS.as_bytes());
        });
    }

    fn reply_options(&mut self, tone: Tone, output: &mut Output<Done>) {
        self.begin(Status::NO_CONTENT, tone, output, |head| {
            head.text("Allow", METHODS.as_bytes());
        });
    }

    /// A whole reply without a body; 204 has no Content-Length (RFC 9110 section 8.6).
    fn begin(
        &mut self,
        status: Status,
        tone: Tone,
        output: &mut Output<Done>,
        fields: impl FnOnce(&mut ReplyHead<'_>),
    ) {
        let mut worker = self.worker.borrow_mut();
        let (_, date) = worker.date();
        worker.counters.replied(status);
        let mut head = ReplyHead::begin(output.buffer(), status, &date, tone);
        fields(&mut head);
        if status != Status::NO_CONTENT {
            head.number("Content-Length", 0);
        }
        head.end();
    }

    /// Goes on with an upload. `None`: it has ended, and the next head may come.
    fn follow(&mut self, progress: Progress, output: &mut Output<Done>) -> Option<Demand> {
        match progress {
            Progress::Go(demand, incoming) => {
                self.phase = Phase::Upload(incoming);
                Some(demand)
            }
            Progress::Ending(tone) => {
                self.phase = Phase::Ending(tone);
                Some(Demand::Pause)
            }
            Progress::Ended(refusal, tone) => {
                self.refuse(&refusal, tone, output);
                self.log(Method::Put);
                (!tone.keep_alive).then_some(Demand::Close)
            }
            Progress::Broken(refusal) => {
                self.refuse(&refusal, Tone::UNREADABLE, output);
                Some(Demand::Close)
            }
        }
    }

    /// Refuses what could not be read; HTTP/2 gets no answer in a language it does not speak.
    fn refuse_head(&mut self, fault: HeadFault, output: &mut Output<Done>) -> Demand {
        if fault != HeadFault::Http2 {
            self.refuse(&Refusal::from(fault), Tone::UNREADABLE, output);
        }
        Demand::Close
    }

    /// Ends a request whose reply is out.
    fn finish(&mut self, head: &Head<'_>, output: &mut Output<Done>) -> Option<Demand> {
        self.log(head.method);
        if !head.keep_alive {
            return Some(Demand::Close);
        }
        let Some(length) = drained(head) else {
            return Some(Demand::Close);
        };
        if length == 0 && output.buffer().len() < REPLIES_BYTES_MAX {
            return None;
        }
        // An empty payload lets the driver send what is there and come back.
        self.phase = Phase::Drain;
        Some(Demand::Payload(Payload { sink: None, length }))
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
                Phase::Ending(tone) => {
                    self.phase = Phase::Ending(tone);
                    return Demand::Pause;
                }
                Phase::Drain => {
                    self.phase = Phase::Drain;
                    return Demand::Input;
                }
                Phase::Upload(incoming) => {
                    let progress = incoming.advance(input, output);
                    if let Some(demand) = self.follow(progress, output) {
                        return demand;
                    }
                    None
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
            let behind = text.get(length..).unwrap_or(&[]);
            if let Some(needed) = hub::body_needed(self.face, &head)
                && (behind.len() as u64) < needed
            {
                // Few and short: the question waits unread until its body is here.
                if head.expects_continue {
                    return self.refuse_head(HeadFault::Expectation, output);
                }
                return Demand::Input;
            }
            match self.request(&head, behind, answer, output) {
                Flow::HandOff => return Demand::HandOff,
                Flow::Wait => {
                    self.phase = Phase::Waiting;
                    return Demand::Pause;
                }
                Flow::Receive(incoming) => {
                    *input = text.get(length..).unwrap_or(&[]);
                    if head.expects_continue {
                        let line = Status::CONTINUE.line().as_bytes();
                        output.buffer().extend_from_slice(line);
                        output.buffer().extend_from_slice(b"\r\n");
                    }
                    self.phase = Phase::Upload(incoming);
                }
                Flow::Replied => {
                    *input = text.get(length..).unwrap_or(&[]);
                    if let Some(demand) = self.finish(&head, output) {
                        return demand;
                    }
                }
            }
        }
    }

    fn received(&mut self, outcome: Result<(), PayloadFault>, output: &mut Output<Done>) -> Demand {
        let Phase::Upload(mut incoming) = mem::replace(&mut self.phase, Phase::Head) else {
            return Demand::Input;
        };
        add(
            &self.worker.borrow().counters.bytes_received,
            incoming.arriving,
        );
        let progress = if incoming.stored(outcome) {
            incoming.end(output)
        } else {
            Progress::Go(Demand::Input, incoming)
        };
        self.follow(progress, output).unwrap_or(Demand::Input)
    }

    fn completed(&mut self, done: Done, output: &mut Output<Done>) -> Demand {
        match (mem::replace(&mut self.phase, Phase::Head), done) {
            (Phase::Ending(tone), Done::Stored(stored)) => {
                match stored {
                    Ok(stored) => self.reply_stored(&stored, tone, output),
                    Err(refusal) => {
                        self.refuse(&refusal, tone, output);
                    }
                }
                self.log(Method::Put);
                if tone.keep_alive {
                    Demand::Input
                } else {
                    Demand::Close
                }
            }
            (_, done) => {
                self.phase = Phase::Answer(done);
                Demand::Input
            }
        }
    }

    fn timed_out(&mut self, output: &mut Output<Done>) -> bool {
        if !matches!(self.phase, Phase::Upload(_)) {
            return false;
        }
        self.phase = Phase::Head;
        let refusal = Refusal::new(
            Status::TIMEOUT,
            "the upload stood still for too long; with Content-Range it can go on where it ended, \
             and limits.stall_timeout on the node allows longer pauses",
        );
        self.refuse(&refusal, Tone::UNREADABLE, output);
        true
    }

    fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Head) && self.scanned == 0
    }
}
