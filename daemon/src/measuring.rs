//! The node's answer to link measurements: `towline bench link` and `iperf3 -c`.
//!
//! Off unless `[bench] iperf3 = true`. Invariant: one test at a time over all addresses; limits and
//! sources are those of the configuration; a test that runs is told that the node stops. Streams
//! run on threads of their own, beside the workers: a test takes processor time and line from the
//! clients of the node, which is why it is bounded.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::io::Errno;
use towline_api::Status;
use towline_api::status::{Listener, ListenerProtocol};
use towline_config::Effective;
use towline_link::iperf3::server::Allowance;
use towline_link::link::LinkError;
use towline_link::link::server::{Config, Counters, Event, Server};

use crate::error::NodeError;
use crate::part::page::{Kind, Tier};
use crate::part::{Page, Part};

/// The servers of a node: none where the configuration has none.
#[derive(Debug, Default)]
pub(crate) struct Measuring {
    /// Until they answer.
    servers: Mutex<Vec<Server>>,
    listeners: Vec<Listener>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Measuring {
    /// Listens on every address of the node, if the configuration says so.
    pub(crate) fn open(effective: &Effective) -> Result<Self, NodeError> {
        let bench = &effective.bench;
        if !bench.iperf3.value {
            return Ok(Self::default());
        }
        let mut servers = Vec::new();
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
            servers.push(server);
        }
        let addresses = servers.iter().filter_map(|server| server.address().ok());
        let listeners = addresses.map(|address| Listener {
            protocol: ListenerProtocol::Iperf3,
            address,
        });
        Ok(Self {
            listeners: listeners.collect(),
            servers: Mutex::new(servers),
            ..Self::default()
        })
    }
}

impl Part for Measuring {
    /// Link measurements that this node answered.
    fn metrics(&self, page: &mut Page) {
        let counters = &self.counters;
        let turned_away = "Connections turned away from the bench port.";
        let rows = [
            (
                "towline_bench_tests_total",
                "result=\"done\"",
                "Link tests.",
                &counters.tests_done,
            ),
            (
                "towline_bench_tests_total",
                "result=\"broken\"",
                "Link tests.",
                &counters.tests_broken,
            ),
            (
                "towline_bench_tests_total",
                "result=\"refused\"",
                "Link tests.",
                &counters.refused,
            ),
            (
                "towline_bench_turned_away_total",
                "why=\"busy\"",
                turned_away,
                &counters.busy,
            ),
            (
                "towline_bench_turned_away_total",
                "why=\"address\"",
                turned_away,
                &counters.not_allowed,
            ),
            (
                "towline_bench_sent_bytes_total",
                "",
                "Payload of link tests sent.",
                &counters.bytes_sent,
            ),
            (
                "towline_bench_received_bytes_total",
                "",
                "Payload of link tests received.",
                &counters.bytes_received,
            ),
        ];
        for (name, labels, help, counter) in rows {
            page.head(name, Kind::Counter, Tier::Stable, help);
            page.line(name, labels, counter.load(Ordering::Relaxed));
        }
        let name = "towline_bench_served_seconds_total";
        let help = "Time in which link tests took processor and line from clients.";
        let seconds = counters.served_us.load(Ordering::Relaxed) as f64 / 1e6;
        let seconds = format_args!("{seconds:.6}");
        page.metric((name, Kind::Counter, Tier::Stable), help, seconds);
        let (name, help) = ("towline_bench_running", "1 while a link test runs.");
        let running = counters.running.load(Ordering::Relaxed);
        page.metric((name, Kind::Gauge, Tier::Stable), help, running);
    }

    fn status(&self, status: &mut Status) {
        status.listeners.extend(self.listeners.iter().cloned());
    }

    fn start(&self) -> Result<(), NodeError> {
        for server in lock(&self.servers).drain(..) {
            let (stop, counters) = (self.stop.clone(), self.counters.clone());
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
            lock(&self.threads).push(thread);
        }
        Ok(())
    }

    /// Ends a test that runs; its peer is told.
    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn join(&self) {
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // One that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
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
