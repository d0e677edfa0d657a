//! The loops of one TCP stream: sending blocks and taking what comes.
//!
//! Sockets block; the owner ends a loop by its flag and by shutting the socket down. Invariant:
//! what is counted went through the socket, and nothing is counted after the flag fell. A receiver
//! discards in the kernel (`MSG_TRUNC`, tcp(7)) unless it is told to copy.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use towline_base::clock;
use towline_sys::tcp_info::set_receive_low_water;
use towline_sys::zero_copy::ZeroCopySender;

use super::flow::Flow;
use super::pacing::Pacer;
use super::session::{Receive, Shared};

/// Bytes that one call may discard: large enough that calls do not limit.
const DISCARD_BYTES: usize = 1 << 20;

/// Bytes that one `sendfile` call may move: the kernel blocks inside until they are taken.
const SENDFILE_BYTES: usize = 1 << 20;

/// Bytes for which a fast receiver wakes up.
const LOW_WATER_BYTES: u32 = 256 << 10;
/// Bytes between two looks at the rate: some milliseconds of a fast link.
const LOW_WATER_LOOK_BYTES: usize = 8 << 20;
/// Bytes per second from which a receiver is fast: 1 Gbit/s.
const LOW_WATER_BYTES_PER_S: f64 = 125e6;

/// What a sender takes its bytes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Memory, copied by the kernel.
    Memory(Arc<[u8]>),
    /// Memory, sent through io_uring without a copy where card and driver can.
    Uring(Arc<[u8]>),
    /// A file in memory, sent from the page cache without a copy; its length follows.
    File(Arc<OwnedFd>, usize),
}

