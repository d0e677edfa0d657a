//! Reading from a connection: requests for the core, payloads for files.
//!
//! A payload is spliced from the socket through a pipe into the page cache; its beginning, which
//! came along with the request's head, and short rests are written from memory. Invariant: after
//! a payload the stream stands exactly behind it, also when the file refused it. Not promised:
//! that what was written before a failure is taken back.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::gathering::{gather_rest, gathers, stop_gathering};
use super::{DONTWAIT, Held, Worker};
use crate::connection::{Connection, Receiving, SocketKind, Wants};
use crate::limits::{
    RECEIVE_BYTES_MAX, RECEIVE_BYTES_MIN, SLICE_BYTES, SPLICE_BYTES_MIN, UNDER_WAY_MAX,
    UNSENT_BYTES_MAX, UNSENT_ITEMS_MAX,
};
use crate::pipes::PIPE_BYTES;
use crate::protocol::{Protocol, Service};
use crate::span::PayloadFault;
use crate::token::Token;
use towline_sys::identity::assume_writer;

/// What one step of receiving did.
pub(super) enum Received {
    /// Something: go on.
    Some,
    /// Nothing more for now.
    Nothing,
    /// The budget is used up.
    Spent,
    /// The connection cannot go on.
    Failed(&'static str),
}

impl<S: Service> Worker<S> {
    /// One step: feed the core what is there, else read more.
    pub(super) fn receive(
        &mut self,
        token: Token,
        connection: &mut Held<S>,
        budget: &mut usize,
    ) -> Received {
        if *budget == 0 {
            return Received::Spent;
        }
        if !may_read(connection) {
            return Received::Nothing;
        }
        // Behind a payload the core is asked also where nothing follows: it may owe an answer.
        let has_work = match connection.payload {
            Some(_) => !connection.input.is_empty(),
            None => !connection.has_seen_all,
        };
        if has_work {
            let input = std::mem::take(&mut connection.input);
            let taken = self.feed(token, connection, &input);
            keep(connection, input, taken);
            return Received::Some;
        }
        if connection
            .payload
            .as_ref()
            .is_some_and(|payload| payload.left == 0)
        {
            self.end_payload(token, connection);
            return Received::Some;
        }
        if !connection.is_readable {
            return self.nothing_to_read(connection);
        }
        if self.must_starve(token, connection) {
            if connection.is_last_edge {
                // What it still holds would be kept for nobody.
                return Received::Failed("the peer is gone while it waited for memory");
            }
            connection.is_starved = true;
            return Received::Nothing;
        }
        match &connection.payload {
            Some(Receiving {
                left,
                fault: None,
                sink: Some(_),
            }) if *left >= SPLICE_BYTES_MIN => {
                if gathers(connection, self.now) {
                    return Received::Nothing;
                }
                self.splice_payload(connection, budget)
            }
            _ => self.read_bytes(token, connection, budget),
        }
    }

    fn nothing_to_read(&self, connection: &Held<S>) -> Received {
        if !connection.has_ended {
            return Received::Nothing;
        }
        // The peer has said all: what is under way is finished, then this ends.
        let is_done = connection.under_way == 0 && connection.outbox.is_empty();
        if is_done {
            Received::Failed("the peer closed it")
        } else {
            Received::Nothing
        }
    }

