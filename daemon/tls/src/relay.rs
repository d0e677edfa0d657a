//! One TLS connection after its handshake: ciphertext outside, plain bytes inside.
//!
//! The inside is a socket pair whose other end belongs to a worker, so every rule of HTTP holds for
//! TLS too. All connections of a thread share its buffers: one that idles holds none. A byte is
//! encrypted from where it was read to where it is sent from, as it would be in any server that
//! does not leave that to the kernel. Invariant: nothing is read on one side before the other has
//! taken what was read before it, so a connection holds at most one batch per way. Not promised:
//! the time that a peer may take; the worker judges that, and closes the inside.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::handshake::encode;

/// Most plain bytes that are encrypted at once: eight records.
const BATCH_BYTES: usize = 128 << 10;

/// The same while [`UNSENT_BYTES_MAX`] are waiting: one record.
const BATCH_BYTES_MIN: usize = 16 << 10;

/// Room for a batch in records: head, type and tag take less than 64 bytes of each.
const SEALED_BYTES: usize = BATCH_BYTES + (BATCH_BYTES / BATCH_BYTES_MIN + 1) * 64;

/// Bytes that may wait for slow peers of one thread before batches become small: 128 MiB.
const UNSENT_BYTES_MAX: usize = 128 << 20;

/// How long a peer may take to read on when everything else is over. As long as a pause may be
/// that does not end a transfer.
const TAIL_STALL_MAX: Duration = Duration::from_secs(60);

/// How long what a peer still sends is read and thrown away, so that no reset overtakes the reply.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// Most bytes thrown away so.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// What all connections of a thread use in turn.
pub(crate) struct Bench {
    plain: Vec<u8>,
    /// Plain bytes of one read, in records of any length.
    opened: Vec<u8>,
    sealed: Vec<u8>,
    /// Bytes that wait for peers, over all connections.
    unsent: usize,
}

impl Bench {
    pub(crate) fn new() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            plain: vec![0; BATCH_BYTES],
            opened: Vec::with_capacity(BATCH_BYTES),
            sealed: vec![0; SEALED_BYTES],
            unsent: 0,
        }))
    }
}

/// One connection.
pub(crate) struct Relay {
    tls: UnbufferedServerConnection,
    outside: TcpStream,
    inside: UnixStream,
    bench: Rc<RefCell<Bench>>,
    /// The beginning of a record whose end has not come.
    partial: Vec<u8>,
    /// What the worker has not taken yet.
    to_inside: Vec<u8>,
    /// What the peer has not taken yet.
    to_outside: Vec<u8>,
    outside_ended: bool,
    inside_ended: bool,
    /// The worker takes no more.
    is_deaf: bool,
}

impl Relay {
    pub(crate) fn new(
        tls: UnbufferedServerConnection,
        outside: TcpStream,
        inside: UnixStream,
        bench: Rc<RefCell<Bench>>,
    ) -> Self {
        Self {
            tls,
            outside,
            inside,
            bench,
            partial: Vec::new(),
            to_inside: Vec::new(),
            to_outside: Vec::new(),
            outside_ended: false,
            inside_ended: false,
            is_deaf: false,
        }
    }

    /// Relays until the worker has closed its end and the peer has everything.
    ///
    /// # Errors
    /// What the peer did wrong, or how it went away.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        while !(self.inside_ended && self.to_outside.is_empty()) {
            let outside = self.outside_interest();
            let inside = self.inside_interest();
            tokio::select! {
                ready = ready_outside(&self.outside, outside) => {
                    let ready = ready?;
                    if ready.is_writable() {
                        self.flush_outside()?;
                    }
                    if ready.is_readable() && !self.outside_ended && self.to_inside.is_empty() {
                        self.receive()?;
                    }
                }
                ready = ready_inside(&self.inside, inside) => {
                    let ready = ready?;
                    if ready.is_writable() {
                        self.flush_inside()?;
                    }
                    if ready.is_readable() && !self.inside_ended && self.to_outside.is_empty() {
                        self.send()?;
                    }
                }
                () = tokio::time::sleep(TAIL_STALL_MAX), if self.inside_ended => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
        self.linger().await;
        Ok(())
    }

