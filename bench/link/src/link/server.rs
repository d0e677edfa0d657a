//! The server: answers one client at a time on one port, as `iperf3 -s` does.
//!
//! Invariant: one test at a time; whoever comes meanwhile, or from an address that is not allowed,
//! hears "denied" at once and the test goes on. Limits on duration, rate and sources are judged
//! before a stream is opened. Nothing here waits for one peer alone. Not promised: that a source
//! address is true; on the wire nothing proves it.

mod attempt;
mod desk;
mod streams;

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use towline_base::clock;

use super::error::LinkError;
use super::run::{Interval, LinkRun};
use super::session::Receive;
use crate::iperf3::server::Allowance;
use crate::iperf3::{Fault, Parameters};

use attempt::{Attempt, Outcome};
use desk::{Desk, Visit};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;
/// Between two looks at the stop flag.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How this server answers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on.
    pub listen: IpAddr,
    /// Port, TCP and UDP; 0 takes any free one.
    pub port: u16,
    /// Networks that are answered beside loopback.
    pub allow: Vec<IpNet>,
    /// What a client may ask for.
    pub allowance: Allowance,
    /// What receivers do.
    pub receive: Receive,
    /// Ends after one test.
    pub one_off: bool,
    /// Time between samples.
    pub interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Ipv6Addr::UNSPECIFIED.into(),
            port: crate::iperf3::PORT,
            allow: Vec::new(),
            allowance: Allowance {
                time_s_max: 3600,
                rate_max: 0,
                streams_max: crate::iperf3::parameters::STREAMS_MAX,
            },
            receive: Receive::Discard,
            one_off: false,
            interval: Duration::from_secs(1),
        }
    }
}

/// What a server tells its user.
#[derive(Debug)]
pub enum Event<'a> {
    /// A test begins.
    Started {
        /// The client.
        peer: SocketAddr,
        /// What it asked for.
        parameters: &'a Parameters,
    },
    /// A client asks for replies to small requests.
    Echoing {
        /// The client.
        peer: SocketAddr,
    },
    /// An interval has ended.
    Interval(&'a Interval),
    /// A test has ended, well or not; its `fault` says.
    Finished(&'a LinkRun),
    /// A client got no test.
    Refused {
        /// The client.
        peer: SocketAddr,
        /// Why.
        fault: &'a Fault,
    },
    /// A connection was turned away.
    TurnedAway {
        /// Its address.
        peer: SocketAddr,
        /// Whether its address is not allowed; else the server is busy.
        not_allowed: bool,
    },
}

/// What a server has counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Tests that reached their results.
    pub tests_done: AtomicU64,
    /// Tests that ended early.
    pub tests_broken: AtomicU64,
    /// Clients whose parameters or manners were refused.
    pub refused: AtomicU64,
    /// Connections turned away because a test was running.
    pub busy: AtomicU64,
    /// Connections turned away because of their address.
    pub not_allowed: AtomicU64,
    /// Microseconds in which a client was served.
    pub served_us: AtomicU64,
    /// Payload bytes sent.
    pub bytes_sent: AtomicU64,
    /// Payload bytes received.
    pub bytes_received: AtomicU64,
    /// 1 while a test runs.
    pub running: AtomicU64,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    config: Config,
}

impl Server {
    /// Listens on the port. One socket serves both families unless an IPv4 address is named.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn open(config: Config) -> Result<Self, LinkError> {
        let listener = listen(SocketAddr::new(config.listen, config.port)).map_err(|error| {
            let address = SocketAddr::new(config.listen, config.port);
            LinkError::system(
                format!("cannot listen on {address} (another iperf3 server? choose --port)"),
                error,
            )
        })?;
        Ok(Self { listener, config })
    }

    /// The address in use.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers clients until `stop` is raised, or after one test if so configured.
    ///
    /// # Errors
    /// When the listening socket fails.
    pub fn run(
        &self,
        stop: &AtomicBool,
        counters: &Counters,
        mut show: impl FnMut(Event<'_>),
    ) -> Result<(), LinkError> {
        let mut desk = Desk::new(&self.listener, &self.config, counters);
        while !stop.load(Ordering::Relaxed) {
            desk.wait(&mut [], LOOK_EVERY);
            for visit in desk.accept()? {
                match visit {
                    Visit::NotAllowed(peer) => show(Event::TurnedAway {
                        peer,
                        not_allowed: true,
                    }),
                    Visit::Guest(stream, peer) => {
                        let served = self.serve(&mut desk, (stream, peer), stop, &mut show)?;
                        if served && self.config.one_off {
                            desk.see_off();
                            return Ok(());
                        }
                    }
                }
            }
        }
        desk.see_off();
        Ok(())
    }

    /// One client from its first byte to its last. True when a test was made.
    fn serve(
        &self,
        desk: &mut Desk<'_>,
        (stream, peer): (TcpStream, SocketAddr),
        stop: &AtomicBool,
        show: &mut impl FnMut(Event<'_>),
    ) -> Result<bool, LinkError> {
        let counters = desk.counters;
        let port = self.address().map_or(self.config.port, |own| own.port());
        let free = counters
            .running
            .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed);
        if free.is_err() {
            // A server of the same process on another address has a test.
            counters.busy.fetch_add(1, Ordering::Relaxed);
            desk.turn_away(stream);
            let not_allowed = false;
            show(Event::TurnedAway { peer, not_allowed });
            return Ok(false);
        }
        let _span = tracing::info_span!("bench", %peer).entered();
        let begun = clock::now();
        let attempt = Attempt::new(stream, peer, &self.config, port);
        let outcome = attempt.map(|attempt| attempt.drive(desk, stop, show));
        let served_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.served_us.fetch_add(served_us, Ordering::Relaxed);
        counters.running.store(0, Ordering::Release);
        let Ok(outcome) = outcome else {
            return Ok(false);
        };
        match outcome? {
            Outcome::Tested(run) => {
                let done = match run.fault {
                    None => &counters.tests_done,
                    Some(_) => &counters.tests_broken,
                };
                done.fetch_add(1, Ordering::Relaxed);
                for stream in &run.streams {
                    let bytes = match stream.sends {
                        true => &counters.bytes_sent,
                        false => &counters.bytes_received,
                    };
                    bytes.fetch_add(stream.own.bytes, Ordering::Relaxed);
                }
                show(Event::Finished(&run));
                Ok(true)
            }
            Outcome::Echoed => {
                counters.tests_done.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            }
            Outcome::Refused(fault) => {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                show(Event::Refused {
                    peer,
                    fault: &fault,
                });
                Ok(false)
            }
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, rustix::io::Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let made = rustix::net::socket_with(family, SocketType::STREAM, flags, None);
    let socket = match (made, address) {
        // A host without IPv6: any address of IPv4 is as good.
        (Err(rustix::io::Errno::AFNOSUPPORT), SocketAddr::V6(v6)) if v6.ip().is_unspecified() => {
            return listen((std::net::Ipv4Addr::UNSPECIFIED, v6.port()).into());
        }
        (made, _) => made?,
    };
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}
