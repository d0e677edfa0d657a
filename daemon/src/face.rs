//! Both protocols on one worker: the connection is NFS or HTTP, the driver sees one kind.
//!
//! Invariant: a listener speaks one protocol. Each protocol's output is taken over whole, so no
//! byte is copied on the way.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use towline_http as http;
use towline_io::{Address, Demand, HandOff, Output, PayloadFault, Peer, Protocol, Service};
use towline_nfs as nfs;
use towline_volume::{Exports, View};

/// What a listener speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Speaks {
    Http(http::Port),
    Nfs,
    Portmap,
}

/// A finished job of either protocol.
pub(crate) enum Done {
    Http(http::Done),
    Nfs(nfs::Done),
}

enum Core {
    Http(http::Connection),
    Nfs(nfs::Connection),
}

/// Empty outputs that all connections of a worker use in turn.
#[derive(Default)]
struct Outputs {
    http: Output<http::Done>,
    nfs: Output<nfs::Done>,
}

/// One connection of either protocol.
pub(crate) struct Connection {
    core: Core,
    outputs: Rc<RefCell<Outputs>>,
}

impl Connection {
    fn drive(
        &mut self,
        output: &mut Output<Done>,
        http: impl FnOnce(&mut http::Connection, &mut Output<http::Done>) -> Demand,
        nfs: impl FnOnce(&mut nfs::Connection, &mut Output<nfs::Done>) -> Demand,
    ) -> Demand {
        let outputs = &mut *self.outputs.borrow_mut();
        match &mut self.core {
            Core::Http(core) => {
                let demand = http(core, &mut outputs.http);
                output.absorb(&mut outputs.http, Done::Http);
                demand
            }
            Core::Nfs(core) => {
                let demand = nfs(core, &mut outputs.nfs);
                output.absorb(&mut outputs.nfs, Done::Nfs);
                demand
            }
        }
    }
}

impl Protocol for Connection {
    type Done = Done;

    fn advance(&mut self, input: &mut &[u8], output: &mut Output<Done>) -> Demand {
        // One of the two runs; a cell lets both closures name the input.
        let input = RefCell::new(input);
        self.drive(
            output,
            |core, out| core.advance(&mut input.borrow_mut(), out),
            |core, out| core.advance(&mut input.borrow_mut(), out),
        )
    }

    fn received(&mut self, outcome: Result<(), PayloadFault>, output: &mut Output<Done>) -> Demand {
        self.drive(
            output,
            |core, out| core.received(outcome, out),
            |core, out| core.received(outcome, out),
        )
    }

    fn completed(&mut self, done: Done, output: &mut Output<Done>) -> Demand {
        let outputs = &mut *self.outputs.borrow_mut();
        match (&mut self.core, done) {
            (Core::Http(core), Done::Http(done)) => {
                let demand = core.completed(done, &mut outputs.http);
                output.absorb(&mut outputs.http, Done::Http);
                demand
            }
            (Core::Nfs(core), Done::Nfs(done)) => {
                let demand = core.completed(done, &mut outputs.nfs);
                output.absorb(&mut outputs.nfs, Done::Nfs);
                demand
            }
            (Core::Http(_), Done::Nfs(_)) | (Core::Nfs(_), Done::Http(_)) => {
                unreachable!("a job's result goes to the connection that deferred it")
            }
        }
    }

    fn timed_out(&mut self, output: &mut Output<Done>) -> bool {
        let outputs = &mut *self.outputs.borrow_mut();
        match &mut self.core {
            Core::Http(core) => {
                let has_word = core.timed_out(&mut outputs.http);
                output.absorb(&mut outputs.http, Done::Http);
                has_word
            }
            Core::Nfs(_) => false,
        }
    }

    fn told(&mut self, word: Done, output: &mut Output<Done>) {
        let outputs = &mut *self.outputs.borrow_mut();
        if let (Core::Nfs(core), Done::Nfs(word)) = (&mut self.core, word) {
            core.told(word, &mut outputs.nfs);
            output.absorb(&mut outputs.nfs, Done::Nfs);
        }
    }

    fn is_kept(&self) -> bool {
        match &self.core {
            Core::Http(core) => core.is_kept(),
            Core::Nfs(core) => core.is_kept(),
        }
    }

    fn is_idle(&self) -> bool {
        match &self.core {
            Core::Http(core) => core.is_idle(),
            Core::Nfs(core) => core.is_idle(),
        }
    }

    fn bytes_held(&self) -> usize {
        match &self.core {
            Core::Http(core) => core.bytes_held(),
            Core::Nfs(core) => core.bytes_held(),
        }
    }
}

/// The protocols of one worker.
pub(crate) struct Faces {
    speaks: Vec<Speaks>,
    view: Rc<RefCell<View>>,
    http: http::Factory,
    nfs: nfs::Desk,
    outputs: Rc<RefCell<Outputs>>,
    handed_off: tokio::sync::mpsc::Sender<HandOff>,
}

impl Faces {
    /// The protocols for listeners that speak `speaks`, in their order, with a view that keeps at
    /// most `nodes_max` files open.
    pub(crate) fn new(
        speaks: Vec<Speaks>,
        (exports, nodes_max): (&Arc<Exports>, usize),
        http: &Arc<http::Server>,
        nfs: &Arc<nfs::Server>,
        handed_off: tokio::sync::mpsc::Sender<HandOff>,
    ) -> Self {
        let view = Rc::new(RefCell::new(View::new(exports.clone()).holding(nodes_max)));
        let http = http::Factory::new(http.clone(), view.clone());
        let nfs = nfs::Desk::new(nfs.clone(), view.clone());
        Self {
            speaks,
            view,
            http,
            nfs,
            outputs: Rc::default(),
            handed_off,
        }
    }
}

impl Service for Faces {
    type Connection = Connection;

    fn accept(
        &mut self,
        listener: usize,
        peer: Peer,
        address: Address<Done>,
    ) -> Option<Connection> {
        let core = match self.speaks.get(listener)? {
            Speaks::Http(port) => Core::Http(self.http.accept(peer, *port)),
            Speaks::Nfs => {
                let core = self.nfs.connection(nfs::Programs::Nfs, peer)?;
                let line = nfs::Line::new(move |word| address.tell(Done::Nfs(word)));
                Core::Nfs(core.reached_by(line))
            }
            Speaks::Portmap => Core::Nfs(self.nfs.connection(nfs::Programs::Portmap, peer)?),
        };
        Some(Connection {
            core,
            outputs: self.outputs.clone(),
        })
    }

    fn hand_off(&mut self, connection: HandOff) {
        let peer = connection.peer.address;
        if self.handed_off.try_send(connection).is_err() {
            tracing::debug!(%peer, "the control plane is busy, a connection was closed");
        }
    }

    fn tick(&mut self) {
        self.view.borrow_mut().tick();
        self.nfs.tick();
    }
}
