//! HTTP and NFS as all workers share them: what they count, what is asked of NFSv4, its clients that
//! fell silent, and portmap over UDP.
//!
//! Nobody waits for a silent client, because whoever wants what it holds gets it at once.
//! Invariant: those of a day ago are forgotten on a thread that may wait, since that is written to
//! the ledger. Not promised: the minute.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::{Method, StatusCode};
use towline_api::{Status, status};

use crate::error::NodeError;
use crate::part::page::{Kind, Tier};
use crate::part::route::{is_owner, json, text};
use crate::part::{Asked, Methods, Page, Part, Reply, Route};
use crate::{datagrams, nfs_desk};

/// Time between two looks for silent clients: courtesy lasts a day.
const INTERVAL: Duration = Duration::from_secs(600);

/// Longest body of a request, in bytes: the id of a client.
const BODY_BYTES_MAX: usize = 1 << 10;

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

    /// Answers `/v1/nfs/*`. Handles are opened for it, so a thread that may block does it.
    async fn ask_nfs(self: Arc<Self>, Asked { request, peer }: Asked) -> Reply {
        let path = request.uri().path().to_owned();
        let (is_change, owns) = (*request.method() == Method::POST, is_owner(&peer));
        let limited = Limited::new(request.into_body(), BODY_BYTES_MAX);
        let Ok(body) = limited.collect().await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long\n");
        };
        let body = is_change.then(|| body.to_bytes());
        let nfs = self.nfs.clone();
        let done = tokio::task::spawn_blocking(move || {
            nfs_desk::answer(&nfs, &path, body.as_deref(), owns)
        });
        match done.await {
            Ok((code, value)) => {
                let status = StatusCode::from_u16(code);
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                json(status, value.to_string())
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
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
    fn routes(self: Arc<Self>) -> Vec<Route> {
        vec![Route::below("/v1/nfs/", Methods::Any, move |asked| {
            self.clone().ask_nfs(asked)
        })]
    }

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
