//! Listening sockets: one per worker on the same port, and which congestion control they use.
//!
//! `SO_REUSEPORT` (socket(7)) lets every worker have its own accept queue. Invariant: a port that
//! another program listens on is not taken, because every socket of ours is bound by the same
//! user and the first bind is made without `SO_REUSEPORT`'s help to detect it. Not promised: an
//! even spread of connections over workers.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

/// Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Which congestion control accepted connections get.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Congestion {
    /// What the host has set.
    Host,
    /// This one for every peer.
    Named(String),
    /// This one for loopback and private addresses, the host's for the rest: a pacing algorithm
    /// such as BBR without its queue discipline doubles the CPU per byte on a LAN.
    NamedOnLan(String),
}

impl Congestion {
    /// Sets it on an accepted socket. A refusal leaves the host's.
    pub fn apply(&self, socket: &impl AsFd) {
        let name = match self {
            Self::Host => return,
            Self::Named(name) => name,
            Self::NamedOnLan(name) => {
                let Ok(Some(peer)) = rustix::net::getpeername(socket) else {
                    return;
                };
                let Ok(peer) = SocketAddr::try_from(peer) else {
                    return;
                };
                if !is_lan(peer) {
                    return;
                }
                name
            }
        };
        if let Err(error) = sockopt::set_tcp_congestion(socket, name) {
            tracing::debug!(%error, "the congestion control stays the host's");
        }
    }

    /// Whether this host lets us use it.
    ///
    /// # Errors
    /// What the kernel says: `NOENT` for an unknown name, `PERM` for one not allowed.
    pub fn check(&self) -> Result<(), Errno> {
        match self {
            Self::Host => Ok(()),
            Self::Named(name) | Self::NamedOnLan(name) => {
                let flags = SocketFlags::CLOEXEC;
                let probe = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
                sockopt::set_tcp_congestion(&probe, name)
            }
        }
    }
}

fn is_lan(peer: SocketAddr) -> bool {
    match peer.ip().to_canonical() {
        std::net::IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        std::net::IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
        }
    }
}

/// Opens `count` listening sockets on one address, one per worker. Port 0 takes a free port, the
/// same for all.
///
/// # Errors
/// `ADDRINUSE` if another program has the port, `ACCESS` for a port below 1024 without the right.
pub fn listen_all(address: SocketAddr, count: usize) -> Result<Vec<OwnedFd>, Errno> {
    // The first bind goes without SO_REUSEPORT, so that a second towline of the same user is
    // noticed; it is given up at once for sockets that share.
    let probe = open(address, false)?;
    let address =
        SocketAddr::try_from(rustix::net::getsockname(&probe)?).map_err(|_| Errno::AFNOSUPPORT)?;
    drop(probe);
    let mut sockets = Vec::new();
    for _ in 0..count.max(1) {
        let socket = open(address, true)?;
        listen(&socket, BACKLOG)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn open(address: SocketAddr, is_shared: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if is_shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    bind(socket.as_fd(), &address)?;
    Ok(socket)
}
