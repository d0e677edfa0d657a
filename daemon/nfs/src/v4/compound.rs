//! One COMPOUND under way (RFC 8881 sections 2.10.6.4 and 16.2).
//!
//! It has a current and a saved filehandle and stateid, a place in its message and the reply so
//! far, and nothing that is bound to a thread: an operation that would have to wait sends it to a
//! pool thread as it stands. Invariant: an operation that asks to wait has changed nothing, and a
//! COMPOUND is never begun again, because its SEQUENCE has counted. Not promised: that operations
//! before one that failed are taken back; they are not (section 16.2.3).

mod dispatch;

use std::sync::Arc;

use towline_base::NameError;
use towline_io::OpenFile;
use towline_volume::VolumeError;

use super::args::WriteHead;
use super::books::Books;
use super::operation::{ILLEGAL, Operation};
use super::pseudo::Level;
use super::session::{Claim, Session};
use super::state::stateid::{Meaning, StateId};
use super::write::Sink;
use super::{MINOR_MAX, MINOR_MIN, Status, intake, write};
use crate::caller::Caller;
use crate::ground::{Ground, Miss, Target};
use crate::metrics::Counters;
use crate::rpc::record::MESSAGE_BYTES_MAX;
use crate::rpc::reply::{self, Accept, HEAD_BYTES, MARK_BYTES};
use crate::server::Server;
use crate::xdr::{Malformed, Reader, Writer};

/// Longest tag, in bytes: it comes back in the reply; clients send none or a word.
pub(super) const TAG_BYTES_MAX: usize = 1024;

/// Most operations of a COMPOUND outside a session, and what a session may have at most. Linux
/// sends at most 8.
pub(crate) const OPERATIONS_MAX: u32 = 64;

/// Bytes of an operation's number and status.
const RESULT_HEAD_BYTES: usize = 8;

/// Where a filehandle points.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Nowhere.
    None,
    /// The root above the volumes.
    Root(Level),
    /// A node of a volume.
    Node(Target),
}

/// What an operation needs besides the COMPOUND.
pub(crate) struct Run<'r> {
    pub(crate) compound: &'r mut Compound,
    pub(crate) ground: &'r mut dyn Ground,
    pub(crate) server: &'r Arc<Server>,
    pub(crate) books: &'r Books,
    pub(crate) out: &'r mut Vec<u8>,
}

/// What a COMPOUND stands on: ground, node, books.
pub(crate) type Standing<'s> = (&'s mut dyn Ground, &'s Arc<Server>, &'s Books);

/// Why an operation has no ordinary end.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It must run on a pool thread.
    Cold,
    /// It failed, and has no results.
    Failed(Status),
    /// It failed, and has put its results out all the same.
    Told(Status),
    /// It is a READ whose bytes follow the reply.
    Span(ReadSpan),
}

/// The end of one operation.
pub(crate) type Outcome = Result<(), Halt>;

/// Bytes of a file that end a reply.
#[derive(Debug)]
pub(crate) struct ReadSpan {
    pub(crate) file: Arc<OpenFile>,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

/// How far a COMPOUND has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Its reply is whole.
    Done,
    /// It must go on on a pool thread.
    Cold,
    /// Its reply is whole but for these bytes.
    Span(ReadSpan),
}

