//! A connection's calls of version 4: answered from memory as far as that goes, then on the pool.
//!
//! Invariant: a COMPOUND that leaves for the pool goes on where it stood, and its slot is settled
//! before its reply is put out, so that a client that lost its connection finds the reply over
//! another. Not promised: that the worker keeps what a job has found.

use std::borrow::Cow;
use std::sync::Arc;

use towline_io::{FileSpan, Framed, Output};

use super::compound::{Compound, Progress, ReadSpan};
use super::intake::Prepared;
use super::session::Session;
use super::{Status, intake, read};
use crate::blocking::keep;
use crate::connection::{self, Connection, Done};
use crate::ground::{Blocking, Find, Hot};
use crate::metrics::Event;
use crate::rpc::reply::{self, Accept};
use crate::rpc::{Call, Credential};
use crate::xdr::padding;

/// What a job on the pool gives back.
#[derive(Debug)]
pub(crate) enum Step {
    /// A COMPOUND is through.
    Ended(Box<Ended>),
    /// The file of the WRITE at the front of the input was opened, or not.
    Opened(Box<Prepared>),
    /// No job's end, but a callback to be sent: a whole call with its record mark.
    Callback(Vec<u8>),
}

impl Step {
    /// A COMPOUND that ran on the pool.
    pub(super) fn ended(
        mut compound: Compound,
        progress: Progress,
        mut reply: Vec<u8>,
        finds: Vec<Find>,
    ) -> Done {
        let span = match progress {
            Progress::Span(span) => Some(span),
            // Nothing is cold on the pool.
            Progress::Done | Progress::Cold => None,
        };
        let following = span.as_ref().map_or(0, span_bytes);
        let status = compound.end(following, &mut reply);
        let ended = Ended {
            reply,
            span,
            status,
            finds,
            written_bytes: compound.written_bytes,
            bound: compound.bound.take(),
        };
        Done(connection::Step::V4(Self::Ended(Box::new(ended))))
    }
}

/// A COMPOUND whose reply is whole, but perhaps for bytes of a file.
#[derive(Debug)]
pub(crate) struct Ended {
    reply: Vec<u8>,
    span: Option<ReadSpan>,
    status: Status,
    finds: Vec<Find>,
    written_bytes: u64,
    bound: Option<Arc<Session>>,
}

impl Connection {
    /// Carries out a COMPOUND. What comes back must go to the pool.
    pub(crate) fn call_v4(
        &mut self,
        (call, credential): (&Call<'_>, Credential),
        message: &[u8],
        output: &mut Output<Done>,
    ) -> Option<Box<Compound>> {
        let at = message.len() - call.arguments.rest().len();
        let caller = self.caller(credential);
        let head = (call.xid, caller);
        let out = output.buffer();
        let Ok(mut compound) = Compound::begin(head, (message, message.len()), at, out) else {
            let accept = Accept::GarbageArguments;
            self.refuse(output, |out| reply::plain(out, call.xid, accept));
            return None;
        };
        let shared = self.shared.clone();
        let Some(books) = &shared.server.books else {
            return None;
        };
        let progress = {
            let mut view = shared.view.borrow_mut();
            let mut ground = Hot {
                server: &shared.server,
                view: &mut view,
                doors: &mut self.doors,
                caller: &caller,
            };
            let standing = (
                &mut ground as &mut dyn crate::ground::Ground,
                &shared.server,
                books.as_ref(),
            );
            compound.run(message, standing, &shared.counters, output.buffer())
        };
        match progress {
            Progress::Done => {
                let status = compound.end(0, output.buffer());
                self.answered(Event::V4(status), 0);
                if let Some(session) = compound.bound.take() {
                    self.bind_back(session);
                }
                None
            }
            Progress::Span(span) => {
                self.put_span(&mut compound, span, output);
                None
            }
            Progress::Cold => Some(Box::new(compound)),
        }
    }

    /// Sends a COMPOUND to the pool as it stands.
    pub(crate) fn defer_v4(
        &mut self,
        mut compound: Box<Compound>,
        message: Cow<'_, [u8]>,
        output: &mut Output<Done>,
    ) {
        let mut reply = compound.take_reply(output.buffer());
        let message = keep(message);
        let server = self.server().clone();
        let known = intake::known(&compound);
        self.in_flight += 1;
        output.defer(move || {
            let caller = compound.caller;
            let mut ground = Blocking::new(&server, &caller, known);
            let mut progress = Progress::Done;
            if let Some(books) = &server.books {
                let standing = (
                    &mut ground as &mut dyn crate::ground::Ground,
                    &server,
                    books.as_ref(),
                );
                let counters = &server.counters;
                progress = compound.run(&message, standing, counters, &mut reply);
            }
            Step::ended(*compound, progress, reply, ground.finds)
        });
    }

    /// Goes on with what a job has left.
    pub(crate) fn completed_v4(&mut self, step: Step, output: &mut Output<Done>) {
        match step {
            Step::Opened(prepared) => self.opened_v4(prepared),
            // Comes by `told`.
            Step::Callback(_) => {}
            Step::Ended(ended) => {
                let Ended {
                    reply,
                    span,
                    status,
                    finds,
                    written_bytes,
                    bound,
                } = *ended;
                self.in_flight -= 1;
                self.absorb(finds);
                let head_start = output.buffer().len();
                output.buffer().extend_from_slice(&reply);
                if let Some(span) = span {
                    self.frame(head_start, span, output);
                }
                self.shared.counters.count_written(written_bytes);
                self.answered(Event::V4(status), reply.len());
                if let Some(session) = bound {
                    self.bind_back(session);
                }
            }
        }
    }

    pub(super) fn put_span(
        &mut self,
        compound: &mut Compound,
        span: ReadSpan,
        output: &mut Output<Done>,
    ) {
        let head_start = compound.start();
        let status = compound.end(span_bytes(&span), output.buffer());
        let bytes = span.length as usize;
        self.frame(head_start, span, output);
        self.answered(Event::V4(status), bytes);
    }

    /// Puts out the bytes behind the head that begins at `head_start`.
    fn frame(&self, head_start: usize, span: ReadSpan, output: &mut Output<Done>) {
        let ReadSpan {
            file,
            offset,
            length,
        } = span;
        self.shared.counters.count_read(u64::from(length));
        output.framed(Framed {
            head_start,
            span: FileSpan {
                file,
                offset,
                length: u64::from(length),
            },
            padding: padding(length as usize) as u8,
            recover: read::recover,
        });
    }
}

fn span_bytes(span: &ReadSpan) -> usize {
    crate::xdr::padded(span.length as usize)
}
