//! Bytes that are not at this node yet: replies wait for exactly those, and others pass them.
//!
//! While anything waits, the worker looks every [`LOOK_INTERVAL`] whether it has arrived; that
//! costs a lock and a few bits per waiting reply, and nothing while none waits. Invariant: every
//! waiting reply ends: with its bytes, with a fault, or with its connection. A framed reply waits
//! at most [`FRAMED_WAIT_MAX`] and is then refused as late, because its client asks again; one in
//! order waits as long as its bytes may come.

use std::time::{Duration, Instant};

use super::cold::{ColdFramed, client};
use super::{Held, Worker};
use crate::outbox::{Item, Seen, has_arrived};
use crate::protocol::Service;
use crate::span::{FileSpan, Passage, SpanFault};
use crate::token::Token;

/// How often waiting replies are looked at: short beside the 8 ms that 1 MiB takes at 1 Gb/s.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// How long a framed reply waits: NFS clients repeat a call after 5 s when told to.
const FRAMED_WAIT_MAX: Duration = Duration::from_secs(5);

/// A reply that waits.
pub(super) struct Absent {
    connection: Token,
    since: Instant,
    what: What,
}

enum What {
    /// The span at the front of the outbox.
    Front(FileSpan),
    /// A framed reply.
    Framed(ColdFramed),
}

impl<S: Service> Worker<S> {
    /// Waits for the first bytes of the span at the front of the outbox.
    pub(super) fn await_front(&mut self, token: Token, connection: &mut Held<S>) {
        let Some(front) = connection.outbox.items.front_mut() else {
            return;
        };
        let Item::Span(span, _) = front else {
            return;
        };
        let span = span.clone();
        *front = Item::Filling(span.clone());
        // The node is what it waits for, not the peer.
        connection.under_way += 1;
        span.file.want(span.offset, span.length);
        self.absent.push(Absent {
            connection: token,
            since: self.now,
            what: What::Front(span),
        });
    }

    /// Waits for all bytes of a framed reply.
    pub(super) fn await_framed(&mut self, token: Token, cold: ColdFramed) {
        cold.span.file.want(cold.span.offset, cold.span.length);
        self.absent.push(Absent {
            connection: token,
            since: self.now,
            what: What::Framed(cold),
        });
    }

    /// Lets those go on whose bytes have come.
    pub(super) fn look_for_arrivals(&mut self) {
        if self.absent.is_empty() {
            return;
        }
        for absent in std::mem::take(&mut self.absent) {
            if !self.connections.holds(absent.connection) {
                continue;
            }
            match absent.verdict(self.now) {
                None => self.absent.push(absent),
                Some(outcome) => self.go_on(absent, outcome),
            }
        }
    }

    fn go_on(&mut self, absent: Absent, outcome: Result<(), SpanFault>) {
        let token = absent.connection;
        match (absent.what, outcome) {
            (What::Framed(cold), Ok(())) => {
                let connection = self.connections.get_mut(token);
                if let Some(client) = connection.map(|connection| client(connection)) {
                    self.begin_cold(token, client, cold);
                }
            }
            (What::Framed(cold), Err(fault)) => {
                let Some(mut connection) = self.connections.lend(token) else {
                    return;
                };
                connection.under_way -= 1;
                let is_open = self.recover(&mut connection, &cold, fault);
                self.connections.restore(token, connection);
                if is_open {
                    self.queue(token);
                } else {
                    self.close(token, "the file failed while it was sent");
                }
            }
            (What::Front(_), outcome) => {
                let Some(mut connection) = self.connections.lend(token) else {
                    return;
                };
                connection.under_way -= 1;
                if let Some(front) = connection.outbox.items.front_mut()
                    && let Item::Filling(span) = front
                {
                    *front = Item::Span(span.clone(), Seen::default());
                }
                if let Err(fault) = outcome {
                    self.report_span_fault(&connection, fault);
                }
                self.connections.restore(token, connection);
                match outcome {
                    Ok(()) => self.queue(token),
                    Err(_) => self.close(token, "the file stopped on its way here"),
                }
            }
        }
    }
}

impl Absent {
    /// What to do now: `None`, wait on.
    fn verdict(&self, now: Instant) -> Option<Result<(), SpanFault>> {
        let (span, is_framed) = match &self.what {
            What::Front(span) => (span, false),
            What::Framed(cold) => (&cold.span, true),
        };
        match span.file.passage(span.offset, span.length) {
            Passage::Lost => Some(Err(SpanFault::Lost)),
            Passage::Open(_) if !is_framed || has_arrived(span) => Some(Ok(())),
            Passage::Open(_) | Passage::Closed => {
                let is_late = is_framed && now - self.since >= FRAMED_WAIT_MAX;
                is_late.then_some(Err(SpanFault::Late))
            }
        }
    }
}