/// A COMPOUND.
#[derive(Debug)]
pub(crate) struct Compound {
    pub(crate) xid: u32,
    pub(crate) caller: Caller,
    pub(crate) minor: u32,
    pub(crate) current: Place,
    pub(crate) saved: Place,
    pub(crate) stateid: StateId,
    pub(crate) saved_stateid: StateId,
    pub(crate) claim: Option<Claim>,
    /// Bytes of the whole message, for the session's bound.
    pub(crate) message_bytes: usize,
    /// A hash of it is made from here.
    pub(crate) arguments_at: usize,
    /// Operations in all.
    pub(crate) total: u32,
    /// Operations done, the one under way included.
    pub(crate) begun: u32,
    /// Where in the message the next one begins.
    pub(crate) at: usize,
    /// Where in the buffer the reply begins.
    start: usize,
    count_at: usize,
    /// Longest reply, in bytes, record mark included, and what is said of a longer one.
    limit: (usize, Status),
    status: Status,
    /// A whole reply to an earlier sending of this call.
    replay: Option<Arc<[u8]>>,
    /// An earlier sending of this call was answered, nobody knows how.
    is_uncached: bool,
    /// Operations before which [`Compound::run`] pauses.
    pub(super) pause_at: u32,
    /// What became of the data of a WRITE that went straight into its file.
    pub(super) stored: Result<(), Status>,
    /// Bytes of file contents written.
    pub(super) written_bytes: u64,
    /// The session for whose callbacks the connection is to be used from now on.
    pub(super) bound: Option<Arc<Session>>,
}

/// The stateid that stands for none.
pub(crate) const NO_STATEID: StateId = StateId {
    seqid: 0,
    other: [0; super::state::stateid::OTHER_BYTES],
};

impl Compound {
    /// Reads the head of a COMPOUND in `message`, whose arguments begin at `at`, and begins the
    /// reply.
    ///
    /// # Errors
    /// [`Malformed`]: GARBAGE_ARGS.
    pub(crate) fn begin(
        (xid, caller): (u32, Caller),
        (message, message_bytes): (&[u8], usize),
        at: usize,
        out: &mut Vec<u8>,
    ) -> Result<Self, Malformed> {
        let rest = message.get(at..).ok_or(Malformed)?;
        let mut reader = Reader::new(rest);
        let tag = reader.opaque(TAG_BYTES_MAX)?;
        let (minor, total) = (reader.u32()?, reader.u32()?);
        let at_first = message.len() - reader.rest().len();
        let mut writer = Writer::new(out);
        let start = reply::begin(&mut writer, xid, Accept::Success);
        writer.u32(Status::Ok.number());
        writer.opaque(tag);
        let count_at = writer.len();
        writer.u32(0);
        Ok(Self {
            xid,
            caller,
            minor,
            current: Place::None,
            saved: Place::None,
            stateid: NO_STATEID,
            saved_stateid: NO_STATEID,
            claim: None,
            message_bytes,
            arguments_at: at,
            total,
            begun: 0,
            at: at_first,
            start,
            count_at,
            limit: (MESSAGE_BYTES_MAX + MARK_BYTES, Status::RepTooBig),
            status: Status::Ok,
            replay: None,
            is_uncached: false,
            pause_at: u32::MAX,
            stored: Ok(()),
            written_bytes: 0,
            bound: None,
        })
    }

    /// Carries out operations until the end, or until one must wait.
    pub(crate) fn run(
        &mut self,
        message: &[u8],
        (ground, server, books): Standing<'_>,
        counters: &Counters,
        out: &mut Vec<u8>,
    ) -> Progress {
        if !(MINOR_MIN..=MINOR_MAX).contains(&self.minor) {
            self.status = Status::MinorVersMismatch;
            self.total = 0;
        }
        let until = |this: &Self| this.total.min(this.pause_at);
        while self.begun < until(self) && self.status == Status::Ok {
            let before = out.len();
            let mut reader = Reader::new(message.get(self.at..).unwrap_or(&[]));
            let Ok(number) = reader.u32() else {
                self.status = Status::BadXdr;
                break;
            };
            let operation = Operation::from_number(number, self.minor);
            let mut writer = Writer::new(out);
            writer.words([operation.map_or(ILLEGAL, |_| number), Status::Ok.number()]);
            self.begun += 1;
            let outcome = {
                let mut run = Run {
                    compound: self,
                    ground: &mut *ground,
                    server,
                    books,
                    out: &mut *out,
                };
                run.operation(operation, message, &mut reader)
            };
            if matches!(outcome, Err(Halt::Cold)) {
                out.truncate(before);
                self.begun -= 1;
                return Progress::Cold;
            }
            self.at = message.len() - reader.rest().len();
            match self.conclude(outcome, before, out) {
                Ok(status) => counters.count_operation(operation, status),
                Err(span) => {
                    counters.count_operation(operation, Status::Ok);
                    return Progress::Span(span);
                }
            }
        }
        Progress::Done
    }

