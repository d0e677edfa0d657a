//! Callbacks in the books: which connections carry them, when they are sent, what the answers do.
//!
//! Nobody waits for an answer: what is to be said is put in, sent as far as slots are free, and
//! goes on when an answer, a connection or the clock comes. Invariant: words leave without a lock
//! held. Not promised: that a client hears; see [`crate::v4::state::back`].

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Books;
use crate::line::Line;
use crate::v4::backing;
use crate::v4::callback::{self, Answer, Callback, Envelope};
use crate::v4::session::{Client, Session};

/// Time between two looks at what is late, in milliseconds: short beside what recalls wait.
const TICK_MS: u64 = 100;

impl Books {
    /// A connection may be used for a session's callbacks; whether it is.
    #[must_use]
    pub fn bind(&self, session: &Session, line: Line) -> bool {
        let client = &session.client;
        let is_bound = client.with_back(|back| back.bind(&session.id, line));
        self.note_lost(client);
        self.pump(client);
        is_bound
    }

    /// A connection that was bound is gone.
    pub fn cut(&self, session: &Session, line: &Line) {
        session.client.with_back(|back| back.cut(line));
        self.note_lost(&session.client);
        self.pump(&session.client);
    }

    /// Tells a client something, as soon as it can be told; `false`: too much waits already.
    pub fn call_back(&self, client: &Arc<Client>, callback: Callback) -> bool {
        let is_in = client.with_back(|back| back.push(callback));
        self.pump(client);
        is_in
    }

    /// Sends what can be sent to a client now.
    pub fn pump(&self, client: &Arc<Client>) {
        /// Callbacks that leave at once, as a count: each channel has one slot.
        const AT_ONCE_MAX: usize = super::SESSIONS_PER_CLIENT_MAX;
        for _ in 0..AT_ONCE_MAX {
            let xid = || self.xids.fetch_add(1, Ordering::Relaxed).max(1);
            let now = self.now_ms();
            let Some(order) = client.with_back(|back| back.next(now, xid)) else {
                break;
            };
            let envelope = Envelope {
                xid: order.xid,
                program: order.program,
                security: &order.security,
                session: order.session,
                sequence: order.sequence,
                minor: order.minor,
                client: client.id,
            };
            let bytes = callback::write(&envelope, &order.callback);
            if let Some(counter) = self.calls.get(order.callback.place()) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            if !order.line.tell(backing::word(bytes)) {
                client.with_back(|back| back.cut(&order.line));
                self.note_lost(client);
            }
        }
        let is_quiet = client.with_back(|back| back.is_quiet());
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        match is_quiet {
            true => called.remove(&client.id),
            false => called.insert(client.id),
        };
    }

    /// A client has answered the call with this number.
    pub fn replied(&self, client: &Arc<Client>, xid: u32, answer: Answer) {
        let now = self.now_ms();
        let through = client.with_back(|back| back.answered(xid, answer, now));
        if let Some((callback, status)) = through {
            tracing::debug!(
                peer = %client.address,
                proc = callback.label(),
                error = status,
                "a callback was answered"
            );
        }
        self.note_lost(client);
        self.pump(client);
    }

    /// Callbacks sent since the start, in the order of [`Callback::LABELS`].
    #[must_use]
    pub fn calls(&self) -> [u64; Callback::LABELS.len()] {
        std::array::from_fn(|place| {
            let counter = self.calls.get(place);
            counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
        })
    }

    /// Looks at what is late. Called often; most of the time it only looks at the clock.
    pub fn tick(&self) {
        let now = self.now_ms();
        let last = self.ticked_ms.load(Ordering::Relaxed);
        let is_mine = now >= last + TICK_MS
            && self
                .ticked_ms
                .compare_exchange(last, now, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok();
        if !is_mine {
            return;
        }
        self.revoke_overdue();
        let called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        let clients: Vec<u64> = called.iter().copied().collect();
        drop(called);
        for id in clients {
            match self.client(id) {
                Some(client) => {
                    client.with_back(|back| back.tick(now));
                    self.note_lost(&client);
                    self.pump(&client);
                }
                None => {
                    let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
                    called.remove(&id);
                }
            }
        }
    }

    /// Tells the sessions of a client whether their callbacks have a connection.
    fn note_lost(&self, client: &Client) {
        let down = client.with_back(|back| back.sessions_down());
        let up = client.with_back(|back| back.sessions_up());
        for (sessions, is_lost) in [(down, true), (up, false)] {
            for id in sessions {
                if let Some(session) = self.session(&id) {
                    session.set_back_lost(is_lost);
                }
            }
        }
    }
}
