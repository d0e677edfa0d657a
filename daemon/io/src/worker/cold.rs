//! Data that is not in memory: read into pipes by the engine, or on a pool thread when short.
//!
//! A filled pipe is for the moment: where the peer takes its bytes slower than others wait for
//! pipes, it is given up and the bytes are sent from the page cache. Invariant: every fill that is
//! ordered is answered exactly once, and its pipe comes back whether its connection still exists
//! or not; no peer keeps a pipe that another waits for. Not promised: an order between fills.

use std::net::IpAddr;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::sending::push_bytes;
use super::{Held, Worker};
use crate::connection::Connection;
use crate::engine::FillOrder;
use crate::limits::INLINE_BYTES_MAX;
use crate::outbox::{Item, Seen, has_arrived};
use crate::pipes::{PIPE_BYTES, Pipe};
use crate::protocol::Service;
use crate::span::{FileSpan, Passage, SpanFault};
use crate::token::Token;

/// Length of the list of holders at which those are forgotten that hold nothing any more: several
/// times the pipes of a worker.
const HOLDERS_LOOK: usize = 256;

/// A framed reply whose bytes have to be read first.
#[derive(Debug)]
pub(crate) struct ColdFramed {
    pub(super) head: Vec<u8>,
    pub(super) span: FileSpan,
    pub(super) padding: u8,
    pub(super) recover: fn(&[u8], SpanFault) -> Option<Vec<u8>>,
}

/// A pipe that is being filled.
pub(super) struct Fill {
    connection: Token,
    pipe: Pipe,
    /// `None`: for the front of the outbox.
    framed: Option<ColdFramed>,
}

/// Cold data that waits for a pipe.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A framed reply of this connection.
    Framed(Token, ColdFramed),
    /// The span at the front of this connection's outbox.
    Front(Token),
}

/// A short cold read that has ended.
pub(crate) struct ColdRead {
    cold: ColdFramed,
    result: Result<Vec<u8>, SpanFault>,
}

impl ColdRead {
    /// Reads the span, on a pool thread.
    pub(super) fn run(cold: ColdFramed) -> Self {
        let mut data = vec![0; cold.span.length as usize];
        let result = match cold.span.file.read_exact_at(&mut data, cold.span.offset) {
            Ok(()) => Ok(data),
            Err(error) => Err(match error.raw_os_error() {
                Some(errno) => SpanFault::Read(Errno::from_raw_os_error(errno)),
                None => SpanFault::Short { bytes: 0 },
            }),
        };
        Self { cold, result }
    }
}

impl<S: Service> Worker<S> {
    /// Sends a cold framed reply on its way.
    pub(super) fn begin_cold(&mut self, token: Token, client: IpAddr, cold: ColdFramed) {
        if !has_arrived(&cold.span) {
            return self.await_framed(token, cold);
        }
        self.metrics.cold_reads.add(1);
        if cold.span.length <= INLINE_BYTES_MAX {
            return self.read_on_pool(token, cold);
        }
        self.waiting.push(client, Waiting::Framed(token, cold));
        self.serve_pipe_waiters();
    }

    /// Begins to fill a pipe for the span at the front of the outbox, as soon as there is one.
    pub(super) fn fill_front(&mut self, token: Token, connection: &mut Held<S>) {
        let client = client(connection);
        if connection.awaits_pipe {
            return;
        }
        loop {
            if let Ok(Some(pipe)) = self.pipes.take(client) {
                return self.fill_front_with(token, connection, pipe);
            }
            // Whoever waits already comes first.
            if !self.waiting.is_empty() || !self.take_pipes_back() {
                break;
            }
        }
        connection.awaits_pipe = true;
        self.waiting.push(client, Waiting::Front(token));
    }

    fn fill_front_with(&mut self, token: Token, connection: &mut Held<S>, pipe: Pipe) {
        let Some(front) = connection.outbox.items.front_mut() else {
            return self.pipes.give_back(pipe);
        };
        let Item::Span(span, _) = front else {
            return self.pipes.give_back(pipe);
        };
        let span = span.clone();
        *front = Item::Filling(span.clone());
        self.metrics.cold_reads.add(1);
        self.order_fill(token, &span, pipe, None);
    }

