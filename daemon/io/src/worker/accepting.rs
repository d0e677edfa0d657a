//! Taking connections: from listeners, and from other parts of the process.
//!
//! Invariant: a connection that [`Admission`](crate::Admission) has no place for is closed
//! at once and counted. Not promised: that a peer learns why.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, getpeername, getsockname, sockopt};

use super::{Held, Worker};
use crate::connection::{Connection, SocketKind};
use crate::handle::Address;
use crate::limits::ACCEPTS_MAX;
use crate::protocol::{Peer, Service};

/// The address that a socket listens on.
pub(super) fn local_address(socket: &OwnedFd) -> Result<SocketAddr, Errno> {
    SocketAddr::try_from(getsockname(socket)?).map_err(|_| Errno::AFNOSUPPORT)
}

impl<S: Service> Worker<S> {
    /// Accepts what waits on a listener, some at a time.
    pub(super) fn accept(&mut self, listener: usize) {
        for _ in 0..ACCEPTS_MAX {
            let Some(Some(listening)) = self.listeners.get(listener) else {
                return;
            };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match accept_with(&listening.socket, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return,
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => {
                    // Out of descriptors: the next tick tries again, closed ones come back.
                    tracing::warn!(%error, "cannot accept a connection");
                    self.failed_accepts.push(listener);
                    return;
                }
            };
            listening.congestion.apply(&socket);
            let _ = sockopt::set_tcp_nodelay(&socket, true);
            let _ = sockopt::set_socket_keepalive(&socket, true);
            let Ok(Some(address)) = getpeername(&socket) else {
                continue;
            };
            let Ok(address) = SocketAddr::try_from(address) else {
                continue;
            };
            // A listener on every address learns only now which one the peer chose.
            let Ok(local) = local_address(&socket) else {
                continue;
            };
            self.adopt(socket, Peer { address, local }, listener, SocketKind::Tcp);
        }
        // More may wait: the edge is gone, so ask again at the next turn.
        self.pending_accepts.push(listener);
    }

    /// Takes a connected socket in.
    pub(super) fn adopt(&mut self, socket: OwnedFd, peer: Peer, listener: usize, kind: SocketKind) {
        let Some(patience) = self.patience.get(listener).copied() else {
            return;
        };
        let address = peer.address.ip();
        if self.drain_until.is_some() || !self.admission.enter(address) {
            self.metrics.connections_refused.add(1);
            tracing::debug!(peer = %peer.address, "too many connections, one was closed");
            return;
        }
        let place = Address::new(self.mailbox.clone(), self.connections.next());
        let Some(core) = self.service.accept(listener, peer, place) else {
            self.admission.leave(address);
            self.metrics.connections_refused.add(1);
            return;
        };
        let (now, mut failed) = (self.now, None);
        let engine = &mut self.engine;
        let token = self.connections.insert_with(|token| -> Held<S> {
            failed = engine.watch(socket.as_fd(), token).err();
            Box::new(Connection::new(socket, peer, kind, patience, core, now))
        });
        self.metrics.connections_accepted.add(1);
        self.metrics.connections_open.add(1);
        match failed {
            None => self.queue(token),
            Some(_) => self.close(token, "the engine is full"),
        }
    }
}
