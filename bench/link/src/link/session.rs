//! The data of one test: its streams, threads, clock and counters, alike for both ends.
//!
//! Life: made with connected streams, [`Session::start`] at TEST_START, [`Session::run`] at
//! TEST_RUNNING, [`Session::tick`] until the end, [`Session::stop`], [`Session::close`]. Invariant:
//! what is omitted is in no total; every thread has ended when `close` returns.

mod account;
mod shared;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use towline_base::clock;

use super::budget::Budget;
use super::control::Deadline;
use super::error::LinkError;
use super::flow::{Flow, Socket};
use super::host::{Look, ProcessUse};
use super::run::Interval;
use super::tcp::{self, Source};
use super::udp;
use super::wake::Wake;
use crate::iperf3::Parameters;
use crate::result::CoreUse;

pub use account::Ended;
use account::{Mark, growth, thread_view};
use shared::{DRAINING, OVER, RUNNING, WAITING};
pub use shared::{Receive, Shared};

/// Stack of a stream's thread in bytes: its loops keep their buffers on the heap.
const STACK_BYTES: usize = 256 << 10;

/// Longest wait for bytes that were sent before the end of a test of a given amount.
const SETTLE_MAX: Duration = Duration::from_millis(300);
/// No byte in such a time means that all have come.
const SETTLE_STEP: Duration = Duration::from_millis(20);

/// Most intervals kept, as a count: a day of seconds.
const INTERVALS_MAX: usize = 90_000;

/// How this end moves data.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Bits per second of each sender, 0: no limit.
    pub rate: u64,
    /// Bits per second that each receiver takes, 0: no limit.
    pub receive_rate: u64,
    /// What receivers do.
    pub receive: Receive,
    /// Where senders take bytes from.
    pub source: Source,
    /// Whether this end decides the end (the client).
    pub decides: bool,
    /// Time between samples; zero: one sample, of the whole.
    pub interval: Duration,
}

/// The data of one test.
#[derive(Debug)]
pub struct Session {
    parameters: Parameters,
    manner: Manner,
    flows: Vec<Arc<Flow>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    begun: Instant,
    counting: bool,
    interval_begun: Instant,
    base: Vec<Mark>,
    last: Vec<Mark>,
    intervals: Vec<Interval>,
    base_look: Look,
    last_look: Look,
    ended: Option<(f64, ProcessUse, Vec<CoreUse>)>,
}

