//! Several READ calls in flight on one connection (RFC 1813 section 3.3.6, RFC 5531 section 11).
//!
//! Invariant: the buffer of replies never exceeds two replies of the largest block, whatever length
//! a record mark claims; the transaction id is the slot plus a count, so an answer that was not
//! asked for is an error. Not promised: replies in several fragments; servers in use send one.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;

use super::{NfsSource, reply};
use crate::rpc::{CallWriter, NFS, Reader};
use crate::source::{Queue, SourceError, Told};

/// Octets of a READ reply beside its data: RPC head with the longest verifier, status, attributes.
const REPLY_HEAD_BYTES: usize = 1024;

struct Asked {
    xid: u32,
    length: u32,
    in_flight: bool,
}

pub(super) struct NfsQueue<'a> {
    source: &'a NfsSource,
    stream: TcpStream,
    calls: CallWriter,
    asked: Vec<Asked>,
    count: u32,
    buffer: Vec<u8>,
    filled: usize,
    reply_bytes_max: usize,
}

impl<'a> NfsQueue<'a> {
    pub(super) fn new(source: &'a NfsSource, stream: TcpStream, depth: u32, block: u32) -> Self {
        let reply_bytes_max = block as usize + REPLY_HEAD_BYTES;
        let slot = |slot| Asked {
            xid: slot,
            length: 0,
            in_flight: false,
        };
        Self {
            source,
            stream,
            calls: CallWriter::new(),
            asked: (0..depth).map(slot).collect(),
            count: 0,
            buffer: vec![0; 2 * reply_bytes_max],
            filled: 0,
            reply_bytes_max,
        }
    }

    fn fault(&self, why: impl Into<String>) -> SourceError {
        SourceError::server(self.source.name(), why)
    }

    /// Where the first whole record behind `from` lies in the buffer.
    fn record(&self, from: usize) -> Result<Option<Range<usize>>, SourceError> {
        let rest = self.buffer.get(from..self.filled).unwrap_or(&[]);
        let found = reply::record(rest, self.reply_bytes_max);
        let found = found.map_err(|error| self.fault(format!("{error:#}")))?;
        Ok(found.map(|record| from + record.start..from + record.end))
    }

    fn tell(&mut self, record: Range<usize>, told: &mut Told<'_>) -> Result<(), SourceError> {
        let broken = |error: anyhow::Error| self.fault(format!("{error:#}"));
        let mut reader = Reader(self.buffer.get(record).unwrap_or(&[]));
        let xid = reader.accepted().map_err(broken)?;
        let answer = reply::read(&mut reader).map_err(broken)?;
        let (bytes, _) = answer.map_err(|status| self.fault(format!("READ: status {status}")))?;
        let slot = (xid % self.asked.len().max(1) as u32) as usize;
        let Some(asked) = self.asked.get_mut(slot) else {
            return Ok(());
        };
        if asked.xid != xid || !std::mem::take(&mut asked.in_flight) {
            return Err(self.fault("an answer that was not asked for"));
        }
        let wanted = asked.length as usize;
        match bytes.len() == wanted {
            true => told(slot, bytes),
            false => Err(self.fault(format!("{} bytes instead of {wanted}", bytes.len()))),
        }
    }
}

impl Queue for NfsQueue<'_> {
    fn submit(&mut self, slot: usize, offset: u64, length: u32) -> Result<(), SourceError> {
        let slots = self.asked.len() as u32;
        let Some(asked) = self.asked.get_mut(slot) else {
            return Ok(());
        };
        // Wraps long after any test has ended, and then at a multiple of the slots.
        self.count = (self.count + 1) % (u32::MAX / slots.max(1));
        let xid = self.count * slots + slot as u32;
        *asked = Asked {
            xid,
            length,
            in_flight: true,
        };
        self.calls.begin(xid, NFS, 6, self.source.caller());
        self.calls.opaque(self.source.handle());
        self.calls.long(offset);
        self.calls.number(length);
        self.calls.end(0);
        Ok(())
    }

    fn wait(&mut self, told: &mut Told<'_>) -> Result<(), SourceError> {
        let failed = |error| SourceError::system(self.source.name(), error);
        if !self.calls.is_empty() {
            let calls = self.calls.take();
            self.stream.write_all(&calls).map_err(failed)?;
        }
        let mut any = false;
        while !any {
            let room = self.buffer.get_mut(self.filled..).unwrap_or(&mut []);
            match self.stream.read(room) {
                Ok(0) => return Err(self.fault("the server closed the connection")),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(self.fault("no answer came for 20 s"));
                }
                Err(error) => return Err(SourceError::system(self.source.name(), error)),
            }
            let mut from = 0;
            while let Some(record) = self.record(from)? {
                from = record.end;
                self.tell(record, told)?;
                any = true;
            }
            self.buffer.copy_within(from..self.filled, 0);
            self.filled -= from;
        }
        Ok(())
    }
}
