//! What time does: connections that idle or dribble are closed, memory is handed out fairly,
//! and a worker that was told to stop ends.
//!
//! A transfer may pause: for `stall_max` of the [`WorkerLimits`](crate::WorkerLimits) nothing at
//! all need move. What does move must be faster than `progress_bytes_per_s` over the progress
//! window; a peer that dribbles is given [`SLOW_WINDOWS_MAX`] of those, because a pause begins and
//! ends in the middle of one. Invariant: time in which the peer waits for this node (a job, a read,
//! a pipe, a turn) counts for neither. Not promised: precision better than a window.

use std::os::fd::AsFd;
use std::time::Duration;

use super::gathering::give_up_gathering;
use super::{Fate, Held, Worker};
use crate::connection::Wants;
use crate::protocol::{Protocol, Service};
use crate::token::Token;

/// How long a closing connection may go on sending what nobody reads.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// How long an unfinished request may hold memory while all of it is in use.
const STARVED_MAX: Duration = Duration::from_secs(30);

/// Windows in which something moved, and less than must, before a transfer is closed. Better ones
/// between them forgive; pauses do not.
const SLOW_WINDOWS_MAX: u32 = 3;

/// How often connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

impl<S: Service> Worker<S> {
    /// About ten times a second.
    pub(super) fn tick(&mut self) {
        self.ticked_at = self.now;
        self.service.tick();
        self.resubmit_stalled();
        for listener in std::mem::take(&mut self.failed_accepts) {
            // An edge that was lost to a lack of descriptors shows itself no second time.
            self.accept(listener);
        }
        if self.now >= self.sweep_at {
            self.sweep_at = self.now + SWEEP;
            self.sweep();
        }
    }

    fn resubmit_stalled(&mut self) {
        for (token, task) in std::mem::take(&mut self.stalled_reads) {
            if let Some(connection) = self.connections.get_mut(token) {
                connection.stalled.push_back(task);
            }
        }
        for token in self.connections.tokens() {
            let pool = &self.pool;
            let is_stalled = |c: &mut Held<S>| !c.stalled.is_empty();
            if let Some(connection) = self.connections.get_mut(token) {
                give_up_gathering(connection, self.now);
            }
            if let Some(connection) = self.connections.get_mut(token)
                && is_stalled(connection)
                && connection.submit_stalled(pool)
            {
                self.queue(token);
            }
        }
    }

    fn sweep(&mut self) {
        let mut oldest: Option<(std::time::Instant, Token)> = None;
        for token in self.connections.tokens() {
            let Some(mut connection) = self.connections.lend(token) else {
                continue;
            };
            let fate = self.judge(&mut connection);
            if connection.is_starved
                && let Some(since) = connection.partial_since
                && oldest.is_none_or(|(other, _)| since < other)
            {
                oldest = Some((since, token));
            }
            self.connections.restore(token, connection);
            if let Fate::Close(why) = fate {
                self.time_out(token, why);
            }
        }
        if let Some((_, token)) = oldest {
            self.favoured = Some(token);
            self.wake_starved();
        }
    }

    fn judge(&self, connection: &mut Held<S>) -> Fate {
        if connection.linger.is_some() {
            let is_over = self.now - connection.watched_since >= LINGER_MAX;
            return if is_over {
                Fate::Close("done")
            } else {
                Fate::Wait
            };
        }
        if connection.is_idle() {
            let idle_max = if self.drain_until.is_some() {
                Duration::ZERO
            } else {
                connection.patience.idle_max
            };
            connection.watched_since = self.now;
            connection.moved = 0;
            let is_kept = self.drain_until.is_none() && connection.core.is_kept();
            let is_over = !is_kept && self.now - connection.active_at >= idle_max;
            return if is_over {
                Fate::Close("idle")
            } else {
                Fate::Wait
            };
        }
        // What this node itself is busy with is not the peer's fault; but a request that has
        // waited this long for memory takes it from others.
        let is_ours = connection.awaits_node();
        if connection.is_starved
            && let Some(since) = connection.partial_since
            && self.now - since >= STARVED_MAX
        {
            return Fate::Close("no memory for its request");
        }
        if let Some(head_max) = connection.patience.head_max
            && let Some(since) = connection.partial_since
            && !is_ours
            && connection.payload.is_none()
            && self.now - since >= head_max
        {
            return Fate::Close("its request head took too long");
        }
        if is_ours {
            connection.watched_since = self.now;
            connection.moved_at = self.now;
            return Fate::Wait;
        }
        self.judge_progress(connection)
    }