    fn read_bytes(
        &mut self,
        token: Token,
        connection: &mut Held<S>,
        budget: &mut usize,
    ) -> Received {
        let mut scratch = std::mem::take(&mut self.scratch);
        // The rest of a payload is read in one go, and nothing behind it.
        let asked = match &connection.payload {
            Some(payload) => payload.left.min(scratch.len() as u64) as usize,
            None if std::mem::take(&mut connection.is_behind_payload) => connection.head_bytes,
            None => connection.receive_bytes.min(scratch.len()),
        };
        let room = scratch.get_mut(..asked).unwrap_or(&mut []);
        let result = rustix::net::recv(&connection.fd, room, DONTWAIT);
        let received = match result {
            Ok((_, 0)) => {
                (connection.is_readable, connection.has_ended) = (false, true);
                self.nothing_to_read(connection)
            }
            Ok((_, count)) => {
                self.metrics.bytes_received.add(count as u64);
                connection.moved += count as u64;
                connection.active_at = self.now;
                *budget = budget.saturating_sub(count);
                if connection.payload.is_some() || asked < RECEIVE_BYTES_MIN {
                    // How much there is of a payload or a head says nothing of what follows.
                } else if count == asked {
                    connection.receive_bytes = (asked * 2).min(RECEIVE_BYTES_MAX);
                } else if !connection.is_last_edge {
                    // The socket was emptied; what comes later is a new edge.
                    connection.is_readable = false;
                }
                let bytes = scratch.get(..count).unwrap_or(&[]);
                if connection.input.is_empty() {
                    let taken = self.feed_in_slices(token, connection, bytes, budget);
                    connection
                        .input
                        .extend_from_slice(bytes.get(taken..).unwrap_or(&[]));
                } else {
                    connection.input.extend_from_slice(bytes);
                    let input = std::mem::take(&mut connection.input);
                    let taken = self.feed(token, connection, &input);
                    keep(connection, input, taken);
                }
                Received::Some
            }
            Err(Errno::AGAIN) => {
                connection.is_readable = false;
                Received::Nothing
            }
            Err(Errno::INTR) => Received::Some,
            // A record without data: the peer's word that it sends no more, mostly.
            Err(Errno::IO) if connection.kind == SocketKind::KernelTls => {
                (connection.is_readable, connection.has_ended) = (false, true);
                self.nothing_to_read(connection)
            }
            Err(_) => Received::Failed("the peer is gone"),
        };
        self.scratch = scratch;
        received
    }

    /// Gives a window of small requests to the core some at a time and sends between, so that
    /// the peer works on the first answers while we work on the next. Returns how many bytes
    /// were taken.
    fn feed_in_slices(
        &mut self,
        token: Token,
        connection: &mut Held<S>,
        bytes: &[u8],
        budget: &mut usize,
    ) -> usize {
        let (mut taken, mut slice) = (0, SLICE_BYTES);
        loop {
            let rest = bytes.get(taken..).unwrap_or(&[]);
            let is_cut = connection.payload.is_none() && rest.len() > slice;
            let part = if is_cut {
                rest.get(..slice).unwrap_or(rest)
            } else {
                rest
            };
            let count = self.feed(token, connection, part);
            taken += count;
            // One request may be longer than a slice.
            slice = if count == 0 { slice * 2 } else { SLICE_BYTES };
            if !is_cut || connection.wants != Wants::Input || !may_read(connection) {
                return taken;
            }
            if count > 0 && self.send(token, connection, budget).is_some() {
                // The turn ends here, or the connection does: the caller's own send finds out.
                connection.has_seen_all = false;
                return taken;
            }
        }
    }

    /// Gives bytes to the payload and the core in turn; returns how many were taken.
    fn feed(&mut self, token: Token, connection: &mut Held<S>, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        loop {
            if let Some(payload) = &mut connection.payload {
                let count = payload.left.min(rest.len() as u64) as usize;
                let (now, later) = rest.split_at(count);
                store(payload, now);
                rest = later;
                if payload.left > 0 {
                    connection.receive_bytes = RECEIVE_BYTES_MIN;
                    break;
                }
                self.end_payload(token, connection);
            }
            if connection.wants != Wants::Input || !may_read(connection) {
                connection.has_seen_all = false;
                break;
            }
            if connection.payload.is_some() {
                continue;
            }
            let before = rest.len();
            let demand = connection.core.advance(&mut rest, &mut self.output);
            connection.obey(demand);
            if connection.payload.is_some() {
                connection.head_bytes = (before - rest.len()).clamp(1, RECEIVE_BYTES_MIN);
            }
            self.stage(token, connection);
            let asks_more = connection.wants == Wants::Input && connection.payload.is_none();
            connection.has_seen_all = asks_more;
            if asks_more || (before == rest.len() && connection.payload.is_none()) {
                break;
            }
        }
        bytes.len() - rest.len()
    }

