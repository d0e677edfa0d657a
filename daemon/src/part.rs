//! What a node is made of: each [`Part`] does one thing, and the node is a list of them.
//!
//! A part keeps what it needs and says what it answers, counts, does now and then, and adds to the
//! status. Invariant: nobody but a part knows what is inside it, so one more is one file and one
//! line in the list. Not promised: an order among parts other than that of the list, in which the
//! pages show them and in which they are told to stop.

mod list;
pub(crate) mod page;
pub(crate) mod route;

use std::sync::Arc;
use std::time::Duration;

use towline_api::Status;

use crate::error::NodeError;
pub(crate) use list::Parts;
pub(crate) use page::Page;
pub(crate) use route::{Asked, Methods, Reply, Route};

/// One thing that a node does. Nothing here blocks, except where it says so.
pub(crate) trait Part: Send + Sync {
    /// The requests to the control plane that it answers.
    fn routes(self: Arc<Self>) -> Vec<Route> {
        Vec::new()
    }

    /// Writes what it has counted to the page of metrics.
    fn metrics(&self, _page: &mut Page) {}

    /// Adds what it knows to the status, of which only volumes are left that the asker may see.
    fn status(&self, _status: &mut Status) {}

    /// Time between two calls of [`Part::tick`]; `None`: there are none.
    fn every(&self) -> Option<Duration> {
        None
    }

    /// Does what is due. Called at the start and then as often as [`Part::every`] says, one call at
    /// a time, on a thread that may block.
    fn tick(&self) {}

    /// Begins to serve, when everything has been opened; on the control plane's runtime.
    ///
    /// # Errors
    /// What the system refuses. The node does not start then.
    fn start(&self) -> Result<(), NodeError> {
        Ok(())
    }

    /// Takes nothing new from now on; what is under way goes on. May block for a moment.
    fn stop(&self) {}

    /// Waits until what was under way has ended, after every part was told to stop. Blocks.
    fn join(&self) {}
}
