//! A call of version 3 (RFC 1813) carried out from beginning to end on a thread that may wait.
//!
//! Invariant: a call that changes something passes the duplicate-request cache ([`super::drc`]),
//! so that a retransmission gets the first reply. Not promised: that replies come in the order
//! of their calls.

use std::sync::Arc;

use towline_volume::view::Located;

use super::drc::{Key, Verdict};
use super::{Arguments, Procedure, Status, answer_blocking};
use crate::blocking::Finished;
use crate::caller::Caller;
use crate::ground::Blocking;
use crate::metrics::Event;
use crate::rpc::Call;
use crate::rpc::reply::{Accept, HEAD_BYTES, MARK_BYTES, begin, finish};
use crate::server::Server;
use crate::xdr::Writer;

/// Bytes that most results fit in: three sets of attributes and a handle.
const RESULT_BYTES_USUAL: usize = 400;

/// A call on its way to a pool thread.
#[derive(Debug)]
pub(super) struct Deferred {
    pub(super) server: Arc<Server>,
    pub(super) caller: Caller,
    /// The whole message; it was parsed once already.
    pub(super) message: Vec<u8>,
    pub(super) procedure: Procedure,
    /// A node that the worker had open.
    pub(super) known: Option<Located>,
}

impl Deferred {
    /// Carries it out.
    pub(super) fn run(self) -> Finished {
        let Ok(call) = Call::parse(&self.message) else {
            // The worker parsed the same bytes before: this cannot be reached by any input.
            return Finished::silent(Event::Refused);
        };
        match self.procedure.is_replayed() {
            true => self.run_once(&call),
            false => self.run_always(&call),
        }
    }

    /// Carries out a change, unless it was carried out before.
    fn run_once(&self, call: &Call<'_>) -> Finished {
        let procedure = self.procedure;
        let key = Key::new(&self.caller, call);
        match self.server.replies.begin(key) {
            Verdict::New(ticket) => {
                let finished = self.run_always(call);
                // "Busy" is no result: the client's next try must be a new one.
                let is_result = finished.event != Event::V3(procedure, Status::Jukebox);
                if let Some(reply) = finished.reply.get(MARK_BYTES..).filter(|_| is_result) {
                    ticket.keep(reply);
                }
                finished
            }
            Verdict::Replay(reply) => {
                let mut marked = vec![0; MARK_BYTES];
                marked.extend_from_slice(&reply);
                finish(&mut Writer::new(&mut marked), 0, 0);
                Finished {
                    reply: marked,
                    event: Event::V3(procedure, Status::Ok),
                    is_replay: true,
                    ..Finished::silent(Event::Refused)
                }
            }
            Verdict::Silence => Finished::silent(Event::Refused),
        }
    }

    fn run_always(&self, call: &Call<'_>) -> Finished {
        let procedure = self.procedure;
        let Ok(arguments) = Arguments::parse(procedure, &mut call.arguments.clone()) else {
            return Finished::garbage(call.xid);
        };
        let mut ground = Blocking::new(&self.server, &self.caller, self.known.clone());
        let mut reply = Vec::with_capacity(HEAD_BYTES + RESULT_BYTES_USUAL);
        let mut out = Writer::new(&mut reply);
        let start = begin(&mut out, call.xid, Accept::Success);
        let status = answer_blocking(&mut ground, &arguments, &mut out);
        finish(&mut out, start, 0);
        let written_bytes = match (&arguments, status) {
            (Arguments::Write { head, .. }, Status::Ok) => u64::from(head.length),
            _ => 0,
        };
        Finished {
            event: Event::V3(procedure, status),
            finds: ground.finds,
            written_bytes,
            is_replay: false,
            reply,
        }
    }
}