    /// Carries out what stands before a WRITE, and opens its file. `Err`: it must wait. The second
    /// `Err` says what is said of the WRITE; nothing, if its turn does not come.
    pub(super) fn open_for_write(
        &mut self,
        message: &[u8],
        (ground, server, books): Standing<'_>,
        counters: &Counters,
        head: &WriteHead,
        out: &mut Vec<u8>,
    ) -> Result<Result<Sink, Option<Status>>, ()> {
        let shorter: &mut dyn Ground = &mut *ground;
        let standing = (shorter, server, books);
        if matches!(self.run(message, standing, counters, out), Progress::Cold) {
            return Err(());
        }
        let has_turn = self.status == Status::Ok && self.begun < self.total;
        if !has_turn || self.replay.is_some() {
            return Ok(Err(None));
        }
        if self.is_uncached {
            return Ok(Err(Some(Status::RetryUncachedRep)));
        }
        let mut run = Run {
            compound: self,
            ground,
            server,
            books,
            out,
        };
        match write::open(&mut run, head) {
            Ok(mut sink) => {
                sink.begin(server);
                Ok(Ok(sink))
            }
            Err(halt) => intake::refused(halt).map(Err),
        }
    }

    /// Answers the WRITE whose data went straight into its file, or did not.
    pub(super) fn written(
        &mut self,
        sink: Result<Sink, Option<Status>>,
        standing: &mut Standing<'_>,
        counters: &Counters,
        out: &mut Vec<u8>,
    ) {
        let sink = match sink {
            // Its turn has not come.
            Err(None) => return,
            Err(Some(status)) => Err(Halt::Failed(status)),
            Ok(sink) => Ok(sink),
        };
        let before = out.len();
        Writer::new(out).words([Operation::Write as u32, Status::Ok.number()]);
        self.begun += 1;
        let stored = self.stored;
        let (ground, server, books) = standing;
        let outcome = sink.and_then(|sink| {
            let mut run = Run {
                compound: self,
                ground: &mut **ground,
                server,
                books,
                out: &mut *out,
            };
            write::conclude(&mut run, sink, stored)
        });
        if let Ok(status) = self.conclude(outcome, before, out) {
            counters.count_operation(Some(Operation::Write), status);
        }
    }

    /// The reply so far comes back into the shared buffer.
    pub(super) fn put_back(&mut self, reply: &[u8], out: &mut Vec<u8>) {
        self.start = out.len();
        self.count_at += self.start;
        out.extend_from_slice(reply);
    }

    /// Puts the status of an operation where it belongs.
    fn conclude(
        &mut self,
        outcome: Outcome,
        before: usize,
        out: &mut Vec<u8>,
    ) -> Result<Status, ReadSpan> {
        let status = match outcome {
            Ok(()) => Status::Ok,
            Err(Halt::Failed(status)) => {
                out.truncate(before + RESULT_HEAD_BYTES);
                status
            }
            Err(Halt::Told(status)) => status,
            Err(Halt::Span(span)) => return Err(span),
            // The caller has dealt with it.
            Err(Halt::Cold) => Status::Delay,
        };
        Writer::new(out).patch(before + 4, status.number());
        self.status = status;
        Ok(status)
    }

