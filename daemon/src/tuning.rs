//! The report of `towline tune check` on card and host, and the answering side of its `--peer`.
//!
//! Invariant: the report is made on a thread that may block, for reading them takes a second. Not
//! promised: that metrics show the present; they show the last report, and begin a new one where
//! that is due.

mod peer;

use std::sync::Arc;

use hyper::StatusCode;
use towline_api::Status;
use towline_config::Effective;
use towline_tuning::watch::Watch;

use crate::error::NodeError;
use crate::part::route::{json, text};
use crate::part::{Asked, Methods, Page, Part, Reply, Route};
use peer::Peer;

/// What a node knows of its card, and tells of it.
#[derive(Debug)]
pub(crate) struct Tuning {
    watch: Arc<Watch>,
    peer: Peer,
}

impl Tuning {
    /// Opens the sockets of the answering side.
    ///
    /// # Errors
    /// A port that somebody asked for and that cannot be had.
    pub(crate) fn open(effective: &Effective, notes: &mut Vec<String>) -> Result<Self, NodeError> {
        let peer = Peer::open(effective, notes)?;
        let watch = Arc::default();
        Ok(Self { watch, peer })
    }

    /// The report.
    async fn report(self: Arc<Self>, _asked: Asked) -> Reply {
        let watch = self.watch.clone();
        let made = tokio::task::spawn_blocking(move || {
            let report = watch.refresh().map_err(|error| error.to_string())?;
            serde_json::to_string(&*report).map_err(|error| error.to_string())
        });
        match made.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(body) => json(StatusCode::OK, body),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        }
    }
}

impl Part for Tuning {
    fn routes(self: Arc<Self>) -> Vec<Route> {
        let report = move |asked| self.clone().report(asked);
        vec![Route::at("/v1/tune", Methods::Get, report)]
    }

    fn metrics(&self, page: &mut Page) {
        if self.watch.is_due() {
            let watch = self.watch.clone();
            // Whoever asks next sees it; a failure is told at /v1/tune.
            tokio::task::spawn_blocking(move || drop(watch.refresh()));
        }
        page.push(&self.watch.metrics());
        page.push(&self.peer.tally().metrics());
    }

    fn status(&self, status: &mut Status) {
        status.tune = self.peer.addresses().to_vec();
    }

    fn start(&self) -> Result<(), NodeError> {
        self.peer.start()
    }

    fn stop(&self) {
        self.peer.stop();
    }

    fn join(&self) {
        self.peer.join();
    }
}
