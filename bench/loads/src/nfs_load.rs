//! Loads for an NFSv3 server (RFC 1813) over TCP, from one client thread.
//!
//! Each connection keeps a window of calls in flight and answers every reply with the next call.
//! READ data are discarded in the kernel, WRITE data come from one constant memory file.
//! Invariant: a reply with another status, another length or an unknown transaction ends the
//! run. Not promised: that READ data are right; the whole-system tests compare those.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{SendFlags, send};

use crate::cpu::CpuMeter;
use crate::figures::Outcome;
use crate::http_load::{Random, SILENCE_LIMIT};
use crate::nfs_session::Endpoint;
use towline_bench::poll::{Poll, discard};
use towline_bench::rpc::{CallWriter, Caller, NFS, Reader, connect_reserved};

/// Reply bytes looked at: a WRITE reply with both attributes has 160 (RFC 1813 section 3.3.7), the
/// head of a READ reply 128 (section 3.3.6). What follows is data.
const HEAD_BYTES: usize = 160;
/// Receive size while replies are small: dozens of them at once.
const BATCH_BYTES: usize = 64 * 1024;
/// Receive size while replies carry bulk data: a mark and a head, so that the data behind them
/// stay in the socket to be discarded there.
const BULK_HEAD_BYTES: usize = 4 + HEAD_BYTES;
/// READs above this many bytes are discarded in the kernel instead of read and dropped.
const BULK_FROM_BYTES: u32 = 16 * 1024;
/// Most bytes thrown away by one call.
const DISCARD_BYTES: usize = 4 * 1024 * 1024;
/// Most calls in flight per connection: the slot is the low byte of the transaction id.
pub const WINDOW_MAX: u32 = 256;

/// What is called.
#[derive(Clone, Debug)]
pub enum Operation {
    /// READ of `bytes` at aligned places, ascending or random.
    Read {
        /// Bytes per call.
        bytes: u32,
        /// Random instead of ascending places.
        random: bool,
    },
    /// WRITE UNSTABLE of `bytes` at ascending places.
    Write {
        /// Bytes per call, a multiple of four.
        bytes: u32,
    },
    /// GETATTR of the file.
    Getattr,
    /// LOOKUP of random names in the directory.
    Lookup {
        /// Names that exist there.
        names: Vec<String>,
    },
}

/// A whole load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub endpoint: Endpoint,
    /// Who calls.
    pub caller: Caller,
    /// Connections, all alike.
    pub connections: usize,
    /// Calls in flight per connection, up to [`WINDOW_MAX`].
    pub window: u32,
    /// What is called.
    pub operation: Operation,
    /// Handle of the file, or of the directory for LOOKUP.
    pub handle: Vec<u8>,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Not counted.
    pub warm_up: Duration,
    /// Counted.
    pub measured: Duration,
}

/// Runs the load.
///
/// # Errors
/// Fails when a connection breaks, a reply is wrong or nothing arrives for twenty seconds.
pub fn run(plan: &Plan, meter: &CpuMeter) -> Result<Outcome> {
    ensure!(
        (1..=WINDOW_MAX).contains(&plan.window),
        "window outside 1..={WINDOW_MAX}"
    );
    let mut poll = Poll::new(true)?;
    let mut clients = Vec::new();
    for index in 0..plan.connections {
        let mut client = Client::new(plan, index as u64)?;
        poll.add(&client.socket, index, false)?;
        client.fill_window();
        client.flush(&poll, index)?;
        clients.push(client);
    }
    let mut scratch = vec![0; DISCARD_BYTES];
    let mut outcome = Outcome::default();
    drive(
        &mut poll,
        &mut clients,
        &mut scratch,
        plan.warm_up,
        &mut outcome,
    )?;
    outcome = Outcome::default();
    let (cpu_before, started) = (meter.seconds(), Instant::now());
    drive(
        &mut poll,
        &mut clients,
        &mut scratch,
        plan.measured,
        &mut outcome,
    )?;
    outcome.seconds = started.elapsed().as_secs_f64();
    outcome.server_cpu_seconds = meter.seconds() - cpu_before;
    Ok(outcome)
}

