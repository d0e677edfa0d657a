//! Sockets: options that are bytes, and what still waits to be acknowledged.
//!
//! Invariant: the kernel is told the true length of every buffer. Sources: setsockopt(2),
//! socket(7), tcp(7). Not promised: that a kernel knows an option.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::last_errno;

/// Lets a socket count as readable only when so many bytes wait in it (socket(7), SO_RCVLOWAT);
/// if they wait already, that is told as new input. The end of input always counts.
///
/// # Errors
/// What setsockopt(2) reports for something that is not a socket.
pub fn wake_at(socket: BorrowedFd<'_>, bytes: u32) -> Result<(), Errno> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let value = value.to_ne_bytes();
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, &value)
}

/// Sets an option of a socket to a value as its page says (setsockopt(2)).
///
/// # Errors
/// What the kernel reports.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &[u8],
) -> Result<(), Errno> {
    // SAFETY: the kernel reads `value.len()` bytes of `value`, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Reads an option of a socket into `value`; how many bytes of it the kernel has (getsockopt(2)).
///
/// # Errors
/// What the kernel reports.
pub(crate) fn get_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &mut [u8],
) -> Result<usize, Errno> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, and how many into `length`; both
    // live until the call returns.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok((length as usize).min(value.len()))
    } else {
        Err(last_errno())
    }
}

/// Bytes that a socket has taken and its peer has not acknowledged (tcp(7), SIOCOUTQ).
///
/// # Errors
/// What ioctl(2) reports for something that is not a socket.
pub fn unsent_bytes(socket: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (the same number as SIOCOUTQ) writes one int to the pointer.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result == 0 {
        Ok(u64::try_from(count).unwrap_or(0))
    } else {
        Err(last_errno())
    }
}
