//! Letting a long payload come together in the socket before it is taken out in one piece.
//!
//! A file system spends work on every call and on every large folio that a call touches: 1 MiB
//! written in halves takes less than in six pieces as they happen to come.
//! The socket is told to wake us when the rest of the payload waits in it (SO_RCVLOWAT,
//! socket(7)); the kernel does so earlier when the receive window is full or the peer is gone.
//! Invariant: a peer that is slow loses nothing by it: after [`GATHER_MAX`] every byte counts
//! again. Not promised: that a payload arrives in one piece. Only plain TCP waits: where the
//! kernel decrypts, it looks at a record when input is told, so none is told for ever.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::connection::{Connection, Gathering, SocketKind};
use crate::protocol::Protocol;
use towline_sys::sockets;

/// Shortest rest of a payload that is worth the two system calls, in bytes.
const GATHER_BYTES_MIN: u64 = 256 << 10;

/// Most bytes that are waited for: half of an NFS WRITE, so that the peer sends the other half
/// while we write. One pipe takes it in any pieces.
const GATHER_BYTES_MAX: u64 = 512 << 10;

/// How long a payload may come together. 1 MiB takes 8 ms at 1 Gb/s.
const GATHER_MAX: Duration = Duration::from_millis(100);

/// Whether the payload is better left in the socket for now. When the socket has woken us, enough
/// is there or as much as there will be.
pub(super) fn gathers<P: Protocol>(connection: &mut Connection<P>, now: Instant) -> bool {
    connection.gathering == Gathering::Untried
        && connection.kind == SocketKind::Tcp
        && !connection.is_last_edge
        && !connection.has_ended
        && wait_for_rest(connection, now)
}

/// Waits for the rest of a payload behind a piece that was taken out.
pub(super) fn gather_rest<P: Protocol>(connection: &mut Connection<P>, now: Instant) {
    if let Gathering::For(..) = connection.gathering
        && !wait_for_rest(connection, now)
    {
        stop_gathering(connection);
        connection.gathering = Gathering::Over;
    }
}

fn wait_for_rest<P: Protocol>(connection: &mut Connection<P>, now: Instant) -> bool {
    let left = connection
        .payload
        .as_ref()
        .map_or(0, |payload| payload.left);
    if left < GATHER_BYTES_MIN {
        return false;
    }
    let wanted = left.min(GATHER_BYTES_MAX) as u32;
    let is_set = matches!(connection.gathering, Gathering::For(bytes, _) if bytes == wanted);
    // What waits already is told as new input, so the edge cannot be lost.
    if !is_set && sockets::wake_at(connection.fd.as_fd(), wanted).is_err() {
        return false;
    }
    connection.gathering = Gathering::For(wanted, now);
    connection.is_readable = false;
    true
}

/// Makes every byte count again, when a payload has ended.
pub(super) fn stop_gathering<P: Protocol>(connection: &mut Connection<P>) {
    if let Gathering::For(..) = connection.gathering
        && let Err(error) = sockets::wake_at(connection.fd.as_fd(), 1)
    {
        tracing::debug!(%error, "a socket that is going away stays slow to wake");
    }
    connection.gathering = Gathering::Untried;
}

/// Makes every byte count again if a payload takes too long to come together.
pub(super) fn give_up_gathering<P: Protocol>(connection: &mut Connection<P>, now: Instant) {
    if let Gathering::For(_, start) = connection.gathering
        && now - start >= GATHER_MAX
    {
        stop_gathering(connection);
        connection.gathering = Gathering::Over;
    }
}
