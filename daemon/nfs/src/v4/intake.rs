//! WRITE on its way from the socket straight into the file (RFC 8881 section 18.32).
//!
//! As soon as SEQUENCE, PUTFH and the head of a WRITE are there, slot and stateid are settled, the
//! file and the place in it are named to the driver, and the data never passes through this
//! crate. What follows the data in its message (GETATTR, as a rule) is carried out when the data
//! is in the file. Other messages with a WRITE, and records in several fragments, take the way
//! through memory. Invariant: whatever the outcome, exactly the bytes of the record are taken off
//! the stream; a connection that ends meanwhile leaves the slot as it was, and the client sends
//! the same again.

use towline_io::protocol::PayloadSink;
use towline_io::{Demand, Output, Payload, PayloadFault};
use towline_volume::VolumeError;
use towline_volume::view::Located;

use super::args::{SequenceArgs, WriteHead};
use super::compound::{Compound, Halt, Place, Progress};
use super::serve::Step;
use super::write::Sink;
use super::{Operation, Status, VERSION};
use crate::connection::{self, Connection, Done};
use crate::ground::{Blocking, Find, Ground, Hot};
use crate::metrics::Event;
use crate::rpc::call::{CALL, RPC_VERSION};
use crate::rpc::record::HEADER_BYTES;
use crate::rpc::{Call, Credential};
use crate::v3::PROGRAM;
use crate::xdr::{Malformed, Reader, padding};

/// Longest head, in bytes: 24 of fixed numbers, 2 x 408 of credential and verifier (RFC 5531
/// section 9); 1,028 of tag, 8 of minor version and count, 36 of SEQUENCE, 136 of PUTFH, 36 of
/// WRITE (RFC 8881 sections 16.2, 18.19, 18.32, 18.46).
const HEAD_BYTES_MAX: usize = 24 + 2 * 408 + 1028 + 8 + 36 + 136 + 36;

/// Most bytes of operations behind the data: Linux sends a GETATTR of 20 bytes. What has more
/// takes the way through memory.
const TAIL_BYTES_MAX: usize = 1024;

/// Operations in front of the WRITE: SEQUENCE and PUTFH.
const OPERATIONS_BEFORE: u32 = 2;

/// Where the connection stands with a WRITE.
#[derive(Debug)]
pub(crate) enum Intake {
    /// The file of the WRITE at the front of the input is being opened.
    Opening,
    /// It was opened, or not.
    Opened(Box<Prepared>),
    /// The driver is moving its data.
    Receiving(Box<Prepared>),
    /// The data is dealt with; what follows it is awaited.
    Tail(Box<Prepared>),
}

/// A WRITE that has passed SEQUENCE and PUTFH.
#[derive(Debug)]
pub(crate) struct Prepared {
    compound: Compound,
    /// Its reply so far.
    reply: Vec<u8>,
    /// Where the data goes; `Err`: it was refused, or is only read and thrown away.
    sink: Result<Sink, Option<Status>>,
    finds: Vec<Find>,
    /// Bytes behind the data, padding included.
    tail_bytes: usize,
    data_bytes: usize,
}

/// What the front of the input is.
#[derive(Debug)]
pub(crate) enum Scan {
    /// No WRITE that is taken in here.
    Other,
    /// Perhaps one: more bytes will tell.
    Short,
    /// The whole head of one.
    Write(WriteCall),
}

/// The head of such a call.
#[derive(Debug)]
pub(crate) struct WriteCall {
    xid: u32,
    credential: Credential,
    /// Where the COMPOUND begins in the message.
    arguments_at: usize,
    head: WriteHead,
    /// Bytes of the message before the data.
    head_bytes: usize,
}

impl Intake {
    /// Whether the stream waits for a job.
    pub(crate) fn awaits_job(&self) -> bool {
        match self {
            Self::Opening => true,
            Self::Opened(_) | Self::Receiving(_) | Self::Tail(_) => false,
        }
    }
}

