//! One client of the server, from its first byte to its last.
//!
//! Invariant: every phase has a deadline; the listening socket is served meanwhile; whatever ends
//! the test frees the slot at once, and the control connection is seen off by the desk.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use towline_base::clock;

use super::desk::{Desk, Visit};
use super::streams::{Streams, datagram_address};
use super::{Config, Event};
use crate::iperf3::server::{Action, error_frame};
use crate::iperf3::state::State;
use crate::iperf3::{Code, Cookie, Fault, Parameters, Results, Role, Server as Core};
use crate::link::client::Zerocopy;
use crate::link::control::{Arrival, Control, Deadline};
use crate::link::error::LinkError;
use crate::link::open;
use crate::link::run::{LinkRun, Side, SideView};
use crate::link::session::{Ended, Manner, Session};
use crate::link::summary;
use crate::link::surroundings::Surroundings;
use crate::link::text;
use crate::rr;

/// Longest wait for cookie and parameters: a client sends both at once.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// Longest wait for all streams.
const STREAMS_MAX: Duration = Duration::from_secs(30);
/// How much longer than announced a test may run, as the C program has it.
const OVERTIME_MAX: Duration = Duration::from_secs(40);
/// Longest time without data, as the C program has it.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Longest wait for the client's results, and for its last byte.
const RESULTS_MAX: Duration = Duration::from_secs(30);
/// Longest pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Between two looks whether a client of the responder has gone.
const ECHO_LOOK: Duration = Duration::from_millis(100);

/// What became of a client.
pub(super) enum Outcome {
    /// Data moved; the run may have ended early.
    Tested(Box<LinkRun>),
    /// It asked for echoes and has gone.
    Echoed,
    /// No data moved.
    Refused(Fault),
}

enum Stage {
    Greeting,
    Opening(Box<Streams>),
    Running(Box<Session>),
    /// Requests and replies on a thread of their own.
    Echoing(JoinHandle<()>, TcpStream),
    Closing,
}

