//! The pages of the node as a whole: what all parts together count and say.
//!
//! Invariant: an address sees no volume in the status that it cannot reach (threat N14). Not
//! promised: that metrics are of one moment; each part is asked in turn.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use towline_api::Status;
use towline_volume::{Exports, Reach};

use crate::part::route::{json, text, with_type};
use crate::part::{Asked, Methods, Parts, Reply, Route};

/// The node as a whole.
pub(crate) struct Pages {
    parts: Parts,
    exports: Arc<Exports>,
    /// What was true when everything had been opened.
    opened: Status,
}

impl Pages {
    /// The pages of a node of these parts.
    pub(crate) fn new(parts: Parts, exports: Arc<Exports>, opened: Status) -> Self {
        Self {
            parts,
            exports,
            opened,
        }
    }

    /// What they answer.
    pub(crate) fn routes(self: Arc<Self>) -> Vec<Route> {
        let (metrics, status) = (self.clone(), self);
        vec![
            Route::at("/", Methods::Reads, |_| async { files() }).open_to_all(),
            Route::at("/metrics", Methods::Reads, move |_| {
                let pages = metrics.clone();
                async move { pages.metrics() }
            }),
            Route::at("/v1/status", Methods::Reads, move |asked: Asked| {
                let pages = status.clone();
                async move { pages.status(asked.peer.address.ip()) }
            }),
        ]
    }

    /// The status as this host itself may see it.
    pub(crate) fn own(&self) -> Status {
        self.parts.status(self.opened.clone())
    }

    fn metrics(&self) -> Reply {
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        with_type(StatusCode::OK, self.parts.metrics(), kind)
    }

    /// The status as this address may see it.
    fn seen(&self, peer: IpAddr) -> Status {
        let mut opened = self.opened.clone();
        if !peer.to_canonical().is_loopback() {
            opened.volumes.retain(|volume| {
                let export = self.exports.by_name(volume.name.as_bytes());
                export.is_some_and(|export| export.reach(peer) > Reach::None)
            });
        }
        self.parts.status(opened)
    }

    fn status(&self, peer: IpAddr) -> Reply {
        match serde_json::to_string(&self.seen(peer)) {
            Ok(body) => json(StatusCode::OK, body),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

/// Sends a browser to the volumes.
fn files() -> Reply {
    let mut reply = text(StatusCode::FOUND, "the volumes are at /files/\n");
    let place = HeaderValue::from_static("/files/");
    reply.headers_mut().insert(header::LOCATION, place);
    reply
}
