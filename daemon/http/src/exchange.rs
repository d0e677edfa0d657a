//! One request and the means to answer it: what every face sees of a connection.
//!
//! Invariant: nothing here knows which face answers, or in which phase a connection is. Replies are
//! written whole into the output; nothing of a head is kept.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use towline_io::{Output, Peer};

use crate::done::{Done, Stored};
use crate::doors::{CORS_FIELDS, CORS_METHODS, CORS_SECONDS};
use crate::head::Head;
use crate::incoming::Incoming;
use crate::metrics::add;
use crate::models::Dress;
use crate::reply::{self, ReplyHead, Tone};
use crate::server::{Port, Server};
use crate::status::{Refusal, Status};
use crate::validator::EntityTag;
use crate::worker::Worker;

/// Methods of a file or directory (RFC 9110 section 10.2.1).
pub(crate) const METHODS: &str = "GET, HEAD, PUT, DELETE, MKCOL, OPTIONS";

/// Who asks, and what this worker has to answer with.
pub(crate) struct Exchange {
    pub(crate) server: Arc<Server>,
    pub(crate) worker: Rc<RefCell<Worker>>,
    pub(crate) peer: Peer,
    /// Where the peer came in.
    pub(crate) port: Port,
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
    /// The path behind `/files/`, as sent.
    pub(crate) below: &'a [u8],
    pub(crate) tone: Tone,
    /// For a file that goes out under another name than its own.
    pub(crate) dress: Option<&'b Dress>,
}

impl Exchange {
    pub(crate) fn address(&self) -> IpAddr {
        self.peer.address.ip()
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

    /// Puts out a whole reply from memory; `fields` writes those that only this one has.
    pub(crate) fn reply_whole(
        &mut self,
        (status, tone): (Status, Tone),
        (kind, body): (&str, &[u8]),
        output: &mut Output<Done>,
        fields: impl FnOnce(&mut ReplyHead<'_>),
    ) -> Flow {
        let mut worker = self.worker.borrow_mut();
        let (_, date) = worker.date();
        worker.counters.replied(status);
        let mut head = ReplyHead::begin(output.buffer(), status, &date, tone);
        fields(&mut head);
        head.text("Content-Type", kind.as_bytes());
        head.number("Content-Length", body.len() as u64);
        head.end();
        if !tone.is_head {
            output.buffer().extend_from_slice(body);
        }
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
    pub(crate) fn reply_preflight(&mut self, tone: Tone, output: &mut Output<Done>) {
        self.begin(Status::NO_CONTENT, tone, output, |head| {
            head.text("Access-Control-Allow-Methods", CORS_METHODS.as_bytes());
            head.text("Access-Control-Allow-Headers", CORS_FIELDS.as_bytes());
            head.text("Access-Control-Max-Age", CORS_SECONDS.as_bytes());
        });
    }

    pub(crate) fn reply_options(&mut self, tone: Tone, output: &mut Output<Done>) {
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
}
