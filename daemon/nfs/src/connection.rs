//! One connection of NFS, MOUNT or portmap: bytes in, replies and file spans out.
//!
//! Calls that memory can answer are answered at once; the others run on the pool and are answered
//! when they are done, in any order. A WRITE hands its data to the driver, which moves it from
//! the socket to the file. Invariant: at most [`CALLS_IN_FLIGHT_MAX`] calls of a
//! connection are on the pool; the stream is not read further until one is done. The driver must
//! be able to hold [`UNREAD_BYTES_MAX`] and a record mark of unread input. Not promised: that a
//! call whose connection closed was not carried out.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use towline_io::{Demand, Output, PayloadFault, Peer, Protocol};
use towline_volume::view::{Hot as Warm, Located};

use crate::blocking::{Finished, MountCall, keep};
use crate::caller::Caller;
use crate::datagram::{answer_portmap, refuse};
use crate::desk::Shared;
use crate::ground::Find;
use crate::line::Line;
use crate::metrics::Event;
use crate::route::{Programs, Route, route};
use crate::rpc::call::CallFault;
use crate::rpc::record::{Front, HEADER_BYTES, RecordDecoder};
use crate::rpc::reply::{self, Accept, Reject};
use crate::rpc::{Call, Credential};
use crate::server::Door;
use crate::xdr::Writer;
use crate::{v3, v4};

/// Most calls of one connection on the pool at a time. Linux keeps up to 128 calls under way on
/// a connection, most of them READ and WRITE, which are not on the pool; replies of the others
/// have at most 64 KiB, so this bounds them to 4 MiB.
pub const CALLS_IN_FLIGHT_MAX: usize = 64;

/// Longest record that is waited for in the driver's buffer, in bytes, so that ordinary calls are
/// never copied; a longer one is assembled here. All calls but WRITE and SYMLINK are shorter.
pub const UNREAD_BYTES_MAX: usize = 4096;

/// What a job on the pool gives back to its connection.
#[derive(Debug)]
pub struct Done(pub(crate) Step);

/// The same, by program version.
#[derive(Debug)]
pub(crate) enum Step {
    /// A MOUNT call was carried out.
    Mount(Finished),
    /// NFS version 3.
    V3(v3::Step),
    /// NFS version 4.
    V4(v4::Step),
}

/// Where the connection stands with a WRITE whose data goes straight into its file.
#[derive(Debug)]
pub(crate) enum Intake {
    /// No WRITE under way.
    Nothing,
    /// One of version 3.
    V3(v3::Intake),
    /// One of version 4.
    V4(v4::Intake),
}

impl Intake {
    /// Whether the stream waits for a job.
    fn awaits_job(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::V3(intake) => intake.awaits_job(),
            Self::V4(intake) => intake.awaits_job(),
        }
    }
}

/// The program version that a call's first bytes name (RFC 5531 section 9): the fifth word.
fn version(arrived: &[u8]) -> Option<u32> {
    let word = arrived.get(16..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*word))
}

/// The protocol core of one connection.
pub struct Connection {
    pub(crate) shared: Rc<Shared>,
    peer: Peer,
    programs: Programs,
    records: RecordDecoder,
    /// Bytes of the present record that nobody wants: padding, or what follows the arguments.
    pub(crate) skip: usize,
    pub(crate) doors: Vec<Door>,
    /// Calls on the pool.
    pub(crate) in_flight: usize,
    pub(crate) intake: Intake,
    /// How others reach this connection.
    pub(crate) line: Option<Line>,
    /// Sessions whose callbacks go over it.
    pub(crate) backs: Vec<Arc<v4::Session>>,
}

impl Protocol for Connection {
    type Done = Done;

    fn advance(&mut self, input: &mut &[u8], output: &mut Output<Done>) -> Demand {
        loop {
            if let Some(demand) = self.step(input, output) {
                return demand;
            }
        }
    }

    fn received(&mut self, outcome: Result<(), PayloadFault>, output: &mut Output<Done>) -> Demand {
        match std::mem::replace(&mut self.intake, Intake::Nothing) {
            Intake::V3(intake) => self.received_v3(intake, outcome, output),
            Intake::V4(intake) => self.received_v4(intake, outcome),
            // A driver that reports a payload nobody asked for is answered with nothing.
            Intake::Nothing => {}
        }
        self.rest()
    }

    fn completed(&mut self, done: Done, output: &mut Output<Done>) -> Demand {
        match done.0 {
            Step::Mount(finished) => self.finished(finished, output),
            Step::V3(step) => self.completed_v3(step, output),
            Step::V4(step) => self.completed_v4(step, output),
        }
        self.rest()
    }

