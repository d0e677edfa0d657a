//! One worker: a thread with its own listeners, connections and engine.
//!
//! The loop waits for events, gives every connection that can go on a turn (at most
//! [`crate::limits::TURN_BYTES`] each), and takes the results of deferred jobs from its mailbox.
//! Invariant: a connection is driven by this thread alone; nothing that can block on the network
//! is called, and what can block on the disk is called only for pages that are in memory or for
//! the page cache to take. Not promised: that a write to the page cache never waits for the disk
//! when the host has too many dirty pages.

mod absent;
mod accepting;
pub(crate) mod cold;
mod gathering;
mod receiving;
mod sending;
mod timeouts;

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use towline_base::clock;

use crate::admission::Admission;
pub use crate::connection::Patience;
use crate::connection::{Connection, SocketKind, Wants};
use crate::engine::{Engine, EngineChoice, Event};
use crate::handle::{Mail, WorkerHandle};
use crate::limits::{LINGER_BYTES_MAX, TURN_BYTES, WorkerLimits};
use crate::listener::Congestion;
use crate::mailbox::{Mailbox, Wake};
use crate::metrics::WorkerMetrics;
use crate::outbox::{Flushed, SendFault};
use crate::pipes::{Pipe, Pipes, Queue};
use crate::pool::Pool;
use crate::protocol::{HandOff, Output, Protocol, Service};
use crate::span::SpanFault;
use crate::token::{Slots, Token};

use absent::Absent;
use cold::Fill;

/// How often caches age and time limits are looked at.
const TICK: Duration = Duration::from_millis(100);

/// A listening socket of a worker.
#[derive(Debug)]
pub struct Listening {
    /// The socket, listening and non-blocking.
    pub socket: OwnedFd,
    /// Which congestion control accepted connections get.
    pub congestion: Congestion,
    /// How long accepted connections may take.
    pub patience: Patience,
}

/// What a worker is made of.
pub struct WorkerParts {
    /// Its listeners; [`Service::accept`] is given their index.
    pub listeners: Vec<Listening>,
    /// Which engine to use.
    pub engine: EngineChoice,
    /// Its bounds.
    pub limits: WorkerLimits,
    /// The node's bounds on connections.
    pub admission: Arc<Admission>,
    /// The node's pool.
    pub pool: Arc<Pool>,
    /// Its counters.
    pub metrics: Arc<WorkerMetrics>,
}

type Done<S> = <<S as Service>::Connection as Protocol>::Done;
type Held<S> = Box<Connection<<S as Service>::Connection>>;

