//! The server's streams while they come: cookies compared, greetings answered, order kept.
//!
//! Invariant: a stream's number is the order in which its connection was accepted, even if cookies
//! arrive in another order. A stranger (wrong cookie, other address) is turned away and the test
//! goes on. Candidates are bounded in number and time.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, sockopt};

use super::desk::Desk;
use crate::iperf3::cookie::COOKIE_BYTES;
use crate::iperf3::datagram::{HELLO, WELCOME};
use crate::iperf3::{Cookie, Parameters, Transport, stream_id};
use crate::link::control::Deadline;
use crate::link::error::LinkError;
use crate::link::flow::{Flow, Socket};
use crate::link::open;

/// Most connections whose cookie is awaited, beyond the streams that are, as a count.
const CANDIDATES_MAX: usize = 64;
/// Longest wait for a cookie.
const COOKIE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Candidate {
    stream: TcpStream,
    number: u64,
    held: Vec<u8>,
    deadline: Deadline,
}

/// Streams that have come and those that may be.
#[derive(Debug)]
pub(super) struct Streams {
    parameters: Parameters,
    cookie: Cookie,
    peer: IpAddr,
    next: u64,
    candidates: Vec<Candidate>,
    ready: Vec<(u64, Socket)>,
    greeting: Option<UdpSocket>,
    local: SocketAddr,
}

impl Streams {
    /// Ready for streams of this test at this local address.
    pub(super) fn new(
        parameters: &Parameters,
        cookie: Cookie,
        peer: IpAddr,
        local: SocketAddr,
    ) -> Result<Self, LinkError> {
        let mut streams = Self {
            parameters: parameters.clone(),
            cookie,
            peer,
            next: 0,
            candidates: Vec::new(),
            ready: Vec::new(),
            greeting: None,
            local,
        };
        if parameters.transport == Transport::Udp {
            streams.greeting = Some(streams.udp_socket()?);
        }
        Ok(streams)
    }

