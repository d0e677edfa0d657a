//! The listening socket and those who are on their way out.
//!
//! Invariant: whoever is turned away hears one byte and is then read to its end, so that no reset
//! overtakes the byte; at most [`LEAVING_MAX`] of them are held, each for [`LEAVING_TIME_MAX`].

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{RecvFlags, SendFlags};

use super::{Config, Counters};
use crate::iperf3::server::denial;
use crate::link::control::{Deadline, wait};
use crate::link::error::LinkError;

/// Most connections on their way out, as a count; more are closed at once.
const LEAVING_MAX: usize = 64;
/// Longest time for one of them.
const LEAVING_TIME_MAX: Duration = Duration::from_secs(2);
/// Most connections accepted in one turn.
const ACCEPTED_MAX: usize = 32;

/// Who came.
#[derive(Debug)]
pub(super) enum Visit {
    /// Somebody who may be answered.
    Guest(TcpStream, SocketAddr),
    /// Somebody whose address is not allowed; turned away already.
    NotAllowed(SocketAddr),
}

/// The listening socket and those on their way out.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    listener: &'a TcpListener,
    config: &'a Config,
    pub(super) counters: &'a Counters,
    leaving: Vec<(TcpStream, Deadline)>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(
        listener: &'a TcpListener,
        config: &'a Config,
        counters: &'a Counters,
    ) -> Self {
        Self {
            listener,
            config,
            counters,
            leaving: Vec::new(),
        }
    }

    /// Waits for somebody to come, for one of `more`, or for `most`.
    pub(super) fn wait(&mut self, more: &mut [PollFd<'_>], most: Duration) {
        self.sweep();
        let mut wanted = Vec::with_capacity(1 + more.len() + self.leaving.len());
        wanted.push(PollFd::new(self.listener, PollFlags::IN));
        wanted.extend_from_slice(more);
        let leaving = self.leaving.iter();
        wanted.extend(leaving.map(|(stream, _)| PollFd::new(stream, PollFlags::IN)));
        wait(&mut wanted, most);
        drop(wanted);
        self.sweep();
    }

    /// Whoever has come, those who may not be answered turned away.
    pub(super) fn accept(&mut self) -> Result<Vec<Visit>, LinkError> {
        let mut visits = Vec::new();
        for _ in 0..ACCEPTED_MAX {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    if self.is_allowed(peer.ip()) {
                        visits.push(Visit::Guest(stream, peer));
                    } else {
                        self.counters.not_allowed.fetch_add(1, Ordering::Relaxed);
                        self.turn_away(stream);
                        visits.push(Visit::NotAllowed(peer));
                    }
                }
                Err(error) if is_of_one_guest(&error) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if is_shortage(&error) => {
                    // Descriptors are short: those who leave will give some back.
                    std::thread::sleep(Duration::from_millis(20));
                    break;
                }
                Err(error) => return Err(LinkError::system("accepting a connection", error)),
            }
        }
        Ok(visits)
    }

    pub(super) fn is_allowed(&self, peer: IpAddr) -> bool {
        peer.is_loopback() || self.config.allow.iter().any(|net| net.contains(&peer))
    }

    /// Says "denied" and sees the connection off.
    pub(super) fn turn_away(&mut self, stream: TcpStream) {
        let _ = stream.set_nonblocking(true);
        let _ = rustix::net::send(&stream, &denial(), SendFlags::NOSIGNAL);
        self.let_go(stream);
    }

    /// Ends a connection after what was sent last has been read.
    pub(super) fn let_go(&mut self, stream: TcpStream) {
        let _ = stream.set_nonblocking(true);
        let _ = stream.shutdown(Shutdown::Write);
        if self.leaving.len() < LEAVING_MAX {
            let deadline = Deadline::after(LEAVING_TIME_MAX);
            self.leaving.push((stream, deadline));
        }
    }

    /// Drops those who have gone or took too long.
    fn sweep(&mut self) {
        self.leaving
            .retain(|(stream, deadline)| !deadline.has_passed() && !has_ended(stream));
    }

    /// Waits until all have gone.
    pub(super) fn see_off(&mut self) {
        self.sweep();
        while !self.leaving.is_empty() {
            let leaving = self.leaving.iter();
            let mut wanted: Vec<PollFd<'_>> = leaving
                .map(|(stream, _)| PollFd::new(stream, PollFlags::IN))
                .collect();
            wait(&mut wanted, LEAVING_TIME_MAX / 4);
            drop(wanted);
            self.sweep();
        }
    }
}

/// Reads away what is there; true at the end.
fn has_ended(stream: &TcpStream) -> bool {
    let mut buffer = [0; 4096];
    // Bounded: who goes on sending is closed by the deadline.
    for _ in 0..64 {
        match rustix::net::recv(stream, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return true,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return false,
            Err(_) => return true,
        }
    }
    false
}

/// Errors that concern the connection and not the listening socket (accept(2)).
fn is_of_one_guest(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error
        .raw_os_error()
        .is_some_and(|code| shortages.iter().any(|errno| errno.raw_os_error() == code))
}