/// What a turn decided about its connection.
enum Fate {
    Wait,
    Again,
    Close(&'static str),
    HandOff,
}

/// One worker, to be run on a thread of its own.
pub struct Worker<S: Service> {
    service: S,
    listeners: Vec<Option<Listening>>,
    engine: Engine,
    mailbox: Arc<Mailbox<Mail<Done<S>>>>,
    /// By listener; kept when a listener is closed.
    patience: Vec<Patience>,
    admission: Arc<Admission>,
    pool: Arc<Pool>,
    limits: WorkerLimits,
    metrics: Arc<WorkerMetrics>,
    connections: Slots<Held<S>>,
    ready: VecDeque<Token>,
    /// Listeners that may have connections waiting of which no event tells.
    pending_accepts: Vec<usize>,
    /// Listeners whose last accept failed; the next tick tries again.
    failed_accepts: Vec<usize>,
    output: Output<Done<S>>,
    scratch: Vec<u8>,
    pipes: Pipes,
    /// The pipe that payloads pass through; empty between two steps.
    payload_pipe: Pipe,
    fills: Slots<Fill>,
    /// Cold data that waits for a pipe.
    waiting: Queue<cold::Waiting>,
    /// Connections whose peers are slower than the pipes that they hold: others may have those.
    holders: VecDeque<Token>,
    /// What waits for bytes that are not at this node yet.
    absent: Vec<Absent>,
    /// Cold reads that found the pool full.
    stalled_reads: Vec<(Token, crate::connection::Task)>,
    charged: usize,
    favoured: Option<Token>,
    now: Instant,
    ticked_at: Instant,
    sweep_at: Instant,
    drain_until: Option<Instant>,
}

/// Tokens of listeners have this bit in their index; no worker holds 2^31 connections.
const LISTENER_BASE: u32 = 1 << 31;

impl<S: Service> Worker<S> {
    /// Makes a worker. Call on the thread that will run it: io_uring wants one submitter.
    ///
    /// # Errors
    /// What the engine could not get: descriptors, or io_uring where it was demanded.
    pub fn new(
        parts: WorkerParts,
        service: S,
    ) -> Result<(Self, WorkerHandle<Done<S>>, &'static str), Errno> {
        let wake = Arc::new(Wake::new()?);
        let mut engine = Engine::new(parts.engine, &wake)?;
        let engine_name = engine.name();
        let mailbox = Arc::new(Mailbox::new(wake));
        let (mut listeners, mut patience) = (Vec::new(), Vec::new());
        for (index, listening) in parts.listeners.into_iter().enumerate() {
            let token = Token {
                index: LISTENER_BASE | index as u32,
                generation: 0,
            };
            engine.watch(listening.socket.as_fd(), token)?;
            patience.push(listening.patience);
            listeners.push(Some(listening));
        }
        let now = clock::now();
        let worker = Self {
            service,
            listeners,
            engine,
            mailbox: mailbox.clone(),
            patience,
            admission: parts.admission,
            pool: parts.pool,
            limits: parts.limits,
            metrics: parts.metrics,
            connections: Slots::default(),
            ready: VecDeque::new(),
            pending_accepts: Vec::new(),
            failed_accepts: Vec::new(),
            output: Output::default(),
            scratch: vec![0; crate::limits::RECEIVE_BYTES_MAX],
            pipes: Pipes::new(parts.limits.pipes_max),
            payload_pipe: crate::pipes::make()?,
            fills: Slots::default(),
            waiting: Queue::default(),
            holders: VecDeque::new(),
            absent: Vec::new(),
            stalled_reads: Vec::new(),
            charged: 0,
            favoured: None,
            now,
            ticked_at: now,
            sweep_at: now,
            drain_until: None,
        };
        Ok((worker, WorkerHandle::new(mailbox), engine_name))
    }

    /// Runs until told to drain and drained.
    ///
    /// # Errors
    /// Only if the engine itself fails; then no connection of this worker can go on.
    pub fn run(mut self) -> Result<(), Errno> {
        let mut events = Vec::new();
        loop {
            let is_quiet = self.ready.is_empty() && self.pending_accepts.is_empty();
            let timeout = if is_quiet {
                self.until_tick()
            } else {
                Duration::ZERO
            };
            self.engine.wait(timeout, &mut events)?;
            self.now = clock::now();
            for event in events.drain(..) {
                self.handle(event);
            }
            for listener in std::mem::take(&mut self.pending_accepts) {
                self.accept(listener);
            }
            for _ in 0..self.ready.len() {
                if let Some(token) = self.ready.pop_front() {
                    self.turn(token);
                }
            }
            self.look_for_arrivals();
            if self.now - self.ticked_at >= TICK {
                self.tick();
            }
            if self.is_drained() {
                return Ok(());
            }
        }
    }

    fn until_tick(&self) -> Duration {
        let tick = (self.ticked_at + TICK).saturating_duration_since(self.now);
        if self.absent.is_empty() {
            tick
        } else {
            tick.min(absent::LOOK_INTERVAL)
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Readable { token, .. } if token.index & LISTENER_BASE != 0 => {
                self.accept((token.index & !LISTENER_BASE) as usize);
            }
            Event::Readable { token, is_last } => {
                if let Some(connection) = self.connections.get_mut(token) {
                    connection.is_readable = true;
                    connection.is_last_edge |= is_last;
                    self.queue(token);
                }
            }
            Event::Writable(token) => {
                if let Some(connection) = self.connections.get_mut(token)
                    && connection.is_write_blocked
                {
                    connection.is_write_blocked = false;
                    self.queue(token);
                }
            }
            Event::Mail => self.read_mail(),
            Event::Filled(token, result) => self.filled(token, result),
        }
    }

