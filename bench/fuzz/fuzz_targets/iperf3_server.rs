//! The server's side of iperf3: any bytes from a client, in pieces that the bytes choose.
//!
//! Never a panic; the same answers however the stream is cut; parameters that come out are within
//! every limit, whatever went in; a datagram of any content is counted without overflow.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_link::iperf3::datagram::{Header, Reception};
use towline_link::iperf3::parameters::{
    BLOCK_BYTES_MAX, OMIT_S_MAX, Parameters, STREAMS_MAX, TIME_S_MAX,
};
use towline_link::iperf3::server::{Action, Allowance, Server};
use towline_link::iperf3::{Fault, Results};

const ALLOWANCE: Allowance = Allowance {
    time_s_max: 100,
    rate_max: 1_000_000,
    streams_max: 16,
};

fuzz_target!(|data: &[u8]| {
    let whole = play(data, data.len().max(1));
    let step = usize::from(data.first().copied().unwrap_or(0)) % 7 + 1;
    assert_eq!(play(data, step), whole, "cut into pieces of {step}");
    let mut reception = Reception::default();
    for datagram in data.chunks(16) {
        if let Some(header) = Header::decode(datagram.len() == 16, datagram) {
            reception.count(header, u64::from(datagram.first().copied().unwrap_or(0)));
        }
    }
    assert!(reception.jitter_s.is_finite());
});

/// The actions of a whole stream that comes in pieces.
fn play(data: &[u8], step: usize) -> (Vec<Action>, Option<Fault>) {
    let mut server = Server::new(ALLOWANCE);
    let (mut actions, mut held) = (Vec::new(), Vec::new());
    for piece in data.chunks(step) {
        held.extend_from_slice(piece);
        loop {
            let mut unread = held.as_slice();
            let result = server.advance(&mut unread);
            let taken = held.len() - unread.len();
            held.drain(..taken);
            match result {
                Ok(Some(action)) => {
                    follow(&mut server, &action);
                    actions.push(action);
                }
                Ok(None) => break,
                Err(fault) => return (actions, Some(fault)),
            }
        }
    }
    (actions, None)
}

/// Does what a driver would, so that every phase is reached.
fn follow(server: &mut Server, action: &Action) {
    match action {
        Action::Prepare(parameters) => {
            judge(parameters);
            assert_eq!(server.create_streams(), [10]);
            assert_eq!(server.start(), [1, 2]);
        }
        Action::Finish => assert_eq!(server.exchange(), [13]),
        Action::Report(report) => {
            assert!(report.streams.len() <= 2 * STREAMS_MAX as usize);
            assert!(report.cpu_total.is_finite());
            assert_eq!(server.results(&Results::default()).last(), Some(&14));
        }
        Action::Send(_) | Action::Over | Action::Echo => {}
    }
}

fn judge(parameters: &Parameters) {
    assert!((1..=ALLOWANCE.streams_max).contains(&parameters.parallel));
    assert!((1..=BLOCK_BYTES_MAX).contains(&parameters.len));
    assert!(parameters.time_s <= TIME_S_MAX && parameters.omit_s <= OMIT_S_MAX);
    assert!(parameters.time_s + parameters.omit_s <= ALLOWANCE.time_s_max);
    let again = Parameters::from_value(&parameters.to_value());
    assert_eq!(again.as_ref(), Ok(parameters), "what is sent is read back");
}
