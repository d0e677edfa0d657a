//! A small epoll loop (epoll(7)) for clients that hold many non-blocking sockets on one thread.
//!
//! Invariant: tokens are the caller's own indices and come back unchanged. Level-triggered: a
//! socket that was not drained is reported again. Not promised: fairness beyond what epoll does.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::time::Timespec;

/// Events taken from the kernel at once, as a count: more than any load has connections.
const EVENTS_MAX: usize = 256;
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A set of sockets to wait for.
pub struct Poll {
    epoll: OwnedFd,
    spins: bool,
    events: Vec<epoll::Event>,
}

/// What one socket is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The index given at registration.
    pub token: usize,
    /// Bytes, an end or an error can be read.
    pub readable: bool,
    /// Bytes can be written.
    pub writable: bool,
}

impl Poll {
    /// Serves what becomes ready for `length`.
    ///
    /// # Errors
    /// What `serve` reports, and that nothing became ready within `silence`.
    pub fn drive(
        &mut self,
        (length, silence): (Duration, Duration),
        mut serve: impl FnMut(&mut Self, Ready) -> Result<()>,
    ) -> Result<()> {
        let until = Instant::now() + length;
        let mut heard = Instant::now();
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            anyhow::ensure!(
                now - heard < silence,
                "no byte from the server for {silence:?}"
            );
            for ready in self.wait(until - now)? {
                heard = now;
                serve(self, ready)?;
            }
        }
    }

    /// An empty set. One that `spins` asks again and again instead of sleeping: in a virtual
    /// machine waking up takes 40 us, and a client that sleeps between two windows of small calls
    /// measures that instead of the server. For bulk data sleeping is better: the bytes gather.
    ///
    /// # Errors
    /// Fails when the process has no descriptors left.
    pub fn new(spins: bool) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll_create")?;
        Ok(Self {
            epoll,
            spins,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// Adds a socket, interested in reading and, where `write` says so, in writing.
    ///
    /// # Errors
    /// Fails when the socket is already in the set.
    pub fn add(&self, socket: &impl AsFd, token: usize, write: bool) -> Result<()> {
        let data = epoll::EventData::new_u64(token as u64);
        epoll::add(&self.epoll, socket, data, flags(write)).context("epoll add")
    }

    /// Changes whether writing is of interest.
    ///
    /// # Errors
    /// Fails when the socket is not in the set.
    pub fn change(&self, socket: &impl AsFd, token: usize, write: bool) -> Result<()> {
        let data = epoll::EventData::new_u64(token as u64);
        epoll::modify(&self.epoll, socket, data, flags(write)).context("epoll modify")
    }

    /// Waits for readiness, or for `limit`; an empty list means that the limit passed.
    ///
    /// # Errors
    /// Passes on what epoll_wait reports, except interruption, which counts as nothing ready.
    pub fn wait(&mut self, limit: Duration) -> Result<Vec<Ready>> {
        let until = Instant::now() + limit;
        loop {
            self.events.clear();
            let timeout = if self.spins { Duration::ZERO } else { limit };
            let timeout = Timespec::try_from(timeout).context("wait too long")?;
            let buffer = rustix::buffer::spare_capacity(&mut self.events);
            match epoll::wait(&self.epoll, buffer, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("epoll wait"),
            }
            if !self.events.is_empty() || Instant::now() >= until {
                return Ok(self.events.iter().map(ready_from).collect());
            }
        }
    }
}

fn flags(write: bool) -> epoll::EventFlags {
    let read = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
    if write {
        read | epoll::EventFlags::OUT
    } else {
        read
    }
}

fn ready_from(event: &epoll::Event) -> Ready {
    let happened = event.flags;
    let broken = epoll::EventFlags::HUP | epoll::EventFlags::ERR | epoll::EventFlags::RDHUP;
    Ready {
        token: event.data.u64() as usize,
        readable: happened.intersects(epoll::EventFlags::IN | broken),
        writable: happened.intersects(epoll::EventFlags::OUT),
    }
}

/// Connects, then makes the socket non-blocking with Nagle's delay off.
///
/// # Errors
/// Fails when nobody listens or the connection takes longer than five seconds.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Throws away up to `bytes` received bytes without copying them: recv(2) with MSG_TRUNC on a
/// stream socket. Returns how many went, `None` when none are there yet.
///
/// # Errors
/// Fails when the peer closed or reset the connection.
pub fn discard(socket: &impl AsFd, scratch: &mut [u8], bytes: u64) -> Result<Option<u64>> {
    let length = usize::try_from(bytes)
        .unwrap_or(usize::MAX)
        .min(scratch.len());
    let window = &mut scratch[..length];
    // The kernel is given the buffer's length and, on a stream socket, copies nothing into it.
    match rustix::net::recv(socket, window, rustix::net::RecvFlags::TRUNC) {
        Ok((_, 0)) => anyhow::bail!("the server closed the connection inside a body"),
        Ok((_, length)) => Ok(Some(length as u64)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error).context("recv"),
    }
}
