//! One request of the control plane: found among the routes, judged, answered.
//!
//! Invariant: what says more than "ready" is answered only to this host and to addresses that may
//! reach a volume, whichever part answers it. Not promised: that a part is asked at all; a path
//! that none of them knows is told which there are.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use towline_http::doors::CORS_SHOWN;
use towline_io::{HandOff, Peer};
use towline_models::below_prefix;
use towline_volume::{Exports, Reach};

use super::HEAD_MAX;
use super::pages::Pages;
use super::rewound::Rewound;
use crate::part::route::text;
use crate::part::{Asked, Methods, Parts, Reply, Route};
use crate::sockets::Ports;

/// Most fields of a head.
const FIELDS_MAX: usize = 100;

/// What is said of a path that nobody knows.
const NO_PAGE: &str = "no such page: there are /files/, /hf/, /v2/, /healthz, /metrics, \
                       /v1/status, /v1/models and /v1/tune\n";

/// Everything that answers a request.
pub(crate) struct Control {
    routes: Vec<Route>,
    /// Who may reach a volume.
    exports: Arc<Exports>,
    /// Which pages of other origins may read replies.
    http: Arc<towline_http::Server>,
    /// Ports that tell what a connection is about.
    ports: Ports,
}

impl Control {
    /// What the pages of a node and its parts answer together.
    pub(crate) fn new(
        (pages, parts): (&Arc<Pages>, &Parts),
        (exports, http): (Arc<Exports>, Arc<towline_http::Server>),
        ports: Ports,
    ) -> Self {
        let mut routes = pages.clone().routes();
        routes.extend(parts.routes());
        Self {
            routes,
            exports,
            http,
            ports,
        }
    }

    /// Whether a connection came to the port of the hub's own.
    pub(super) fn is_hub(&self, peer: &Peer) -> bool {
        self.ports.hub == Some(peer.local.port())
    }

    /// Answers the one request of a connection.
    pub(super) async fn answer(self: Arc<Self>, connection: HandOff) -> io::Result<()> {
        let peer = connection.peer;
        let stream = Rewound::new(connection)?;
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let control = self.clone();
            async move {
                let request = match control.is_hub(&peer) {
                    true => below_prefix(request),
                    false => request,
                };
                let origin = request.headers().get(header::ORIGIN);
                let page = control.http.doors().page(origin);
                let request = request.map(Either::Left);
                let mut reply = control.reply(Asked { request, peer }).await;
                let close = HeaderValue::from_static("close");
                reply.headers_mut().insert(header::CONNECTION, close);
                if let Some(origin) = page {
                    show_to(origin, &mut reply);
                }
                Ok::<_, Infallible>(reply)
            }
        });
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_headers(FIELDS_MAX)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await
            .map_err(io::Error::other)
    }

    /// What the route of a request says to it.
    async fn reply(&self, asked: Asked) -> Reply {
        let (method, path) = (asked.request.method(), asked.request.uri().path());
        let mut routes = self.routes.iter();
        let Some(route) = routes.find(|route| route.takes(method, path)) else {
            if Methods::Reads.have(method) {
                return text(StatusCode::NOT_FOUND, NO_PAGE);
            }
            let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "this page knows GET only\n");
            let allow = HeaderValue::from_static("GET, HEAD");
            reply.headers_mut().insert(header::ALLOW, allow);
            return reply;
        };
        if !route.is_open()
            && let Some(reply) = refusal(asked.peer.address.ip(), &self.exports)
        {
            return reply;
        }
        route.answer(asked).await
    }
}

/// Why this address gets no answer, if it gets none.
fn refusal(peer: IpAddr, exports: &Exports) -> Option<Reply> {
    let peer = peer.to_canonical();
    let mut exports = exports.all().iter();
    if !peer.is_loopback() && !exports.any(|export| export.reach(peer) > Reach::None) {
        let why = "this address may reach no volume: name it with --allow on the node\n";
        return Some(text(StatusCode::FORBIDDEN, why));
    }
    None
}

/// Lets a page of an origin that was judged read the reply.
fn show_to(origin: &'static str, reply: &mut Reply) {
    let fields = reply.headers_mut();
    let mut set = |name: HeaderName, value| {
        fields.insert(name, HeaderValue::from_static(value));
    };
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    set(header::ACCESS_CONTROL_EXPOSE_HEADERS, CORS_SHOWN);
    set(header::VARY, "Origin");
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http_body_util::{BodyExt, Full};
    use hyper::Method;
    use towline_base::MacKey;
    use towline_volume::handle::HandleKeys;

    use super::*;
    use crate::part::Part;

    /// A part that says what it was asked.
    struct Echo;

    impl Part for Echo {
        fn routes(self: Arc<Self>) -> Vec<Route> {
            let body = |asked: Asked| async move {
                let body = asked.request.into_body().collect().await.unwrap();
                let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
                text(StatusCode::ACCEPTED, body)
            };
            let from = |asked: Asked| async move {
                text(StatusCode::OK, asked.peer.address.ip().to_string())
            };
            vec![
                Route::below("/echo/", Methods::Any, body),
                Route::at("/from", Methods::Get, from),
                Route::at("/ready", Methods::Reads, from).open_to_all(),
            ]
        }
    }

    fn control() -> Control {
        let keys = HandleKeys::new(MacKey::random().unwrap());
        let exports = Arc::new(Exports::new(Vec::new(), keys));
        let limits = towline_http::Limits {
            upload_bytes_max: 1,
        };
        Control {
            routes: Arc::new(Echo).routes(),
            http: Arc::new(towline_http::Server::new(exports.clone(), limits)),
            exports,
            ports: Ports::default(),
        }
    }

    /// Asks from an address, with a body; status and text of the reply.
    async fn ask(method: Method, path: &str, from: &str, body: &'static str) -> (u16, String) {
        let mut request = Request::new(Either::Right(Full::from(body)));
        (*request.method_mut(), *request.uri_mut()) = (method, path.parse().unwrap());
        let address = SocketAddr::new(from.parse().unwrap(), 50_000);
        let local = address;
        let peer = Peer { address, local };
        let reply = control().reply(Asked { request, peer }).await;
        let status = reply.status().as_u16();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_route_of_a_part_is_asked_and_no_other() {
        let here = "127.0.0.1";
        let echoed = ask(Method::PUT, "/echo/a", here, "hello").await;
        assert_eq!(echoed, (202, "hello".to_owned()));
        let from = ask(Method::GET, "/from", here, "").await;
        assert_eq!(from, (200, here.to_owned()));
        assert_eq!(ask(Method::HEAD, "/from", here, "").await.0, 404);
        assert_eq!(ask(Method::POST, "/from", here, "").await.0, 405);
        assert_eq!(ask(Method::GET, "/echo", here, "").await.0, 404);
    }

    #[tokio::test]
    async fn who_may_reach_no_volume_is_asked_only_where_all_are() {
        let there = "10.9.9.9";
        let refused = ask(Method::GET, "/from", there, "").await;
        assert_eq!(refused.0, 403);
        assert!(refused.1.contains("--allow"), "{}", refused.1);
        assert_eq!(ask(Method::PUT, "/echo/a", there, "x").await.0, 403);
        assert_eq!(ask(Method::GET, "/ready", there, "").await.0, 200);
        // What nobody knows is no secret.
        assert_eq!(ask(Method::GET, "/other", there, "").await.0, 404);
    }
}