fn drive(
    poll: &mut Poll,
    clients: &mut [Client],
    scratch: &mut [u8],
    length: Duration,
    outcome: &mut Outcome,
) -> Result<()> {
    poll.drive((length, SILENCE_LIMIT), |poll, ready| {
        let client = clients.get_mut(ready.token);
        let client = client.context("token of no connection")?;
        if ready.readable {
            client.receive(scratch, outcome)?;
        }
        client.flush(poll, ready.token)
    })
}

/// Bytes waiting to go out: built calls, or that many bytes of the constant payload.
enum Outgoing {
    Bytes { bytes: Vec<u8>, sent: usize },
    Payload { bytes_left: usize },
}

struct Slot {
    xid: u32,
    asked_at: Instant,
}

struct Client<'a> {
    socket: TcpStream,
    plan: &'a Plan,
    random: Random,
    position: u64,
    calls: u32,
    slots: Vec<Slot>,
    writer: CallWriter,
    outgoing: VecDeque<Outgoing>,
    /// WRITE data, in a memory file so that sending them costs the client no copy.
    payload: Option<std::fs::File>,
    wants_write: bool,
    incoming: Vec<u8>,
    reply: ReplyHead,
}

/// Cuts the stream into records, keeping the first bytes of each.
#[derive(Default)]
struct ReplyHead {
    mark: Vec<u8>,
    head: Vec<u8>,
    fragment_bytes_left: usize,
    last_fragment: bool,
}

impl ReplyHead {
    /// Takes from `bytes` what belongs to the current record; true when it is complete.
    fn take(&mut self, bytes: &mut &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.fragment_bytes_left == 0 {
                let (mark, rest) = bytes.split_at(bytes.len().min(4 - self.mark.len()));
                self.mark.extend_from_slice(mark);
                *bytes = rest;
                let Ok(mark) = <[u8; 4]>::try_from(self.mark.as_slice()) else {
                    continue;
                };
                let mark = u32::from_be_bytes(mark);
                self.mark.clear();
                self.fragment_bytes_left = (mark & 0x7fff_ffff) as usize;
                self.last_fragment = mark >> 31 == 1;
                continue;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(self.fragment_bytes_left));
            let wanted = piece.len().min(HEAD_BYTES - self.head.len());
            self.head.extend_from_slice(&piece[..wanted]);
            *bytes = rest;
            if self.skipped(piece.len()) {
                return true;
            }
        }
        false
    }

    /// Counts bytes of the current fragment as gone; true when the record is complete.
    fn skipped(&mut self, bytes: usize) -> bool {
        self.fragment_bytes_left -= bytes;
        self.fragment_bytes_left == 0 && self.last_fragment
    }

    /// Bytes that are data and may be discarded in the kernel.
    fn bulk_bytes(&self) -> u64 {
        if self.head.len() < HEAD_BYTES {
            0
        } else {
            self.fragment_bytes_left as u64
        }
    }
}

impl<'a> Client<'a> {
    fn new(plan: &'a Plan, seed: u64) -> Result<Self> {
        let socket = connect_reserved(plan.endpoint.nfs)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let payload = match plan.operation {
            Operation::Write { bytes } => Some(memory_file(bytes)?),
            Operation::Read { .. } | Operation::Getattr | Operation::Lookup { .. } => None,
        };
        let receive_bytes = match plan.operation {
            Operation::Read { bytes, .. } if bytes > BULK_FROM_BYTES => BULK_HEAD_BYTES,
            Operation::Read { .. }
            | Operation::Write { .. }
            | Operation::Getattr
            | Operation::Lookup { .. } => BATCH_BYTES,
        };
        Ok(Self {
            socket,
            plan,
            random: Random::new(seed + 1),
            position: plan.file_bytes / plan.connections as u64 * seed,
            calls: 0,
            slots: Vec::new(),
            writer: CallWriter::new(),
            outgoing: VecDeque::new(),
            payload,
            wants_write: false,
            incoming: vec![0; receive_bytes],
            reply: ReplyHead::default(),
        })
    }

