//! One HTTP connection: heads come in, replies go out in the same order.
//!
//! Governed by RFC 9112. A request that can be answered from memory is answered at once. For any
//! other a job goes to a pool thread and the head *stays unread* in front of the input; when the
//! job is done the head is read again and answered with its result. So nothing of a head is
//! copied, and a reply can never overtake another. Invariant: at most one job of a connection
//! runs. What no face takes is handed to the control plane with its bytes unread.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use towline_base::clock;
use towline_io::{Demand, Output, Payload, PayloadFault, Peer, Protocol};

use crate::done::Done;
use crate::exchange::{Exchange, Flow};
use crate::faces::Asked;
use crate::head::{self, Body, Head, HeadFault, Method};
use crate::incoming::{Incoming, Progress};
use crate::metrics::add;
use crate::reply::Tone;
use crate::route;
use crate::server::{Port, Server};
use crate::status::{Refusal, Status};
use crate::worker::Worker;

/// Longest unwanted body that is read and thrown away, in bytes, so that the connection can go
/// on; a longer one closes it. At 10 Gb/s this is 7 ms.
pub const DRAIN_BYTES_MAX: u64 = 8 << 20;

/// Bytes of replies after which a core lets the driver send before it takes the next pipelined
/// request: a flood of small requests must not become a flood of memory. Two hundred replies.
pub const REPLIES_BYTES_MAX: usize = 64 << 10;

/// The state of one connection.
pub struct Connection {
    exchange: Exchange,
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
    /// The body of an upload arrives.
    Upload(Box<Incoming>),
    /// The job that ends an upload runs; the head is long gone.
    Ending(Tone),
}

impl Connection {
    pub(crate) fn new(
        server: Arc<Server>,
        worker: Rc<RefCell<Worker>>,
        peer: Peer,
        port: Port,
    ) -> Self {
        let exchange = Exchange {
            server,
            worker,
            peer,
            port,
        };
        Self {
            exchange,
            scanned: 0,
            phase: Phase::Head,
            started: None,
        }
    }

    /// Lets the body come.
    fn begin_upload(&mut self, incoming: Box<Incoming>, asks: bool, output: &mut Output<Done>) {
        if asks {
            let line = Status::CONTINUE.line().as_bytes();
            output.buffer().extend_from_slice(line);
            output.buffer().extend_from_slice(b"\r\n");
        }
        self.phase = Phase::Upload(incoming);
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
                self.exchange.refuse(&refusal, tone, output);
                self.log(Method::Put);
                (!tone.keep_alive).then_some(Demand::Close)
            }
            Progress::Broken(refusal) => {
                self.exchange.refuse(&refusal, Tone::UNREADABLE, output);
                Some(Demand::Close)
            }
        }
    }

    /// Refuses what could not be read; HTTP/2 gets no answer in a language it does not speak.
    fn refuse_head(&mut self, fault: HeadFault, output: &mut Output<Done>) -> Demand {
        if fault != HeadFault::Http2 {
            self.exchange
                .refuse(&Refusal::from(fault), Tone::UNREADABLE, output);
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
                peer = %self.exchange.peer.address,
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
            let face = route::face(self.exchange.port, head.path);
            if let Some(needed) = face.and_then(|face| face.body_needed(self.exchange.port, &head))
                && (behind.len() as u64) < needed
            {
                // Few and short: the question waits unread until its body is here.
                if head.expects_continue {
                    return self.refuse_head(HeadFault::Expectation, output);
                }
                return Demand::Input;
            }
            let asked = Asked {
                head: &head,
                body: behind,
                tone: Tone::of(&head, drained(&head).is_some()),
                done: answer,
            };
            match route::answer(face, &mut self.exchange, asked, output) {
                Flow::HandOff => return Demand::HandOff,
                Flow::Wait => {
                    self.phase = Phase::Waiting;
                    return Demand::Pause;
                }
                Flow::Receive(incoming) => {
                    *input = text.get(length..).unwrap_or(&[]);
                    self.begin_upload(incoming, head.expects_continue, output);
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
            &self.exchange.worker.borrow().counters.bytes_received,
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
                    Ok(stored) => self.exchange.reply_stored(&stored, tone, output),
                    Err(refusal) => {
                        self.exchange.refuse(&refusal, tone, output);
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
        self.exchange.refuse(&refusal, Tone::UNREADABLE, output);
        true
    }

    fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Head) && self.scanned == 0
    }
}