    /// Judges what has moved of a transfer that waits for its peer.
    fn judge_progress(&self, connection: &mut Held<S>) -> Fate {
        let window = self.limits.progress_window.min(self.limits.stall_max);
        // Who keeps unfinished messages in memory may not pause while others lack it.
        let is_scarce = self.charged >= self.limits.receive_bytes_max / 2;
        let stall_max = if is_scarce && connection.charged > 0 {
            window
        } else {
            self.limits.stall_max
        };
        if self.now - connection.watched_since < window {
            return Fate::Wait;
        }
        let unsent = towline_sys::sockets::unsent_bytes(connection.fd.as_fd()).unwrap_or(0);
        let delivered = (connection.unsent_before + connection.moved).saturating_sub(unsent);
        let moved = connection.moved.max(delivered);
        (connection.moved, connection.unsent_before) = (0, unsent);
        connection.watched_since = self.now;
        if moved == 0 {
            let is_over = self.now - connection.moved_at >= stall_max;
            return if is_over {
                Fate::Close("nothing moved for too long")
            } else {
                Fate::Wait
            };
        }
        connection.moved_at = self.now;
        if moved >= self.limits.progress_bytes_per_s * window.as_secs() {
            connection.slow_windows = 0;
            return Fate::Wait;
        }
        connection.slow_windows += 1;
        if connection.slow_windows >= SLOW_WINDOWS_MAX {
            return Fate::Close("too slow");
        }
        Fate::Wait
    }

    /// Ends a connection whose peer took too long: with a word, if the protocol has one for it.
    fn time_out(&mut self, token: Token, why: &'static str) {
        let Some(mut connection) = self.connections.lend(token) else {
            return;
        };
        let peer = connection.peer.address;
        let is_under_way = !connection.is_idle() && connection.linger.is_none();
        if is_under_way {
            self.metrics.timed_out.add(1);
            tracing::info!(%peer, error = why, "a transfer was closed");
        }
        let has_word = is_under_way
            && connection.wants != Wants::Close
            && connection.core.timed_out(&mut self.output);
        if has_word {
            connection.payload = None;
            connection.input.clear();
            connection.wants = Wants::Close;
            self.stage(token, &mut connection);
        }
        self.connections.restore(token, connection);
        if has_word {
            self.queue(token);
        } else {
            self.close(token, why);
        }
    }

    /// Charges a connection for what it holds of unfinished requests.
    pub(super) fn charge(&mut self, connection: &mut Held<S>) {
        let held = connection.input.len() + connection.core.bytes_held();
        self.charged = self.charged - connection.charged + held;
        let has_shrunk = held < connection.charged;
        connection.charged = held;
        match held {
            0 => connection.partial_since = None,
            _ => connection.partial_since = connection.partial_since.or(Some(self.now)),
        }
        self.metrics.receive_bytes_held.set(self.charged as u64);
        if has_shrunk && self.charged < self.limits.receive_bytes_max {
            self.wake_starved();
        }
    }

    /// Whether a connection must wait until others have finished their requests.
    pub(super) fn must_starve(&self, token: Token, connection: &Held<S>) -> bool {
        self.charged >= self.limits.receive_bytes_max
            && connection.charged > 0
            && self.favoured != Some(token)
    }

    fn wake_starved(&mut self) {
        for token in self.connections.tokens() {
            if let Some(connection) = self.connections.get_mut(token)
                && std::mem::take(&mut connection.is_starved)
            {
                self.queue(token);
            }
        }
    }

    /// Takes no more connections; those between requests are closed, the others may finish.
    pub(super) fn begin_drain(&mut self) {
        if self.drain_until.is_some() {
            return;
        }
        self.drain_until = Some(self.now + self.limits.drain_max);
        for slot in &mut self.listeners {
            if let Some(listening) = slot.take() {
                self.engine.forget(listening.socket.as_fd());
            }
        }
        self.sweep();
    }

    /// Whether a drain has come to its end.
    pub(super) fn is_drained(&mut self) -> bool {
        let Some(until) = self.drain_until else {
            return false;
        };
        if self.now < until {
            self.close_idle_while_draining();
        } else {
            for token in self.connections.tokens() {
                self.close(token, "the node stops");
            }
        }
        self.connections.len() == 0
    }

    fn close_idle_while_draining(&mut self) {
        for token in self.connections.tokens() {
            let Some(connection) = self.connections.get_mut(token) else {
                continue;
            };
            if connection.is_idle() && connection.wants == Wants::Input {
                self.close(token, "the node stops");
            }
        }
    }
}