    fn fill_window(&mut self) {
        for slot in 0..self.plan.window {
            self.slots.push(Slot {
                xid: slot,
                asked_at: Instant::now(),
            });
            self.call(slot);
        }
    }

    /// Builds the next call in `slot`.
    fn call(&mut self, slot: u32) {
        self.calls = self.calls.wrapping_add(1);
        let xid = (self.calls << 8) | slot;
        let caller = self.plan.caller;
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            *entry = Slot {
                xid,
                asked_at: Instant::now(),
            };
        }
        match &self.plan.operation {
            Operation::Getattr => {
                self.writer.begin(xid, NFS, 1, caller);
                self.writer.opaque(&self.plan.handle);
                self.writer.end(0);
            }
            Operation::Lookup { names } => {
                let index = self.random.below(names.len() as u64) as usize;
                self.writer.begin(xid, NFS, 3, caller);
                self.writer.opaque(&self.plan.handle);
                self.writer.opaque(
                    names
                        .get(index)
                        .map_or(b"".as_slice(), |name| name.as_bytes()),
                );
                self.writer.end(0);
            }
            Operation::Read { bytes, random } => {
                let offset = self.place(*bytes, *random);
                self.writer.begin(xid, NFS, 6, caller);
                self.writer.opaque(&self.plan.handle);
                self.writer.long(offset);
                self.writer.number(*bytes);
                self.writer.end(0);
            }
            Operation::Write { bytes } => {
                let offset = self.place(*bytes, false);
                self.writer.begin(xid, NFS, 7, caller);
                self.writer.opaque(&self.plan.handle);
                self.writer.long(offset);
                // Count, UNSTABLE, and the length of the data that follow.
                for value in [*bytes, 0, *bytes] {
                    self.writer.number(value);
                }
                self.writer.end(*bytes);
                let head = self.writer.take();
                self.outgoing.push_back(Outgoing::Bytes {
                    bytes: head,
                    sent: 0,
                });
                self.outgoing.push_back(Outgoing::Payload {
                    bytes_left: *bytes as usize,
                });
            }
        }
    }

    fn place(&mut self, bytes: u32, random: bool) -> u64 {
        let places = (self.plan.file_bytes / u64::from(bytes)).max(1);
        if random {
            return self.random.below(places) * u64::from(bytes);
        }
        let place = self.position / u64::from(bytes) % places;
        self.position += u64::from(bytes);
        place * u64::from(bytes)
    }

    fn receive(&mut self, scratch: &mut [u8], outcome: &mut Outcome) -> Result<()> {
        loop {
            let bulk = self.reply.bulk_bytes();
            if bulk > 0 {
                let Some(bytes) = discard(&self.socket, scratch, bulk)? else {
                    return Ok(());
                };
                if self.reply.skipped(bytes as usize) {
                    self.answered(outcome)?;
                }
                continue;
            }
            let length = match self.socket.read(&mut self.incoming) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("receive reply"),
            };
            let buffer = std::mem::take(&mut self.incoming);
            let mut bytes = &buffer[..length];
            while self.reply.take(&mut bytes) {
                self.answered(outcome)?;
            }
            let full = length == buffer.len();
            self.incoming = buffer;
            if !full && self.reply.bulk_bytes() == 0 {
                return Ok(());
            }
        }
    }

    /// Judges a complete reply and puts the next call into its slot.
    fn answered(&mut self, outcome: &mut Outcome) -> Result<()> {
        let mut reader = Reader(&self.reply.head);
        let (xid, kind, state) = (reader.number()?, reader.number()?, reader.number()?);
        let _flavor = reader.number()?;
        let _verifier = reader.opaque()?;
        let (accepted, status) = (reader.number()?, reader.number()?);
        ensure!(
            (kind, state, accepted, status) == (1, 0, 0, 0),
            "reply kind {kind}, state {state}, accept {accepted}, NFS status {status}"
        );
        let slot = self
            .slots
            .get(xid as usize & 0xff)
            .context("unknown transaction")?;
        ensure!(
            slot.xid == xid,
            "reply to a transaction that is not in flight"
        );
        outcome.record(slot.asked_at.elapsed().as_micros());
        outcome.bytes += u64::from(moved_bytes(&self.plan.operation, &mut reader)?);
        self.reply.head.clear();
        self.call(xid & 0xff);
        Ok(())
    }

    fn flush(&mut self, poll: &Poll, token: usize) -> Result<()> {
        if !self.writer.is_empty() {
            let bytes = self.writer.take();
            self.outgoing.push_back(Outgoing::Bytes { bytes, sent: 0 });
        }
        while let Some(next) = self.outgoing.pop_front() {
            let flags = if self.outgoing.is_empty() {
                SendFlags::empty()
            } else {
                SendFlags::MORE
            };
            let (length, result) = match (&next, &self.payload) {
                (Outgoing::Bytes { bytes, sent }, _) => {
                    let rest = bytes.get(*sent..).unwrap_or(&[]);
                    (
                        rest.len(),
                        send(&self.socket, rest, flags | SendFlags::NOSIGNAL),
                    )
                }
                (Outgoing::Payload { bytes_left }, Some(file)) => {
                    let mut start = 0;
                    let sent =
                        rustix::fs::sendfile(&self.socket, file, Some(&mut start), *bytes_left);
                    (*bytes_left, sent)
                }
                (Outgoing::Payload { .. }, None) => bail!("payload of a load that writes nothing"),
            };
            let sent_now = match result {
                Ok(length) => length,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => 0,
                Err(error) => return Err(error).context("send"),
            };
            if sent_now < length {
                self.outgoing.push_front(next.after(sent_now));
                break;
            }
        }
        let wants_write = !self.outgoing.is_empty();
        if wants_write != self.wants_write {
            self.wants_write = wants_write;
            poll.change(&self.socket, token, wants_write)?;
        }
        Ok(())
    }
}