/// Looks at the first bytes of a message of `length` bytes.
pub(crate) fn scan(arrived: &[u8], length: usize) -> Scan {
    match parse(arrived) {
        Ok(Some(call)) => {
            let behind = length.checked_sub(call.head_bytes + call.head.length as usize);
            match behind {
                Some(tail) if tail <= TAIL_BYTES_MAX => Scan::Write(call),
                Some(_) | None => Scan::Other,
            }
        }
        Ok(None) => Scan::Other,
        Err(Malformed) if arrived.len() < length.min(HEAD_BYTES_MAX) => Scan::Short,
        Err(Malformed) => Scan::Other,
    }
}

/// The head of a WRITE behind SEQUENCE and PUTFH; `None`: it is something else.
fn parse(arrived: &[u8]) -> Result<Option<WriteCall>, Malformed> {
    let mut reader = Reader::new(arrived);
    let _xid = reader.u32()?;
    let wanted = [CALL, RPC_VERSION, PROGRAM, VERSION, 1];
    for word in wanted {
        if reader.u32()? != word {
            return Ok(None);
        }
    }
    let call = Call::parse(arrived).map_err(|_| Malformed)?;
    let Ok(credential) = call.credential() else {
        return Ok(None);
    };
    let mut reader = call.arguments;
    let arguments_at = arrived.len() - reader.rest().len();
    reader.opaque(super::compound::TAG_BYTES_MAX)?;
    reader.skip(4)?;
    if reader.u32()? <= OPERATIONS_BEFORE || reader.u32()? != Operation::Sequence as u32 {
        return Ok(None);
    }
    SequenceArgs::parse(&mut reader)?;
    if reader.u32()? != Operation::PutFh as u32 {
        return Ok(None);
    }
    reader.opaque(towline_volume::handle::HANDLE_BYTES_MAX)?;
    if reader.u32()? != Operation::Write as u32 {
        return Ok(None);
    }
    let head = WriteHead::parse(&mut reader)?;
    Ok(Some(WriteCall {
        xid: call.xid,
        credential,
        arguments_at,
        head,
        head_bytes: arrived.len() - reader.rest().len(),
    }))
}

impl Connection {
    /// Begins the WRITE at the front of `input`, a record of `length` bytes of which `arrived`
    /// is there.
    pub(crate) fn begin_write_v4(
        &mut self,
        call: &WriteCall,
        (length, arrived): (usize, &[u8]),
        input: &mut &[u8],
        output: &mut Output<Done>,
    ) -> Option<Demand> {
        let prepared = match std::mem::replace(&mut self.intake, connection::Intake::Nothing) {
            connection::Intake::V4(Intake::Opened(prepared)) => prepared,
            _ => {
                let data_bytes = call.head.length as usize;
                let sizes = (length, length - call.head_bytes - data_bytes);
                let head = arrived.get(..call.head_bytes).unwrap_or(&[]);
                let Some(prepared) = self.prepare(call, sizes, head, output) else {
                    return Some(Demand::Pause);
                };
                prepared
            }
        };
        let taken = HEADER_BYTES + call.head_bytes;
        *input = input.get(taken..).unwrap_or(&[]);
        let sink = prepared.sink.as_ref().ok().map(|sink| PayloadSink {
            file: sink.file.clone(),
            offset: sink.head.offset,
            who: sink.who,
        });
        let length = prepared.data_bytes as u64;
        self.intake = connection::Intake::V4(Intake::Receiving(prepared));
        Some(Demand::Payload(Payload { sink, length }))
    }

    /// Carries out SEQUENCE and PUTFH and opens the file, from memory. `None`: that is done on the
    /// pool, and the stream waits.
    fn prepare(
        &mut self,
        call: &WriteCall,
        (length, tail_bytes): (usize, usize),
        head: &[u8],
        output: &mut Output<Done>,
    ) -> Option<Box<Prepared>> {
        let caller = self.caller(call.credential);
        let out = output.buffer();
        let place = (head, length);
        let shared = self.shared.clone();
        let begun = Compound::begin((call.xid, caller), place, call.arguments_at, out);
        let (Ok(mut compound), Some(books)) = (begun, &shared.server.books) else {
            unreachable!(
                "the scanner has read the same bytes, and asks only where there are books"
            );
        };
        compound.pause_at = OPERATIONS_BEFORE;
        let opened = {
            let mut view = shared.view.borrow_mut();
            let mut ground = Hot {
                server: &shared.server,
                view: &mut view,
                doors: &mut self.doors,
                caller: &caller,
            };
            let standing = (&mut ground as &mut dyn Ground, &shared.server, &**books);
            compound.open_for_write(head, standing, &shared.counters, &call.head, out)
        };
        let reply = compound.take_reply(out);
        let mut prepared = Box::new(Prepared {
            compound,
            reply,
            sink: Err(None),
            finds: Vec::new(),
            tail_bytes,
            data_bytes: call.head.length as usize,
        });
        match opened {
            Ok(sink) => {
                prepared.sink = sink;
                Some(prepared)
            }
            Err(()) => {
                let (head, write) = (head.to_vec(), call.head);
                self.open_on_pool(prepared, head, write, output);
                self.intake = connection::Intake::V4(Intake::Opening);
                None
            }
        }
    }

