//! Finds how large a packet may be on the way to a peer and back, and how long small ones take.
//!
//! Every probe has the don't-fragment bit. A size passes when its echo comes; it is too large when
//! the kernel says so, from its own link or from an ICMP error; it vanished when nothing came in
//! several tries. Invariant: a bounded number of probes, each with a bounded wait. Not promised: a
//! result on a path that loses a large share of all packets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::io::Errno;
use towline_base::clock;
use towline_base::mac::MAC_BYTES;

use super::Rtt;
use super::datagram::{
    Datagram, HEAD_BYTES, Kind, PAYLOAD_BYTES_MAX, SMALL_BYTES, header_bytes, unfragmented,
};
use crate::error::TuneError;

/// Tries of one size: three losses in a row on a link that loses 1 % are one in a million.
const TRIES: u32 = 3;

/// Wait for an echo of unknown round trip.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Shortest wait for an echo: a busy receiver's scheduling delay.
const WAIT_MIN: Duration = Duration::from_millis(60);

/// Smallest packet that every IPv4 path carries, in bytes (RFC 791: 576).
const PACKET_BYTES_MIN: u32 = 576;

/// Echoes of one round-trip measurement: enough for a 99th percentile.
const ECHOES: u32 = 1000;

/// Time that they may take, in milliseconds: within a transfer of two seconds.
const ECHO_TIME_MAX: Duration = Duration::from_millis(1500);

/// How a size fared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Passed,
    TooLarge,
    Vanished,
}

/// Largest packets and what happened to larger ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Found {
    pub(super) packet_bytes: u32,
    pub(super) vanished: bool,
}

/// A conversation with an answering peer.
#[derive(Debug)]
pub(super) struct Prober {
    socket: UdpSocket,
    peer: SocketAddr,
    code: [u8; MAC_BYTES],
    sequence: u32,
    wait: Duration,
}

impl Prober {
    /// Greets the peer.
    pub(super) fn greet(peer: SocketAddr) -> Result<Self, TuneError> {
        let any = if peer.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let failed = |error| TuneError::system(format!("probes to {peer}"), error);
        let local = any
            .parse()
            .map_err(|error| failed(io::Error::other(error)))?;
        let socket = unfragmented(local).map_err(failed)?;
        socket.connect(peer).map_err(failed)?;
        let mut prober = Self {
            socket,
            peer,
            code: [0; MAC_BYTES],
            sequence: 0,
            wait: FIRST_WAIT,
        };
        for _ in 0..TRIES {
            let begun = clock::now();
            prober.send(Kind::Hello, SMALL_BYTES, 0).map_err(failed)?;
            if let Ok(Some(welcome)) = prober.receive(Kind::Welcome) {
                prober.code = welcome.code;
                prober.wait = (begun.elapsed() * 4).clamp(WAIT_MIN, FIRST_WAIT);
                return Ok(prober);
            }
        }
        Err(TuneError::Peer(format!(
            "{peer} does not answer: it needs a towline node with a volume that allows this host, \
             or `towline tune answer --allow THIS-HOST`"
        )))
    }