/// One client.
pub(super) struct Attempt<'a> {
    config: &'a Config,
    control: Control,
    peer: SocketAddr,
    port: u16,
    core: Core,
    parameters: Parameters,
    stage: Stage,
    deadline: Deadline,
    silence: (u64, Deadline),
    started: Duration,
    surroundings: Surroundings,
    buffers: (usize, usize),
    ended: Option<(Ended, SideView)>,
    report: Option<Results>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        config: &'a Config,
        port: u16,
    ) -> io::Result<Self> {
        Ok(Self {
            config,
            control: Control::new(stream)?,
            peer,
            port,
            core: Core::new(config.allowance),
            parameters: Parameters::default(),
            stage: Stage::Greeting,
            deadline: Deadline::after(GREETING_MAX),
            silence: (0, Deadline::after(SILENCE_MAX)),
            started: Duration::ZERO,
            surroundings: Surroundings::default(),
            buffers: (0, 0),
            ended: None,
            report: None,
        })
    }

    /// Serves the client.
    pub(super) fn drive(
        mut self,
        desk: &mut Desk<'_>,
        stop: &AtomicBool,
        show: &mut impl FnMut(Event<'_>),
    ) -> Result<Outcome, LinkError> {
        let fault = self.turns(desk, stop, show)?;
        if let Some(fault) = &fault {
            self.say_why(fault, stop);
        }
        if let Stage::Echoing(thread, stream) = std::mem::replace(&mut self.stage, Stage::Closing) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            // It ends as soon as its socket does.
            let _ = thread.join();
            return Ok(Outcome::Echoed);
        }
        if let Stage::Running(session) = &mut self.stage
            && let Some(interval) = session.stop()
        {
            show(Event::Interval(&interval));
        }
        self.end_session();
        desk.let_go(self.control.into_stream());
        let Some((ended, view)) = self.ended else {
            return Ok(Outcome::Refused(fault.unwrap_or(Fault::GaveUp)));
        };
        let cookie = self.core.cookie().map(Cookie::text).unwrap_or_default();
        Ok(Outcome::Tested(Box::new(summary::run(
            summary::Frame {
                side: Side::Server,
                host: self.peer.ip().to_string(),
                port: self.port,
                parameters: self.parameters,
                cookie,
                started: self.started,
                buffers: self.buffers,
                zerocopy: Zerocopy::Off.name(),
            },
            ended,
            view,
            self.report,
            fault.map(|fault| fault.to_string()),
        ))))
    }

    fn say_why(&mut self, fault: &Fault, stop: &AtomicBool) {
        let bytes = match fault.code() {
            Some(code) => error_frame(code, 0),
            None if stop.load(Ordering::Relaxed) => vec![State::ServerTerminate.byte()],
            None => return,
        };
        // A client that is gone does not hear it.
        let _ = self.control.send(&bytes);
    }

    /// Turn by turn until the end; the fault that ended it, if one did.
    fn turns(
        &mut self,
        desk: &mut Desk<'_>,
        stop: &AtomicBool,
        show: &mut impl FnMut(Event<'_>),
    ) -> Result<Option<Fault>, LinkError> {
        loop {
            let core = &mut self.core;
            match self.control.feed(|unread| core.advance(unread)) {
                Ok(Some(Action::Over)) => return Ok(None),
                Ok(Some(action)) => {
                    if let Err(fault) = self.act(action, show) {
                        return Ok(Some(fault));
                    }
                    continue;
                }
                Ok(None) => {}
                Err(fault) => return Ok(Some(fault)),
            }
            if stop.load(Ordering::Relaxed) {
                let whose = Role::Server;
                return Ok(Some(Fault::Interrupted { whose }));
            }
            if let Some(fault) = self.overdue() {
                return Ok(fault);
            }
            self.wait(desk);
            self.receive_visits(desk, show)?;
            if let Stage::Echoing(thread, _) = &self.stage {
                if thread.is_finished() {
                    return Ok(None);
                }
                continue;
            }
            if let Err(fault) = self.progress(desk, show) {
                return Ok(Some(fault));
            }
            if self.control.read() == Arrival::End && self.control.inbox.is_empty() {
                return Ok(self.core.ended());
            }
        }
    }

    fn wait(&self, desk: &mut Desk<'_>) {
        let mut wanted = vec![PollFd::new(&self.control, PollFlags::IN)];
        let mut most = LOOK_EVERY.min(self.deadline.left());
        match &self.stage {
            Stage::Opening(streams) => wanted.extend(streams.wanted()),
            Stage::Running(session) => {
                wanted.push(PollFd::new(session.wake(), PollFlags::IN));
                most = most.min(session.next_event());
            }
            // Its thread reads the connection; its end is looked for.
            Stage::Echoing(..) => {
                desk.wait(&mut [], ECHO_LOOK);
                return;
            }
            Stage::Greeting | Stage::Closing => {}
        }
        desk.wait(&mut wanted, most.max(Duration::from_millis(1)));
    }

    /// The fault of a deadline that has passed; the inner `None` is a good end.
    fn overdue(&self) -> Option<Option<Fault>> {
        let silent = matches!(self.stage, Stage::Running(_)) && self.silence.1.has_passed();
        if silent {
            let code = Code::NO_DATA;
            return Some(Some(Fault::Refused { code }));
        }
        if !self.deadline.has_passed() {
            return None;
        }
        let fault = self.core.ended();
        Some(fault.map(|fault| match self.stage {
            Stage::Running(_) => Fault::Refused {
                code: Code::SERVER_EXPIRED,
            },
            Stage::Greeting | Stage::Opening(_) | Stage::Echoing(..) | Stage::Closing => fault,
        }))
    }

    fn receive_visits(
        &mut self,
        desk: &mut Desk<'_>,
        show: &mut impl FnMut(Event<'_>),
    ) -> Result<(), LinkError> {
        for visit in desk.accept()? {
            match (visit, &mut self.stage) {
                (Visit::Guest(stream, _), Stage::Opening(streams)) => streams.arrive(stream, desk),
                (Visit::Guest(stream, peer), _) => {
                    desk.counters.busy.fetch_add(1, Ordering::Relaxed);
                    desk.turn_away(stream);
                    let not_allowed = false;
                    show(Event::TurnedAway { peer, not_allowed });
                }
                (Visit::NotAllowed(peer), _) => {
                    let not_allowed = true;
                    show(Event::TurnedAway { peer, not_allowed });
                }
            }
        }
        Ok(())
    }

    /// What came besides the control connection.
    fn progress(
        &mut self,
        desk: &mut Desk<'_>,
        show: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        match &mut self.stage {
            Stage::Opening(streams) => {
                streams.progress(desk).map_err(stream_fault)?;
                if streams.is_complete() {
                    self.start(desk, show)?;
                }
            }
            Stage::Running(session) => {
                session.wake().clear();
                if let Some(interval) = session.tick() {
                    show(Event::Interval(&interval));
                }
                let bytes = session.bytes();
                if bytes != self.silence.0 {
                    self.silence = (bytes, Deadline::after(SILENCE_MAX));
                }
            }
            Stage::Greeting | Stage::Echoing(..) | Stage::Closing => {}
        }
        Ok(())
    }

    fn start(
        &mut self,
        desk: &mut Desk<'_>,
        show: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        let Stage::Opening(streams) = std::mem::replace(&mut self.stage, Stage::Closing) else {
            return Ok(());
        };
        let flows = streams.finish(desk).map_err(stream_fault)?;
        let allowance = self.config.allowance;
        let count = self.parameters.streams().max(1) as u64;
        let manner = Manner {
            rate: allowance.rate_per_stream(&self.parameters),
            receive_rate: allowance.rate_max.div_ceil(count),
            receive: self.config.receive,
            source: open::source(self.zerocopy(), &self.parameters).map_err(stream_fault)?,
            decides: false,
            interval: self.config.interval,
        };
        let mut session = Session::new(&self.parameters, manner, flows).map_err(stream_fault)?;
        show(Event::Started {
            peer: self.peer,
            parameters: &self.parameters,
        });
        self.started = clock::since_epoch();
        self.surroundings = Surroundings::begin(self.peer.ip());
        let word = self.core.start();
        self.send(&word)?;
        session.start();
        session.run().map_err(stream_fault)?;
        self.stage = Stage::Running(Box::new(session));
        self.silence = (0, Deadline::after(SILENCE_MAX));
        let announced = match self.parameters.time_s {
            0 => allowance.time_s_max,
            time => time.saturating_add(self.parameters.omit_s),
        };
        self.deadline = Deadline::after(Duration::from_secs(announced.into()) + OVERTIME_MAX);
        Ok(())
    }

    /// A client that avoids copies wants the same from the sender here.
    fn zerocopy(&self) -> Zerocopy {
        match self.parameters.zerocopy {
            true => Zerocopy::Sendfile,
            false => Zerocopy::Off,
        }
    }

    fn act(&mut self, action: Action, show: &mut impl FnMut(Event<'_>)) -> Result<(), Fault> {
        match action {
            Action::Send(bytes) => self.send(&bytes),
            Action::Prepare(parameters) => {
                self.parameters = *parameters;
                let cookie = self.core.cookie().copied().ok_or(Fault::GaveUp)?;
                let local = datagram_address(self.config.listen, self.port);
                let peer = self.peer.ip();
                let streams = Streams::new(&self.parameters, cookie, peer, local);
                self.stage = Stage::Opening(Box::new(streams.map_err(stream_fault)?));
                self.deadline = Deadline::after(STREAMS_MAX);
                let word = self.core.create_streams();
                self.send(&word)
            }
            Action::Finish => {
                if let Stage::Running(session) = &mut self.stage {
                    session.settle();
                    if let Some(interval) = session.stop() {
                        show(Event::Interval(&interval));
                    }
                }
                self.end_session();
                self.deadline = Deadline::after(RESULTS_MAX);
                let word = self.core.exchange();
                self.send(&word)
            }
            Action::Report(report) => {
                self.report = Some(*report);
                let Some((ended, view)) = &self.ended else {
                    return Err(Fault::GaveUp);
                };
                let mut results = summary::results(ended, view);
                if self.parameters.get_server_output {
                    results.server_output = Some(text::account(ended).into());
                }
                let bytes = self.core.results(&results);
                self.send(&bytes)
            }
            Action::Echo => self.echo(show),
            Action::Over => Ok(()),
        }
    }

    /// Hands the connection to a thread, for an answer must not wait for this loop.
    fn echo(&mut self, show: &mut impl FnMut(Event<'_>)) -> Result<(), Fault> {
        let gone = |error: io::Error| stream_fault(LinkError::system("a responder", error));
        let stream = self.control.stream().try_clone().map_err(gone)?;
        let mut own = stream.try_clone().map_err(gone)?;
        let work = move || {
            // A client that breaks off has its own message; there is nobody here to tell.
            let _ = rr::answer(&mut own);
            let _ = own.shutdown(std::net::Shutdown::Both);
        };
        let thread = std::thread::Builder::new().name("bench-echo".to_owned());
        let thread = thread.spawn(work).map_err(gone)?;
        self.stage = Stage::Echoing(thread, stream);
        let longest = Duration::from_secs(self.config.allowance.time_s_max.into());
        self.deadline = Deadline::after(longest);
        show(Event::Echoing { peer: self.peer });
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let gone = Fault::Ended {
            phase: "telling the client what is next",
        };
        self.control.send(bytes).map_err(|_| gone)
    }

    fn end_session(&mut self) {
        let Stage::Running(session) = std::mem::replace(&mut self.stage, Stage::Closing) else {
            return;
        };
        self.buffers = session.buffers();
        let ended = session.close();
        let view = summary::view(&ended, self.config.receive, &mut self.surroundings);
        self.ended = Some((ended, view));
    }
}

/// What the client hears when this host cannot open its streams.
fn stream_fault(error: LinkError) -> Fault {
    tracing::warn!(error = %error, "a bench stream could not be opened");
    let code = Code::CREATE_STREAM;
    Fault::Refused { code }
}