    fn open_on_pool(
        &mut self,
        mut prepared: Box<Prepared>,
        head: Vec<u8>,
        write: WriteHead,
        output: &mut Output<Done>,
    ) {
        let server = self.server().clone();
        let known = known(&prepared.compound);
        output.defer(move || {
            let caller = prepared.compound.caller;
            let mut ground = Blocking::new(&server, &caller, known);
            if let Some(books) = &server.books {
                let standing = (&mut ground as &mut dyn Ground, &server, &**books);
                let Prepared {
                    compound, reply, ..
                } = &mut *prepared;
                let opened =
                    compound.open_for_write(&head, standing, &server.counters, &write, reply);
                prepared.sink = opened.unwrap_or(Err(Some(Status::Delay)));
            }
            prepared.finds = ground.finds;
            Done(connection::Step::V4(Step::Opened(prepared)))
        });
    }

    /// The file was opened on the pool.
    pub(crate) fn opened_v4(&mut self, mut prepared: Box<Prepared>) {
        self.absorb(std::mem::take(&mut prepared.finds));
        self.intake = connection::Intake::V4(Intake::Opened(prepared));
    }

    /// The data is in the file, or is not.
    pub(crate) fn received_v4(&mut self, intake: Intake, outcome: Result<(), PayloadFault>) {
        let Intake::Receiving(mut prepared) = intake else {
            // A driver that reports a payload nobody asked for is answered with nothing.
            self.intake = connection::Intake::V4(intake);
            return;
        };
        prepared.compound.stored =
            outcome.map_err(|PayloadFault::Write(errno)| Status::from(VolumeError::from(errno)));
        self.intake = connection::Intake::V4(Intake::Tail(prepared));
    }

    /// Goes on behind the data, when all of the message is there.
    pub(crate) fn tail_v4(
        &mut self,
        input: &mut &[u8],
        output: &mut Output<Done>,
    ) -> Option<Demand> {
        let intake = std::mem::replace(&mut self.intake, connection::Intake::Nothing);
        let connection::Intake::V4(Intake::Tail(prepared)) = intake else {
            self.intake = intake;
            return None;
        };
        let Some((tail, rest)) = input.split_at_checked(prepared.tail_bytes) else {
            self.intake = connection::Intake::V4(Intake::Tail(prepared));
            return Some(Demand::Input);
        };
        *input = rest;
        let tail = tail.get(padding(prepared.data_bytes)..).unwrap_or(&[]);
        let Prepared {
            mut compound,
            reply,
            sink,
            ..
        } = *prepared;
        compound.pause_at = u32::MAX;
        compound.at = 0;
        match sink {
            Ok(sink) if sink.must_sync() && compound.stored.is_ok() => {
                self.sync_on_pool((compound, reply), sink, tail.to_vec(), output);
            }
            sink => self.go_on((compound, reply), sink, tail, output),
        }
        None
    }

