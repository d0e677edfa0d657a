//! The answering side of `towline tune check --peer`, on threads of its own beside the workers.
//!
//! Invariant: it answers this host and the addresses that may reach a volume, nobody else, and it
//! ends with the node. A port that somebody asked for is had or the node does not start; the
//! default port gives way to another program with a note, because serving volumes matters more.
//! Not promised: that a measurement under way when the node stops is finished.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use ipnet::IpNet;
use rustix::io::Errno;
use towline_config::Effective;
use towline_tuning::TuneError;
use towline_tuning::peer::answer::Answerer;
use towline_tuning::peer::tally::Tally;

use crate::error::NodeError;

/// The answering side of one node: one pair of threads for each listening address.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Until they answer.
    opened: Mutex<Vec<Answerer>>,
    addresses: Vec<SocketAddr>,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Peer {
    /// Opens its sockets on all listening addresses, or on none.
    pub(super) fn open(effective: &Effective, notes: &mut Vec<String>) -> Result<Self, NodeError> {
        let mut peer = Self::default();
        let mut answerers = Vec::new();
        if !effective.tune.answer.value {
            return Ok(peer);
        }
        let allow = allowed(effective);
        let mut port = effective.tune.port.value;
        for ip in &effective.listen.addresses.value {
            let address = SocketAddr::new(*ip, port);
            let opened = Answerer::open(address, allow.clone(), peer.tally.clone());
            let opened = opened.and_then(|answerer| {
                let bound = answerer
                    .address()
                    .map_err(|error| TuneError::system("the address", error))?;
                Ok((answerer, bound))
            });
            match opened {
                Ok((answerer, bound)) => {
                    // A free port that the system chose serves the other addresses too.
                    port = bound.port();
                    peer.addresses.push(bound);
                    answerers.push(answerer);
                }
                Err(error) if effective.tune.port.is_default() => {
                    notes.push(format!(
                        "`towline tune check --peer` is not answered: {error}. Free that port, \
                         or give this node another: [tune] port = 0, or answer = false"
                    ));
                    return Ok(Self::default());
                }
                Err(error) => return Err(refused(address, &error)),
            }
        }
        peer.opened = Mutex::new(answerers);
        Ok(peer)
    }

    /// Where it answers.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it has answered.
    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Begins to answer.
    pub(super) fn start(&self) -> Result<(), NodeError> {
        for answerer in lock(&self.opened).drain(..) {
            let stop = self.stop.clone();
            let thread = std::thread::Builder::new()
                .name("towline-tune".to_owned())
                .spawn(move || answerer.run(&stop))
                .map_err(|error| NodeError::System {
                    what: "cannot start the thread that answers measurements",
                    error: error.to_string(),
                })?;
            lock(&self.threads).push(thread);
        }
        Ok(())
    }

    /// Ends it within a fifth of a second.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for that. Blocks.
    pub(super) fn join(&self) {
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("the thread that answered measurements had failed");
            }
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everybody who may reach a volume.
fn allowed(effective: &Effective) -> Vec<IpNet> {
    let volumes = effective.volumes.iter();
    let mut all: Vec<IpNet> = volumes
        .flat_map(|volume| volume.allow.value.iter().chain(&volume.allow_write.value))
        .copied()
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn refused(address: SocketAddr, error: &TuneError) -> NodeError {
    let errno = match error {
        TuneError::System { error, .. } => error.raw_os_error().map(Errno::from_raw_os_error),
        TuneError::Usage(_) | TuneError::Peer(_) | TuneError::TakenBack(_) => None,
    };
    NodeError::Bind {
        what: "`towline tune check --peer`",
        address,
        error: errno.unwrap_or(Errno::IO),
        hint: "Stop the other program, or choose another port in [tune] (0 takes a free one)"
            .to_owned(),
    }
}
