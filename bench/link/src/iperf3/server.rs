//! The server's side of a test: from the bytes of the control connection to actions.
//!
//! Invariant: parameters are judged against the protocol's limits and this server's [`Allowance`]
//! before the caller hears of them, so an [`Action::Prepare`] can be carried out. "I give up" and
//! the end of the connection are quiet ends in every phase. The caller accepts the streams and
//! numbers them in the order of their coming.

use super::code::Code;
use super::cookie::Cookie;
use super::fault::{Fault, Role};
use super::frame::{self, FrameReader, PARAMETERS_BYTES_MAX, RESULTS_BYTES_MAX};
use super::parameters::{Parameters, Transport};
use super::results::Results;
use super::state::State;

/// What this server lets a client do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Allowance {
    /// Longest test in seconds, what is omitted included.
    pub time_s_max: u32,
    /// Highest rate of all streams together in bits per second, 0: no limit.
    pub rate_max: u64,
    /// Most streams of one direction.
    pub streams_max: u32,
}

/// What the caller is to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send these bytes on the control connection.
    Send(Vec<u8>),
    /// Make ready for these streams, send [`Server::create_streams`], accept them, and send
    /// [`Server::start`] when all are there.
    Prepare(Box<Parameters>),
    /// The client ends the data: stop, close the streams, send [`Server::exchange`].
    Finish,
    /// The client's account: send [`Server::results`].
    Report(Box<Results>),
    /// The client has what it wanted: close.
    Over,
    /// The cookie is that of [`crate::rr`]: the connection is no longer iperf3's.
    Echo,
}

#[derive(Debug)]
enum Phase {
    Cookie(Vec<u8>),
    Parameters(FrameReader),
    Preparing,
    Streams,
    Running,
    Finishing,
    Results(FrameReader),
    Reporting,
    Display,
    Over,
}

/// The server's side of one test.
#[derive(Debug)]
pub struct Server {
    allowance: Allowance,
    cookie: Option<Cookie>,
    phase: Phase,
}

impl Server {
    /// A server that waits for a client's cookie.
    #[must_use]
    pub fn new(allowance: Allowance) -> Self {
        Self {
            allowance,
            cookie: None,
            phase: Phase::Cookie(Vec::new()),
        }
    }

    /// The cookie of this test, once it has come.
    #[must_use]
    pub fn cookie(&self) -> Option<&Cookie> {
        self.cookie.as_ref()
    }

    /// Takes bytes off the front of `input`; `None`: more are needed.
    ///
    /// # Errors
    /// [`Fault`]: the test is over; send [`error_frame`] if the fault has a code.
    pub fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Action>, Fault> {
        match &mut self.phase {
            Phase::Cookie(held) => {
                let missing = super::cookie::COOKIE_BYTES - held.len();
                let (taken, rest) = input.split_at(missing.min(input.len()));
                held.extend_from_slice(taken);
                *input = rest;
                let Some(cookie) = Cookie::take(&mut held.as_slice()) else {
                    return Ok(None);
                };
                self.cookie = Some(cookie);
                if crate::rr::is_hello(&cookie) {
                    self.phase = Phase::Over;
                    return Ok(Some(Action::Echo));
                }
                let reader = FrameReader::new("parameters", PARAMETERS_BYTES_MAX);
                self.phase = Phase::Parameters(reader);
                Ok(Some(Action::Send(vec![State::ParamExchange.byte()])))
            }
            Phase::Parameters(reader) => {
                let Some(value) = reader.advance(input)? else {
                    return Ok(None);
                };
                let parameters = Parameters::from_value(&value)?;
                self.allowance.judge(&parameters)?;
                self.phase = Phase::Preparing;
                Ok(Some(Action::Prepare(Box::new(parameters))))
            }
            Phase::Results(reader) => {
                let Some(value) = reader.advance(input)? else {
                    return Ok(None);
                };
                self.phase = Phase::Reporting;
                let results = Results::from_value(&value)?;
                Ok(Some(Action::Report(Box::new(results))))
            }
            Phase::Preparing
            | Phase::Streams
            | Phase::Running
            | Phase::Finishing
            | Phase::Reporting
            | Phase::Display
            | Phase::Over => self.state(input),
        }
    }