    fn end_payload(&mut self, token: Token, connection: &mut Held<S>) {
        let Some(payload) = connection.payload.take() else {
            return;
        };
        stop_gathering(connection);
        connection.is_behind_payload = connection.input.is_empty();
        let outcome = payload.fault.map_or(Ok(()), Err);
        let demand = connection.core.received(outcome, &mut self.output);
        connection.has_seen_all = false;
        connection.obey(demand);
        self.stage(token, connection);
    }

    fn splice_payload(&mut self, connection: &mut Held<S>, budget: &mut usize) -> Received {
        let Connection {
            payload: Some(payload),
            fd,
            ..
        } = &mut **connection
        else {
            return Received::Some;
        };
        let asked = payload.left.min(PIPE_BYTES as u64) as usize;
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(&*fd, None, &*self.payload_pipe.writer, None, asked, flags) {
            Ok(0) => Received::Failed("the peer closed it inside a payload"),
            Ok(count) => {
                if !drain_pipe(&self.payload_pipe.reader, payload, count)
                    && let Ok(pipe) = crate::pipes::make()
                {
                    // What the file refused is thrown away with the pipe that holds it.
                    self.payload_pipe = pipe;
                }
                connection.moved += count as u64;
                connection.active_at = self.now;
                self.metrics.bytes_received.add(count as u64);
                *budget = budget.saturating_sub(count);
                Received::Some
            }
            Err(Errno::AGAIN) => {
                connection.is_readable = false;
                gather_rest(connection, self.now);
                Received::Nothing
            }
            Err(Errno::INTR) => Received::Some,
            Err(_) => Received::Failed("the peer is gone"),
        }
    }
}

/// Whether the connection's bounds allow one more request to begin.
fn may_read<P: Protocol>(connection: &Connection<P>) -> bool {
    connection.under_way < UNDER_WAY_MAX
        && connection.stalled.is_empty()
        && connection.outbox.bytes_held < UNSENT_BYTES_MAX
        && connection.outbox.items.len() < UNSENT_ITEMS_MAX
}

/// Keeps what was not taken of the input, in the same buffer unless it is all gone.
fn keep<P: Protocol>(connection: &mut Connection<P>, mut input: Vec<u8>, taken: usize) {
    if taken < input.len() {
        input.drain(..taken);
        connection.input = input;
    }
}

/// Writes payload bytes from memory. A failure is kept; the rest is thrown away.
fn store(payload: &mut Receiving, bytes: &[u8]) {
    payload.left -= bytes.len() as u64;
    let Some(sink) = &mut payload.sink else {
        return;
    };
    let mut rest = bytes;
    if !rest.is_empty() {
        assume_writer(&sink.who);
    }
    while !rest.is_empty() && payload.fault.is_none() {
        match rustix::io::pwrite(&*sink.file, rest, sink.offset) {
            Ok(count) => {
                sink.offset += count as u64;
                rest = rest.get(count..).unwrap_or(&[]);
            }
            Err(Errno::INTR) => {}
            Err(error) => payload.fault = Some(PayloadFault::Write(error)),
        }
    }
}

/// Moves `count` bytes from the pipe into the file; `false` if the file refused some.
fn drain_pipe(pipe: impl AsFd, payload: &mut Receiving, count: usize) -> bool {
    payload.left -= count as u64;
    let Some(sink) = &mut payload.sink else {
        return false;
    };
    assume_writer(&sink.who);
    let mut left = count;
    while left > 0 {
        let mut offset = sink.offset;
        match splice(
            &pipe,
            None,
            &*sink.file,
            Some(&mut offset),
            left,
            SpliceFlags::MOVE,
        ) {
            Ok(0) => payload.fault = Some(PayloadFault::Write(Errno::IO)),
            Ok(moved) => {
                sink.offset += moved as u64;
                left -= moved;
            }
            Err(Errno::INTR) => {}
            Err(error) => payload.fault = Some(PayloadFault::Write(error)),
        }
        if payload.fault.is_some() {
            return false;
        }
    }
    true
}
