//! The node's life: open everything, say that it is ready, serve, stop cleanly.
//!
//! Invariant: nothing is served before everything that can be wrong has been checked; a stop tells
//! every part, waits for what is under way, and ends the control plane last. A second signal stops
//! at once.

mod assembly;
mod settings;

use std::sync::Arc;

use rustix::io::Errno;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use towline_api::Status;
use towline_config::Effective;
use towline_io::HandOff;

use crate::control::{self, Control, Pages};
use crate::error::{NodeError, system};
use crate::part::Parts;
use crate::process;

/// Most threads of the control plane that may block at once, started as they are needed: some are
/// held by commits that hash for minutes, and the rest must do for everybody else.
const BLOCKING_THREADS_MAX: usize = 64;

/// Runs a node until it is told to stop (SIGINT or SIGTERM). `ready` is called once, when
/// everything is served.
///
/// # Errors
/// [`NodeError`] if the node could not start, or if a worker failed.
pub fn run(effective: &Effective, ready: impl FnOnce(&Status)) -> Result<(), NodeError> {
    let mut notes = effective.notes.clone();
    notes.extend(process::prepare());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(|error| system("cannot start the control plane", error))?;
    runtime.block_on(async {
        // Signals first: whoever stops the node while it starts means it.
        let signals = Signals::new()?;
        let node = Node::open(effective, notes)?;
        ready(&node.pages.own());
        node.serve(signals).await
    })
}

/// A node whose workers run, and whose control plane does not answer yet.
struct Node {
    parts: Parts,
    pages: Arc<Pages>,
    control: Arc<Control>,
    handed_off: Receiver<HandOff>,
    /// Rings when a worker has ended.
    ended: Receiver<Result<(), Errno>>,
    /// Of the data directory.
    _lock: std::fs::File,
}

impl Node {
    /// Serves until a signal or a failed worker.
    async fn serve(mut self, mut signals: Signals) -> Result<(), NodeError> {
        tokio::spawn(control::serve(self.handed_off, self.control));
        self.parts.start()?;
        notify(&[sd_notify::NotifyState::Ready]);
        let failed = tokio::select! {
            _ = signals.next() => None,
            end = self.ended.recv() => Some(end),
        };
        notify(&[sd_notify::NotifyState::Stopping]);
        let parts = self.parts;
        let stopped = tokio::task::spawn_blocking(move || parts.stop());
        tokio::select! {
            _ = stopped => {}
            _ = signals.next() => {
                tracing::warn!("stopped at once by a second signal");
            }
        }
        match failed {
            None => Ok(()),
            Some(Some(Err(error))) => Err(system("a worker's engine failed", error)),
            Some(_) => Err(system("a worker ended", "see the log above")),
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, NodeError> {
        let listen =
            |kind| signal(kind).map_err(|error| system("cannot listen for signals", error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
