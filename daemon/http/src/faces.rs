//! Ways in for clients. Each face reads what a request asks for and answers it in its own form.
//!
//! Invariant: no face opens a file of a store by itself: what it serves goes out through
//! [`files`], with the rights of the same address and token. A new face is a file here and a line
//! in the table of `route.rs`; one with a port of its own is a [`Port`] besides.

pub mod files;
pub mod hub;
pub mod registry;
pub mod s3;

use towline_io::Output;

use crate::done::Done;
use crate::exchange::{Exchange, Flow};
use crate::head::Head;
use crate::reply::Tone;
use crate::server::Port;

/// A request as a face gets it.
pub(crate) struct Asked<'a, 'b> {
    pub(crate) head: &'b Head<'a>,
    /// What follows the head, as far as it is here.
    pub(crate) body: &'b [u8],
    pub(crate) tone: Tone,
    /// The result of the job that the face deferred for this very head, if it did.
    pub(crate) done: Option<Done>,
}

/// A way in.
pub(crate) trait Face: Sync {
    /// Whether requests for `path` that came in at `port` are this face's.
    fn takes(&self, port: Port, path: &[u8]) -> bool;

    /// Bytes of body that must be here before [`Face::answer`]; `None` where it reads none.
    fn body_needed(&self, _port: Port, _head: &Head<'_>) -> Option<u64> {
        None
    }

    /// Answers, or begins to.
    fn answer(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_, '_>,
        output: &mut Output<Done>,
    ) -> Flow;
}
