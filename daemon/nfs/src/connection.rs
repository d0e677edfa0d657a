//! One connection of NFS, MOUNT or portmap: bytes in, replies and file spans out.
//!
//! Calls that memory can answer are answered at once; the others run on the pool and are answered
//! when they are done, in any order. A WRITE hands its data to the driver, which moves it from
//! the socket to the file. Invariant: at most [`CALLS_IN_FLIGHT_MAX`] calls of a
//! connection are on the pool; the stream is not read further until one is done. The driver must
//! be able to hold [`UNREAD_BYTES_MAX`] and a record mark of unread input. Not promised: that a
//! call whose connection closed was not carried out.

mod intake;

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use towline_io::{Demand, Output, PayloadFault, Peer, Protocol};
use towline_volume::Attributes;
use towline_volume::view::{Hot as Warm, Located, Right};

use crate::blocking::{Deferred, Finished, Work, keep};
use crate::datagram::{answer_portmap, refuse};
use crate::desk::Shared;
use crate::ground::{Blocking, Caller, Cold, Find, Hot};
use crate::metrics::Event;
use crate::route::{Programs, Route, route};
use crate::rpc::record::{Front, HEADER_BYTES, RecordDecoder};
use crate::rpc::reply::{self, Accept, Reject};
use crate::rpc::{Call, Credential};
use crate::server::Door;
use crate::status::Status;
use crate::v3::read::{Refusal, Source, Wanted};
use crate::v3::{self, Arguments, Procedure};
use crate::xdr::Writer;

use intake::{Intake, Scan};

/// Most calls of one connection on the pool at a time. Linux keeps up to 128 calls under way on
/// a connection, most of them READ and WRITE, which are not on the pool; replies of the others
/// have at most 64 KiB, so this bounds them to 4 MiB.
pub const CALLS_IN_FLIGHT_MAX: usize = 64;

/// Longest record that is waited for in the driver's buffer, in bytes, so that ordinary calls are
/// never copied; a longer one is assembled here. All calls but WRITE and SYMLINK are shorter.
pub const UNREAD_BYTES_MAX: usize = 4096;

/// What a job on the pool gives back to its connection.
#[derive(Debug)]
pub struct Done(Step);

#[derive(Debug)]
enum Step {
    /// A call was carried out.
    Finished(Finished),
    /// A file was opened for a READ.
    Read(Box<OpenedRead>),
    /// A file was opened for the WRITE at the front of the input.
    Write {
        xid: u32,
        opened: Result<Box<Source>, Status>,
    },
}

/// A READ whose file was opened on the pool, or not.
#[derive(Debug)]
struct OpenedRead {
    xid: u32,
    wanted: Wanted,
    opened: Result<Source, Refusal>,
    finds: Vec<Find>,
}