    /// A socket on the port for the next greeting.
    fn udp_socket(&self) -> Result<UdpSocket, LinkError> {
        let failed =
            |error: Errno| LinkError::system(format!("UDP port {}", self.local.port()), error);
        let family = match self.local {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(family, SocketType::DGRAM, flags, None).map_err(failed)?;
        sockopt::set_socket_reuseaddr(&socket, true).map_err(failed)?;
        if self.local.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, false).map_err(failed)?;
        }
        rustix::net::bind(&socket, &self.local).map_err(failed)?;
        let socket = UdpSocket::from(socket);
        open::set_datagram_options(&socket, &self.parameters)?;
        Ok(socket)
    }

    /// What to wait for.
    pub(super) fn wanted(&self) -> Vec<PollFd<'_>> {
        let candidates = self.candidates.iter();
        let candidates = candidates.map(|one| PollFd::new(&one.stream, PollFlags::IN));
        let greeting = self.greeting.iter();
        candidates
            .chain(greeting.map(|socket| PollFd::new(socket, PollFlags::IN)))
            .collect()
    }

    /// A connection has come.
    pub(super) fn arrive(&mut self, stream: TcpStream, desk: &mut Desk<'_>) {
        let wants_tcp = self.parameters.transport == Transport::Tcp;
        let most = self.parameters.streams() + CANDIDATES_MAX;
        if !wants_tcp || self.candidates.len() >= most {
            desk.turn_away(stream);
            return;
        }
        let _ = stream.set_nonblocking(true);
        self.candidates.push(Candidate {
            stream,
            number: self.next,
            held: Vec::with_capacity(COOKIE_BYTES),
            deadline: Deadline::after(COOKIE_MAX),
        });
        self.next += 1;
    }

    /// Takes in cookies and greetings that are there.
    pub(super) fn progress(&mut self, desk: &mut Desk<'_>) -> Result<(), LinkError> {
        for mut candidate in std::mem::take(&mut self.candidates) {
            match candidate.read() {
                Progress::Waiting if !candidate.deadline.has_passed() => {
                    self.candidates.push(candidate);
                }
                Progress::Cookie(cookie) if cookie == self.cookie && !self.is_complete() => {
                    self.take_in(candidate)?;
                }
                Progress::Cookie(_) | Progress::Waiting => desk.turn_away(candidate.stream),
                Progress::Gone => {}
            }
        }
        self.greet()
    }

    fn take_in(&mut self, candidate: Candidate) -> Result<(), LinkError> {
        let stream = candidate.stream;
        let failed = |error| LinkError::system("a data stream", error);
        stream.set_nonblocking(false).map_err(failed)?;
        let mut parameters = self.parameters.clone();
        // A segment size can only be asked for before the connection; a name of a congestion
        // control that this host lacks is no reason to refuse.
        parameters.segment_bytes = 0;
        let congestion = parameters.congestion.take();
        open::before_connecting(&stream, &parameters)?;
        if let Some(name) = congestion {
            let _ = sockopt::set_tcp_congestion(&stream, &name);
        }
        self.ready.push((candidate.number, Socket::Tcp(stream)));
        Ok(())
    }

    /// Answers greetings: the socket that heard one becomes the stream.
    fn greet(&mut self) -> Result<(), LinkError> {
        self.greet_again();
        // Bounded: strangers may flood the port.
        for _ in 0..64 {
            let Some(socket) = &self.greeting else {
                return Ok(());
            };
            let mut buffer = [0_u8; 64];
            let result = rustix::net::recvfrom(socket, &mut buffer[..], RecvFlags::DONTWAIT);
            let from = match result {
                Ok((_, _, Some(from))) => from,
                Ok((_, _, None)) => continue,
                Err(Errno::AGAIN) => return Ok(()),
                Err(_) => continue,
            };
            let Ok(from) = SocketAddr::try_from(from) else {
                continue;
            };
            if from.ip().to_canonical() != self.peer {
                continue;
            }
            let failed = |error| LinkError::system("a UDP stream", error);
            socket.connect(from).map_err(failed)?;
            let next = match self.ready.len() + 1 < self.parameters.streams() {
                true => Some(self.udp_socket()?),
                false => None,
            };
            let heard = std::mem::replace(&mut self.greeting, next);
            if let Some(socket) = heard {
                socket.send(&WELCOME).map_err(failed)?;
                self.ready.push((self.next, Socket::Udp(socket)));
                self.next += 1;
            }
        }
        Ok(())
    }

    /// Our answer may have been lost: who says hello again is answered again.
    fn greet_again(&self) {
        for (_, socket) in &self.ready {
            let Socket::Udp(socket) = socket else {
                continue;
            };
            let mut buffer = [0_u8; 64];
            let said = rustix::net::recv(socket, &mut buffer[..], RecvFlags::DONTWAIT);
            if said.is_ok_and(|(_, count)| count == HELLO.len()) {
                // Lost again, it is asked for again.
                let _ = socket.send(&WELCOME);
            }
        }
    }

    /// Whether all streams have come.
    pub(super) fn is_complete(&self) -> bool {
        self.ready.len() >= self.parameters.streams()
    }

    /// The streams in their order; whoever still waits is turned away.
    pub(super) fn finish(mut self, desk: &mut Desk<'_>) -> Result<Vec<Flow>, LinkError> {
        for candidate in self.candidates.drain(..) {
            desk.turn_away(candidate.stream);
        }
        self.ready.sort_by_key(|(number, _)| *number);
        let numbered = self.ready.into_iter().enumerate();
        numbered
            .map(|(index, (_, socket))| {
                let sends = !self.parameters.client_sends(index);
                Flow::new(stream_id(index), sends, socket)
                    .map_err(|error| LinkError::system("a data stream", error))
            })
            .collect()
    }
}

enum Progress {
    Waiting,
    Cookie(Cookie),
    Gone,
}

impl Candidate {
    /// Reads no byte beyond the cookie: what follows is payload.
    fn read(&mut self) -> Progress {
        loop {
            let missing = COOKIE_BYTES.saturating_sub(self.held.len());
            let mut buffer = [0; COOKIE_BYTES];
            let place = buffer.get_mut(..missing).unwrap_or(&mut []);
            match rustix::net::recv(&self.stream, place, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Progress::Gone,
                Ok((_, count)) => {
                    self.held
                        .extend_from_slice(buffer.get(..count).unwrap_or(&[]));
                    if let Some(cookie) = Cookie::take(&mut self.held.as_slice()) {
                        return Progress::Cookie(cookie);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Progress::Waiting,
                Err(_) => return Progress::Gone,
            }
        }
    }
}

/// The address that datagrams go to: the listening one.
pub(super) fn datagram_address(listen: IpAddr, port: u16) -> SocketAddr {
    let has_v6 = || UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    match listen {
        IpAddr::V6(any) if any.is_unspecified() && !has_v6() => {
            (std::net::Ipv4Addr::UNSPECIFIED, port).into()
        }
        listen => (listen, port).into(),
    }
}
