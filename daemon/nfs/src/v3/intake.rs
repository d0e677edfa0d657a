//! WRITE on its way from the socket straight into the file (RFC 1813 section 3.3.7).
//!
//! As soon as the head of a WRITE is there, the file and the place in it are named to the driver,
//! and the data never passes through this crate. A file that is not open for the caller is opened
//! on the pool first, while the stream waits. Records in several fragments and heads that are
//! malformed take the way through memory instead. Invariant: whatever the outcome, exactly the
//! bytes of the record are taken off the stream.

use towline_io::protocol::PayloadSink;
use towline_io::{Demand, Output, Payload, PayloadFault};
use towline_volume::view::{Located, Right};
use towline_volume::{Attributes, FileKind, VolumeError};

use super::args::WriteHead;
use super::attributes::write_no_wcc;
use super::read::Source;
use super::serve::{Step, v3};
use super::write::{Change, check_range};
use super::{PROGRAM, Procedure, Status, VERSION, reach, settle};
use crate::blocking::Finished;
use crate::caller::Caller;
use crate::connection::{self, Connection, Done, warm};
use crate::ground::{Blocking, Cold, Ground, Hot, Target};
use crate::metrics::Event;
use crate::rpc::call::{CALL, RPC_VERSION};
use crate::rpc::record::HEADER_BYTES;
use crate::rpc::reply::{Accept, begin, finish};
use crate::rpc::{Call, Credential};
use crate::xdr::{Reader, Writer, padded};

/// Longest head of a WRITE, in bytes: 24 of fixed numbers, 2 x 408 of credential and verifier,
/// 88 of arguments (RFC 5531 section 9, RFC 1813 section 3.3.7).
const HEAD_BYTES_MAX: usize = 24 + 2 * 408 + 88;

/// Where the connection stands with a WRITE.
#[derive(Debug)]
pub(crate) enum Intake {
    /// The file of the WRITE at the front of the input is being opened.
    Opening,
    /// It was opened, or not.
    Opened {
        xid: u32,
        opened: Result<Box<Source>, Status>,
    },
    /// The driver is moving its data.
    Receiving(Box<Receiving>),
}

impl Intake {
    /// Whether the stream waits for a job.
    pub(crate) fn awaits_job(&self) -> bool {
        match self {
            Self::Opening => true,
            Self::Opened { .. } | Self::Receiving(_) => false,
        }
    }
}

/// A WRITE whose data is on its way.
#[derive(Debug)]
pub(crate) struct Receiving {
    xid: u32,
    change: Result<Change, Status>,
}

/// What the front of the input is.
#[derive(Debug)]
pub(crate) enum Scan {
    /// No WRITE, or one that must be looked at as a whole.
    Other,
    /// Perhaps a WRITE: more bytes will tell.
    Short,
    /// The whole head of a WRITE.
    Write(WriteCall),
}

/// The head of a WRITE call.
#[derive(Debug)]
pub(crate) struct WriteCall {
    xid: u32,
    credential: Credential,
    head: WriteHead,
    /// Bytes of the message before the data.
    head_bytes: usize,
}

/// Looks at the first bytes of a message of `length` bytes.
pub(crate) fn scan(arrived: &[u8], length: usize) -> Scan {
    let Some([_, head @ ..]) = words(arrived) else {
        return match arrived.len() < length {
            true => Scan::Short,
            false => Scan::Other,
        };
    };
    if head != [CALL, RPC_VERSION, PROGRAM, VERSION, Procedure::Write as u32] {
        return Scan::Other;
    }
    match parse(arrived) {
        Some(call) if call.head_bytes + padded(call.head.length as usize) <= length => {
            Scan::Write(call)
        }
        None if arrived.len() < length.min(HEAD_BYTES_MAX) => Scan::Short,
        Some(_) | None => Scan::Other,
    }
}

fn words(arrived: &[u8]) -> Option<[u32; 6]> {
    let mut reader = Reader::new(arrived.first_chunk::<24>()?);
    let mut words = [0; 6];
    for word in &mut words {
        *word = reader.u32().ok()?;
    }
    Some(words)
}

fn parse(arrived: &[u8]) -> Option<WriteCall> {
    let call = Call::parse(arrived).ok()?;
    let credential = call.credential().ok()?;
    let mut arguments = call.arguments;
    let head = WriteHead::parse(&mut arguments).ok()?;
    Some(WriteCall {
        xid: call.xid,
        credential,
        head,
        head_bytes: arrived.len() - arguments.rest().len(),
    })
}

impl Connection {
    /// Begins the WRITE at the front of `input`, a record of `length` bytes.
    pub(crate) fn begin_write_v3(
        &mut self,
        call: &WriteCall,
        length: usize,
        input: &mut &[u8],
        output: &mut Output<Done>,
    ) -> Demand {
        let caller = self.caller(call.credential);
        let opened = match std::mem::replace(&mut self.intake, connection::Intake::Nothing) {
            connection::Intake::V3(Intake::Opened { xid, opened }) if xid == call.xid => {
                Ok(opened.map(|source| *source))
            }
            _ => self.writer(&caller, &call.head),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(Cold) => {
                self.open_writer(caller, call, output);
                return Demand::Pause;
            }
        };
        let (sink, change) = match opened {
            Ok(source) => {
                let server = self.server();
                let who = source.target.who;
                let change = Change::begin(server, source.target, call.head);
                let offset = call.head.offset;
                let file = source.file;
                (Some(PayloadSink { file, offset, who }), Ok(change))
            }
            Err(status) => (None, Err(status)),
        };
        let data_bytes = call.head.length as usize;
        let taken = HEADER_BYTES + call.head_bytes;
        *input = input.get(taken..).unwrap_or(&[]);
        self.skip = length - call.head_bytes - data_bytes;
        let xid = call.xid;
        let receiving = Receiving { xid, change };
        self.intake = connection::Intake::V3(Intake::Receiving(Box::new(receiving)));
        Demand::Payload(Payload {
            sink,
            length: data_bytes as u64,
        })
    }