/// The protocol core of one connection.
pub struct Connection {
    shared: Rc<Shared>,
    peer: Peer,
    programs: Programs,
    records: RecordDecoder,
    /// Bytes of the present record that nobody wants: padding, or what follows the arguments.
    skip: usize,
    doors: Vec<Door>,
    in_flight: usize,
    intake: Intake,
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
        self.finish_write(outcome, output);
        self.rest()
    }

    fn completed(&mut self, done: Done, output: &mut Output<Done>) -> Demand {
        match done.0 {
            Step::Finished(finished) => {
                self.in_flight -= 1;
                self.absorb(finished.finds);
                output.buffer().extend_from_slice(&finished.reply);
                if finished.is_replay {
                    self.shared.counters.count_replay();
                }
                self.shared.counters.count_written(finished.written_bytes);
                self.answered(finished.event, finished.reply.len());
            }
            Step::Read(read) => {
                let OpenedRead {
                    xid,
                    wanted,
                    opened,
                    finds,
                } = *read;
                self.in_flight -= 1;
                self.absorb(finds);
                if let Ok(source) = &opened {
                    self.grant(source, Right::Read);
                }
                self.finish_read(xid, &wanted, opened, output);
            }
            Step::Write { xid, opened } => {
                if let Ok(opened) = &opened {
                    self.grant(opened, Right::Write);
                }
                self.intake = Intake::Opened { xid, opened };
            }
        }
        self.rest()
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
        }
    }

    /// What to wait for when nothing more can be done at the moment.
    fn rest(&self) -> Demand {
        let is_full = self.in_flight >= CALLS_IN_FLIGHT_MAX;
        match (is_full, &self.intake) {
            (true, _) | (false, Intake::Opening) => Demand::Pause,
            (false, Intake::Nothing | Intake::Opened { .. } | Intake::Receiving(_)) => {
                Demand::Input
            }
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
            match intake::scan(arrived, length) {
                Scan::Write(call) => return Some(self.begin_write(&call, length, input, output)),
                Scan::Short => return Some(Demand::Input),
                Scan::Other => {}
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
        let route = match route(self.programs, &call) {
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
            Route::Nfs(procedure) => {
                let mut rest = call.arguments;
                let arguments = Arguments::parse(procedure, &mut rest);
                let Ok(arguments) = arguments else {
                    let accept = Accept::GarbageArguments;
                    return self.refuse(output, |out| reply::plain(out, xid, accept));
                };
                let caller = self.caller(credential);
                if let Err(known) = self.nfs(xid, procedure, &caller, &arguments, output) {
                    self.defer(Work::Nfs(procedure), credential, message, known, output);
                }
            }
            Route::Mount(procedure, version) => {
                let work = Work::Mount(procedure, version);
                self.defer(work, credential, message, None, output);
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

    /// Answers an NFS call from memory. `Err`: it must go to the pool, with this node if the
    /// worker has it open.
    fn nfs(
        &mut self,
        xid: u32,
        procedure: Procedure,
        caller: &Caller,
        arguments: &Arguments<'_>,
        output: &mut Output<Done>,
    ) -> Result<(), Option<Located>> {
        if let Arguments::Read {
            file,
            offset,
            count,
        } = *arguments
        {
            let wanted = Wanted {
                file,
                offset,
                count,
            };
            self.read(xid, caller, wanted, output);
            return Ok(());
        }
        let shared = self.shared.clone();
        let mut view = shared.view.borrow_mut();
        let mut ground = Hot {
            server: &shared.server,
            view: &mut view,
            doors: &mut self.doors,
            caller,
        };
        let mut out = Writer::new(output.buffer());
        let start = reply::begin(&mut out, xid, Accept::Success);
        match v3::answer_hot(&mut ground, arguments, &mut out) {
            Ok(status) => {
                reply::finish(&mut out, start, 0);
                let bytes = out.len() - start;
                self.answered(Event::Nfs(procedure, status), bytes);
                Ok(())
            }
            Err(Cold) => {
                out.truncate(start);
                let handle = arguments.first_handle();
                Err(handle.and_then(|handle| warm(view.node(handle))))
            }
        }
    }

    fn read(&mut self, xid: u32, caller: &Caller, wanted: Wanted, output: &mut Output<Done>) {
        let shared = self.shared.clone();
        let mut view = shared.view.borrow_mut();
        let mut ground = Hot {
            server: &shared.server,
            view: &mut view,
            doors: &mut self.doors,
            caller,
        };
        match v3::read::hot(&mut ground, &wanted) {
            Ok(result) => {
                drop(view);
                self.finish_read(xid, &wanted, result, output);
            }
            Err(Cold) => {
                let known = warm(view.node(&wanted.file));
                drop(view);
                self.in_flight += 1;
                let caller = *caller;
                let server = shared.server.clone();
                output.defer(move || {
                    let mut ground = Blocking::new(&server, &caller, known);
                    let opened = v3::read::open(&mut ground, &wanted);
                    let finds = ground.finds;
                    Done(Step::Read(Box::new(OpenedRead {
                        xid,
                        wanted,
                        opened,
                        finds,
                    })))
                });
            }
        }
    }

    fn finish_read(
        &mut self,
        xid: u32,
        wanted: &Wanted,
        opened: Result<Source, Refusal>,
        output: &mut Output<Done>,
    ) {
        match opened {
            Ok(source) => {
                let bytes = v3::read::put(output, xid, wanted, source);
                self.shared.counters.count_read(u64::from(bytes));
                self.answered(Event::Nfs(Procedure::Read, Status::Ok), bytes as usize);
            }
            Err(refusal) => {
                v3::read::refuse(&mut Writer::new(output.buffer()), xid, &refusal);
                self.answered(Event::Nfs(Procedure::Read, refusal.0), 0);
            }
        }
    }

    /// Sends a call to the pool.
    fn defer(
        &mut self,
        work: Work,
        credential: Credential,
        message: Cow<'_, [u8]>,
        known: Option<Located>,
        output: &mut Output<Done>,
    ) {
        self.in_flight += 1;
        let deferred = Deferred {
            server: self.shared.server.clone(),
            caller: self.caller(credential),
            message: keep(message),
            work,
            known,
        };
        output.defer(move || Done(Step::Finished(deferred.run())));
    }

    fn refuse(
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
    fn answered(&self, event: Event, bytes: usize) {
        self.shared.counters.count(event);
        match event {
            Event::Nfs(procedure, status) => tracing::debug!(
                peer = %self.peer.address,
                proc = procedure.label(),
                bytes,
                error = status.label(),
                "nfs call answered"
            ),
            Event::Mount => tracing::debug!(peer = %self.peer.address, "mount call answered"),
            Event::Portmap => tracing::debug!(peer = %self.peer.address, "portmap call answered"),
            Event::Refused => tracing::debug!(peer = %self.peer.address, "call refused"),
        }
    }

    /// Keeps in the worker's view what a pool thread found.
    fn absorb(&self, finds: Vec<Find>) {
        if finds.is_empty() {
            return;
        }
        let mut view = self.shared.view.borrow_mut();
        for find in finds {
            match find {
                Find::Node(located) => view.admit(located),
                Find::Name { dir, name, node } => view.learn(&dir, &name, &node),
            }
        }
    }

    fn grant(&self, source: &Source, right: Right) {
        let Source { target, seen, .. } = source;
        let seen: &Attributes = seen;
        let mut view = self.shared.view.borrow_mut();
        view.grant(target.located.clone(), &target.who, right, seen);
    }

    fn caller(&self, credential: Credential) -> Caller {
        let address = self.peer.address.ip();
        Caller {
            address,
            credential,
        }
    }

    fn server(&self) -> &Arc<crate::server::Server> {
        &self.shared.server
    }
}

/// The node, if the view has it.
fn warm(node: Warm<Located>) -> Option<Located> {
    match node {
        Warm::Ready(located) => Some(located),
        Warm::Cold => None,
    }
}
