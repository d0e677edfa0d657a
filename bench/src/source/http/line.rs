//! One connection of one slot: a request out, the head and the wanted block in.
//!
//! Invariant: never more than the wanted block is taken off the socket once its head is gone, so
//! the next block begins at the front of the buffer; what came for a block that is not whole yet
//! can be told. Not promised: more than one request under way.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::head::{self, HEAD_BYTES_MAX};
use super::{HttpSource, connect, request};
use crate::poll::Poll;
use crate::source::{Access, SourceError, Told, region};

/// A connection of one slot.
pub(super) struct Line {
    stream: TcpStream,
    /// Where its part ends, when it streams.
    stream_end: Option<u64>,
    buffer: Vec<u8>,
    filled: usize,
    /// The block under way: offset and length.
    wanted: Option<(u64, u32)>,
    /// Body octets of the present response that were not told yet, once its head is known.
    body_left: Option<u64>,
    /// Where the next body octet lies in the file.
    position: u64,
    closes: bool,
    is_fresh: bool,
}

/// How far the wanted block is.
pub(super) enum Progress {
    Whole,
    Partial,
    /// The server closed the connection; a request that it did not begin to answer may be made
    /// again on a new one.
    Closed {
        is_lost: bool,
    },
}

impl Line {
    pub(super) fn open(
        source: &HttpSource,
        poll: &Poll,
        slot: usize,
        access: &Access,
    ) -> Result<Self, SourceError> {
        let end = region(source.bytes, access, slot).1;
        let line = Self {
            stream: connect(&source.place, source.address)?,
            stream_end: access.is_sequential.then_some(end),
            buffer: vec![0; access.block_bytes as usize + HEAD_BYTES_MAX],
            filled: 0,
            wanted: None,
            body_left: None,
            position: 0,
            closes: false,
            is_fresh: true,
        };
        line.register(poll, slot)?;
        Ok(line)
    }

    /// Asks for a block; true when it lies in the buffer already.
    pub(super) fn ask(
        &mut self,
        source: &HttpSource,
        poll: &Poll,
        slot: usize,
        (offset, length): (u64, u32),
    ) -> Result<bool, SourceError> {
        self.wanted = Some((offset, length));
        if self.body_left.is_some() && self.position == offset {
            return Ok(self.filled >= length as usize);
        }
        if self.body_left.is_some() || self.closes {
            self.renew(source, poll, slot)?;
        }
        self.send(source)?;
        Ok(false)
    }

    /// Tells the wanted block, which must be whole.
    pub(super) fn tell(&mut self, slot: usize, told: &mut Told<'_>) -> Result<(), SourceError> {
        let Some((_, length)) = self.wanted.take() else {
            return Ok(());
        };
        told(slot, self.buffer.get(..length as usize).unwrap_or(&[]))?;
        self.drop_front(length as usize);
        self.position += u64::from(length);
        self.is_fresh = false;
        let left = self.body_left.unwrap_or(0).saturating_sub(length.into());
        self.body_left = (left > 0).then_some(left);
        Ok(())
    }

    /// Bytes of the wanted block that came, where the block is a part of a longer answer.
    pub(super) fn arrived(&self) -> u64 {
        match (self.body_left, self.wanted) {
            (Some(_), Some((_, length))) => self.filled.min(length as usize) as u64,
            _ => 0,
        }
    }

    fn register(&self, poll: &Poll, slot: usize) -> Result<(), SourceError> {
        let failed = |error| SourceError::system("a socket", error);
        self.stream.set_nonblocking(true).map_err(failed)?;
        let added = poll.add(&self.stream, slot, false);
        added.map_err(|error| SourceError::server("epoll", format!("{error:#}")))
    }

    pub(super) fn renew(
        &mut self,
        source: &HttpSource,
        poll: &Poll,
        slot: usize,
    ) -> Result<(), SourceError> {
        self.stream = connect(&source.place, source.address)?;
        self.filled = 0;
        self.body_left = None;
        self.closes = false;
        self.is_fresh = true;
        self.register(poll, slot)
    }

    pub(super) fn send(&mut self, source: &HttpSource) -> Result<(), SourceError> {
        let Some((offset, length)) = self.wanted else {
            return Ok(());
        };
        let end = self.stream_end.unwrap_or(offset + u64::from(length));
        let range = format!("Range: bytes={offset}-{}\r\n", end - 1);
        let text = request("GET", &source.place.authority, &source.place.path, &range);
        self.position = offset;
        // A request is shorter than any socket buffer, and the one before it was answered.
        let sent = self.stream.write_all(text.as_bytes());
        sent.map_err(|error| SourceError::system(source.place.path.clone(), error))
    }

    /// Takes a head off the buffer when it is whole.
    fn take_head(&mut self, source: &HttpSource) -> Result<(), SourceError> {
        let fault = |why: String| SourceError::server(source.place.path.clone(), why);
        let seen = self.buffer.get(..self.filled).unwrap_or(&[]);
        let Some(head) = head::parse(seen).map_err(fault)? else {
            return Ok(());
        };
        let (offset, length) = self.wanted.unwrap_or((0, 0));
        let end = self.stream_end.unwrap_or(offset + u64::from(length));
        let whole = head.status == 200 && offset == 0 && head.body_bytes == end;
        if head.status != 206 && !whole {
            let why = match head.status {
                200 => "it sends the whole file: this server has no ranges".to_owned(),
                status => format!("status {status} instead of 206"),
            };
            return Err(fault(why));
        }
        if head.body_bytes != end - offset {
            let why = format!("{} bytes instead of {}", head.body_bytes, end - offset);
            return Err(fault(why));
        }
        self.body_left = Some(head.body_bytes);
        self.closes = head.closes;
        self.drop_front(head.head_bytes);
        Ok(())
    }

    fn drop_front(&mut self, count: usize) {
        self.buffer.copy_within(count..self.filled, 0);
        self.filled -= count;
    }

    /// Reads what is there; true when the wanted block is whole.
    pub(super) fn receive(&mut self, source: &HttpSource) -> Result<Progress, SourceError> {
        loop {
            if self.body_left.is_none() {
                self.take_head(source)?;
            }
            let length = self.wanted.map_or(0, |(_, length)| length as usize);
            if self.body_left.is_some() && self.filled >= length {
                return Ok(Progress::Whole);
            }
            // Never more than this block once the head is gone: the next one starts at the front.
            let limit = match self.body_left {
                Some(_) => length,
                // Little of a body comes with its head, so little has to be moved to the front.
                None => HEAD_BYTES_MAX,
            };
            let room = self.buffer.get_mut(self.filled..limit).unwrap_or(&mut []);
            match self.stream.read(room) {
                Ok(0) => return Ok(self.closed()),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Progress::Partial);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(self.closed());
                }
                Err(error) => {
                    return Err(SourceError::system(source.place.path.clone(), error));
                }
            }
        }
    }

    fn closed(&self) -> Progress {
        Progress::Closed {
            is_lost: self.wanted.is_some() && (self.is_fresh || self.filled > 0),
        }
    }

    /// Whether a block is wanted.
    pub(super) fn is_asked(&self) -> bool {
        self.wanted.is_some()
    }
}
