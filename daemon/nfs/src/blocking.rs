//! A call carried out from beginning to end on a thread that may wait, and what it leaves.
//!
//! Pool threads run what a worker could not answer from memory; each program version has jobs of
//! its own, and MOUNT's is here, which datagrams use too. Invariant: a [`Finished`] has the whole
//! reply. Not promised: that replies come in the order of their calls.

use std::borrow::Cow;
use std::sync::Arc;

use crate::caller::Caller;
use crate::ground::{Blocking, Find};
use crate::metrics::Event;
use crate::mount;
use crate::rpc::reply::{Accept, begin, finish, plain};
use crate::rpc::{Call, record::MESSAGE_BYTES_MAX};
use crate::server::Server;
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

/// A MOUNT call on its way to a pool thread.
#[derive(Debug)]
pub(crate) struct MountCall {
    pub(crate) server: Arc<Server>,
    pub(crate) caller: Caller,
    /// The whole message; it was parsed once already.
    pub(crate) message: Vec<u8>,
    pub(crate) procedure: mount::Procedure,
    pub(crate) version: u32,
}

impl MountCall {
    /// Carries it out.
    pub(crate) fn run(self) -> Finished {
        let Ok(call) = Call::parse(&self.message) else {
            // The worker parsed the same bytes before: this cannot be reached by any input.
            return Finished::silent(Event::Refused);
        };
        let mut ground = Blocking::new(&self.server, &self.caller, None);
        let mut reply = Vec::new();
        let mut out = Writer::new(&mut reply);
        let start = begin(&mut out, call.xid, Accept::Success);
        let mut arguments: Reader<'_> = call.arguments;
        let procedure = (self.procedure, self.version);
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

impl Finished {
    pub(crate) fn silent(event: Event) -> Self {
        Self {
            reply: Vec::new(),
            event,
            finds: Vec::new(),
            written_bytes: 0,
            is_replay: false,
        }
    }

    pub(crate) fn garbage(xid: u32) -> Self {
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