impl Outgoing {
    fn after(self, sent_now: usize) -> Self {
        match self {
            Self::Bytes { bytes, sent } => Self::Bytes {
                bytes,
                sent: sent + sent_now,
            },
            Self::Payload { bytes_left } => Self::Payload {
                bytes_left: bytes_left - sent_now,
            },
        }
    }
}

fn memory_file(bytes: u32) -> Result<std::fs::File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::memfd_create("payload", flags)?);
    std::io::Write::write_all(&mut &file, &vec![0x5a; bytes as usize])?;
    Ok(file)
}

/// Payload bytes of a successful reply, which must be what was asked for.
fn moved_bytes(operation: &Operation, reader: &mut Reader<'_>) -> Result<u32> {
    let wanted = match operation {
        Operation::Getattr | Operation::Lookup { .. } => return Ok(0),
        Operation::Read { bytes, .. } => {
            if reader.number()? == 1 {
                reader.0 = reader.0.get(84..).context("attributes cut short")?;
            }
            *bytes
        }
        Operation::Write { bytes } => {
            if reader.number()? == 1 {
                reader.0 = reader.0.get(24..).context("wcc_attr cut short")?;
            }
            if reader.number()? == 1 {
                reader.0 = reader.0.get(84..).context("attributes cut short")?;
            }
            *bytes
        }
    };
    let count = reader.number()?;
    ensure!(count == wanted, "{count} bytes instead of {wanted}");
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_in_many_fragments_is_one_reply() {
        let mut stream = Vec::new();
        for (last, body) in [(0_u32, [1_u8; 10]), (0, [2; 10]), (1, [3; 10])] {
            stream.extend_from_slice(&((last << 31) | 10).to_be_bytes());
            stream.extend_from_slice(&body);
        }
        for piece_bytes in 1..stream.len() {
            let mut reply = ReplyHead::default();
            let mut complete = 0;
            for piece in stream.chunks(piece_bytes) {
                let mut bytes = piece;
                while reply.take(&mut bytes) {
                    complete += 1;
                }
            }
            assert_eq!((complete, reply.head.len()), (1, 30));
        }
    }
}
