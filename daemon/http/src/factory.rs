//! Makes the connections of one worker.
//!
//! Invariant: all of them share that worker's state, and nothing else. Not promised: connections
//! that may move to another thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use towline_io::Peer;
use towline_volume::View;

use crate::connection::Connection;
use crate::server::{Port, Server};
use crate::worker::Worker;

/// Makes the connections of one worker.
#[derive(Clone)]
pub struct Factory {
    server: Arc<Server>,
    worker: Rc<RefCell<Worker>>,
}

impl Factory {
    /// A factory for the worker that owns `view`.
    #[must_use]
    pub fn new(server: Arc<Server>, view: Rc<RefCell<View>>) -> Self {
        let worker = Worker::new(&server, view);
        Self {
            server,
            worker: Rc::new(RefCell::new(worker)),
        }
    }

    /// The core for a new connection that came in at `port`.
    #[must_use]
    pub fn accept(&self, peer: Peer, port: Port) -> Connection {
        Connection::new(self.server.clone(), self.worker.clone(), peer, port)
    }

    /// How many paths are remembered.
    #[cfg(test)]
    pub(crate) fn paths_known(&self) -> usize {
        self.worker.borrow().paths_known()
    }

    /// Whether a path, as sent, is remembered.
    #[cfg(test)]
    pub(crate) fn is_path_known(&self, below: &str) -> bool {
        self.worker.borrow().is_path_known(below)
    }
}
