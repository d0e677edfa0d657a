//! HTTP and NFS as all workers share them: what they count, clients of NFSv4 that fell silent, and
//! portmap over UDP.
//!
//! Nobody waits for a silent client, because whoever wants what it holds gets it at once.
//! Invariant: those of a day ago are forgotten on a thread that may wait, since that is written to
//! the ledger. Not promised: the minute.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use towline_api::{Status, status};

use crate::datagrams;
use crate::error::NodeError;
use crate::part::page::{Kind, Tier};
use crate::part::{Page, Part};

/// Time between two looks for silent clients: courtesy lasts a day.
const INTERVAL: Duration = Duration::from_secs(600);

/// What the workers speak.
pub(crate) struct Protocols {
    http: Arc<towline_http::Server>,
    nfs: Arc<towline_nfs::Server>,
    /// Sockets of the portmapper, until they are served.
    udp: Mutex<Vec<UdpSocket>>,
}

impl Protocols {
    /// Both protocols of a node, and its sockets for datagrams.
    pub(crate) fn new(
        http: Arc<towline_http::Server>,
        nfs: Arc<towline_nfs::Server>,
        udp: Vec<UdpSocket>,
    ) -> Self {
        let udp = Mutex::new(udp);
        Self { http, nfs, udp }
    }

    fn http(&self, page: &mut Page) {
        for (metric, value) in self.http.metrics() {
            let tier = match metric.tier {
                towline_http::metrics::Tier::Stable => Tier::Stable,
                towline_http::metrics::Tier::Experimental => Tier::Experimental,
            };
            page.head(metric.name, Kind::Counter, tier, metric.help);
            page.line(metric.name, metric.labels, value);
        }
    }

    fn nfs(&self, page: &mut Page) {
        self.nfs.metrics().visit(|metric, value, count| {
            let kind = match metric.kind {
                towline_nfs::metrics::Kind::Counter => Kind::Counter,
                towline_nfs::metrics::Kind::Gauge => Kind::Gauge,
            };
            let tier = match metric.tier {
                towline_nfs::metrics::Tier::Stable => Tier::Stable,
                towline_nfs::metrics::Tier::Experimental => Tier::Experimental,
            };
            page.head(metric.name, kind, tier, metric.help);
            let label = match metric.label {
                "" => String::new(),
                label => format!("{label}=\"{value}\""),
            };
            page.line(metric.name, &label, count);
        });
    }
}

impl Part for Protocols {
    fn metrics(&self, page: &mut Page) {
        self.http(page);
        self.nfs(page);
    }

    fn status(&self, status: &mut Status) {
        status.nfs4 = self.nfs.held().map(|held| status::Nfs4 {
            clients: held.clients,
            sessions: held.sessions,
            opens: held.opens,
            lock_owners: held.lock_owners,
            delegations: held.delegations,
        });
    }

    fn every(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    fn tick(&self) {
        self.nfs.forget_silent_clients();
    }

    fn start(&self) -> Result<(), NodeError> {
        let mut udp = self.udp.lock().unwrap_or_else(PoisonError::into_inner);
        for socket in udp.drain(..) {
            tokio::spawn(datagrams::serve(socket, self.nfs.clone()));
        }
        Ok(())
    }
}