    fn send(&mut self, kind: Kind, bytes: usize, reply: usize) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let datagram = Datagram {
            kind,
            code: self.code,
            sequence: self.sequence,
            reply_bytes: u16::try_from(reply).unwrap_or(u16::MAX),
        };
        self.socket.send(&datagram.encode(bytes)).map(drop)
    }

    /// The answer to the last datagram; nothing when the wait is over. Older answers are left out.
    fn receive(&self, kind: Kind) -> io::Result<Option<Datagram>> {
        let until = clock::now() + self.wait;
        let mut buffer = vec![0; PAYLOAD_BYTES_MAX];
        loop {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            let count = match self.socket.recv(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            let Some(datagram) = Datagram::decode(&buffer[..count]) else {
                continue;
            };
            let fits = datagram.kind == kind || datagram.kind == Kind::TooLarge;
            if fits && datagram.sequence == self.sequence {
                return Ok(Some(datagram));
            }
        }
    }

    fn probe(&mut self, bytes: usize, reply: usize) -> io::Result<Fate> {
        let too_large =
            |error: &io::Error| error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error());
        let mut refused = false;
        for _ in 0..TRIES {
            match self.send(Kind::Echo, bytes, reply) {
                Ok(()) => {}
                Err(error) if too_large(&error) => return Ok(Fate::TooLarge),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => refused = true,
                Err(error) => return Err(error),
            }
            match self.receive(Kind::Reply) {
                Ok(Some(answer)) if answer.kind == Kind::TooLarge => return Ok(Fate::TooLarge),
                Ok(Some(_)) => return Ok(Fate::Passed),
                Ok(None) => {}
                Err(error) if too_large(&error) => return Ok(Fate::TooLarge),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => refused = true,
                Err(error) => return Err(error),
            }
        }
        if refused {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
        }
        Ok(Fate::Vanished)
    }

    /// The largest packet to the peer, at most `most` bytes.
    pub(super) fn there(&mut self, most: u32) -> io::Result<Found> {
        self.search(most, |prober, payload| prober.probe(payload, SMALL_BYTES))
    }

    /// The largest packet from the peer, at most `most` bytes.
    pub(super) fn back(&mut self, most: u32) -> io::Result<Found> {
        self.search(most, |prober, payload| prober.probe(SMALL_BYTES, payload))
    }

    fn search(
        &mut self,
        most: u32,
        mut probe: impl FnMut(&mut Self, usize) -> io::Result<Fate>,
    ) -> io::Result<Found> {
        let headers = header_bytes(self.peer.ip());
        let most = most.clamp(PACKET_BYTES_MIN, 65_535);
        let payload = |packet: u32| usize::try_from(packet - headers).unwrap_or(HEAD_BYTES);
        let mut vanished = false;
        if probe(self, payload(most))? == Fate::Passed {
            return Ok(Found {
                packet_bytes: most,
                vanished,
            });
        }
        // The first size that failed is asked for again below, as an upper bound.
        let (mut passes, mut fails) = (PACKET_BYTES_MIN, most);
        // Halving 65,535 sixteen times leaves one.
        while fails - passes > 1 {
            let middle = passes + (fails - passes) / 2;
            match probe(self, payload(middle))? {
                Fate::Passed => passes = middle,
                Fate::TooLarge => fails = middle,
                Fate::Vanished => {
                    vanished = true;
                    fails = middle;
                }
            }
        }
        Ok(Found {
            packet_bytes: passes,
            vanished,
        })
    }

    /// Round trips of small echoes, `gap` apart, until `enough` says so, the time is over or all
    /// are made.
    pub(super) fn round_trips(
        &mut self,
        gap: Duration,
        mut enough: impl FnMut() -> bool,
    ) -> io::Result<Rtt> {
        let begun = clock::now();
        let mut times = Vec::new();
        let mut rtt = Rtt::default();
        while rtt.sent < ECHOES && begun.elapsed() < ECHO_TIME_MAX && !enough() {
            let sent = clock::now();
            self.send(Kind::Echo, SMALL_BYTES, SMALL_BYTES)?;
            rtt.sent += 1;
            match self.receive(Kind::Reply)? {
                Some(_) => times.push(sent.elapsed().as_secs_f64() * 1000.0),
                None => rtt.lost += 1,
            }
            if !gap.is_zero() {
                std::thread::sleep(gap);
            }
        }
        times.sort_by(f64::total_cmp);
        let at = |share: usize| {
            times
                .get(times.len().saturating_sub(1) * share / 100)
                .copied()
        };
        rtt.p50_ms = at(50).unwrap_or(0.0);
        rtt.p99_ms = at(99).unwrap_or(0.0);
        rtt.max_ms = at(100).unwrap_or(0.0);
        if times.is_empty() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        Ok(rtt)
    }
}
