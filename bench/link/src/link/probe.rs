//! Round trips of the path beside the test: ICMP echoes where the system allows them.
//!
//! Echoes are answered by the other end's kernel, whatever program runs there, so the same probe
//! works before and during any test. Where neither a ping socket nor a raw one may be opened
//! (icmp(7), `ping_group_range`, CAP_NET_RAW), or nobody answers, the kernel's smoothed round trip
//! of the test's own connections stands in, and the report says so. Invariant: a probe is bounded
//! in time and count. Not promised: times free of this host's own scheduling.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use towline_base::clock;

use super::control::wait;
use super::way::Way;
use crate::result::Latency;
use crate::result::latency::Recorder;

/// Echoes of the idle path, as a count: enough for a 99th percentile.
const IDLE_COUNT: u32 = 200;
/// Between two of them.
const IDLE_EVERY: Duration = Duration::from_millis(2);
/// Longest wait for one of them; the idle probe ends after three such.
const IDLE_WAIT: Duration = Duration::from_millis(200);
/// Between two echoes under load: ten seconds give the 99.9th percentile.
const LOADED_EVERY: Duration = Duration::from_millis(1);
/// Longest wait for one of them.
const LOADED_WAIT: Duration = Duration::from_secs(1);
/// Bytes of an echo: header, sequence, padding as `ping` has.
const ECHO_BYTES: usize = 64;

/// A socket that echoes can be sent on.
#[derive(Debug)]
pub struct Prober {
    socket: OwnedFd,
    is_raw: bool,
    is_v4: bool,
    identity: u16,
    sequence: u16,
}

impl Prober {
    /// A prober towards this address, on this way; `None` where the system allows none.
    #[must_use]
    pub fn open(peer: IpAddr, way: &Way) -> Option<Self> {
        let (family, protocol) = match peer {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC;
        let open = |kind| rustix::net::socket_with(family, kind, flags, Some(protocol));
        let (socket, is_raw) = match open(SocketType::DGRAM) {
            Ok(socket) => (socket, false),
            Err(_) => (open(SocketType::RAW).ok()?, true),
        };
        let peer = SocketAddr::new(peer, 0);
        way.bind(&socket, peer, 0).ok()?;
        rustix::net::connect(&socket, &peer).ok()?;
        let bits = towline_base::rand::bits().ok()?;
        Some(Self {
            socket,
            is_raw,
            is_v4: peer.is_ipv4(),
            identity: bits as u16,
            sequence: 0,
        })
    }

    /// One round trip; `None` if nothing came back in time.
    pub fn echo(&mut self, most: Duration) -> Option<Duration> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = self.message();
        let begun = clock::now();
        rustix::net::send(&self.socket, &message, SendFlags::NOSIGNAL).ok()?;
        loop {
            let left = most.checked_sub(begun.elapsed())?;
            let mut wanted = [PollFd::new(&self.socket, PollFlags::IN)];
            wait(&mut wanted, left);
            let mut buffer = [0; 512];
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, count)) => {
                    let time = begun.elapsed();
                    if self.is_answer(buffer.get(..count).unwrap_or(&[])) {
                        return Some(time);
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// RFC 792 and RFC 4443 section 4.1: type, code, checksum, identity, sequence.
    fn message(&self) -> [u8; ECHO_BYTES] {
        let mut bytes = [0x54; ECHO_BYTES];
        let kind = if self.is_v4 { 8 } else { 128 };
        let head = [kind, 0, 0, 0];
        let [i1, i0] = self.identity.to_be_bytes();
        let [s1, s0] = self.sequence.to_be_bytes();
        for (to, from) in bytes
            .iter_mut()
            .zip(head.into_iter().chain([i1, i0, s1, s0]))
        {
            *to = from;
        }
        // The kernel fills in the checksum of ICMPv6, and of ping sockets.
        let [c1, c0] = checksum(&bytes).to_be_bytes();
        bytes[2] = c1;
        bytes[3] = c0;
        bytes
    }

    fn is_answer(&self, packet: &[u8]) -> bool {
        // A raw IPv4 socket delivers the IP header too; its length is in words.
        let head = match (self.is_raw && self.is_v4, packet.first()) {
            (true, Some(first)) => usize::from(first & 15) * 4,
            _ => 0,
        };
        let Some([kind, _, _, _, i1, i0, s1, s0]) =
            packet.get(head..).and_then(|rest| rest.first_chunk::<8>())
        else {
            return false;
        };
        let wanted = if self.is_v4 { 0 } else { 129 };
        // A ping socket has an identity of the kernel's choice and gets its own answers only.
        let is_ours = !self.is_raw || [*i1, *i0] == self.identity.to_be_bytes();
        *kind == wanted && is_ours && [*s1, *s0] == self.sequence.to_be_bytes()
    }
}

/// The internet checksum (RFC 1071) over an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.as_chunks::<2>().0.iter();
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Round trips of the idle path, in half a second.
#[must_use]
pub fn idle(peer: IpAddr, way: &Way) -> Option<Latency> {
    let mut prober = Prober::open(peer, way)?;
    let mut recorder = Recorder::default();
    let mut missing = 0;
    for _ in 0..IDLE_COUNT {
        match prober.echo(IDLE_WAIT) {
            Some(time) => recorder.record(time),
            None => {
                recorder.lose();
                missing += 1;
                if missing == 3 {
                    break;
                }
            }
        }
        std::thread::sleep(IDLE_EVERY);
    }
    recorder.finish("rtt_idle", "icmp echo")
}

/// Round trips on a thread of its own while something else runs.
#[derive(Debug)]
pub struct Loaded {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Recorder>,
}

impl Loaded {
    /// Begins; `None` where no echoes may be sent or no thread is to be had.
    #[must_use]
    pub fn begin(peer: IpAddr, way: &Way) -> Option<Self> {
        let mut prober = Prober::open(peer, way)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let work = move || {
            let mut recorder = Recorder::default();
            while !stopped.load(Ordering::Relaxed) {
                match prober.echo(LOADED_WAIT) {
                    Some(time) => recorder.record(time),
                    None => {
                        recorder.lose();
                        // An error comes at once: not a busy loop.
                        std::thread::sleep(LOADED_EVERY * 10);
                    }
                }
                std::thread::sleep(LOADED_EVERY);
            }
            recorder
        };
        let thread = std::thread::Builder::new().name("bench-probe".to_owned());
        let thread = thread.spawn(work).ok()?;
        Some(Self { stop, thread })
    }

    /// Ends; what was measured.
    #[must_use]
    pub fn end(self) -> Option<Latency> {
        self.stop.store(true, Ordering::Relaxed);
        let recorder = self.thread.join().ok()?;
        recorder.finish("rtt_loaded", "icmp echo")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_makes_the_sum_zero() {
        let mut bytes = [8, 0, 0, 0, 1, 2, 3, 4];
        let sum = checksum(&bytes).to_be_bytes();
        bytes[2] = sum[0];
        bytes[3] = sum[1];
        assert_eq!(checksum(&bytes), 0);
    }

    #[test]
    fn loopback_answers_where_echoes_are_allowed() {
        for peer in ["127.0.0.1", "::1"] {
            let Some(mut prober) = Prober::open(peer.parse().unwrap(), &Way::default()) else {
                continue;
            };
            let time = prober.echo(Duration::from_secs(2));
            assert!(
                time.is_some_and(|time| time < Duration::from_secs(1)),
                "{peer}"
            );
        }
    }
}
