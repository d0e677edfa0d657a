//! The client's side of a test: from the bytes of the control connection to actions.
//!
//! Order (esnet/iperf, iperf_client_api.c): cookie, parameters, streams, start, data, end, results
//! both ways, done. Invariant: an action comes once and in this order, whatever pieces the bytes
//! come in; a state that does not belong ends the test. The caller opens the streams one after the
//! other, because their order is their identity.

use super::code::Code;
use super::cookie::Cookie;
use super::fault::{Fault, Role};
use super::frame::{self, FrameReader, RESULTS_BYTES_MAX};
use super::parameters::Parameters;
use super::results::Results;
use super::state::State;

/// What the caller is to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send these bytes on the control connection.
    Send(Vec<u8>),
    /// Open all streams, then go on reading.
    OpenStreams,
    /// Zero the counters and start the clock.
    Start,
    /// Senders may send.
    Run,
    /// Stop everything and call [`Client::results`].
    Finish,
    /// The server's account; [`Client::done`] ends the test.
    Report(Box<Results>),
}

/// Bytes of an error frame: two numbers of four.
const ERROR_BYTES: usize = 8;

#[derive(Debug)]
enum Phase {
    Greeting,
    Parameters,
    Streams,
    Starting,
    Running,
    Ending,
    /// The caller has been told to finish.
    Results,
    TheirResults(FrameReader),
    Display,
    Error(Vec<u8>),
    Over,
}

/// The client's side of one test.
#[derive(Debug)]
pub struct Client {
    parameters: Parameters,
    phase: Phase,
    report: Option<Box<Results>>,
}

impl Client {
    /// A test with these parameters, and the first bytes to send: the cookie.
    #[must_use]
    pub fn new(parameters: Parameters, cookie: &Cookie) -> (Self, Vec<u8>) {
        let client = Self {
            parameters,
            phase: Phase::Greeting,
            report: None,
        };
        (client, cookie.as_bytes().to_vec())
    }

    /// Takes bytes off the front of `input`; `None`: more are needed. After
    /// [`Action::OpenStreams`] and [`Action::Finish`] the caller acts before it calls again.
    ///
    /// # Errors
    /// [`Fault`]: the test is over; send [`Client::give_up`] if the connection still stands.
    pub fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Action>, Fault> {
        loop {
            if let Phase::Error(held) = &mut self.phase {
                let missing = ERROR_BYTES.saturating_sub(held.len());
                let (taken, rest) = input.split_at(missing.min(input.len()));
                held.extend_from_slice(taken);
                *input = rest;
                return match held.len() {
                    ERROR_BYTES => Err(server_error(held)),
                    _ => Ok(None),
                };
            }
            if let Phase::TheirResults(reader) = &mut self.phase {
                let Some(value) = reader.advance(input)? else {
                    return Ok(None);
                };
                self.report = Some(Box::new(Results::from_value(&value)?));
                self.phase = Phase::Display;
            }
            let Some((byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            let phase = self.doing();
            let state = State::from_byte(*byte).ok_or(Fault::Unknown { byte: *byte, phase })?;
            *input = rest;
            if state == State::ServerError {
                self.phase = Phase::Error(Vec::new());
                continue;
            }
            return self.step(state, phase).map(Some);
        }
    }

    fn step(&mut self, state: State, phase: &'static str) -> Result<Action, Fault> {
        let unexpected = Fault::Unexpected { state, phase };
        match state {
            State::AccessDenied => return Err(Fault::Busy),
            State::ServerTerminate => {
                let whose = Role::Server;
                return Err(Fault::Terminated { whose });
            }
            State::IperfDone => return Err(Fault::GaveUp),
            State::ParamExchange
            | State::CreateStreams
            | State::TestStart
            | State::TestRunning
            | State::ExchangeResults
            | State::DisplayResults
            | State::TestEnd
            | State::ClientTerminate
            | State::ServerError => {}
        }
        let (next, action) = match (&self.phase, state) {
            (Phase::Greeting, State::ParamExchange) => {
                let frame = frame::encode(&self.parameters.to_value());
                (Phase::Parameters, Action::Send(frame))
            }
            (Phase::Parameters, State::CreateStreams) => (Phase::Streams, Action::OpenStreams),
            (Phase::Streams, State::TestStart) => (Phase::Starting, Action::Start),
            (Phase::Starting, State::TestRunning) => (Phase::Running, Action::Run),
            (Phase::Running | Phase::Ending, State::ExchangeResults) => {
                (Phase::Results, Action::Finish)
            }
            (Phase::Display, State::DisplayResults) => {
                let report = self.report.take().ok_or(unexpected)?;
                (Phase::Over, Action::Report(report))
            }
            _ => return Err(unexpected),
        };
        self.phase = next;
        Ok(action)
    }

    /// Whether data may move and the end was not sent yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Ends the data: the bytes to send. The server answers with [`Action::Finish`].
    pub fn end(&mut self) -> Vec<u8> {
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Ending;
            vec![State::TestEnd.byte()]
        } else {
            Vec::new()
        }
    }

    /// This end's account: the bytes to send.
    pub fn results(&mut self, own: &Results) -> Vec<u8> {
        self.phase = Phase::TheirResults(FrameReader::new("results", RESULTS_BYTES_MAX));
        frame::encode(&own.to_value())
    }

    /// The last byte of a test that went well.
    #[must_use]
    pub fn done(&self) -> Vec<u8> {
        vec![State::IperfDone.byte()]
    }

    /// The byte that ends a test early; the user stopped it, or this end failed.
    #[must_use]
    pub fn give_up(&self, stopped: bool) -> Vec<u8> {
        let state = match stopped {
            true => State::ClientTerminate,
            false => State::IperfDone,
        };
        vec![state.byte()]
    }

    /// The fault of a control connection that ended now. A reset or end before the first state
    /// is how a busy server of the C program often looks.
    #[must_use]
    pub fn ended(&self) -> Fault {
        match &self.phase {
            Phase::Greeting => Fault::Busy,
            Phase::Error(held) => server_error(held),
            _ => Fault::Ended {
                phase: self.doing(),
            },
        }
    }

    fn doing(&self) -> &'static str {
        match self.phase {
            Phase::Greeting => "greeting",
            Phase::Parameters => "sending the parameters",
            Phase::Streams => "opening the streams",
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Ending => "ending",
            Phase::Results => "exchanging results",
            Phase::TheirResults(_) => "waiting for the server's results",
            Phase::Display | Phase::Over => "finishing",
            Phase::Error(_) => "reading the server's error",
        }
    }
}