    fn queue(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token)
            && !connection.is_queued
        {
            connection.is_queued = true;
            self.ready.push_back(token);
        }
    }

    fn read_mail(&mut self) {
        for mail in self.mailbox.take() {
            match mail {
                Mail::Done(token, done) => self.completed(token, done),
                Mail::Lost(token) => self.close(token, "a job of it panicked"),
                Mail::Read(token, read) => self.cold_read_ended(token, read),
                Mail::Adopt(socket, peer, listener) => {
                    let kind = SocketKind::of(&socket);
                    self.adopt(socket, peer, listener, kind);
                }
                Mail::Word(token, word) => self.tell(token, word),
                Mail::Drain => self.begin_drain(),
            }
        }
    }

    fn completed(&mut self, token: Token, done: Done<S>) {
        let Some(mut connection) = self.connections.lend(token) else {
            return;
        };
        connection.under_way -= 1;
        connection.active_at = self.now;
        let was_paused = connection.wants == Wants::Job;
        let demand = connection.core.completed(done, &mut self.output);
        if connection.wants == Wants::Input || was_paused {
            connection.obey(demand);
        }
        if was_paused && connection.wants == Wants::Input {
            connection.has_seen_all = false;
        }
        self.stage(token, &mut connection);
        self.connections.restore(token, connection);
        self.queue(token);
    }

    /// Hands a word from outside to a connection that can still answer.
    fn tell(&mut self, token: Token, word: Done<S>) {
        let Some(mut connection) = self.connections.lend(token) else {
            return;
        };
        if !matches!(connection.wants, Wants::Close | Wants::HandOff) {
            connection.core.told(word, &mut self.output);
            self.stage(token, &mut connection);
        }
        self.connections.restore(token, connection);
        self.queue(token);
    }

    fn turn(&mut self, token: Token) {
        let Some(mut connection) = self.connections.lend(token) else {
            return;
        };
        connection.is_queued = false;
        let fate = self.drive(token, &mut connection);
        self.charge(&mut connection);
        self.connections.restore(token, connection);
        match fate {
            Fate::Wait => {}
            Fate::Again => self.queue(token),
            Fate::Close(why) => self.close(token, why),
            Fate::HandOff => self.hand_off(token),
        }
    }

    /// Goes on with one connection as far as it gets.
    fn drive(&mut self, token: Token, connection: &mut Held<S>) -> Fate {
        let mut budget = TURN_BYTES;
        loop {
            if let Some(fate) = self.send(token, connection, &mut budget) {
                return fate;
            }
            if connection.linger.is_some() {
                return self.linger(connection);
            }
            let is_done = connection.outbox.is_empty() && connection.under_way == 0;
            match connection.wants {
                Wants::Close if is_done => {
                    if connection.kind == SocketKind::KernelTls {
                        // A full socket is that of a peer that does not read; it sees a cut.
                        let _ = towline_sys::kernel_tls::close_notify(&connection.fd);
                    }
                    if rustix::net::shutdown(&connection.fd, rustix::net::Shutdown::Write).is_err()
                    {
                        return Fate::Close("asked to");
                    }
                    connection.linger = Some(LINGER_BYTES_MAX);
                    connection.watched_since = self.now;
                    continue;
                }
                Wants::HandOff if is_done => return Fate::HandOff,
                Wants::Input => {}
                Wants::Close | Wants::HandOff | Wants::Job => return Fate::Wait,
            }
            match self.receive(token, connection, &mut budget) {
                receiving::Received::Some => {}
                receiving::Received::Nothing => return Fate::Wait,
                receiving::Received::Spent => return Fate::Again,
                receiving::Received::Failed(why) => return Fate::Close(why),
            }
        }
    }