    fn outside_interest(&self) -> Option<Interest> {
        let reads = !self.outside_ended && !self.inside_ended && self.to_inside.is_empty();
        interest(reads, !self.to_outside.is_empty())
    }

    fn inside_interest(&self) -> Option<Interest> {
        let reads = !self.inside_ended && self.to_outside.is_empty();
        interest(reads, !self.to_inside.is_empty())
    }

    /// Takes ciphertext from the peer and gives the plain bytes to the worker.
    fn receive(&mut self) -> io::Result<()> {
        let bench = self.bench.clone();
        let bench = &mut *bench.borrow_mut();
        let held = self.partial.len();
        let Some((front, room)) = bench.sealed.split_at_mut_checked(held) else {
            return Err(io::Error::other("a record is too long"));
        };
        let count = match self.outside.try_read(room) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        front.copy_from_slice(&self.partial);
        let mut opened = std::mem::take(&mut bench.opened);
        opened.clear();
        let sealed = bench.sealed.get_mut(..held + count).unwrap_or(&mut []);
        let used = self.open(sealed, &mut opened);
        if let Ok(used) = used {
            self.partial.clear();
            let rest = sealed.get(used..).unwrap_or(&[]);
            self.partial.extend_from_slice(rest);
        }
        let delivered = used.and_then(|_| self.deliver(&opened));
        bench.opened = opened;
        bench.unsent += delivered?;
        self.outside_ended |= count == 0;
        if self.outside_ended && self.to_inside.is_empty() {
            self.end_inside();
        }
        self.push_outside(bench)
    }

