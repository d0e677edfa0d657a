//! The models of a node: what is asked of their desks over HTTP, counted, and done now and then.
//!
//! Invariant: the desks run on threads that may block, never on the runtime; refusals for want of a
//! right are counted. Not promised: that a node has a store; without one every request is told so.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};
use towline_api::Status;
use towline_models::{Desks, ModelAnswer, PREFIX};

use crate::part::page::{Kind, Row, Tier};
use crate::part::route::{is_owner, json, text};
use crate::part::{Asked, Methods, Page, Part, Reply, Route};
use crate::sockets::Ports;

/// Time between two times that uses are written down and uploads that were given up are removed.
const INTERVAL: Duration = Duration::from_secs(60);

/// Longest body of a request, in bytes: names and a path.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Longest body of a request that names every file of a model, in bytes: 100,000 of them.
const FILES_BYTES_MAX: usize = 16 << 20;

/// The store of models, with its desks.
pub(crate) struct Models {
    desks: Option<Desks>,
    /// Ports that tell by which URL a client has come.
    ports: Ports,
}

impl Models {
    /// The desks of a node, if it has a store of models.
    pub(crate) fn new(desks: Option<Desks>, ports: Ports) -> Self {
        Self { desks, ports }
    }

    /// Answers `/v1/models`. The store reads and syncs files, so a thread that may block does it.
    async fn call(self: Arc<Self>, Asked { request, peer }: Asked) -> Reply {
        let Some(desks) = &self.desks else {
            let why = "this node has no store of models: see the notes of towline status\n";
            return text(StatusCode::NOT_FOUND, why);
        };
        let desk = desks.models.clone();
        let path = request.uri().path().to_owned();
        let below = path.strip_prefix("/v1/models").unwrap_or("").to_owned();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let sent = request.headers().get(header::AUTHORIZATION);
        let sent = sent.map(HeaderValue::as_bytes);
        let caller = match desk.caller(sent, is_owner(&peer)) {
            Ok(caller) => caller,
            Err(refusal) => return answered(refusal, desks),
        };
        // A long list is taken only from those who could publish what it names.
        let is_listed = matches!(below.as_str(), "/missing" | "/publish");
        let limit = if is_listed && caller.sight.may_publish_some() {
            FILES_BYTES_MAX
        } else {
            BODY_BYTES_MAX
        };
        let Ok(body) = Limited::new(request.into_body(), limit).collect().await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long\n");
        };
        let body = body.to_bytes();
        let done = tokio::task::spawn_blocking(move || match below.strip_prefix('/') {
            Some(verb) if !reads => desk.change(verb, &body, &caller),
            _ => desk.read(&below, &caller),
        });
        match done.await {
            Ok(answer) => answered(answer, desks),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// Answers what changes a model below `/hf`. Whoever sends a token may come from elsewhere.
    async fn upload(self: Arc<Self>, Asked { request, peer }: Asked) -> Reply {
        let Some(desks) = &self.desks else {
            return text(StatusCode::NOT_FOUND, "this node has no store of models\n");
        };
        let host = request.headers().get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        let host = host.unwrap_or("localhost").to_owned();
        let port = Some(peer.local.port());
        let scheme = if self.ports.tls == port {
            "https"
        } else {
            "http"
        };
        let prefix = if self.ports.hub == port { "" } else { PREFIX };
        let base = format!("{scheme}://{host}{prefix}");
        let answer = desks.uploads.clone().answer(request, base).await;
        let why = answer.body.get("error").and_then(|why| why.as_str());
        let why = why.and_then(|why| HeaderValue::from_str(why).ok());
        let mut reply = json(answer.status, answer.body.to_string());
        if let Some(why) = why {
            reply.headers_mut().insert("x-error-message", why);
        }
        if let Some(code) = answer.code {
            let code = HeaderValue::from_static(code);
            reply.headers_mut().insert("x-error-code", code);
        }
        let etag = answer.etag.and_then(|etag| etag.try_into().ok());
        if let Some(etag) = etag {
            reply.headers_mut().insert(header::ETAG, etag);
        }
        reply
    }
}

/// An answer about models as a reply; refusals for want of a right are counted.
fn answered((code, value): ModelAnswer, desks: &Desks) -> Reply {
    if matches!(code, 401 | 403) {
        let tally = desks.uploads.tally();
        tally.refused.fetch_add(1, Ordering::Relaxed);
    }
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, value.to_string())
}

