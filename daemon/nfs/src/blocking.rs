//! A call carried out from beginning to end on a thread that may wait.
//!
//! Pool threads run what a worker could not answer from memory ([`Deferred`]), and datagrams
//! take the same way. Invariant: a call that changes something passes the duplicate-request cache,
//! so that a retransmission gets the first reply. Not promised: that replies come in the order
//! of their calls.

use std::borrow::Cow;
use std::sync::Arc;

use towline_volume::view::Located;

use crate::drc::{Key, Verdict};
use crate::ground::{Blocking, Caller, Find};
use crate::metrics::Event;
use crate::mount;
use crate::rpc::reply::{Accept, HEAD_BYTES, MARK_BYTES, begin, finish, plain};
use crate::rpc::{Call, record::MESSAGE_BYTES_MAX};
use crate::server::Server;
use crate::status::Status;
use crate::v3::{self, Arguments, Procedure};
use crate::xdr::{Reader, Writer};

/// What became of a call.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The reply with its record mark; empty if there is none.
    pub(crate) reply: Vec<u8>,
    pub(crate) event: Event,
    /// For the worker's view.
    pub(crate) finds: Vec<Find>,
    /// Bytes of file contents that it wrote.
    pub(crate) written_bytes: u64,
    /// Whether the reply is one of an earlier call.
    pub(crate) is_replay: bool,
}

/// An NFS or MOUNT call on its way to a pool thread.
#[derive(Debug)]
pub(crate) struct Deferred {
    pub(crate) server: Arc<Server>,
    pub(crate) caller: Caller,
    /// The whole message; it was parsed once already.
    pub(crate) message: Vec<u8>,
    pub(crate) work: Work,
    /// A node that the worker had open.
    pub(crate) known: Option<Located>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Work {
    Nfs(Procedure),
    Mount(mount::Procedure, u32),
}

impl Deferred {
    /// Carries it out.
    pub(crate) fn run(self) -> Finished {
        let Ok(call) = Call::parse(&self.message) else {
            // The worker parsed the same bytes before: this cannot be reached by any input.
            return Finished::silent(Event::Refused);
        };
        match self.work {
            Work::Nfs(procedure) if procedure.is_replayed() => self.run_once(procedure, &call),
            Work::Nfs(procedure) => self.run_nfs(procedure, &call),
            Work::Mount(procedure, version) => self.run_mount((procedure, version), &call),
        }
    }

    /// Carries out a change, unless it was carried out before.
    fn run_once(&self, procedure: Procedure, call: &Call<'_>) -> Finished {
        let key = Key::new(&self.caller, call);
        match self.server.replies.begin(key) {
            Verdict::New(ticket) => {
                let finished = self.run_nfs(procedure, call);
                // "Busy" is no result: the client's next try must be a new one.
                let is_result = finished.event != Event::Nfs(procedure, Status::Jukebox);
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
                    event: Event::Nfs(procedure, Status::Ok),
                    is_replay: true,
                    ..Finished::silent(Event::Refused)
                }
            }
            Verdict::Silence => Finished::silent(Event::Refused),
        }
    }

    fn run_nfs(&self, procedure: Procedure, call: &Call<'_>) -> Finished {
        let Ok(arguments) = Arguments::parse(procedure, &mut call.arguments.clone()) else {
            return Finished::garbage(call.xid);
        };
        let mut ground = Blocking::new(&self.server, &self.caller, self.known.clone());
        let mut reply = Vec::with_capacity(HEAD_BYTES + RESULT_BYTES_USUAL);
        let mut out = Writer::new(&mut reply);
        let start = begin(&mut out, call.xid, Accept::Success);
        let status = v3::answer_blocking(&mut ground, &arguments, &mut out);
        finish(&mut out, start, 0);
        let written_bytes = match (&arguments, status) {
            (Arguments::Write { head, .. }, Status::Ok) => u64::from(head.length),
            _ => 0,
        };
        Finished {
            event: Event::Nfs(procedure, status),
            finds: ground.finds,
            written_bytes,
            is_replay: false,
            reply,
        }
    }

    fn run_mount(&self, procedure: (mount::Procedure, u32), call: &Call<'_>) -> Finished {
        let mut ground = Blocking::new(&self.server, &self.caller, None);
        let mut reply = Vec::new();
        let mut out = Writer::new(&mut reply);
        let start = begin(&mut out, call.xid, Accept::Success);
        let mut arguments: Reader<'_> = call.arguments;
        if mount::answer(&mut ground, procedure, &mut arguments, &mut out).is_err() {
            return Finished::garbage(call.xid);
        }
        finish(&mut out, start, 0);
        Finished {
            reply,
            event: Event::Mount,
            finds: ground.finds,
            written_bytes: 0,
            is_replay: false,
        }
    }
}

/// Bytes that most results fit in: three sets of attributes and a handle.
const RESULT_BYTES_USUAL: usize = 400;

impl Finished {
    fn silent(event: Event) -> Self {
        Self {
            reply: Vec::new(),
            event,
            finds: Vec::new(),
            written_bytes: 0,
            is_replay: false,
        }
    }

    fn garbage(xid: u32) -> Self {
        let mut finished = Self::silent(Event::Refused);
        let mut out = Writer::new(&mut finished.reply);
        plain(&mut out, xid, Accept::GarbageArguments);
        finished
    }
}

/// Takes a message along: it is copied only if it lies in the input.
pub(crate) fn keep(message: Cow<'_, [u8]>) -> Vec<u8> {
    assert!(message.len() <= MESSAGE_BYTES_MAX, "records are judged");
    message.into_owned()
}