    /// The data is in the file, or is not: answers, at once or when it is durable.
    pub(crate) fn received_v3(
        &mut self,
        intake: Intake,
        outcome: Result<(), PayloadFault>,
        output: &mut Output<Done>,
    ) {
        let Intake::Receiving(receiving) = intake else {
            // A driver that reports a payload nobody asked for is answered with nothing.
            self.intake = connection::Intake::V3(intake);
            return;
        };
        let Receiving { xid, change } = *receiving;
        let outcome =
            outcome.map_err(|PayloadFault::Write(errno)| Status::from(VolumeError::from(errno)));
        match (change, outcome) {
            (Ok(change), Ok(())) if change.must_sync() => {
                self.in_flight += 1;
                let server = self.server().clone();
                output.defer(move || {
                    let outcome = change.sync(&server);
                    let mut reply = Vec::new();
                    let mut out = Writer::new(&mut reply);
                    let (status, bytes) = put(&server, xid, change, outcome, &mut out);
                    v3(Step::Finished(Finished {
                        reply,
                        event: Event::V3(Procedure::Write, status),
                        finds: Vec::new(),
                        written_bytes: bytes,
                        is_replay: false,
                    }))
                });
            }
            (Ok(change), outcome) => {
                let mut out = Writer::new(output.buffer());
                let (status, bytes) = put(self.server(), xid, change, outcome, &mut out);
                self.shared.counters.count_written(bytes);
                self.answered(Event::V3(Procedure::Write, status), bytes as usize);
            }
            (Err(status), _) => {
                let mut out = Writer::new(output.buffer());
                let start = begin(&mut out, xid, Accept::Success);
                out.u32(status.number());
                write_no_wcc(&mut out);
                finish(&mut out, start, 0);
                self.answered(Event::V3(Procedure::Write, status), 0);
            }
        }
    }

    /// The file, if the view has it open for this caller.
    fn writer(
        &mut self,
        caller: &Caller,
        head: &WriteHead,
    ) -> Result<Result<Source, Status>, Cold> {
        let shared = self.shared.clone();
        let mut view = shared.view.borrow_mut();
        let mut ground = Hot {
            server: &shared.server,
            view: &mut view,
            doors: &mut self.doors,
            caller,
        };
        let opened = settle(ground.open(&head.file))?;
        let checked = opened.and_then(|target| {
            let seen = check(&mut ground, &target, head)?;
            Ok((target, seen))
        });
        let (target, seen) = match checked {
            Ok(checked) => checked,
            Err(status) => return Ok(Err(status)),
        };
        let node = &target.located.node;
        let file = ground.view.file(node, &seen, &target.who, Right::Write);
        let file = file.ok_or(Cold)?;
        Ok(Ok(Source { target, file, seen }))
    }

    /// Opens the file on the pool.
    fn open_writer(&mut self, caller: Caller, call: &WriteCall, output: &mut Output<Done>) {
        let (xid, head) = (call.xid, call.head);
        let known = warm(self.shared.view.borrow_mut().node(&head.file));
        self.intake = connection::Intake::V3(Intake::Opening);
        let server = self.server().clone();
        output.defer(move || {
            let mut ground = Blocking::new(&server, &caller, known);
            let opened = open(&mut ground, &head).map(Box::new);
            v3(Step::Write { xid, opened })
        });
    }
}

fn open(ground: &mut Blocking<'_>, head: &WriteHead) -> Result<Source, Status> {
    let target = reach(ground, &head.file)?;
    // Read before the right is asked for: the grant holds as long as these do.
    let seen = check(ground, &target, head)?;
    let Located { node, .. } = &target.located;
    let file = target.writable()?.open_write(node, &target.who)?;
    Ok(Source { target, file, seen })
}

/// Everything that can be refused before the file is open.
fn check<G: Ground>(
    ground: &mut G,
    target: &Target,
    head: &WriteHead,
) -> Result<Attributes, Status> {
    target.writable()?;
    check_range(head)?;
    match target.located.node.kind {
        FileKind::Regular => Ok(ground.attributes(target)?),
        FileKind::Directory => Err(Status::IsDir),
        FileKind::Symlink
        | FileKind::Block
        | FileKind::Character
        | FileKind::Fifo
        | FileKind::Socket => Err(Status::Inval),
    }
}

/// Writes the whole reply; returns the status and how many bytes were written.
fn put(
    server: &crate::server::Server,
    xid: u32,
    change: Change,
    outcome: Result<(), Status>,
    out: &mut Writer<'_>,
) -> (Status, u64) {
    let bytes = u64::from(change.head.length);
    let start = begin(out, xid, Accept::Success);
    let status = change.finish(server, outcome, out);
    finish(out, start, 0);
    match status {
        Status::Ok => (status, bytes),
        _ => (status, 0),
    }
}