    fn state(&mut self, input: &mut &[u8]) -> Result<Option<Action>, Fault> {
        loop {
            let Some((byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            let phase = self.doing();
            let state = State::from_byte(*byte).ok_or(Fault::Unknown { byte: *byte, phase })?;
            *input = rest;
            match (&self.phase, state) {
                (Phase::Display, State::IperfDone) => {
                    self.phase = Phase::Over;
                    return Ok(Some(Action::Over));
                }
                (_, State::IperfDone) => return Err(Fault::GaveUp),
                (_, State::ClientTerminate) => {
                    let whose = Role::Client;
                    return Err(Fault::Terminated { whose });
                }
                (Phase::Running, State::TestEnd) => {
                    self.phase = Phase::Finishing;
                    return Ok(Some(Action::Finish));
                }
                // The C program's server takes these without acting on them.
                (Phase::Running | Phase::Streams, State::TestStart)
                | (Phase::Finishing, State::TestEnd) => {}
                _ => return Err(Fault::Unexpected { state, phase }),
            }
        }
    }

    /// Asks the client for its streams.
    pub fn create_streams(&mut self) -> Vec<u8> {
        self.phase = Phase::Streams;
        vec![State::CreateStreams.byte()]
    }

    /// All streams are there.
    pub fn start(&mut self) -> Vec<u8> {
        self.phase = Phase::Running;
        vec![State::TestStart.byte(), State::TestRunning.byte()]
    }

    /// The data has ended: asks for the client's account.
    pub fn exchange(&mut self) -> Vec<u8> {
        self.phase = Phase::Results(FrameReader::new("results", RESULTS_BYTES_MAX));
        vec![State::ExchangeResults.byte()]
    }

    /// This end's account.
    pub fn results(&mut self, own: &Results) -> Vec<u8> {
        self.phase = Phase::Display;
        let mut bytes = frame::encode(&own.to_value());
        bytes.push(State::DisplayResults.byte());
        bytes
    }

    /// The fault of a control connection that ended now; `None` where that is a good end.
    #[must_use]
    pub fn ended(&self) -> Option<Fault> {
        match self.phase {
            Phase::Display | Phase::Over => None,
            _ => Some(Fault::Ended {
                phase: self.doing(),
            }),
        }
    }

    fn doing(&self) -> &'static str {
        match self.phase {
            Phase::Cookie(_) => "waiting for the cookie",
            Phase::Parameters(_) => "waiting for the parameters",
            Phase::Preparing | Phase::Streams => "waiting for the streams",
            Phase::Running => "running",
            Phase::Finishing | Phase::Results(_) => "waiting for the client's results",
            Phase::Reporting | Phase::Display | Phase::Over => "finishing",
        }
    }
}

impl Allowance {
    /// The bits per second of each sending stream within this allowance, 0: no limit.
    #[must_use]
    pub fn rate_per_stream(&self, parameters: &Parameters) -> u64 {
        let streams = u64::try_from(parameters.streams().max(1)).unwrap_or(u64::MAX);
        match (self.rate_max, parameters.bandwidth) {
            (0, asked) => asked,
            (cap, 0) => (cap / streams).max(1),
            (_, asked) => asked,
        }
    }

