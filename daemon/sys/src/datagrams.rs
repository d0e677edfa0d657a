//! Many datagrams with one call (sendmmsg(2), recvmmsg(2)), on connected sockets.
//!
//! Sending takes equal pieces of one buffer; receiving keeps the first bytes of each datagram and
//! tells its whole length, so that a payload nobody looks at is not copied. Invariant: at most
//! [`BATCH_MAX`] datagrams a call. Not promised: that all pieces are sent; the count says how many.

use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use rustix::io::Errno;

use crate::last_errno;

/// Most datagrams of one call, as a count: what the kernel also takes as segments of one send.
pub const BATCH_MAX: usize = 64;

/// Bytes kept of a received datagram: any header that is looked at.
pub const HEAD_BYTES: usize = 16;

/// Sends `buffer` as datagrams of `piece` bytes each; the last may be shorter. Blocks until one
/// can go if the socket blocks. Returns how many went.
///
/// # Errors
/// What sendmmsg(2) reports for the first datagram; `INVAL` for pieces of no bytes.
pub fn send_pieces(socket: impl AsFd, buffer: &[u8], piece: usize) -> Result<usize, Errno> {
    if piece == 0 || buffer.is_empty() {
        return Err(Errno::INVAL);
    }
    let mut parts: Vec<libc::iovec> = buffer
        .chunks(piece)
        .take(BATCH_MAX)
        .map(|chunk| libc::iovec {
            iov_base: chunk.as_ptr().cast_mut().cast(),
            iov_len: chunk.len(),
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts.iter_mut().map(message).collect();
    // SAFETY: each message names one live part of `buffer`, which the kernel only reads, and
    // `messages` has as many entries as is said.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len() as libc::c_uint,
            0,
        )
    };
    usize::try_from(sent).map_err(|_| last_errno())
}

/// The heads and lengths of received datagrams; its memory is used again by each call.
#[derive(Debug)]
pub struct Received {
    heads: Box<[[u8; HEAD_BYTES]; BATCH_MAX]>,
    lengths: [usize; BATCH_MAX],
    count: usize,
}

impl Default for Received {
    fn default() -> Self {
        Self {
            heads: Box::new([[0; HEAD_BYTES]; BATCH_MAX]),
            lengths: [0; BATCH_MAX],
            count: 0,
        }
    }
}

impl Received {
    /// Waits for a datagram as the socket's time limit says, then takes what else is there.
    ///
    /// # Errors
    /// What recvmmsg(2) reports, `AGAIN` when the time limit passed.
    pub fn receive(&mut self, socket: impl AsFd) -> Result<usize, Errno> {
        self.count = 0;
        let mut parts: [libc::iovec; BATCH_MAX] = std::array::from_fn(|index| libc::iovec {
            iov_base: self
                .heads
                .get_mut(index)
                .map_or(ptr::null_mut(), |head| head.as_mut_ptr().cast()),
            iov_len: HEAD_BYTES,
        });
        let mut messages: Vec<libc::mmsghdr> = parts.iter_mut().map(message).collect();
        // SAFETY: each message names one head of HEAD_BYTES that lives in `self`, and no other
        // reference to the heads exists during the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                messages.as_mut_ptr(),
                messages.len() as libc::c_uint,
                libc::MSG_WAITFORONE | libc::MSG_TRUNC,
                ptr::null_mut(),
            )
        };
        self.count = usize::try_from(count).map_err(|_| last_errno())?;
        for (length, message) in self.lengths.iter_mut().zip(&messages) {
            *length = message.msg_len as usize;
        }
        Ok(self.count)
    }

    /// The first bytes and the whole length of each datagram of the last call.
    pub fn datagrams(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let heads = self.heads.iter().zip(self.lengths);
        heads
            .take(self.count)
            .map(|(head, length)| (head.get(..length.min(HEAD_BYTES)).unwrap_or(&[]), length))
    }
}

fn message(part: &mut libc::iovec) -> libc::mmsghdr {
    libc::mmsghdr {
        msg_hdr: libc::msghdr {
            msg_name: ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: ptr::from_mut(part),
            msg_iovlen: 1,
            msg_control: ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        },
        msg_len: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn pieces_arrive_one_by_one_with_their_lengths() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let buffer: Vec<u8> = (0..50).collect();
        assert_eq!(send_pieces(&sender, &buffer, 20), Ok(3));
        let mut received = Received::default();
        let mut found = Vec::new();
        while found.len() < 3 {
            received.receive(&receiver).unwrap();
            found.extend(
                received
                    .datagrams()
                    .map(|(head, length)| (head.first().copied(), head.len(), length)),
            );
        }
        let wanted = [(Some(0), 16, 20), (Some(20), 16, 20), (Some(40), 10, 10)];
        assert_eq!(found, wanted);
        assert_eq!(send_pieces(&sender, &[], 20), Err(Errno::INVAL));
        assert_eq!(send_pieces(&sender, &buffer, 0), Err(Errno::INVAL));
    }
}