    fn order_fill(
        &mut self,
        connection: Token,
        span: &FileSpan,
        pipe: Pipe,
        framed: Option<ColdFramed>,
    ) {
        let writer = pipe.writer.clone();
        let token = self.fills.insert_with(|_| Fill {
            connection,
            pipe,
            framed,
        });
        let order = FillOrder {
            token,
            file: span.file.clone(),
            offset: span.offset,
            bytes: arrived(span, PIPE_BYTES as u64) as usize,
            pipe: writer,
        };
        if let Err(error) = self.engine.fill(order) {
            self.filled(token, Err(error));
        }
    }

    /// A fill has ended.
    pub(super) fn filled(&mut self, token: Token, result: Result<usize, Errno>) {
        let Some(Fill {
            connection: owner,
            pipe,
            framed,
        }) = self.fills.remove(token)
        else {
            return;
        };
        let Some(mut connection) = self.connections.lend(owner) else {
            self.pipes.discard(pipe);
            return self.serve_pipe_waiters();
        };
        let outcome = match result {
            Ok(0) => Err(SpanFault::Short { bytes: 0 }),
            Ok(count) => Ok(count),
            Err(error) => Err(SpanFault::Read(error)),
        };
        let is_open = match (framed, outcome) {
            (Some(cold), Ok(count)) => {
                connection.under_way -= 1;
                stage_filled(&mut connection, cold, pipe, count);
                true
            }
            (Some(cold), Err(fault)) => {
                connection.under_way -= 1;
                self.pipes.discard(pipe);
                self.recover(&mut connection, &cold, fault)
            }
            (None, Ok(count)) => {
                piped_to_front(&mut connection, pipe, count);
                true
            }
            (None, Err(fault)) => {
                self.pipes.discard(pipe);
                self.report_span_fault(&connection, fault);
                false
            }
        };
        if connection.is_write_blocked {
            self.lend_pipes(owner, &mut connection);
        }
        self.connections.restore(owner, connection);
        if is_open {
            self.queue(owner);
        } else {
            self.close(owner, "the file failed while it was sent");
        }
        self.serve_pipe_waiters();
    }

    /// Sends what the core has for this fault; `false` if it has nothing.
    pub(super) fn recover(
        &self,
        connection: &mut Held<S>,
        cold: &ColdFramed,
        fault: SpanFault,
    ) -> bool {
        self.report_span_fault(connection, fault);
        match (cold.recover)(&cold.head, fault) {
            Some(reply) => {
                push_bytes(&mut connection.outbox, &reply);
                true
            }
            None => false,
        }
    }

    /// A short cold read has ended.
    pub(super) fn cold_read_ended(&mut self, token: Token, read: ColdRead) {
        let Some(mut connection) = self.connections.lend(token) else {
            return;
        };
        connection.under_way -= 1;
        let is_open = match read.result {
            Ok(data) => {
                let outbox = &mut connection.outbox;
                push_bytes(outbox, &read.cold.head);
                push_bytes(outbox, &data);
                let padding = usize::from(read.cold.padding);
                push_bytes(outbox, [0; 3].get(..padding).unwrap_or(&[]));
                true
            }
            Err(fault) => self.recover(&mut connection, &read.cold, fault),
        };
        self.connections.restore(token, connection);
        if is_open {
            self.queue(token);
        } else {
            self.close(token, "the file failed while it was sent");
        }
    }

    /// A connection's peer takes bytes slower than its pipes came: whoever waits may have them now,
    /// or when somebody comes.
    pub(super) fn lend_pipes(&mut self, token: Token, connection: &mut Held<S>) {
        if !connection.outbox.holds_pipe() {
            return;
        }
        if !self.waiting.is_empty() {
            connection.outbox.spill(&mut self.pipes);
        } else if !connection.is_holder {
            self.forget_past_holders();
            connection.is_holder = true;
            self.holders.push_back(token);
        }
    }

    /// Keeps the list of holders short where pipes never run out.
    fn forget_past_holders(&mut self) {
        if self.holders.len() < HOLDERS_LOOK {
            return;
        }
        let connections = &mut self.connections;
        self.holders.retain(|token| {
            connections.get_mut(*token).is_some_and(|connection| {
                connection.is_holder = connection.outbox.holds_pipe();
                connection.is_holder
            })
        });
    }

