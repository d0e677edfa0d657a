//! What one worker needs to make NFS connections: its view, its counters, the node's server.
//!
//! Invariant: a desk and its connections stay on one thread. Not promised: that a connection is
//! made for everybody; see [`Server::admits`].

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use towline_io::Peer;
use towline_volume::View;

use crate::connection::Connection;
use crate::metrics::Counters;
use crate::route::Programs;
use crate::server::Server;

/// Makes the NFS connections of one worker.
#[derive(Clone)]
pub struct Desk(Rc<Shared>);

/// What a worker's connections share.
pub(crate) struct Shared {
    pub(crate) server: Arc<Server>,
    pub(crate) view: Rc<RefCell<View>>,
    pub(crate) counters: Arc<Counters>,
}

impl Desk {
    /// The desk of one worker; `view` is shared with the other faces on that thread. Make one per
    /// worker and keep it, because each has counters that are never taken back.
    #[must_use]
    pub fn new(server: Arc<Server>, view: Rc<RefCell<View>>) -> Self {
        let counters = server.enlist();
        Self(Rc::new(Shared {
            server,
            view,
            counters,
        }))
    }

    /// The protocol core for a new connection; `None` if `peer` may not connect (threat N13).
    /// Portmap is open to every peer that the listener lets in.
    #[must_use]
    pub fn connection(&self, programs: Programs, peer: Peer) -> Option<Connection> {
        let admitted = match programs {
            Programs::Nfs => self.0.server.admits(&peer),
            Programs::Portmap | Programs::Datagram => true,
        };
        admitted.then(|| Connection::new(self.0.clone(), programs, peer))
    }

    /// Called about ten times a second.
    pub fn tick(&self) {
        if let Some(books) = &self.0.server.books {
            books.tick();
        }
    }
}