    /// Answers the WRITE and carries out what follows it.
    fn go_on(
        &mut self,
        (mut compound, reply): (Compound, Vec<u8>),
        sink: Result<Sink, Option<Status>>,
        tail: &[u8],
        output: &mut Output<Done>,
    ) {
        compound.put_back(&reply, output.buffer());
        let shared = self.shared.clone();
        let Some(books) = &shared.server.books else {
            return;
        };
        let caller = compound.caller;
        let progress = {
            let mut view = shared.view.borrow_mut();
            let mut ground = Hot {
                server: &shared.server,
                view: &mut view,
                doors: &mut self.doors,
                caller: &caller,
            };
            let mut standing = (&mut ground as &mut dyn Ground, &shared.server, &**books);
            compound.written(sink, &mut standing, &shared.counters, output.buffer());
            compound.run(tail, standing, &shared.counters, output.buffer())
        };
        match progress {
            Progress::Done => {
                let written = compound.written_bytes;
                let status = compound.end(0, output.buffer());
                self.shared.counters.count_written(written);
                self.answered(Event::V4(status), written as usize);
            }
            Progress::Span(span) => self.put_span(&mut compound, span, output),
            Progress::Cold => {
                let message = std::borrow::Cow::Borrowed(tail);
                self.defer_v4(Box::new(compound), message, output);
            }
        }
    }

    /// The same where the data must be made durable first.
    fn sync_on_pool(
        &mut self,
        (mut compound, mut reply): (Compound, Vec<u8>),
        sink: Sink,
        tail: Vec<u8>,
        output: &mut Output<Done>,
    ) {
        let server = self.server().clone();
        self.in_flight += 1;
        output.defer(move || {
            let caller = compound.caller;
            let mut ground = Blocking::new(&server, &caller, known(&compound));
            let mut progress = Progress::Done;
            if let Some(books) = &server.books {
                let mut standing = (&mut ground as &mut dyn Ground, &server, &**books);
                compound.written(Ok(sink), &mut standing, &server.counters, &mut reply);
                progress = compound.run(&tail, standing, &server.counters, &mut reply);
            }
            let finds = ground.finds;
            Step::ended(compound, progress, reply, finds)
        });
    }
}

/// The node that a COMPOUND stands at.
pub(super) fn known(compound: &Compound) -> Option<Located> {
    match &compound.current {
        Place::Node(target) => Some(target.located.clone()),
        Place::Root(_) | Place::None => None,
    }
}

/// What is said of a WRITE that was not opened.
pub(super) fn refused(halt: Halt) -> Result<Option<Status>, ()> {
    match halt {
        Halt::Cold => Err(()),
        Halt::Failed(status) | Halt::Told(status) => Ok(Some(status)),
        // No WRITE ends like that.
        Halt::Span(_) => Ok(Some(Status::ServerFault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v4::state::stateid::StateId;
    use crate::xdr::Writer;

    fn message(tail: usize) -> Vec<u8> {
        let mut message = Vec::new();
        let mut out = Writer::new(&mut message);
        out.words([7, CALL, RPC_VERSION, PROGRAM, VERSION, 1, 0, 0, 0, 0]);
        out.opaque(b"tag");
        out.words([2, 4, 53]);
        out.fixed(&[1; 16]);
        out.words([1, 0, 0, 0, 22]);
        out.opaque(&[9; 28]);
        out.u32(38);
        StateId::default().write(&mut out);
        out.u64(4096);
        out.u32(0);
        out.opaque(b"hello");
        message.resize(message.len() + tail, 0);
        message
    }

    /// Every cut of the head waits, and the whole head names the place of the data.
    #[test]
    fn a_write_is_known_as_soon_as_its_head_is_there() {
        let message = message(20);
        let head = message.len() - 20 - 8;
        for cut in 0..head {
            assert!(
                matches!(scan(&message[..cut], message.len()), Scan::Short),
                "cut at {cut}"
            );
        }
        let Scan::Write(call) = scan(&message[..head], message.len()) else {
            panic!("a WRITE");
        };
        assert_eq!(
            (call.head_bytes, call.head.offset, call.head.length),
            (head, 4096, 5)
        );
    }

    #[test]
    fn what_has_much_behind_its_data_goes_through_memory() {
        let fits = message(TAIL_BYTES_MAX - 3);
        assert!(matches!(scan(&fits, fits.len()), Scan::Write(_)));
        let longer = message(TAIL_BYTES_MAX - 2);
        assert!(matches!(scan(&longer, longer.len()), Scan::Other));
        let lies = message(0);
        assert!(matches!(scan(&lies, lies.len() - 8), Scan::Other));
    }
}