    /// Ends the reply, of which `bytes_following` bytes are not in the buffer, and settles the
    /// slot. Call once, when [`Compound::run`] is through.
    pub(crate) fn end(&mut self, bytes_following: usize, out: &mut Vec<u8>) -> Status {
        if let Some(reply) = self.replay.take() {
            out.truncate(self.start);
            out.extend_from_slice(&[0; MARK_BYTES]);
            out.extend_from_slice(&reply);
            let mut writer = Writer::new(out);
            writer.patch(self.start + MARK_BYTES, self.xid);
            reply::finish(&mut writer, self.start, 0);
            return Status::Ok;
        }
        let mut writer = Writer::new(out);
        writer.patch(self.start + HEAD_BYTES, self.status.number());
        writer.patch(self.count_at, self.begun);
        reply::finish(&mut writer, self.start, bytes_following);
        if let Some(mut claim) = self.claim.take() {
            claim.settle(out.get(self.start + MARK_BYTES..).unwrap_or(&[]));
        }
        self.status
    }

    /// The reply so far leaves the shared buffer, for a pool thread.
    pub(crate) fn take_reply(&mut self, out: &mut Vec<u8>) -> Vec<u8> {
        let reply = out.split_off(self.start.min(out.len()));
        self.count_at -= self.start;
        self.start = 0;
        reply
    }

    /// This call was answered before.
    pub(super) fn replay(&mut self, reply: Arc<[u8]>) {
        self.replay = Some(reply);
        self.total = self.begun;
    }

    /// This call was answered before, and its reply was not kept: whatever follows SEQUENCE is
    /// answered with that.
    pub(super) fn answer_uncached(&mut self) {
        self.is_uncached = true;
    }

    /// Bounds the reply from here on, in bytes without record mark.
    pub(super) fn limit(&mut self, bytes: u32, says: Status) {
        self.limit = (bytes as usize + MARK_BYTES, says);
    }

    /// Where in the buffer the reply begins.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Whether the operation under way is the last one.
    pub(crate) fn is_last(&self) -> bool {
        self.begun == self.total
    }

    /// Whether its reply is to be kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.args.is_kept)
    }
}

impl Run<'_> {
    /// Refuses an operation whose results may not fit any more.
    pub(super) fn room_for(&self, bytes: usize) -> Result<(), Status> {
        match bytes <= self.room() {
            true => Ok(()),
            false => Err(self.compound.limit.1),
        }
    }

    /// Bytes that the reply may still grow by.
    pub(super) fn room(&self) -> usize {
        let used = self.out.len() - self.compound.start;
        self.compound.limit.0.saturating_sub(used)
    }

    /// The current node.
    pub(super) fn node(&self) -> Result<&Target, Status> {
        match &self.compound.current {
            Place::Node(target) => Ok(target),
            // What asks for a node of a volume cannot be done with the root above them.
            Place::Root(_) => Err(Status::Rofs),
            Place::None => Err(Status::NoFileHandle),
        }
    }

    /// Where the results go.
    pub(super) fn writer(&mut self) -> Writer<'_> {
        Writer::new(self.out)
    }

    /// Sets the current filehandle; a stateid goes with it only if the operation sets one after.
    pub(super) fn set_current(&mut self, place: Place) {
        self.compound.current = place;
        self.compound.stateid = NO_STATEID;
    }

    /// Ends the part of an operation that a worker may carry out.
    pub(super) fn must_wait(&mut self) -> Result<(), Halt> {
        match self.ground.notes() {
            Some(_) => Ok(()),
            None => Err(Halt::Cold),
        }
    }

    /// The stateid that an argument means: the current one stands for itself.
    pub(super) fn resolve(&self, given: StateId) -> StateId {
        match given.meaning() {
            Meaning::Current => self.compound.stateid,
            _ => given,
        }
    }

    /// The session's client.
    pub(super) fn client(&self) -> Result<Arc<super::session::Client>, Status> {
        let claim = self.compound.claim.as_ref();
        let session = claim.map(|claim| claim.session.client.clone());
        session.ok_or(Status::OpNotInSession)
    }
}

impl From<Status> for Halt {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

impl From<VolumeError> for Halt {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::WouldBlock => Self::Cold,
            error => Self::Failed(error.into()),
        }
    }
}

impl From<NameError> for Halt {
    fn from(error: NameError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Miss> for Halt {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Cold => Self::Cold,
            Miss::Failed(error) => Self::Failed(error.into()),
        }
    }
}
