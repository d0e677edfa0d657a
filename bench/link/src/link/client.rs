//! The client: asks a server for one test and drives it to its end.
//!
//! Invariant: one thread owns the control connection, the clock and the session; a stop (Ctrl-C)
//! is told to the server before this end closes. A server that is busy or between two tests is
//! asked again for two seconds. Every wait has a limit.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use towline_base::clock;

use super::control::{Arrival, Control, Deadline, wait};
use super::error::LinkError;
use super::flow::Flow;
use super::run::{Interval, LinkRun, Side, SideView};
use super::session::{Ended, Manner, Receive, Session};
use super::summary;
use super::surroundings::Surroundings;
use super::way::{CONNECT_MAX, NoConnection, Way, dial};
use super::{open, probe};
use crate::iperf3::client::Action;
use crate::iperf3::{Client, Cookie, Fault, Parameters, Results, Role};
use crate::result::Latency;

/// How long a busy server, or one between two tests, is asked again.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Between two such attempts.
const RETRY_EVERY: Duration = Duration::from_millis(50);
/// Longest wait for the server's next word while no data moves.
const WORD_MAX: Duration = Duration::from_secs(30);
/// Between two looks whether the last bytes of a given amount were acknowledged.
const DELIVERY_STEP: Duration = Duration::from_millis(1);
/// Longest pause between two looks while data moves.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How senders get their bytes out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Zerocopy {
    /// The kernel copies from memory.
    #[default]
    Off,
    /// `sendfile` from a file in memory.
    Sendfile,
    /// io_uring's SEND_ZC from memory.
    SendZc,
}

impl Zerocopy {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "copy",
            Self::Sendfile => "sendfile",
            Self::SendZc => "send-zc",
        }
    }
}

/// What a user asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The test.
    pub parameters: Parameters,
    /// How senders get their bytes out.
    pub zerocopy: Zerocopy,
    /// What receivers do.
    pub receive: Receive,
    /// Time between samples; zero: one sample, of the whole test.
    pub interval: Duration,
    /// The way that its sockets take.
    pub way: Way,
    /// Whether round trips are measured beside the test.
    pub probe: bool,
}

/// What the user is shown meanwhile.
#[derive(Debug)]
pub enum Event<'a> {
    /// All streams stand.
    Connected(&'a LinkRun),
    /// An interval has ended.
    Interval(&'a Interval),
}

/// Runs one test. `stop` ends it early; then and after a fault of the peer the run that comes back
/// says so.
///
/// # Errors
/// [`LinkError`] when no test could be made at all.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    mut show: impl FnMut(Event<'_>),
) -> Result<LinkRun, LinkError> {
    let addresses = options.way.resolve(&options.host, options.port)?;
    let idle = match addresses.first() {
        Some(first) if options.probe => probe::idle(first.ip(), &options.way),
        Some(_) | None => None,
    };
    let retry_max = options.way.connect_max.unwrap_or(RETRY_MAX);
    let deadline = Deadline::after(retry_max.min(RETRY_MAX));
    loop {
        let attempt =
            Attempt::begin(options, &addresses, stop).and_then(|attempt| attempt.drive(&mut show));
        match attempt {
            Err(error) if is_passing(&error) && !deadline.has_passed() => {
                if stop.load(Ordering::Relaxed) {
                    return Err(LinkError::interrupted(&options.host));
                }
                std::thread::sleep(RETRY_EVERY);
            }
            other => {
                return other.map(|run| LinkRun {
                    rtt_idle: idle,
                    ..run
                });
            }
        }
    }
}

/// Whether a moment later it may work: the C program closes its port between two tests.
fn is_passing(error: &LinkError) -> bool {
    match error {
        LinkError::Protocol { fault, .. } => *fault == Fault::Busy,
        LinkError::Unreachable { error, .. } => matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
        ),
        LinkError::Usage(_) | LinkError::Silent { .. } | LinkError::System { .. } => false,
    }
}

struct Attempt<'a> {
    options: &'a Options,
    stop: &'a AtomicBool,
    control: Control,
    address: SocketAddr,
    cookie: Cookie,
    core: Client,
    session: Option<Session>,
    started: Duration,
    surroundings: Surroundings,
    buffers: (usize, usize),
    delivery: Option<Deadline>,
    loaded: Option<probe::Loaded>,
    rtt_loaded: Option<Latency>,
    ended: Option<(Ended, SideView)>,
}