    fn told(&mut self, word: Done, output: &mut Output<Done>) {
        if let Step::V4(step) = word.0 {
            self.told_v4(step, output);
        }
    }

    fn is_kept(&self) -> bool {
        self.is_bound()
    }

    fn is_idle(&self) -> bool {
        let is_between = !self.records.is_inside() && self.skip == 0;
        is_between && self.in_flight == 0 && matches!(self.intake, Intake::Nothing)
    }

    fn bytes_held(&self) -> usize {
        self.records.bytes_held()
    }
}

impl Connection {
    pub(crate) fn new(shared: Rc<Shared>, programs: Programs, peer: Peer) -> Self {
        Self {
            shared,
            peer,
            programs,
            records: RecordDecoder::default(),
            skip: 0,
            doors: Vec::new(),
            in_flight: 0,
            intake: Intake::Nothing,
            line: None,
            backs: Vec::new(),
        }
    }

    /// The same, which others reach by `line`: only then it can carry callbacks.
    #[must_use]
    pub fn reached_by(mut self, line: Line) -> Self {
        self.line = Some(line);
        self
    }

    /// What to wait for when nothing more can be done at the moment.
    fn rest(&self) -> Demand {
        match self.in_flight >= CALLS_IN_FLIGHT_MAX || self.intake.awaits_job() {
            true => Demand::Pause,
            false => Demand::Input,
        }
    }

    /// Takes one record, or says what is needed for that.
    fn step(&mut self, input: &mut &[u8], output: &mut Output<Done>) -> Option<Demand> {
        let (skipped, rest) = input.split_at(input.len().min(self.skip));
        self.skip -= skipped.len();
        *input = rest;
        if self.skip > 0 {
            return Some(Demand::Input);
        }
        if matches!(self.rest(), Demand::Pause) {
            return Some(Demand::Pause);
        }
        if let Intake::V4(v4::Intake::Tail(_)) = &self.intake {
            return self.tail_v4(input, output);
        }
        match self.records.peek(input) {
            Ok(Front::Nothing) => Some(Demand::Input),
            Ok(Front::Single { length, arrived }) => self.single(length, arrived, input, output),
            Ok(Front::Piece) => self.assemble(input, output),
            Err(fault) => Some(self.hang_up(&fault)),
        }
    }

