//! One TCP transfer in blocks, with the counters of this end around it.
//!
//! A block is its length in four octets and that many zeros; length zero ends the transfer, and
//! what follows is the other end's account as JSON. Invariant: time and sizes are bounded by this
//! end, whatever the other says. No socket buffer is set, which would end the kernel's autotuning.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use towline_base::clock;

use super::{Deltas, Transfer};
use crate::read::Meter;

/// Payload of a block in bytes: large enough that the calls do not limit, small enough for caches.
const BLOCK_BYTES: usize = 256 << 10;

/// Longest account of the other end in bytes: some hundred counters.
const ACCOUNT_BYTES_MAX: u64 = 1 << 20;

/// Longest wait for progress, in seconds: a peer that stands still that long is gone.
pub(super) const STALL_MAX: Duration = Duration::from_secs(5);

/// Longest transfer that is served.
pub(super) const TRANSFER_TIME_MAX: Duration = Duration::from_secs(10);

/// Sends blocks for a time; gives the bytes and the seconds.
pub(super) fn pour(stream: &mut TcpStream, time: Duration) -> io::Result<(u64, f64)> {
    let length = u32::try_from(BLOCK_BYTES).map_err(io::Error::other)?;
    let mut block = vec![0; 4 + BLOCK_BYTES];
    block[..4].copy_from_slice(&length.to_be_bytes());
    let begun = clock::now();
    let mut sent = 0;
    while begun.elapsed() < time.min(TRANSFER_TIME_MAX) {
        stream.write_all(&block)?;
        sent += BLOCK_BYTES as u64;
    }
    stream.write_all(&0_u32.to_be_bytes())?;
    Ok((sent, begun.elapsed().as_secs_f64()))
}

/// Takes blocks until their end; gives the bytes and the seconds.
pub(super) fn drain(stream: &mut TcpStream) -> io::Result<(u64, f64)> {
    let mut buffer = vec![0; BLOCK_BYTES];
    let begun = clock::now();
    let mut taken = 0;
    // Twice the longest transfer: what was sent within it must have arrived by then.
    while begun.elapsed() < TRANSFER_TIME_MAX * 2 {
        let mut head = [0; 4];
        stream.read_exact(&mut head)?;
        let length = usize::try_from(u32::from_be_bytes(head)).map_err(io::Error::other)?;
        if length == 0 {
            return Ok((taken, begun.elapsed().as_secs_f64()));
        }
        if length > BLOCK_BYTES {
            return Err(io::Error::other("a block larger than this exchange has"));
        }
        stream.read_exact(&mut buffer[..length])?;
        taken += length as u64;
    }
    Err(io::Error::from(io::ErrorKind::TimedOut))
}

/// Sends this end's account and ends the connection.
pub(super) fn tell(stream: &mut TcpStream, deltas: &Deltas) -> io::Result<()> {
    let text = serde_json::to_vec(deltas).map_err(io::Error::other)?;
    stream.write_all(&text)?;
    stream.shutdown(std::net::Shutdown::Write)
}

/// Reads the other end's account.
fn hear(stream: &mut TcpStream) -> io::Result<Deltas> {
    let mut text = Vec::new();
    stream.take(ACCOUNT_BYTES_MAX).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

fn rate(bytes: u64, seconds: f64) -> f64 {
    // Bytes of ten seconds: below 2^53.
    bytes as f64 * 8.0 / 1e6 / seconds.max(1e-6)
}

/// A transfer to the peer, which was asked to take it.
pub(super) fn send(stream: &mut TcpStream, time: Duration, meter: Meter) -> io::Result<Transfer> {
    let begun = clock::now();
    let (bytes, _) = pour(stream, time)?;
    // The peer answers when it has taken the last block: only then has everything arrived.
    let receiver = hear(stream)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Transfer {
        mbit: rate(bytes, seconds),
        seconds,
        sender: meter.stop(),
        receiver,
    })
}

/// A transfer from the peer, which was asked to make it.
pub(super) fn take(stream: &mut TcpStream, meter: Meter) -> io::Result<Transfer> {
    let (bytes, seconds) = drain(stream)?;
    let receiver = meter.stop();
    Ok(Transfer {
        mbit: rate(bytes, seconds),
        seconds,
        sender: hear(stream)?,
        receiver,
    })
}