impl<'a> Attempt<'a> {
    fn begin(
        options: &'a Options,
        addresses: &[SocketAddr],
        stop: &'a AtomicBool,
    ) -> Result<Self, LinkError> {
        let unreachable = |error| LinkError::Unreachable {
            host: options.host.clone(),
            port: options.port,
            error,
        };
        let most = options.way.connect_max.unwrap_or(CONNECT_MAX);
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            let stream = match dial(&options.way, (*address, 0), most, stop, |_| Ok(())) {
                Ok(stream) => stream,
                Err(NoConnection::Refused(error)) => {
                    last = error;
                    continue;
                }
                Err(NoConnection::Stopped) => return Err(LinkError::interrupted(&options.host)),
                Err(NoConnection::Own(error)) => return Err(error),
            };
            let mut random = [0; 36];
            towline_base::rand::fill(&mut random)
                .map_err(|error| LinkError::system("randomness", error))?;
            let cookie = Cookie::from_random(random);
            let (core, hello) = Client::new(options.parameters.clone(), &cookie);
            let mut control = Control::new(stream).map_err(unreachable)?;
            // A server that is busy may be gone already; its word is read below.
            let _ = control.send(&hello);
            return Ok(Self {
                options,
                stop,
                control,
                address: *address,
                cookie,
                core,
                session: None,
                started: Duration::ZERO,
                surroundings: Surroundings::default(),
                buffers: (0, 0),
                delivery: None,
                loaded: None,
                rtt_loaded: None,
                ended: None,
            });
        }
        Err(unreachable(last))
    }

    fn protocol(&self, fault: Fault) -> LinkError {
        LinkError::Protocol {
            peer: self.options.host.clone(),
            fault,
        }
    }

    /// From the first state to the results, or to the fault that ended it.
    fn drive(mut self, show: &mut impl FnMut(Event<'_>)) -> Result<LinkRun, LinkError> {
        let mut word = Deadline::after(WORD_MAX);
        let outcome = loop {
            if self.stop.load(Ordering::Relaxed) {
                self.say_farewell(true);
                let whose = Role::Client;
                break Err(Fault::Interrupted { whose });
            }
            let advanced = {
                let core = &mut self.core;
                self.control.feed(|unread| core.advance(unread))
            };
            match advanced {
                Ok(Some(Action::Report(results))) => {
                    let last = self.core.done();
                    let _ = self.control.send(&last);
                    break Ok(results);
                }
                Ok(Some(action)) => {
                    word = Deadline::after(WORD_MAX);
                    if let Err(error) = self.act(action, show) {
                        self.say_farewell(self.stop.load(Ordering::Relaxed));
                        self.control.close();
                        return Err(error);
                    }
                    continue;
                }
                Ok(None) => {}
                Err(fault) => {
                    self.say_farewell(false);
                    break Err(fault);
                }
            }
            if self.core.is_running() {
                word = Deadline::after(WORD_MAX);
            } else if word.has_passed() {
                return Err(LinkError::Silent {
                    peer: self.options.host.clone(),
                    phase: "waiting for its next word",
                    seconds: WORD_MAX.as_secs(),
                });
            }
            self.look(show);
            if self.control.read() == Arrival::End && self.control.inbox.is_empty() {
                break Err(self.core.ended());
            }
        };
        if let Some(interval) = self.session.as_mut().and_then(Session::stop) {
            show(Event::Interval(&interval));
        }
        self.finish(outcome)
    }

    /// Tells the server that this end goes; one that is gone already does not hear it.
    fn say_farewell(&mut self, stopped: bool) {
        let farewell = self.core.give_up(stopped);
        let _ = self.control.send(&farewell);
    }

    /// Waits for the next event, takes samples, and ends the data when it is time.
    fn look(&mut self, show: &mut impl FnMut(Event<'_>)) {
        let session = match &mut self.session {
            Some(session) if self.core.is_running() => session,
            Some(_) | None => {
                wait(&mut [PollFd::new(&self.control, PollFlags::IN)], LOOK_EVERY);
                return;
            }
        };
        wait(
            &mut [
                PollFd::new(&self.control, PollFlags::IN),
                PollFd::new(session.wake(), PollFlags::IN),
            ],
            match &self.delivery {
                Some(_) => DELIVERY_STEP,
                None => session.next_event().min(LOOK_EVERY),
            },
        );
        session.wake().clear();
        if let Some(interval) = session.tick() {
            show(Event::Interval(&interval));
        }
        let is_done = session.is_done();
        let amount = self.options.parameters.time_s == 0;
        if is_done && amount && !session.is_delivered() {
            let delivery = self.delivery.get_or_insert(Deadline::after(WORD_MAX));
            if !delivery.has_passed() {
                return;
            }
        }
        if is_done || session.is_deserted() {
            if let Some(interval) = session.stop() {
                show(Event::Interval(&interval));
            }
            let end = self.core.end();
            // A server that is gone is noticed by the next read.
            let _ = self.control.send(&end);
        }
    }

    fn act(&mut self, action: Action, show: &mut impl FnMut(Event<'_>)) -> Result<(), LinkError> {
        match action {
            Action::Send(bytes) => self
                .control
                .send(&bytes)
                .map_err(|error| LinkError::system("the control connection", error)),
            Action::OpenStreams => {
                let flows = self.open_streams()?;
                let manner = self.manner()?;
                let session = Session::new(&self.options.parameters, manner, flows)?;
                show(Event::Connected(&summary::beginning(
                    self.frame_of(session.buffers()),
                    &session,
                )));
                self.session = Some(session);
                Ok(())
            }
            Action::Start => {
                self.started = clock::since_epoch();
                self.surroundings = Surroundings::begin(self.address.ip());
                if let Some(session) = &mut self.session {
                    session.start();
                }
                Ok(())
            }
            Action::Run => {
                if self.options.probe {
                    self.loaded = probe::Loaded::begin(self.address.ip(), &self.options.way);
                }
                match &mut self.session {
                    Some(session) => session.run(),
                    None => Ok(()),
                }
            }
            Action::Finish => {
                let own = self.end_session();
                let bytes = self.core.results(&own);
                self.control
                    .send(&bytes)
                    .map_err(|error| LinkError::system("sending the results", error))
            }
            Action::Report(_) => Ok(()),
        }
    }

    fn open_streams(&self) -> Result<Vec<Flow>, LinkError> {
        let parameters = &self.options.parameters;
        let opener = open::Opener {
            parameters,
            address: self.address,
            cookie: &self.cookie,
            host: &self.options.host,
            way: &self.options.way,
            stop: self.stop,
        };
        (0..parameters.streams())
            .map(|index| opener.open(index))
            .collect()
    }

    fn manner(&self) -> Result<Manner, LinkError> {
        Ok(Manner {
            rate: self.options.parameters.bandwidth,
            receive_rate: 0,
            receive: self.options.receive,
            source: open::source(self.options.zerocopy, &self.options.parameters)?,
            decides: true,
            interval: self.options.interval,
        })
    }

    fn frame_of(&self, buffers: (usize, usize)) -> summary::Frame {
        summary::Frame {
            side: Side::Client,
            host: self.options.host.clone(),
            port: self.options.port,
            parameters: self.options.parameters.clone(),
            cookie: self.cookie.text(),
            started: clock::since_epoch(),
            buffers,
            zerocopy: self.options.zerocopy.name(),
        }
    }

    /// Ends the threads; this end's account comes back.
    fn end_session(&mut self) -> Results {
        if let Some(loaded) = self.loaded.take() {
            self.rtt_loaded = loaded.end();
        }
        let Some(session) = self.session.take() else {
            return Results::default();
        };
        self.buffers = session.buffers();
        let ended = session.close();
        let view = summary::view(&ended, self.options.receive, &mut self.surroundings);
        let results = summary::results(&ended, &view);
        self.ended = Some((ended, view));
        results
    }

    fn finish(mut self, outcome: Result<Box<Results>, Fault>) -> Result<LinkRun, LinkError> {
        if self.session.is_some() {
            self.end_session();
        }
        let (peer, fault) = match outcome {
            Ok(results) => (Some(*results), None),
            Err(fault) => (None, Some(fault)),
        };
        let Some((ended, view)) = self.ended.take() else {
            // Nothing was measured: the fault is the outcome.
            let error = self.protocol(fault.unwrap_or(Fault::GaveUp));
            self.control.close();
            return Err(error);
        };
        let frame = summary::Frame {
            started: self.started,
            ..self.frame_of(self.buffers)
        };
        let mut run = summary::run(
            frame,
            ended,
            view,
            peer,
            fault.map(|fault| fault.to_string()),
        );
        run.rtt_loaded = self.rtt_loaded;
        self.control.close();
        Ok(run)
    }
}