/// Sends until it is stopped, the budget is spent, or the peer is gone.
pub(super) fn send_loop(flow: &Flow, shared: &Shared, source: &Source, block: usize) {
    let mut pacer = Pacer::new(shared.rate, shared.burst);
    let bounded = pacer.is_bounded() || shared.budget.is_bounded();
    // Unbounded and without a copy, several blocks go with one call.
    let piece = match source {
        Source::File(_, length) if !bounded => SENDFILE_BYTES.min(*length).max(block),
        Source::File(..) | Source::Memory(_) | Source::Uring(_) => block,
    };
    let mut outlet = match Outlet::new(source) {
        Ok(outlet) => outlet,
        Err(error) => {
            flow.fail(error.into());
            shared.wake.ring();
            return;
        }
    };
    while pacer.wait(|| !shared.is_running()) {
        if !shared.budget.take(piece as u64) {
            break;
        }
        match send_block(flow, shared, &mut outlet, piece) {
            Ok(0) => break,
            Ok(bytes) => {
                pacer.sent(bytes);
                flow.count(0, (bytes / block) as u64);
            }
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

/// A source as one thread uses it.
enum Outlet<'a> {
    Memory(&'a [u8]),
    Uring(Box<ZeroCopySender>),
    File(&'a OwnedFd, usize),
}

impl<'a> Outlet<'a> {
    fn new(source: &'a Source) -> Result<Self, Errno> {
        Ok(match source {
            Source::Memory(bytes) => Self::Memory(bytes),
            Source::Uring(bytes) => Self::Uring(Box::new(ZeroCopySender::new(bytes.clone())?)),
            Source::File(file, length) => Self::File(file, *length),
        })
    }

    /// Sends what is left of a block of which `sent` bytes went.
    fn send(&mut self, flow: &Flow, sent: usize, block: usize) -> Result<usize, Errno> {
        match self {
            Self::Memory(bytes) => {
                let rest = bytes.get(sent..block).unwrap_or(&[]);
                send(&flow.socket, rest, SendFlags::NOSIGNAL)
            }
            // Its memory is one block.
            Self::Uring(sender) => sender.send(&flow.socket, sent),
            Self::File(file, length) => {
                let mut offset = (sent % *length) as u64;
                let count = (block - sent).min(*length - sent % *length);
                rustix::fs::sendfile(&flow.socket, file.as_fd(), Some(&mut offset), count)
            }
        }
    }
}

/// Sends one block whole; less only when the test ended meanwhile.
fn send_block(
    flow: &Flow,
    shared: &Shared,
    outlet: &mut Outlet<'_>,
    block: usize,
) -> Result<usize, Errno> {
    let mut sent = 0;
    while sent < block {
        let result = outlet.send(flow, sent, block);
        match result {
            Ok(0) => return Ok(sent),
            Ok(count) => {
                flow.count(count as u64, 0);
                sent += count;
            }
            Err(Errno::INTR | Errno::AGAIN) if shared.is_running() => {}
            Err(_) if !shared.is_running() => return Ok(sent),
            Err(error) => return Err(error),
        }
        if !shared.is_running() {
            break;
        }
    }
    Ok(sent)
}

/// Takes what comes until the peer ends or the socket is shut down. After the flag fell it goes on
/// taking, so that a blocked sender can end, but does not count.
pub(super) fn receive_loop(flow: &Flow, shared: &Shared, block: usize) {
    let (mut buffer, flags) = match shared.receive {
        Receive::Copy => (vec![0; block], RecvFlags::empty()),
        // The kernel is told the length and copies nothing into it.
        Receive::Discard => (vec![0; DISCARD_BYTES.max(block)], RecvFlags::TRUNC),
    };
    let mut pacer = Pacer::new(shared.receive_rate, 0);
    let mut whole = 0;
    let mut low_water = LowWater::new(shared);
    loop {
        if pacer.is_bounded() {
            // A stop ends the waiting, not the loop.
            pacer.wait(|| !shared.is_running());
        }
        match recv(&flow.socket, buffer.as_mut_slice(), flags) {
            Ok((_, 0)) => break,
            Ok((_, count)) => {
                pacer.sent(count);
                low_water.took(flow, count);
                if shared.counts_received() {
                    let bytes = whole + count;
                    whole = bytes % block;
                    flow.count(count as u64, (bytes / block) as u64);
                    shared.received(count as u64);
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => {
                if shared.is_running() && !is_end(error) {
                    flow.fail(error.into());
                }
                break;
            }
        }
    }
    shared.wake.ring();
}

/// Lets a fast receiver wake up for many bytes at once instead of for every packet: at 1 Gbit/s and
/// more, where waiting for them takes two milliseconds at most.
struct LowWater {
    since: Instant,
    bytes: usize,
    is_raised: bool,
    is_wanted: bool,
}

impl LowWater {
    /// Where a rate is kept, bytes come slowly by intention.
    fn new(shared: &Shared) -> Self {
        Self {
            since: clock::now(),
            bytes: 0,
            is_raised: false,
            is_wanted: shared.rate == 0 && shared.receive_rate == 0,
        }
    }

    fn took(&mut self, flow: &Flow, count: usize) {
        if !self.is_wanted {
            return;
        }
        self.bytes += count;
        if self.bytes < LOW_WATER_LOOK_BYTES {
            return;
        }
        let seconds = self.since.elapsed().as_secs_f64();
        let is_fast = self.bytes as f64 / seconds.max(1e-9) >= LOW_WATER_BYTES_PER_S;
        if is_fast != self.is_raised {
            let bytes = if is_fast { LOW_WATER_BYTES } else { 1 };
            // Where it cannot be set, the receiver wakes up more often.
            let _ = set_receive_low_water(&flow.socket, bytes);
            self.is_raised = is_fast;
        }
        self.since = clock::now();
        self.bytes = 0;
    }
}

fn is_end(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNRESET | Errno::PIPE | Errno::SHUTDOWN | Errno::NOTCONN
    )
}

/// A file in memory with this content, for [`Source::File`].
///
/// # Errors
/// When the system gives no memory file.
pub fn memory_file(content: &[u8], length: usize) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("towline-bench", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut written = 0;
    while written < length {
        let chunk = content.get(..content.len().min(length - written));
        let count = rustix::io::write(&file, chunk.unwrap_or(&[]))?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        written += count;
    }
    Ok(file)
}