    /// Sends what can be sent; a fate if the turn ends with that.
    fn send(&mut self, token: Token, connection: &mut Held<S>, budget: &mut usize) -> Option<Fate> {
        if connection.outbox.is_empty() || connection.is_write_blocked {
            return None;
        }
        let mut moved = crate::outbox::Moved::default();
        let (fd, pipes) = (connection.fd.as_fd(), &mut self.pipes);
        let result = connection
            .outbox
            .flush(fd, connection.kind, budget, pipes, &mut moved);
        self.metrics.sent(&moved);
        let total = moved.copied + moved.by_sendfile + moved.by_splice;
        connection.moved += total;
        if total > 0 {
            connection.active_at = self.now;
            self.serve_pipe_waiters();
        }
        match result {
            Ok(Flushed::All | Flushed::Filling) => None,
            Ok(Flushed::Spent) => Some(Fate::Again),
            Ok(Flushed::Cold) => {
                self.fill_front(token, connection);
                None
            }
            Ok(Flushed::Absent) => {
                self.await_front(token, connection);
                None
            }
            Ok(Flushed::Blocked) => {
                connection.is_write_blocked = true;
                self.lend_pipes(token, connection);
                self.serve_pipe_waiters();
                match self.engine.want_write(connection.fd.as_fd(), token) {
                    Ok(()) => None,
                    Err(_) => Some(Fate::Close("the engine is full")),
                }
            }
            Err(SendFault::Socket) => Some(Fate::Close("the peer is gone")),
            Err(SendFault::Span(fault)) => {
                self.report_span_fault(connection, fault);
                Some(Fate::Close("the file failed while it was sent"))
            }
        }
    }

    fn report_span_fault(&self, connection: &Held<S>, fault: SpanFault) {
        self.metrics.span_faults.add(1);
        let peer = connection.peer.address;
        tracing::warn!(%peer, error = %fault, "a reply was cut short, so its connection is closed");
    }

    /// Throws away what a peer still sends, so that closing does not reset our last reply.
    fn linger(&mut self, connection: &mut Held<S>) -> Fate {
        let Some(left) = &mut connection.linger else {
            return Fate::Wait;
        };
        loop {
            match rustix::net::recv(&connection.fd, &mut self.scratch, DONTWAIT) {
                Ok((_, 0)) => return Fate::Close("done"),
                Ok((_, count)) if count > *left => return Fate::Close("done"),
                Ok((_, count)) => *left -= count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Fate::Wait,
                Err(_) => return Fate::Close("done"),
            }
        }
    }

    fn close(&mut self, token: Token, why: &'static str) {
        let Some(mut connection) = self.connections.remove(token) else {
            return;
        };
        tracing::debug!(peer = %connection.peer.address, error = why, "connection closed");
        self.engine.forget(connection.fd.as_fd());
        connection.outbox.clear(&mut self.pipes);
        self.gone(&connection);
        self.serve_pipe_waiters();
    }

    fn gone(&mut self, connection: &Held<S>) {
        self.charged -= connection.charged;
        self.metrics.receive_bytes_held.set(self.charged as u64);
        self.admission.leave(connection.peer.address.ip());
        self.metrics.connections_open.sub(1);
    }

    fn hand_off(&mut self, token: Token) {
        let Some(connection) = self.connections.remove(token) else {
            return;
        };
        self.engine.forget(connection.fd.as_fd());
        self.gone(&connection);
        let Connection {
            fd, peer, input, ..
        } = *connection;
        self.service.hand_off(HandOff {
            stream: fd,
            peer,
            unread: input,
        });
    }
}

const DONTWAIT: rustix::net::RecvFlags = rustix::net::RecvFlags::DONTWAIT;
