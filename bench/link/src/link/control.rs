//! The control connection: bytes in and out with a deadline for everything.
//!
//! Invariant: no read or write waits longer than its caller says, whatever the peer does; what has
//! arrived and was not used yet is kept.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use towline_base::clock;

/// Longest wait until a message is taken by the peer's kernel.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// Longest wait for the peer's end after ours, so that it reads the last byte before a reset.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

/// A control connection.
#[derive(Debug)]
pub struct Control {
    stream: TcpStream,
    /// What has arrived and was not used yet.
    pub inbox: Vec<u8>,
}

/// What a read found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// More bytes.
    Bytes,
    /// Nothing yet.
    Nothing,
    /// The end, or a reset.
    End,
}

impl Control {
    /// A control connection over a connected socket.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            inbox: Vec::new(),
        })
    }

    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The socket alone; what was not used yet is thrown away.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// When the peer is gone or takes nothing for ten seconds.
    pub fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let begun = clock::now();
        while !bytes.is_empty() {
            match rustix::net::send(&self.stream, bytes, rustix::net::SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let left = WRITE_MAX.saturating_sub(begun.elapsed());
                    if left.is_zero() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    let mut wanted = [PollFd::new(&self.stream, PollFlags::OUT)];
                    wait(&mut wanted, left);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes in what is there without waiting.
    pub fn read(&mut self) -> Arrival {
        let mut found = Arrival::Nothing;
        let mut buffer = [0; READ_BYTES];
        // Bounded: a peer that floods is read on at the next turn.
        for _ in 0..64 {
            match rustix::net::recv(
                &self.stream,
                &mut buffer[..],
                rustix::net::RecvFlags::DONTWAIT,
            ) {
                Ok((_, 0)) => return Arrival::End,
                Ok((_, count)) => {
                    self.inbox
                        .extend_from_slice(buffer.get(..count).unwrap_or(&[]));
                    found = Arrival::Bytes;
                    if count < READ_BYTES {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return Arrival::End,
            }
        }
        found
    }

    /// Lets `core` take bytes off the inbox.
    pub fn feed<T>(&mut self, core: impl FnOnce(&mut &[u8]) -> T) -> T {
        let mut unread = self.inbox.as_slice();
        let result = core(&mut unread);
        let taken = self.inbox.len() - unread.len();
        self.inbox.drain(..taken);
        result
    }

    /// Ends the connection so that the peer reads our last byte: ours first, then its own end.
    pub fn close(self) {
        // Whatever fails here, the test is over.
        let _ = self.stream.shutdown(Shutdown::Write);
        let begun = clock::now();
        let mut buffer = [0; READ_BYTES];
        while let Some(left) = LINGER_MAX.checked_sub(begun.elapsed()) {
            let mut wanted = [PollFd::new(&self.stream, PollFlags::IN)];
            wait(&mut wanted, left);
            match rustix::net::recv(
                &self.stream,
                &mut buffer[..],
                rustix::net::RecvFlags::DONTWAIT,
            ) {
                Ok((_, 0)) => return,
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Waits for one of these, at most so long. An interruption counts as nothing ready.
pub fn wait(wanted: &mut [PollFd<'_>], most: Duration) {
    // Rounded up, so that a wait of 0.4 ms is not a busy loop.
    let timeout = Timespec {
        tv_sec: i64::try_from(most.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(most.subsec_nanos()),
    };
    for one in wanted.iter_mut() {
        one.clear_revents();
    }
    let _ = poll(wanted, Some(&timeout));
}

/// A point in time that something must happen before.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    begun: Instant,
    most: Duration,
}

impl Deadline {
    /// So long from now.
    #[must_use]
    pub fn after(most: Duration) -> Self {
        Self {
            begun: clock::now(),
            most,
        }
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.most.saturating_sub(self.begun.elapsed())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.left().is_zero()
    }
}
