//! The node's answer to link measurements: `towline bench link` and `iperf3 -c`.
//!
//! Off unless `[bench] iperf3 = true`. Invariant: one test at a time over all addresses; limits and
//! sources are those of the configuration; a test that runs is told that the node stops. Streams
//! run on threads of their own, beside the workers: a test takes processor time and line from the
//! clients of the node, which is why it is bounded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::io::Errno;
use towline_api::status::{Listener, ListenerProtocol};
use towline_config::Effective;
use towline_link::iperf3::server::Allowance;
use towline_link::link::LinkError;
use towline_link::link::server::{Config, Counters, Event, Server};

use crate::error::NodeError;

/// Servers that listen and do not answer yet.
#[derive(Debug, Default)]
pub(crate) struct Measuring {
    servers: Vec<Server>,
    counters: Arc<Counters>,
}

/// Servers that answer.
#[derive(Debug)]
pub(crate) struct Answering {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Measuring {
    /// Listens on every address of the node, if the configuration says so.
    pub(crate) fn open(effective: &Effective) -> Result<Self, NodeError> {
        let bench = &effective.bench;
        let mut measuring = Self::default();
        if !bench.iperf3.value {
            return Ok(measuring);
        }
        for listen in &effective.listen.addresses.value {
            let time_s = bench.time_max.value.as_secs();
            let config = Config {
                listen: *listen,
                port: bench.port.value,
                allow: bench.allow.value.clone(),
                allowance: Allowance {
                    time_s_max: u32::try_from(time_s).unwrap_or(u32::MAX),
                    rate_max: u64::from(bench.rate_max_mbit.value) * 1_000_000,
                    ..Config::default().allowance
                },
                ..Config::default()
            };
            let address = SocketAddr::new(*listen, bench.port.value);
            let server = Server::open(config).map_err(|error| refused(address, &error))?;
            measuring.servers.push(server);
        }
        Ok(measuring)
    }

    /// What is listened on, for the status.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        let addresses = self
            .servers
            .iter()
            .filter_map(|server| server.address().ok());
        addresses
            .map(|address| Listener {
                protocol: ListenerProtocol::Iperf3,
                address,
            })
            .collect()
    }

    /// What was counted, for the metrics.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Answers until [`Answering::stop`].
    pub(crate) fn start(self) -> Result<Answering, NodeError> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for server in self.servers {
            let (stop, counters) = (stop.clone(), self.counters.clone());
            let work = move || {
                if let Err(error) = server.run(&stop, &counters, |event| tell(&event)) {
                    tracing::error!(error = %error, "link measurements are not answered any more");
                }
            };
            let thread = std::thread::Builder::new().name("bench-server".to_owned());
            let thread = thread.spawn(work).map_err(|error| NodeError::System {
                what: "cannot start the thread for link measurements",
                error: error.to_string(),
            })?;
            threads.push(thread);
        }
        Ok(Answering { stop, threads })
    }
}

impl Answering {
    /// Ends a test that runs, and waits until its peer was told.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // One that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

fn refused(address: SocketAddr, error: &LinkError) -> NodeError {
    let errno = match error {
        LinkError::System { error, .. } => Errno::from_io_error(error).unwrap_or(Errno::IO),
        LinkError::Usage(_)
        | LinkError::Unreachable { .. }
        | LinkError::Protocol { .. }
        | LinkError::Silent { .. } => Errno::IO,
    };
    NodeError::Bind {
        what: "link measurements",
        address,
        error: errno,
        hint: "Stop the iperf3 server there, or choose another [bench] port".to_owned(),
    }
}

fn tell(event: &Event<'_>) {
    match event {
        Event::Started { peer, .. } => tracing::info!(%peer, "a link test begins"),
        Event::Echoing { peer } => tracing::info!(%peer, "a test of round trips begins"),
        Event::Finished(run) => {
            let bytes: u64 = run.streams.iter().map(|stream| stream.own.bytes).sum();
            let peer = &run.host;
            match &run.fault {
                None => tracing::info!(%peer, bytes, "a link test ended"),
                Some(error) => tracing::info!(%peer, bytes, %error, "a link test broke off"),
            }
        }
        Event::Refused { peer, fault } => {
            tracing::info!(%peer, error = %fault, "a link test was refused");
        }
        Event::TurnedAway { peer, .. } => tracing::debug!(%peer, "turned away by the bench port"),
        Event::Interval(_) => {}
    }
}
