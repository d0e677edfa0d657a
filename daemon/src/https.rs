//! HTTPS as a part of the node: its threads, its counters, and the clock of its certificates.
//!
//! Invariant: a node without `[tls]` has no such part. Not promised: that a certificate that was
//! replaced is used at once; the files are looked at now and then.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use towline_io::{Congestion, WorkerHandle};
use towline_tls::{Adopt, LOOK_EVERY, Terms, Threads};

use crate::error::{NodeError, system};
use crate::face::Done;
use crate::part::page::{Kind, Tier};
use crate::part::{Page, Part};

/// The served port.
pub(crate) struct Https {
    terms: Terms,
    /// Until they were waited for.
    threads: Mutex<Option<Threads>>,
}

impl Https {
    /// Starts a thread for each worker. `doors`: for each address a socket for each worker, which
    /// counts as listener `listener` of the worker.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub(crate) fn start(
        doors: Vec<Vec<OwnedFd>>,
        terms: Terms,
        (workers, listener): (&[WorkerHandle<Done>], usize),
        congestion: &Congestion,
    ) -> Result<Self, NodeError> {
        let adopters = workers.iter().map(|worker| {
            let worker = worker.clone();
            let full = |_| io::Error::other("the worker has too much to do");
            let adopt: Adopt =
                Arc::new(move |socket, peer| worker.adopt(socket, peer, listener).map_err(full));
            adopt
        });
        let threads = Threads::start(doors, &terms, adopters.collect(), congestion)
            .map_err(|error| system("cannot start a thread for TLS", error))?;
        let threads = Mutex::new(Some(threads));
        Ok(Self { terms, threads })
    }

    fn threads(&self) -> MutexGuard<'_, Option<Threads>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part for Https {
    fn metrics(&self, page: &mut Page) {
        let tally = self.terms.tally();
        let rows = [
            (
                "towline_tls_accepted_total",
                Kind::Counter,
                "Connections whose TLS handshake succeeded.",
                &tally.accepted,
            ),
            (
                "towline_tls_kernel_total",
                Kind::Counter,
                "Connections among them that the kernel encrypts: none as long as that is off.",
                &tally.in_kernel,
            ),
            (
                "towline_tls_failed_total",
                Kind::Counter,
                "TLS handshakes that failed or were not finished in time.",
                &tally.failed,
            ),
            (
                "towline_tls_relayed",
                Kind::Gauge,
                "Connections that this process encrypts now.",
                &tally.relayed,
            ),
        ];
        page.rows(Tier::Stable, &rows);
    }

    fn every(&self) -> Option<Duration> {
        Some(LOOK_EVERY)
    }

    fn tick(&self) {
        self.terms.renew();
    }

    fn stop(&self) {
        self.threads().iter().for_each(Threads::stop);
    }

    fn join(&self) {
        let threads = self.threads().take();
        threads.into_iter().for_each(Threads::join);
    }
}