    /// A message in one fragment, of which `arrived` is there.
    fn single<'i>(
        &mut self,
        length: usize,
        arrived: &'i [u8],
        input: &mut &'i [u8],
        output: &mut Output<Done>,
    ) -> Option<Demand> {
        if self.programs == Programs::Nfs {
            if version(arrived) == Some(v4::VERSION) && self.server().books.is_some() {
                match v4::scan(arrived, length) {
                    v4::Scan::Write(call) => {
                        return self.begin_write_v4(&call, (length, arrived), input, output);
                    }
                    v4::Scan::Short => return Some(Demand::Input),
                    v4::Scan::Other => {}
                }
            } else {
                match v3::scan(arrived, length) {
                    v3::Scan::Write(call) => {
                        return Some(self.begin_write_v3(&call, length, input, output));
                    }
                    v3::Scan::Short => return Some(Demand::Input),
                    v3::Scan::Other => {}
                }
            }
        }
        if arrived.len() == length {
            *input = input.get(HEADER_BYTES + length..).unwrap_or(&[]);
            return self.call(Cow::Borrowed(arrived), output);
        }
        match length <= UNREAD_BYTES_MAX {
            true => Some(Demand::Input),
            false => self.assemble(input, output),
        }
    }

    /// A message that is put together in memory.
    fn assemble(&mut self, input: &mut &[u8], output: &mut Output<Done>) -> Option<Demand> {
        match self.records.decode(input) {
            Ok(Some(message)) => self.call(Cow::Owned(message), output),
            Ok(None) => Some(Demand::Input),
            Err(fault) => Some(self.hang_up(&fault)),
        }
    }

    /// Carries out the call in `message`, or sends it to the pool.
    fn call(&mut self, message: Cow<'_, [u8]>, output: &mut Output<Done>) -> Option<Demand> {
        let call = match Call::parse(&message) {
            Ok(call) => call,
            Err(CallFault::NotCall) if self.replied_v4(&message) => return None,
            Err(fault) => {
                let mut out = Writer::new(output.buffer());
                let Some(()) = refuse(&mut out, fault) else {
                    return Some(self.hang_up(&"not an RPC call"));
                };
                self.answered(Event::Refused, 0);
                return None;
            }
        };
        let xid = call.xid;
        let serves_v4 = self.server().books.is_some();
        let route = match route((self.programs, serves_v4), &call) {
            Ok(route) => route,
            Err(accept) => return self.refuse(output, |out| reply::plain(out, xid, accept)),
        };
        let credential = match call.credential() {
            Ok(credential) => credential,
            Err(fault) => {
                let reject = Reject::Auth(fault);
                return self.refuse(output, |out| reply::reject(out, xid, reject));
            }
        };
        match route {
            Route::V3(procedure) => {
                if let Some(cooler) = self.call_v3(procedure, (&call, credential), output) {
                    self.defer_v3(cooler, message, output);
                }
            }
            Route::V4(v4::Procedure::Null) => {
                let mut out = Writer::new(output.buffer());
                reply::plain(&mut out, xid, Accept::Success);
                self.answered(Event::V4(v4::Status::Ok), 0);
            }
            Route::V4(v4::Procedure::Compound) => {
                if let Some(compound) = self.call_v4((&call, credential), &message, output) {
                    self.defer_v4(compound, message, output);
                }
            }
            Route::Mount(procedure, version) => {
                let deferred = MountCall {
                    server: self.server().clone(),
                    caller: self.caller(credential),
                    message: keep(message),
                    procedure,
                    version,
                };
                self.in_flight += 1;
                output.defer(move || Done(Step::Mount(deferred.run())));
            }
            Route::Portmap(procedure, version) => {
                let mut out = Writer::new(output.buffer());
                let server = &self.shared.server;
                let procedure = (procedure, version);
                let event = answer_portmap(server, &self.peer, procedure, &call, &mut out);
                self.answered(event, 0);
            }
        }
        None
    }

    /// Puts out what a job has left of a call.
    pub(crate) fn finished(&mut self, finished: Finished, output: &mut Output<Done>) {
        self.in_flight -= 1;
        self.absorb(finished.finds);
        output.buffer().extend_from_slice(&finished.reply);
        if finished.is_replay {
            self.shared.counters.count_replay();
        }
        self.shared.counters.count_written(finished.written_bytes);
        self.answered(finished.event, finished.reply.len());
    }

    /// Puts out a reply that refuses a call.
    pub(crate) fn refuse(
        &mut self,
        output: &mut Output<Done>,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Option<Demand> {
        write(&mut Writer::new(output.buffer()));
        self.answered(Event::Refused, 0);
        None
    }

    /// The peer broke the protocol: nothing it sends can be understood any more.
    fn hang_up(&self, error: &dyn std::fmt::Display) -> Demand {
        tracing::debug!(peer = %self.peer.address, error = %error, "closing a broken stream");
        Demand::Close
    }

    /// Counts an answer and tells about it.
    pub(crate) fn answered(&self, event: Event, bytes: usize) {
        self.shared.counters.count(event);
        match event {
            Event::V3(procedure, status) => tracing::debug!(
                peer = %self.peer.address,
                proc = procedure.label(),
                bytes,
                error = status.label(),
                "nfs call answered"
            ),
            Event::V4(status) => tracing::debug!(
                peer = %self.peer.address,
                bytes,
                error = status.label(),
                "nfs compound answered"
            ),
            Event::Mount => tracing::debug!(peer = %self.peer.address, "mount call answered"),
            Event::Portmap => tracing::debug!(peer = %self.peer.address, "portmap call answered"),
            Event::Refused => tracing::debug!(peer = %self.peer.address, "call refused"),
        }
    }

    /// Keeps in the worker's view what a pool thread found.
    pub(crate) fn absorb(&self, finds: Vec<Find>) {
        if finds.is_empty() {
            return;
        }
        let mut view = self.shared.view.borrow_mut();
        for find in finds {
            match find {
                Find::Node(located) => view.admit(located),
                Find::Name { dir, name, node } => view.learn(&dir, &name, &node),
                Find::Right {
                    target,
                    right,
                    seen,
                } => view.grant(target.located.clone(), &target.who, right, &seen),
            }
        }
    }

    pub(crate) fn caller(&self, credential: Credential) -> Caller {
        let address = self.peer.address.ip();
        Caller {
            address,
            credential,
        }
    }

    pub(crate) fn server(&self) -> &Arc<crate::server::Server> {
        &self.shared.server
    }
}

/// The node, if the view has it.
pub(crate) fn warm(node: Warm<Located>) -> Option<Located> {
    match node {
        Warm::Ready(located) => Some(located),
        Warm::Cold => None,
    }
}