impl Session {
    /// A test over these streams, in the order of their creation.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn new(
        parameters: &Parameters,
        manner: Manner,
        flows: Vec<Flow>,
    ) -> Result<Self, LinkError> {
        let wake = Wake::new().map_err(|error| LinkError::system("eventfd", error))?;
        let block_goal = parameters.blocks.saturating_mul(u64::from(parameters.len));
        let amount = parameters.bytes.max(block_goal);
        // Only the client ends a test; a server's sender goes on until it is told to stop.
        let (bytes, blocks, goal) = match manner.decides {
            true => (parameters.bytes, parameters.blocks, amount),
            false => (0, 0, 0),
        };
        let shared = Arc::new(Shared {
            phase: AtomicU8::new(WAITING),
            budget: Budget::new(bytes, blocks),
            rate: manner.rate,
            burst: parameters.burst,
            receive_rate: manner.receive_rate,
            receive: manner.receive,
            wake,
            // The client knows when it has all; what comes after that is not asked for.
            counts_late: amount > 0 && !manner.decides,
            goal,
            goal_open: AtomicBool::new(false),
            received: AtomicU64::new(0),
        });
        let look = Look::now();
        Ok(Self {
            parameters: parameters.clone(),
            manner,
            flows: flows.into_iter().map(Arc::new).collect(),
            shared,
            threads: Vec::new(),
            begun: clock::now(),
            counting: false,
            interval_begun: clock::now(),
            base: Vec::new(),
            last: Vec::new(),
            intervals: Vec::new(),
            base_look: look.clone(),
            last_look: look,
            ended: None,
        })
    }

    /// Zeroes counters and starts the clock.
    pub fn start(&mut self) {
        self.begun = clock::now();
        self.restart();
        if self.parameters.omit_s == 0 {
            self.begin_counting();
        }
    }

    /// Lets the threads go.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn run(&mut self) -> Result<(), LinkError> {
        self.shared.phase.store(RUNNING, Ordering::Relaxed);
        for flow in &self.flows {
            let (flow, shared) = (flow.clone(), self.shared.clone());
            let block = self.parameters.len as usize;
            let wide = self.parameters.counters_64bit;
            let source = self.manner.source.clone();
            let work = move || {
                match (&flow.socket, flow.sends) {
                    (Socket::Tcp(_), true) => {
                        tcp::send_loop(&flow, &shared, &source, block);
                    }
                    (Socket::Tcp(_), false) => tcp::receive_loop(&flow, &shared, block),
                    (Socket::Udp(_), true) => {
                        let payload = match &source {
                            Source::Memory(bytes) | Source::Uring(bytes) => {
                                bytes.get(..block).unwrap_or(&[]).to_vec()
                            }
                            Source::File(..) => vec![0; block],
                        };
                        udp::send_loop(&flow, &shared, &payload, wide);
                    }
                    (Socket::Udp(_), false) => udp::receive_loop(&flow, &shared, wide),
                }
                flow.note_schedule();
            };
            let thread = std::thread::Builder::new()
                .name("bench-stream".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(work)
                .map_err(|error| LinkError::system("a thread for a stream", error))?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// What to wait for beside the control connection.
    #[must_use]
    pub fn wake(&self) -> &Wake {
        &self.shared.wake
    }

    /// Send and receive buffers of the first stream in bytes.
    #[must_use]
    pub fn buffers(&self) -> (usize, usize) {
        let Some(flow) = self.flows.first() else {
            return (0, 0);
        };
        let sockopt = |result: Result<usize, _>| result.unwrap_or(0);
        (
            sockopt(rustix::net::sockopt::socket_send_buffer_size(&flow.socket)),
            sockopt(rustix::net::sockopt::socket_recv_buffer_size(&flow.socket)),
        )
    }

    /// The streams.
    #[must_use]
    pub fn flows(&self) -> &[Arc<Flow>] {
        &self.flows
    }

    /// Time until [`Session::tick`] or [`Session::is_done`] has something new to say.
    #[must_use]
    pub fn next_event(&self) -> Duration {
        let interval = match self.manner.interval.is_zero() {
            true => Duration::MAX,
            false => self
                .manner
                .interval
                .saturating_sub(self.interval_begun.elapsed()),
        };
        let elapsed = self.begun.elapsed();
        let phase_end = match self.counting {
            false => Duration::from_secs(self.parameters.omit_s.into()),
            true if self.parameters.time_s > 0 => self.length(),
            true => return interval,
        };
        interval.min(phase_end.saturating_sub(elapsed))
    }

    fn length(&self) -> Duration {
        let seconds = u64::from(self.parameters.omit_s) + u64::from(self.parameters.time_s);
        Duration::from_secs(seconds)
    }

    /// Ends the omitted time and intervals that are due. A finished interval comes back.
    pub fn tick(&mut self) -> Option<Interval> {
        let omit = Duration::from_secs(self.parameters.omit_s.into());
        if !self.counting && self.begun.elapsed() >= omit {
            let last = self.end_last_interval();
            self.begin_counting();
            return last;
        }
        let is_due = !self.manner.interval.is_zero()
            && self.interval_begun.elapsed() >= self.manner.interval;
        // The last interval of a test is ended by its stop.
        let at_end = self.counting && self.parameters.time_s > 0 && self.is_done();
        (is_due && !at_end).then(|| self.end_interval())
    }

    /// Whether the client's end condition holds.
    #[must_use]
    pub fn is_done(&self) -> bool {
        if !self.counting {
            return false;
        }
        let time_up = self.parameters.time_s > 0 && self.begun.elapsed() >= self.length();
        let senders = || self.flows.iter().filter(|flow| flow.sends);
        let moved = |counter: fn(&Flow) -> &AtomicU64| {
            let now = senders().map(|flow| counter(flow).load(Ordering::Relaxed));
            now.sum::<u64>()
        };
        let marked = |counter: fn(&Mark) -> u64| {
            let marks = self.flows.iter().zip(&self.base);
            let base = marks.filter(|(flow, _)| flow.sends);
            base.map(|(_, mark)| counter(mark)).sum::<u64>()
        };
        let bytes = moved(|flow| &flow.bytes) - marked(|mark| mark.bytes);
        let blocks = moved(|flow| &flow.blocks) - marked(|mark| mark.blocks);
        let Parameters {
            bytes: bytes_max,
            blocks: blocks_max,
            ..
        } = self.parameters;
        time_up
            || (bytes_max > 0 && bytes >= bytes_max)
            || (blocks_max > 0 && blocks >= blocks_max)
            || self.shared.goal_reached()
    }

    /// Whether everything that was sent has been acknowledged; datagrams count as if they were.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        let senders = self.flows.iter().filter(|flow| flow.sends);
        let mut connections = senders.filter_map(|flow| match &flow.socket {
            Socket::Tcp(socket) => Some(socket),
            Socket::Udp(_) => None,
        });
        connections.all(|socket| {
            let unsent = towline_sys::sockets::unsent_bytes(socket.as_fd());
            // A connection that is gone delivers nothing more.
            unsent.is_ok_and(|bytes| bytes == 0) || unsent.is_err()
        })
    }

    /// Waits until what was sent before the end has been taken in, in a test of a given amount:
    /// its last bytes may come after the word that all were sent.
    pub fn settle(&self) {
        if self.parameters.bytes == 0 && self.parameters.blocks == 0 {
            return;
        }
        let deadline = Deadline::after(SETTLE_MAX);
        let mut before = None;
        while !deadline.has_passed() && before != Some(self.bytes()) {
            before = Some(self.bytes());
            std::thread::sleep(SETTLE_STEP);
        }
    }

    /// Whether every stream's thread has ended by itself: the peer is gone.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        !self.threads.is_empty() && self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Bytes moved so far, to notice silence.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = self
            .flows
            .iter()
            .map(|flow| flow.bytes.load(Ordering::Relaxed));
        bytes.sum()
    }

    fn marks(&self) -> Vec<Mark> {
        let mark = |flow: &Arc<Flow>| Mark {
            bytes: flow.bytes.load(Ordering::Relaxed),
            blocks: flow.blocks.load(Ordering::Relaxed),
            reception: flow.reception(),
            tcp: flow.tcp_info(),
        };
        self.flows.iter().map(mark).collect()
    }

    fn restart(&mut self) {
        self.interval_begun = clock::now();
        self.last = self.marks();
        self.base = self.last.clone();
        self.last_look = Look::now();
        self.base_look = self.last_look.clone();
    }

    fn begin_counting(&mut self) {
        self.restart();
        self.counting = true;
        self.shared.budget.open();
        self.shared.goal_open.store(true, Ordering::Relaxed);
    }

    fn counted_since(&self) -> Instant {
        match self.counting {
            true => self.begun + Duration::from_secs(self.parameters.omit_s.into()),
            false => self.begun,
        }
    }

    /// Ends a part of an interval with its true length; nothing where it is short and empty, as the
    /// C program has it.
    fn end_last_interval(&mut self) -> Option<Interval> {
        let before: u64 = self.last.iter().map(|mark| mark.bytes).sum();
        let is_long = self.interval_begun.elapsed() > self.manner.interval / 10;
        (is_long || self.bytes() > before).then(|| self.end_interval())
    }

    fn end_interval(&mut self) -> Interval {
        let now = clock::now();
        let zero = self.counted_since();
        let marks = self.marks();
        let look = Look::now();
        let cores = look.cores_since(&self.last_look);
        let busiest = cores.iter().max_by(|a, b| a.busy.total_cmp(&b.busy));
        let streams = self.flows.iter().zip(self.last.iter().zip(&marks));
        let interval = Interval {
            start_s: self
                .interval_begun
                .saturating_duration_since(zero)
                .as_secs_f64(),
            end_s: now.saturating_duration_since(zero).as_secs_f64(),
            omitted: !self.counting,
            streams: streams
                .map(|(flow, (before, now))| growth(flow, before, now))
                .collect(),
            busiest_core: busiest.map(|core| (core.core, core.busy)),
        };
        if self.intervals.len() < INTERVALS_MAX {
            self.intervals.push(interval.clone());
        }
        self.last = marks;
        self.last_look = look;
        self.interval_begun = now;
        interval
    }

    /// The end: senders stop, receivers go on taking without counting. The clock stops here.
    /// The last interval comes back, unless it is short and empty.
    pub fn stop(&mut self) -> Option<Interval> {
        if self.ended.is_some() {
            return None;
        }
        self.shared.phase.store(DRAINING, Ordering::Relaxed);
        let seconds = self.counted_since().elapsed().as_secs_f64();
        let last = self.end_last_interval();
        let look = Look::now();
        let process = look.process_since(&self.base_look);
        let cores = look.cores_since(&self.base_look);
        self.ended = Some((seconds, process, cores));
        last
    }

    /// Shuts every stream down and waits for its thread.
    pub fn close(mut self) -> Ended {
        self.stop();
        let (seconds, process, cores) = self.ended.take().unwrap_or_default();
        let marks = self.marks();
        let first = self.flows.first();
        let congestion =
            first.and_then(|flow| rustix::net::sockopt::tcp_congestion(&flow.socket).ok());
        self.shared.phase.store(OVER, Ordering::Relaxed);
        for flow in &self.flows {
            flow.shut_down();
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has counted what it moved before.
            let _ = thread.join();
        }
        let streams = self.flows.iter().zip(self.base.iter().zip(&marks));
        let failure = self
            .flows
            .iter()
            .find_map(|flow| match flow.failure.lock() {
                Ok(mut failure) => failure.take(),
                Err(_) => None,
            });
        let ends = streams
            .clone()
            .map(|(flow, (base, last))| self.stream_end(flow, base, last, seconds))
            .collect();
        // From start to end, what is omitted included: a thread's times have no mark.
        let wall = self.begun.elapsed().as_secs_f64().max(1e-9);
        let threads = self
            .flows
            .iter()
            .map(|flow| thread_view(flow, wall))
            .collect();
        let views = streams
            .filter(|(flow, _)| flow.sends)
            .filter_map(|(flow, (base, last))| self.view(flow, base.tcp?, last.tcp?))
            .collect();
        Ended {
            seconds,
            process,
            cores,
            intervals: self.intervals,
            streams: ends,
            views,
            threads,
            congestion,
            failure,
        }
    }
}
