//! Data that is not in memory: read into pipes by the engine, or on a pool thread when short.
//!
//! Invariant: every fill that is ordered is answered exactly once, and its pipe comes back whether
//! its connection still exists or not. Not promised: an order between fills.

use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::sending::push_bytes;
use super::{Fate, Held, Worker};
use crate::engine::FillOrder;
use crate::limits::INLINE_BYTES_MAX;
use crate::outbox::{Item, Seen, has_arrived};
use crate::pipes::{PIPE_BYTES, Pipe};
use crate::protocol::Service;
use crate::span::{FileSpan, Passage, SpanFault};
use crate::token::Token;

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
    pub(super) fn begin_cold(&mut self, token: Token, cold: ColdFramed) {
        if !has_arrived(&cold.span) {
            return self.await_framed(token, cold);
        }
        self.metrics.cold_reads.add(1);
        if cold.span.length <= INLINE_BYTES_MAX {
            return self.read_on_pool(token, cold);
        }
        match self.pipes.take() {
            Ok(Some(pipe)) => {
                let span = cold.span.clone();
                self.order_fill(token, &span, pipe, Some(cold));
            }
            _ => self.waiting_framed.push_back((token, cold)),
        }
    }

    /// Begins to fill a pipe for the span at the front of the outbox.
    pub(super) fn fill_front(&mut self, token: Token, connection: &mut Held<S>) -> Option<Fate> {
        let Some(Item::Span(span, _)) = connection.outbox.items.front().map(clone_span) else {
            return None;
        };
        match self.pipes.take() {
            Ok(Some(pipe)) => {
                self.metrics.cold_reads.add(1);
                if let Some(front) = connection.outbox.items.front_mut() {
                    *front = Item::Filling(span.clone());
                }
                self.order_fill(token, &span, pipe, None);
            }
            _ => self.waiting_ordered.push_back(token),
        }
        None
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
                self.stage_filled(&mut connection, cold, pipe, count);
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
        self.connections.restore(owner, connection);
        if is_open {
            self.queue(owner);
        } else {
            self.close(owner, "the file failed while it was sent");
        }
        self.serve_pipe_waiters();
    }

    fn stage_filled(
        &mut self,
        connection: &mut Held<S>,
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
        outbox.items.push_back(Item::Piped(pipe, count));
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

    /// Gives pipes that have become free to those who wait for one.
    pub(super) fn serve_pipe_waiters(&mut self) {
        while let Some((token, _)) = self.waiting_framed.front() {
            let token = *token;
            if !self.connections.holds(token) {
                self.waiting_framed.pop_front();
                continue;
            }
            let Ok(Some(pipe)) = self.pipes.take() else {
                return;
            };
            if let Some((_, cold)) = self.waiting_framed.pop_front() {
                let span = cold.span.clone();
                self.order_fill(token, &span, pipe, Some(cold));
            }
        }
        if self.pipes.has_room() {
            for token in std::mem::take(&mut self.waiting_ordered) {
                self.queue(token);
            }
        }
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

fn clone_span(item: &Item) -> Item {
    match item {
        Item::Span(span, seen) => Item::Span(span.clone(), *seen),
        Item::Bytes(..) | Item::Mapped(_) | Item::Filling(_) | Item::Piped(..) => {
            Item::Bytes(Vec::new(), 0)
        }
    }
}

/// Puts a filled pipe in the place of the span that it holds the beginning of.
fn piped_to_front<P: crate::protocol::Protocol>(
    connection: &mut crate::connection::Connection<P>,
    pipe: Pipe,
    count: usize,
) {
    if let Some(Item::Filling(mut span)) = connection.outbox.items.pop_front() {
        span.offset += count as u64;
        span.length = span.length.saturating_sub(count as u64);
        if span.length > 0 {
            connection
                .outbox
                .items
                .push_front(Item::Span(span, Seen::behind_cold()));
        }
        connection.outbox.items.push_front(Item::Piped(pipe, count));
    }
}
