//! System calls that no kept crate wraps safely, each behind a function that is safe to call with
//! any arguments.
//!
//! This is the only crate of the workspace with `unsafe` code: every other root forbids it, and
//! the tidy test sees to that. Invariant: nothing here decides; what the kernel says comes back as
//! an [`Errno`](rustix::io::Errno). Not promised: that a kernel or a file system supports a call.

pub mod block_reader;
pub mod datagrams;
pub mod ethtool;
pub mod files;
pub mod identity;
pub mod kernel_tls;
pub mod mapping;
pub mod sockets;
pub mod splices;
pub mod tcp_info;
pub mod zero_copy;

fn last_errno() -> rustix::io::Errno {
    errno_of(&std::io::Error::last_os_error())
}

fn errno_of(error: &std::io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO)
}
