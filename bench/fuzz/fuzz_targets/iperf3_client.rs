//! The client's side of iperf3: any bytes from a server, in pieces that the bytes choose.
//!
//! Never a panic; actions come in the protocol's order and the same however the stream is cut;
//! results that come out are finite and bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_link::iperf3::client::Action;
use towline_link::iperf3::parameters::STREAMS_MAX;
use towline_link::iperf3::{Client, Cookie, Fault, Parameters, Results};

fuzz_target!(|data: &[u8]| {
    let whole = play(data, data.len().max(1));
    let step = usize::from(data.last().copied().unwrap_or(0)) % 7 + 1;
    assert_eq!(play(data, step), whole, "cut into pieces of {step}");
});

/// The actions of a whole stream that comes in pieces, and the fault that its end or content is.
fn play(data: &[u8], step: usize) -> (Vec<Action>, Option<Fault>) {
    let cookie = Cookie::from_random([7; 36]);
    let (mut client, hello) = Client::new(Parameters::default(), &cookie);
    assert_eq!(hello, cookie.as_bytes());
    let (mut actions, mut held) = (Vec::new(), Vec::new());
    for piece in data.chunks(step) {
        held.extend_from_slice(piece);
        loop {
            let mut unread = held.as_slice();
            let result = client.advance(&mut unread);
            let taken = held.len() - unread.len();
            held.drain(..taken);
            match result {
                Ok(Some(action)) => {
                    follow(&mut client, &action);
                    actions.push(action);
                }
                Ok(None) => break,
                Err(fault) => return (actions, Some(fault)),
            }
        }
    }
    let end = client.ended();
    (actions, Some(end))
}

fn follow(client: &mut Client, action: &Action) {
    match action {
        Action::Run => assert_eq!(client.end(), [4]),
        Action::Finish => assert!(client.results(&Results::default()).len() > 4),
        Action::Report(report) => {
            assert!(report.streams.len() <= 2 * STREAMS_MAX as usize);
            assert!(report.cpu_total.is_finite());
            assert!(report.streams.iter().all(|stream| stream.jitter_s.is_finite()));
        }
        Action::Send(_) | Action::OpenStreams | Action::Start => {}
    }
}