impl Part for Models {
    fn routes(self: Arc<Self>) -> Vec<Route> {
        let (calls, below, uploads) = (self.clone(), self.clone(), self);
        vec![
            Route::at("/v1/models", Methods::Any, move |asked| {
                calls.clone().call(asked)
            }),
            Route::below("/v1/models/", Methods::Any, move |asked| {
                below.clone().call(asked)
            }),
            Route::below("/hf/", Methods::Any, move |asked| {
                uploads.clone().upload(asked)
            }),
        ]
    }

    fn metrics(&self, page: &mut Page) {
        let Some(desks) = &self.desks else {
            return;
        };
        let tally = desks.uploads.tally();
        let rows: [Row<'_>; 6] = [
            (
                "towline_models_commits_total",
                Kind::Counter,
                "Revisions that were published over the network.",
                &tally.commits,
            ),
            (
                "towline_models_uploaded_bytes_total",
                Kind::Counter,
                "Bytes of files that were uploaded to be published.",
                &tally.bytes,
            ),
            (
                "towline_models_uploaded_parts_total",
                Kind::Counter,
                "Parts of large files that were uploaded to be published.",
                &tally.parts,
            ),
            (
                "towline_models_uploads_slow_total",
                Kind::Counter,
                "Uploads that were cut because nothing came, or next to nothing.",
                &tally.slow,
            ),
            (
                "towline_models_uploads_refused_total",
                Kind::Counter,
                "Requests to publish without a token or address that was good for it.",
                &tally.refused,
            ),
            (
                "towline_models_uploads_full_total",
                Kind::Counter,
                "Uploads that were refused or ended for want of room.",
                &tally.full,
            ),
        ];
        page.rows(Tier::Experimental, &rows);
        let name = "towline_models_unsigned_revisions";
        let help = "Revisions that are here and not served for want of a trusted signature.";
        let unsigned = desks.uploads.unsigned_revisions();
        page.metric((name, Kind::Gauge, Tier::Experimental), help, unsigned);
        for row in desks.models.metrics() {
            let kind = if row.is_gauge {
                Kind::Gauge
            } else {
                Kind::Counter
            };
            page.head(row.name, kind, Tier::Experimental, row.help);
            page.line(row.name, row.labels, row.value);
        }
    }

    fn status(&self, status: &mut Status) {
        status.uploads = self.desks.as_ref().map(|desks| {
            let staged = desks.models.staged();
            towline_api::status::Uploads {
                bytes: staged.bytes,
                promised: staged.promised,
                bytes_max: staged.bytes_max,
            }
        });
    }

    fn every(&self) -> Option<Duration> {
        self.desks.as_ref().map(|_| INTERVAL)
    }

    /// Lets the store write down when models were used, so that it knows which to evict, and
    /// removes uploads that were given up.
    fn tick(&self) {
        if let Some(desks) = &self.desks {
            desks.models.note_uses();
            desks.models.sweep_uploads();
        }
    }

    fn stop(&self) {
        if let Some(desks) = &self.desks {
            desks.models.stop();
            desks.models.note_uses();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http_body_util::{Either, Full};
    use hyper::Request;

    use super::*;

    #[tokio::test]
    async fn a_node_without_a_store_says_so_on_every_route() {
        let routes = Arc::new(Models::new(None, Ports::default())).routes();
        for path in ["/v1/models", "/v1/models/gc", "/hf/api/repos/create"] {
            let mut request = Request::new(Either::Right(Full::from("{}")));
            *request.uri_mut() = path.parse().unwrap();
            let address = SocketAddr::from(([127, 0, 0, 1], 1));
            let local = address;
            let peer = towline_io::Peer { address, local };
            let mut routes = routes.iter();
            let route = routes.find(|route| route.takes(&Method::POST, path));
            let reply = route.unwrap().answer(Asked { request, peer }).await;
            assert_eq!(reply.status(), StatusCode::NOT_FOUND, "{path}");
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert!(body.contains("no store of models"), "{path}: {body}");
        }
    }
}
