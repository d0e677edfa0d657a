//! Opening streams to a server, and the bytes that are sent over them.
//!
//! Invariant: a stream is complete (its cookie sent, or its greeting answered) before the next one
//! begins, because their order is their identity.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use towline_sys::tcp_info;
use towline_sys::zero_copy::ZeroCopySender;

use super::client::Zerocopy;
use super::control::{Deadline, wait};
use super::error::LinkError;
use super::flow::{Flow, Socket};
use super::tcp::{Source, memory_file};
use super::way::{CONNECT_MAX, NoConnection, Way, dial};
use crate::iperf3::datagram::{HELLO, WELCOME, WELCOME_OLD};
use crate::iperf3::{Cookie, Parameters, Transport, stream_id};

/// Longest wait for the answer to a greeting.
const WELCOME_MAX: Duration = Duration::from_secs(30);
/// A greeting may be lost: it is said again so often.
const HELLO_EVERY: Duration = Duration::from_secs(1);
/// Most datagrams of the test that may overtake the answer.
const OVERTAKING_MAX: usize = 64;

/// Opens the streams of one test.
pub(super) struct Opener<'a> {
    pub(super) parameters: &'a Parameters,
    pub(super) address: SocketAddr,
    pub(super) cookie: &'a Cookie,
    pub(super) host: &'a str,
    pub(super) way: &'a Way,
    pub(super) stop: &'a AtomicBool,
}

impl Opener<'_> {
    /// Stream `index` in the order of creation.
    pub(super) fn open(&self, index: usize) -> Result<Flow, LinkError> {
        let socket = match self.parameters.transport {
            Transport::Tcp => Socket::Tcp(self.tcp(self.way.port_of(index)?)?),
            Transport::Udp => Socket::Udp(self.udp(self.way.port_of(index)?)?),
        };
        let sends = self.parameters.client_sends(index);
        Flow::new(stream_id(index), sends, socket)
            .map_err(|error| LinkError::system("a stream", error))
    }

    fn failed(&self, error: impl Into<std::io::Error>) -> LinkError {
        LinkError::system(format!("a data stream to {}", self.address), error)
    }

    fn tcp(&self, port: u16) -> Result<TcpStream, LinkError> {
        let place = (self.address, port);
        let prepare = |socket: &_| before_connecting(socket, self.parameters);
        let stream = match dial(self.way, place, CONNECT_MAX, self.stop, prepare) {
            Ok(stream) => stream,
            Err(NoConnection::Refused(error)) => return Err(self.failed(error)),
            Err(NoConnection::Stopped) => return Err(self.stopped()),
            Err(NoConnection::Own(error)) => return Err(error),
        };
        use std::io::Write;
        (&stream)
            .write_all(self.cookie.as_bytes())
            .map_err(|error| self.failed(error))?;
        Ok(stream)
    }

    fn stopped(&self) -> LinkError {
        LinkError::interrupted(self.host)
    }

    fn udp(&self, port: u16) -> Result<UdpSocket, LinkError> {
        let family = match self.address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)
            .map_err(|error| self.failed(error))?;
        self.way.bind(&socket, self.address, port)?;
        let socket = UdpSocket::from(socket);
        set_datagram_options(&socket, self.parameters)?;
        socket
            .connect(self.address)
            .map_err(|error| self.failed(error))?;
        self.greet(&socket)?;
        Ok(socket)
    }

    fn greet(&self, socket: &UdpSocket) -> Result<(), LinkError> {
        let deadline = Deadline::after(WELCOME_MAX);
        let mut overtaken = 0;
        let mut buffer = vec![0; 65_536];
        while !deadline.has_passed() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(self.stopped());
            }
            let _lost_or_refused = socket.send(&HELLO);
            let again = Deadline::after(HELLO_EVERY);
            while !again.has_passed() && overtaken <= OVERTAKING_MAX {
                let left = again.left().max(Duration::from_millis(1));
                let mut wanted = [PollFd::new(socket, PollFlags::IN)];
                wait(&mut wanted, left);
                if wanted.iter().all(|one| one.revents().is_empty()) {
                    break;
                }
                match socket.recv(&mut buffer) {
                    Ok(4) => {
                        let word = buffer.first_chunk::<4>().copied().unwrap_or_default();
                        if word == WELCOME || word == WELCOME_OLD {
                            return Ok(());
                        }
                    }
                    // In reverse the answer can be overtaken by data.
                    Ok(_) => overtaken += 1,
                    // Nobody listens there yet.
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            }
        }
        Err(LinkError::Silent {
            peer: self.host.to_owned(),
            phase: "opening a UDP stream; is UDP let through on that port?",
            seconds: WELCOME_MAX.as_secs(),
        })
    }
}