    /// Takes the pipes of one connection whose peer is slow; whether there was one.
    fn take_pipes_back(&mut self) -> bool {
        for _ in 0..self.holders.len() {
            let Some(token) = self.holders.pop_front() else {
                return false;
            };
            let Some(connection) = self.connections.get_mut(token) else {
                if self.connections.holds(token) {
                    // Lent at this moment: it comes back to this when its turn ends.
                    self.holders.push_back(token);
                }
                continue;
            };
            connection.is_holder = false;
            if connection.is_write_blocked && connection.outbox.holds_pipe() {
                connection.outbox.spill(&mut self.pipes);
                return true;
            }
        }
        false
    }

    /// Gives pipes to those who wait for one, as far as there are some.
    pub(super) fn serve_pipe_waiters(&mut self) {
        while !self.waiting.is_empty() {
            if !self.pipes.has_room() && !self.take_pipes_back() {
                return;
            }
            let pipes = &mut self.pipes;
            let next = self
                .waiting
                .next(|client| pipes.take(client).ok().flatten());
            let Some((waiting, pipe)) = next else {
                if self.take_pipes_back() {
                    continue;
                }
                return;
            };
            match waiting {
                Waiting::Framed(token, cold) if self.connections.holds(token) => {
                    let span = cold.span.clone();
                    self.order_fill(token, &span, pipe, Some(cold));
                }
                Waiting::Framed(..) => self.pipes.give_back(pipe),
                Waiting::Front(token) => match self.connections.lend(token) {
                    Some(mut connection) => {
                        connection.awaits_pipe = false;
                        self.fill_front_with(token, &mut connection, pipe);
                        self.connections.restore(token, connection);
                    }
                    None => self.pipes.give_back(pipe),
                },
            }
        }
    }
}

/// To whose share the pipes of a connection count.
pub(super) fn client<P: crate::protocol::Protocol>(connection: &Connection<P>) -> IpAddr {
    connection.peer.address.ip().to_canonical()
}

fn stage_filled<P: crate::protocol::Protocol>(
    connection: &mut Connection<P>,
    cold: ColdFramed,
    pipe: Pipe,
    count: usize,
) {
    let ColdFramed {
        head,
        mut span,
        padding,
        ..
    } = cold;
    let outbox = &mut connection.outbox;
    push_bytes(outbox, &head);
    let read = cut(&span, count);
    outbox.items.push_back(Item::Piped(pipe, read));
    span.offset += count as u64;
    span.length = span.length.saturating_sub(count as u64);
    if span.length > 0 {
        // One page more than the pipe holds, when the span does not begin at one.
        outbox
            .items
            .push_back(Item::Span(span, Seen::behind_cold()));
    }
    push_bytes(outbox, [0; 3].get(..usize::from(padding)).unwrap_or(&[]));
}

/// The first `count` bytes of a span.
fn cut(span: &FileSpan, count: usize) -> FileSpan {
    FileSpan {
        length: span.length.min(count as u64),
        ..span.clone()
    }
}

/// How many bytes of a span's beginning are at this node, at most `most`.
fn arrived(span: &FileSpan, most: u64) -> u64 {
    let wanted = span.length.min(most);
    match span.file.passage(span.offset, wanted) {
        Passage::Open(bytes) => bytes.min(wanted),
        Passage::Closed | Passage::Lost => 0,
    }
}

/// Puts a filled pipe in the place of the span that it holds the beginning of.
fn piped_to_front<P: crate::protocol::Protocol>(
    connection: &mut Connection<P>,
    pipe: Pipe,
    count: usize,
) {
    if let Some(Item::Filling(mut span)) = connection.outbox.items.pop_front() {
        let read = cut(&span, count);
        span.offset += count as u64;
        span.length = span.length.saturating_sub(count as u64);
        if span.length > 0 {
            connection
                .outbox
                .items
                .push_front(Item::Span(span, Seen::behind_cold()));
        }
        connection.outbox.items.push_front(Item::Piped(pipe, read));
    }
}