    fn judge(&self, parameters: &Parameters) -> Result<(), Fault> {
        let refuse = |code| Err(Fault::Refused { code });
        let time = parameters.time_s.saturating_add(parameters.omit_s);
        if time > self.time_s_max {
            return refuse(Code::SERVER_DURATION);
        }
        if parameters.parallel > self.streams_max {
            return refuse(Code::STREAMS);
        }
        let streams = u64::try_from(parameters.streams()).unwrap_or(u64::MAX);
        let asked = parameters.bandwidth.saturating_mul(streams);
        // A sender of datagrams cannot be slowed down by its receiver, so it must name its rate.
        let unbounded = parameters.bandwidth == 0 && parameters.transport == Transport::Udp;
        if self.rate_max != 0 && (asked > self.rate_max || unbounded) {
            return refuse(Code::TOTAL_RATE);
        }
        Ok(())
    }
}

/// The frame that tells a client why its test ends: state, code, and the system's error number.
#[must_use]
pub fn error_frame(code: Code, errno: i32) -> Vec<u8> {
    let mut bytes = vec![State::ServerError.byte()];
    bytes.extend(code.0.to_be_bytes());
    bytes.extend(errno.to_be_bytes());
    bytes
}

/// All that a client hears that comes at the wrong time or from the wrong address.
#[must_use]
pub fn denial() -> [u8; 1] {
    [State::AccessDenied.byte()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ALLOWANCE: Allowance = Allowance {
        time_s_max: 60,
        rate_max: 1000,
        streams_max: 8,
    };

    fn asked(parameters: &Value) -> Result<Option<Action>, Fault> {
        let mut server = Server::new(ALLOWANCE);
        let stream = [vec![b'c'; 37], frame::encode(parameters)].concat();
        let mut input = &stream[..];
        let first = server.advance(&mut input);
        assert_eq!(first, Ok(Some(Action::Send(vec![9]))));
        server.advance(&mut input)
    }

    #[test]
    fn a_test_goes_through_its_states_in_order() {
        let mut server = Server::new(ALLOWANCE);
        let parameters = frame::encode(&json!({"tcp": true}));
        let results = frame::encode(&Results::default().to_value());
        assert_eq!(server.advance(&mut &[b'c'; 36][..]), Ok(None));
        let greeted = server.advance(&mut &[0][..]);
        assert_eq!(greeted, Ok(Some(Action::Send(vec![9]))));
        let mut input = &parameters[..];
        assert!(matches!(
            server.advance(&mut input),
            Ok(Some(Action::Prepare(_)))
        ));
        assert_eq!(server.create_streams(), [10]);
        assert_eq!(server.start(), [1, 2]);
        assert_eq!(server.advance(&mut &[4][..]), Ok(Some(Action::Finish)));
        assert_eq!(server.exchange(), [13]);
        let report = server.advance(&mut &results[..]);
        assert!(matches!(report, Ok(Some(Action::Report(_)))));
        assert_eq!(server.results(&Results::default()).last(), Some(&14));
        assert_eq!(server.ended(), None);
        assert_eq!(server.advance(&mut &[16][..]), Ok(Some(Action::Over)));
    }

    #[test]
    fn the_allowance_is_kept_exactly() {
        let code = |value: Value| match asked(&value) {
            Err(fault) => fault.code(),
            Ok(_) => None,
        };
        assert_eq!(code(json!({"time": 58, "omit": 2})), None);
        let long = json!({"time": 58, "omit": 3});
        assert_eq!(code(long), Some(Code::SERVER_DURATION));
        assert_eq!(code(json!({"bandwidth": 500, "parallel": 2})), None);
        let fast = json!({"bandwidth": 501, "parallel": 2});
        assert_eq!(code(fast), Some(Code::TOTAL_RATE));
        assert_eq!(code(json!({"udp": true})), Some(Code::TOTAL_RATE));
        assert_eq!(code(json!({"parallel": 9})), Some(Code::STREAMS));
        assert_eq!(code(json!({"parallel": 0})), Some(Code::STREAMS));
        assert_eq!(code(json!([])), Some(Code::PARAMETERS));
    }

    #[test]
    fn giving_up_is_a_quiet_end_in_every_phase() {
        for byte in [16, 12] {
            let mut server = Server::new(ALLOWANCE);
            server.phase = Phase::Streams;
            let fault = server.advance(&mut &[byte][..]).unwrap_err();
            assert_eq!(fault.code(), None);
            assert!(server.ended().is_some());
        }
        let mut server = Server::new(ALLOWANCE);
        server.phase = Phase::Running;
        let fault = server.advance(&mut &[77][..]).unwrap_err();
        assert_eq!(fault.code(), Some(Code::MESSAGE));
        assert_eq!(error_frame(Code(6), 2), [0xfe, 0, 0, 0, 6, 0, 0, 0, 2]);
    }
}