    /// Gives plain bytes to the worker; how many of them must wait.
    fn deliver(&mut self, plain: &[u8]) -> io::Result<usize> {
        if self.is_deaf || plain.is_empty() {
            return Ok(0);
        }
        let taken = match self.inside.try_write(plain) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // The worker has answered and wants no more; its answer is still to be delivered.
            Err(error) if has_closed(&error) => {
                self.is_deaf = true;
                return Ok(0);
            }
            Err(error) => return Err(error),
        };
        let rest = plain.get(taken..).unwrap_or(&[]);
        self.to_inside.extend_from_slice(rest);
        Ok(rest.len())
    }

    /// Opens records; how many bytes of them were used.
    fn open(&mut self, sealed: &mut [u8], plain: &mut Vec<u8>) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let rest = sealed.get_mut(used..).unwrap_or(&mut []);
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(rest);
            used += discard;
            match state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record
                            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                        used += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let before = self.to_outside.len();
                    encode(&mut self.to_outside, |room| data.encode(room))?;
                    debug_assert!(self.to_outside.len() > before, "something was encoded");
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed => self.outside_ended = true,
                // Nothing more to be read from what is here.
                _ => return Ok(used),
            }
            if self.outside_ended {
                return Ok(used);
            }
        }
    }

    /// Takes plain bytes from the worker and sends them as records.
    fn send(&mut self) -> io::Result<()> {
        let bench = self.bench.clone();
        let bench = &mut *bench.borrow_mut();
        let batch = if bench.unsent > UNSENT_BYTES_MAX {
            BATCH_BYTES_MIN
        } else {
            BATCH_BYTES
        };
        let plain = bench.plain.get_mut(..batch).unwrap_or(&mut []);
        let count = match self.inside.try_read(plain) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if has_closed(&error) => 0,
            Err(error) => return Err(error),
        };
        let plain = plain.get(..count).unwrap_or(&[]);
        let sealed = self.seal(plain, &mut bench.sealed)?;
        let sealed = bench.sealed.get(..sealed).unwrap_or(&[]);
        let mut sent = 0;
        if self.to_outside.is_empty() {
            sent = match self.outside.try_write(sealed) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                written => written.unwrap_or(0),
            };
        }
        let rest = sealed.get(sent..).unwrap_or(&[]);
        self.to_outside.extend_from_slice(rest);
        bench.unsent += rest.len();
        self.inside_ended |= count == 0;
        Ok(())
    }

    /// Makes records of plain bytes, or the closing alert where there are none.
    fn seal(&mut self, plain: &[u8], sealed: &mut [u8]) -> io::Result<usize> {
        // A key update that is due comes first; more than that at once is a fault.
        for _ in 0..4 {
            match self.tls.process_tls_records(&mut []).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let made = if plain.is_empty() {
                        traffic.queue_close_notify(sealed)
                    } else {
                        traffic.encrypt(plain, sealed)
                    };
                    return made.map_err(io::Error::other);
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.to_outside, |room| data.encode(room))?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::Closed) if plain.is_empty() => return Ok(0),
                Ok(_) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Err(io::Error::other("TLS does not come to sending"))
    }

    fn flush_outside(&mut self) -> io::Result<()> {
        let bench = self.bench.clone();
        self.push_outside(&mut bench.borrow_mut())
    }

    fn push_outside(&mut self, bench: &mut Bench) -> io::Result<()> {
        if self.to_outside.is_empty() {
            return Ok(());
        }
        match self.outside.try_write(&self.to_outside) {
            Ok(count) => {
                self.to_outside.drain(..count);
                bench.unsent = bench.unsent.saturating_sub(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if self.to_outside.is_empty() {
            // A connection that idles holds no buffer.
            self.to_outside = Vec::new();
        }
        Ok(())
    }

    fn flush_inside(&mut self) -> io::Result<()> {
        if self.to_inside.is_empty() {
            return Ok(());
        }
        let waiting = self.to_inside.len();
        let taken = match self.inside.try_write(&self.to_inside) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) if has_closed(&error) => {
                self.is_deaf = true;
                waiting
            }
            Err(error) => return Err(error),
        };
        self.to_inside.drain(..taken);
        let mut bench = self.bench.borrow_mut();
        bench.unsent = bench.unsent.saturating_sub(taken);
        drop(bench);
        if self.to_inside.is_empty() {
            self.to_inside = Vec::new();
            if self.outside_ended {
                self.end_inside();
            }
        }
        Ok(())
    }

    /// Tells the worker that the peer will send no more.
    fn end_inside(&self) {
        // A worker that has closed its end already needs no word.
        let _ = rustix::net::shutdown(&self.inside, rustix::net::Shutdown::Write);
    }

    /// Ends the sending side and throws away what still comes, for a moment.
    async fn linger(&mut self) {
        let _ = rustix::net::shutdown(&self.outside, rustix::net::Shutdown::Write);
        let mut left = LINGER_BYTES_MAX;
        let discard = async {
            while left > 0 && self.outside.readable().await.is_ok() {
                let mut bench = self.bench.borrow_mut();
                match self.outside.try_read(&mut bench.sealed) {
                    Ok(0) => return,
                    Ok(count) => left = left.saturating_sub(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        let _ = tokio::time::timeout(LINGER_MAX, discard).await;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let held = self.to_inside.len() + self.to_outside.len();
        let mut bench = self.bench.borrow_mut();
        bench.unsent = bench.unsent.saturating_sub(held);
    }
}

/// Whether the worker has closed its end.
fn has_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

fn interest(reads: bool, writes: bool) -> Option<Interest> {
    match (reads, writes) {
        (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
        (true, false) => Some(Interest::READABLE),
        (false, true) => Some(Interest::WRITABLE),
        (false, false) => None,
    }
}

async fn ready_outside(
    stream: &TcpStream,
    interest: Option<Interest>,
) -> io::Result<tokio::io::Ready> {
    match interest {
        Some(interest) => stream.ready(interest).await,
        None => std::future::pending().await,
    }
}

async fn ready_inside(
    stream: &UnixStream,
    interest: Option<Interest>,
) -> io::Result<tokio::io::Ready> {
    match interest {
        Some(interest) => stream.ready(interest).await,
        None => std::future::pending().await,
    }
}