/// Options that a TCP socket wants before it connects.
pub(super) fn before_connecting(
    socket: &impl AsFd,
    parameters: &Parameters,
) -> Result<(), LinkError> {
    let failed = |what: &str, error: Errno| LinkError::system(what, error);
    if parameters.segment_bytes > 0 {
        tcp_info::set_segment_bytes(socket, parameters.segment_bytes)
            .map_err(|error| failed("the segment size", error))?;
    }
    if parameters.nodelay {
        sockopt::set_tcp_nodelay(socket, true).map_err(|error| failed("nodelay", error))?;
    }
    if let Some(name) = &parameters.congestion {
        sockopt::set_tcp_congestion(socket, name)
            .map_err(|error| failed(&format!("congestion control {name}"), error))?;
    }
    set_any_options(socket, parameters)
}

/// Options of datagram sockets.
pub(super) fn set_datagram_options(
    socket: &UdpSocket,
    parameters: &Parameters,
) -> Result<(), LinkError> {
    set_any_options(socket, parameters)?;
    if parameters.window == 0 {
        // The default holds 200 datagrams, which a sleep of a millisecond overruns. What the
        // kernel does not grant is not needed.
        let _ = sockopt::set_socket_recv_buffer_size(socket, 4 << 20);
        let _ = sockopt::set_socket_send_buffer_size(socket, 4 << 20);
    }
    if parameters.dont_fragment && socket.local_addr().is_ok_and(|local| local.is_ipv4()) {
        let always = sockopt::Ipv4PathMtuDiscovery::DO;
        sockopt::set_ip_mtu_discover(socket, always)
            .map_err(|error| LinkError::system("never cutting datagrams", error))?;
    }
    Ok(())
}

fn set_any_options(socket: &impl AsFd, parameters: &Parameters) -> Result<(), LinkError> {
    if parameters.window > 0 {
        let bytes = parameters.window as usize;
        sockopt::set_socket_recv_buffer_size(socket, bytes)
            .and_then(|()| sockopt::set_socket_send_buffer_size(socket, bytes))
            .map_err(|error| LinkError::system("the socket buffers", error))?;
    }
    if parameters.tos > 0 {
        let tos = u8::try_from(parameters.tos).unwrap_or(0);
        // One of the two fits the socket's family.
        let old = sockopt::set_ip_tos(socket, tos);
        let new = sockopt::set_ipv6_tclass(socket, parameters.tos);
        old.or(new)
            .map_err(|error| LinkError::system("the type of service", error))?;
    }
    Ok(())
}

/// What senders take their bytes from: random, so that links that compress gain nothing.
pub(super) fn source(zerocopy: Zerocopy, parameters: &Parameters) -> Result<Source, LinkError> {
    /// Bytes of the file that is sent from: as many blocks as one call moves.
    const FILE_BYTES: usize = 1 << 20;
    let block = parameters.len as usize;
    let mut bytes = vec![0; block];
    if parameters.repeating_payload {
        for (byte, value) in bytes.iter_mut().zip((b'0'..=b'9').cycle()) {
            *byte = value;
        }
    } else {
        towline_base::rand::fill(&mut bytes)
            .map_err(|error| LinkError::system("random bytes", error))?;
    }
    match (zerocopy, parameters.transport) {
        (Zerocopy::Sendfile, Transport::Tcp) => {
            let length = (FILE_BYTES / block).max(1) * block;
            let file = memory_file(&bytes, length)
                .map_err(|error| LinkError::system("a file in memory", error))?;
            Ok(Source::File(Arc::new(file), length))
        }
        (Zerocopy::SendZc, Transport::Tcp) => {
            let bytes: Arc<[u8]> = bytes.into();
            // Tried here, so that a kernel without it is told before the streams open.
            ZeroCopySender::new(bytes.clone()).map_err(|error| {
                let what = "io_uring SEND_ZC (Linux 6.0, kernel.io_uring_disabled = 0); \
                            use --zerocopy sendfile";
                LinkError::system(what, error)
            })?;
            Ok(Source::Uring(bytes))
        }
        (Zerocopy::Off | Zerocopy::Sendfile | Zerocopy::SendZc, _) => {
            Ok(Source::Memory(bytes.into()))
        }
    }
}
