//! One stream of a test: its socket and the counters that its thread writes.
//!
//! Invariant: each counter has one writer, the stream's thread; everybody may read. A flow is shut
//! down by its owner, which wakes a thread that is blocked in the kernel.

use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use towline_sys::tcp_info::{TcpInfo, tcp_info};

use crate::iperf3::datagram::Reception;

/// The socket of a stream.
#[derive(Debug)]
pub enum Socket {
    /// A connection.
    Tcp(TcpStream),
    /// A connected datagram socket.
    Udp(UdpSocket),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
        }
    }
}

/// One stream.
#[derive(Debug)]
pub struct Flow {
    /// Its id on the wire.
    pub id: i64,
    /// Whether this end sends.
    pub sends: bool,
    /// Its socket.
    pub socket: Socket,
    /// This end's address.
    pub local: SocketAddr,
    /// The other end's.
    pub remote: SocketAddr,
    /// Payload bytes sent or received.
    pub bytes: AtomicU64,
    /// Blocks or datagrams sent or received.
    pub blocks: AtomicU64,
    /// Nanoseconds that its thread was on a core, and ready without one.
    pub scheduled: (AtomicU64, AtomicU64),
    /// Why its thread ended early, if it did.
    pub failure: Mutex<Option<std::io::Error>>,
    reception: Mutex<Reception>,
}

impl Flow {
    /// A stream over a connected socket.
    ///
    /// # Errors
    /// When the socket is not connected any more.
    pub fn new(id: i64, sends: bool, socket: Socket) -> std::io::Result<Self> {
        let (local, remote) = match &socket {
            Socket::Tcp(socket) => (socket.local_addr()?, socket.peer_addr()?),
            Socket::Udp(socket) => (socket.local_addr()?, socket.peer_addr()?),
        };
        Ok(Self {
            id,
            sends,
            socket,
            local: canonical(local),
            remote: canonical(remote),
            bytes: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            scheduled: (AtomicU64::new(0), AtomicU64::new(0)),
            failure: Mutex::new(None),
            reception: Mutex::new(Reception::default()),
        })
    }

    /// Counts what was moved.
    pub fn count(&self, bytes: u64, blocks: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.blocks.fetch_add(blocks, Ordering::Relaxed);
    }

    /// What was received as datagrams so far.
    #[must_use]
    pub fn reception(&self) -> Reception {
        match self.reception.lock() {
            Ok(reception) => *reception,
            Err(poisoned) => *poisoned.into_inner(),
        }
    }

    /// Replaces what was received as datagrams so far.
    pub fn set_reception(&self, now: Reception) {
        match self.reception.lock() {
            Ok(mut reception) => *reception = now,
            Err(poisoned) => *poisoned.into_inner() = now,
        }
    }

    /// Notes how the calling thread, which serves this stream alone, has fared so far.
    pub fn note_schedule(&self) {
        if let Some((ran, waited)) = super::host::thread_times() {
            let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(0);
            self.scheduled.0.store(nanos(ran), Ordering::Relaxed);
            self.scheduled.1.store(nanos(waited), Ordering::Relaxed);
        }
    }

    /// Notes why the thread ended.
    pub fn fail(&self, error: std::io::Error) {
        if let Ok(mut failure) = self.failure.lock() {
            *failure = Some(error);
        }
    }

    /// What the kernel knows of it; `None` for datagrams and dead sockets.
    #[must_use]
    pub fn tcp_info(&self) -> Option<TcpInfo> {
        match &self.socket {
            Socket::Tcp(socket) => tcp_info(socket).ok(),
            Socket::Udp(_) => None,
        }
    }

    /// Ends it in both directions and wakes its thread.
    pub fn shut_down(&self) {
        match &self.socket {
            // Gone already is as good.
            Socket::Tcp(socket) => drop(socket.shutdown(Shutdown::Both)),
            Socket::Udp(socket) => {
                let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
            }
        }
    }
}

/// An address without the clothes of IPv6 around an IPv4 one.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
