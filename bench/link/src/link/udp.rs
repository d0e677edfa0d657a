//! The loops of one UDP stream: numbered datagrams out, counted datagrams in.
//!
//! Sending takes as many datagrams per call as the rate allows; receiving looks at headers only.
//! Invariant: sequence numbers begin at 1 and have no gap on the sending side; only datagrams that
//! came while the test ran are counted.

use std::time::Duration;

use rustix::io::Errno;
use towline_base::clock;
use towline_sys::datagrams::{BATCH_MAX, Received, send_pieces};

use super::flow::{Flow, Socket};
use super::pacing::Pacer;
use super::session::Shared;
use crate::iperf3::datagram::Header;

/// Between two looks at the flag while nothing comes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Bytes of all datagrams of one call: several calls a millisecond, even at 100 Gbit/s.
const CALL_BYTES_MAX: usize = 256 << 10;

/// Sends until it is stopped or the budget is spent.
pub(super) fn send_loop(flow: &Flow, shared: &Shared, payload: &[u8], wide: bool) {
    let piece = payload.len().max(1);
    let most = (CALL_BYTES_MAX / piece).clamp(1, BATCH_MAX);
    let mut buffer = payload.repeat(most);
    let mut pacer = Pacer::new(shared.rate, shared.burst);
    let mut sequence = 0_u64;
    'sending: while pacer.wait(|| !shared.is_running()) {
        let mut count = 0;
        let due = pacer.due(piece, most);
        while count < due && shared.budget.take(piece as u64) {
            count += 1;
        }
        if count == 0 {
            break;
        }
        let mut done = 0;
        while done < count {
            let Some(part) = buffer.get_mut(done * piece..count * piece) else {
                break 'sending;
            };
            number(part, piece, sequence, wide);
            match send_pieces(&flow.socket, part, piece) {
                Ok(went) => {
                    sequence += went as u64;
                    done += went;
                    flow.count((went * piece) as u64, went as u64);
                    (0..went).for_each(|_| pacer.sent(piece));
                }
                Err(Errno::INTR | Errno::AGAIN | Errno::NOBUFS) => std::thread::yield_now(),
                // Nobody listens there any more, or not yet: the next one may arrive.
                Err(Errno::CONNREFUSED) => done += 1,
                Err(error) => {
                    if shared.is_running() {
                        flow.fail(error.into());
                    }
                    break 'sending;
                }
            }
            if !shared.is_running() {
                break 'sending;
            }
        }
    }
    shared.wake.ring();
}

fn number(part: &mut [u8], piece: usize, sequence: u64, wide: bool) {
    let sent_us = now_us();
    for (datagram, index) in part.chunks_mut(piece).zip(1..) {
        let sequence = sequence + index;
        Header { sent_us, sequence }.encode(wide, datagram);
    }
}

fn now_us() -> u64 {
    u64::try_from(clock::since_epoch().as_micros()).unwrap_or(u64::MAX)
}

/// Counts what comes until it is stopped for good.
pub(super) fn receive_loop(flow: &Flow, shared: &Shared, wide: bool) {
    if let Socket::Udp(socket) = &flow.socket {
        // Without a limit the loop still ends: the socket is shut down.
        let _ = socket.set_read_timeout(Some(LOOK_EVERY));
    }
    let mut received = Received::default();
    let mut reception = flow.reception();
    while !shared.is_over() {
        match received.receive(&flow.socket) {
            Ok(_) if !shared.counts_received() => {}
            Ok(_) => {
                let now = now_us();
                let (mut bytes, mut count) = (0, 0);
                for (head, length) in received.datagrams() {
                    // The greeting may come twice; a datagram of a test is longer.
                    if let Some(header) = Header::decode(wide, head) {
                        reception.count(header, now);
                        bytes += length as u64;
                        count += 1;
                    }
                }
                flow.count(bytes, count);
                flow.set_reception(reception);
                shared.received(bytes);
            }
            Err(Errno::INTR | Errno::AGAIN | Errno::CONNREFUSED) => {}
            Err(error) => {
                if shared.is_running() {
                    flow.fail(error.into());
                }
                break;
            }
        }
    }
    shared.wake.ring();
}
