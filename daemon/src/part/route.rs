//! Requests that a part answers, and the replies that it gives.
//!
//! A route is a path, or every path below one, with the methods that it takes and an async
//! function. Invariant: a route is for addresses that may reach a volume unless it says that it is
//! open to everybody. Not promised: that routes of two parts do not overlap; the first one of the
//! list answers.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use towline_io::Peer;
use towline_io::peer_owner::peer_owner;
use towline_models::Inflow;

/// What the control plane replies.
pub(crate) type Reply = Response<Full<Bytes>>;

/// A reply that is being made.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A request with the connection that it came on.
pub(crate) struct Asked {
    pub(crate) request: Request<Inflow>,
    pub(crate) peer: Peer,
}

/// The methods that a route takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Methods {
    /// GET alone.
    Get,
    /// GET and HEAD.
    Reads,
    /// Whatever there is; the part refuses what it does not know.
    Any,
}

impl Methods {
    /// Whether a method is among them.
    pub(crate) fn have(self, method: &Method) -> bool {
        match self {
            Self::Get => *method == Method::GET,
            Self::Reads => matches!(*method, Method::GET | Method::HEAD),
            Self::Any => true,
        }
    }
}

/// One row of a table of routes.
pub(crate) struct Route {
    path: &'static str,
    is_below: bool,
    is_open: bool,
    methods: Methods,
    answer: Box<dyn Fn(Asked) -> Answering + Send + Sync>,
}

impl Route {
    /// A path.
    pub(crate) fn at<Answer, Coming>(path: &'static str, methods: Methods, answer: Answer) -> Self
    where
        Answer: Fn(Asked) -> Coming + Send + Sync + 'static,
        Coming: Future<Output = Reply> + Send + 'static,
    {
        Self {
            path,
            is_below: false,
            is_open: false,
            methods,
            answer: Box::new(move |asked| Box::pin(answer(asked))),
        }
    }

    /// Every path that begins with this one, which ends in a slash.
    pub(crate) fn below<Answer, Coming>(
        path: &'static str,
        methods: Methods,
        answer: Answer,
    ) -> Self
    where
        Answer: Fn(Asked) -> Coming + Send + Sync + 'static,
        Coming: Future<Output = Reply> + Send + 'static,
    {
        Self {
            is_below: true,
            ..Self::at(path, methods, answer)
        }
    }

    /// The same route for everybody, whether they may reach a volume or not.
    pub(crate) fn open_to_all(self) -> Self {
        Self {
            is_open: true,
            ..self
        }
    }

    /// Whether everybody is answered.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether this is the route of such a request.
    pub(crate) fn takes(&self, method: &Method, path: &str) -> bool {
        let is_here = match self.is_below {
            true => path.starts_with(self.path),
            false => path == self.path,
        };
        is_here && self.methods.have(method)
    }

    /// Answers a request that it takes. Whatever blocks does so on other threads.
    pub(crate) fn answer(&self, asked: Asked) -> Answering {
        (self.answer)(asked)
    }
}

/// Whether the other end is a program of root or of the node's own user, on this machine.
pub(crate) fn is_owner(peer: &Peer) -> bool {
    let own = rustix::process::geteuid().as_raw();
    peer.address.ip().to_canonical().is_loopback()
        && peer_owner(peer).is_some_and(|uid| uid == 0 || uid == own)
}

/// A reply of plain text.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Reply {
    with_type(status, body.into(), "text/plain; charset=utf-8")
}

/// A reply of JSON.
pub(crate) fn json(status: StatusCode, body: String) -> Reply {
    with_type(status, body, "application/json")
}

/// A reply of any type.
pub(crate) fn with_type(status: StatusCode, body: String, kind: &'static str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_takes_its_own_path_and_methods() {
        let answer = |_| async { text(StatusCode::OK, "") };
        let page = Route::at("/v1/tune", Methods::Get, answer);
        let folder = Route::below("/hf/", Methods::Any, answer);
        assert!(page.takes(&Method::GET, "/v1/tune"));
        assert!(!page.takes(&Method::HEAD, "/v1/tune"));
        assert!(!page.takes(&Method::GET, "/v1/tune/x"));
        assert!(folder.takes(&Method::PUT, "/hf/a/b"));
        assert!(!folder.takes(&Method::PUT, "/hf"));
        let reads = Route::at("/", Methods::Reads, answer);
        assert!(reads.takes(&Method::HEAD, "/") && !reads.takes(&Method::POST, "/"));
        assert!(!reads.is_open() && reads.open_to_all().is_open());
    }
}