/// The fault of an error frame. A number that did not come counts as 0: 3.12 sends one alone where
/// authentication failed, and may send none.
fn server_error(held: &[u8]) -> Fault {
    let number = |at: usize| {
        let bytes = held.get(at..).and_then(|rest| rest.first_chunk::<4>());
        i32::from_be_bytes(bytes.copied().unwrap_or_default())
    };
    Fault::ServerError {
        code: Code(number(0)),
        errno: number(4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iperf3::results::StreamResult;

    fn client() -> Client {
        Client::new(Parameters::default(), &Cookie::from_random([0; 36])).0
    }

    /// A whole test, fed one byte at a time and all at once.
    #[test]
    fn a_test_goes_through_its_states_in_order() {
        let mut client = client();
        let mut input: &[u8] = &[9];
        assert!(matches!(
            client.advance(&mut input),
            Ok(Some(Action::Send(_)))
        ));
        input = &[10];
        assert_eq!(client.advance(&mut input), Ok(Some(Action::OpenStreams)));
        input = &[1, 2];
        assert_eq!(client.advance(&mut input), Ok(Some(Action::Start)));
        assert_eq!(client.advance(&mut input), Ok(Some(Action::Run)));
        assert_eq!(client.advance(&mut input), Ok(None));
        assert_eq!(client.end(), [4]);
        assert_eq!(client.end(), [0; 0], "only once");
        input = &[13];
        assert_eq!(client.advance(&mut input), Ok(Some(Action::Finish)));
        let results = Results {
            streams: vec![StreamResult::default()],
            ..Results::default()
        };
        let frame = client.results(&results);
        let stream = [frame, vec![14]].concat();
        let mut last = Ok(None);
        for byte in stream.chunks(1) {
            assert_eq!(last, Ok(None));
            last = client.advance(&mut &*byte);
        }
        assert_eq!(last, Ok(Some(Action::Report(Box::new(results)))));
        assert_eq!(client.done(), [16]);
    }

    #[test]
    fn ends_of_every_kind_are_told_apart() {
        let fault = |bytes: &[u8]| {
            let mut client = client();
            let result = client.advance(&mut &*bytes);
            result.err().unwrap_or_else(|| client.ended())
        };
        assert_eq!(fault(&[0xff]), Fault::Busy);
        let whose = Role::Server;
        assert_eq!(fault(&[11]), Fault::Terminated { whose });
        let code = Code::STREAMS;
        let full = [0xfe, 0, 0, 0, 6, 0, 0, 0, 9];
        assert_eq!(fault(&full), Fault::ServerError { code, errno: 9 });
        assert_eq!(fault(&full[..5]), Fault::ServerError { code, errno: 0 });
        assert!(matches!(fault(&[0xfe]), Fault::ServerError { .. }));
        assert!(matches!(fault(&[3]), Fault::Unknown { byte: 3, .. }));
        assert!(matches!(fault(&[13]), Fault::Unexpected { .. }));
        assert_eq!(client().ended(), Fault::Busy);
    }
}
