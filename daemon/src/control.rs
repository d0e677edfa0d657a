//! The control plane's pages: health, metrics, status, tuning. One request per connection.
//!
//! Connections come from the workers, which have already read the request's first bytes; the reply
//! always says `Connection: close`, so a client's next file request goes to a worker again.
//! Names and pages have been judged by the worker (`towline_http::doors`). Invariant: what says
//! more than "ready" is answered only to this host and to addresses that may reach a volume. Not
//! promised: speed.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use towline_http::doors::CORS_SHOWN;
use towline_io::peer_owner::peer_owner;
use towline_io::{HandOff, Peer};
use towline_models::UploadPlaces;
use towline_volume::Reach;

use crate::control_metrics;
use crate::node::Facts;

/// Connections that may wait for the control plane; more are closed by the workers.
pub(crate) const WAITING_MAX: usize = 256;

/// Connections that are answered at the same time.
const ANSWERED_MAX: usize = 256;

/// Time for a request's head: as for files.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// Time for a whole request: the longest answer is some kilobytes.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// Time for what changes a model and is no file: a commit is put together and synced in it. Files
/// take as long as they take; a sender that stands still is cut by the desk of uploads.
const COMMIT_MAX: Duration = Duration::from_secs(3_600);

/// How the head of an upload begins.
const UPLOADS: [&[u8]; 2] = [b"PUT /hf/", b"POST /hf/"];

type Reply = Response<Full<Bytes>>;

/// Answers connections until the channel closes.
pub(crate) async fn serve(mut handed_off: tokio::sync::mpsc::Receiver<HandOff>, facts: Arc<Facts>) {
    let places = Arc::new(Semaphore::new(ANSWERED_MAX));
    let uploads = Arc::new(UploadPlaces::default());
    while let Some(connection) = handed_off.recv().await {
        let starts = |start: &[u8]| connection.unread.starts_with(start);
        let is_hub = facts.ports.hub == Some(connection.peer.local.port());
        let is_upload = UPLOADS.iter().any(|start| starts(start))
            || (is_hub && (starts(b"PUT ") || starts(b"POST ")));
        let facts = facts.clone();
        if is_upload {
            let Some(place) = uploads.take(connection.peer.address.ip()) else {
                tracing::debug!(peer = %connection.peer.address, "too many uploads at once");
                tokio::spawn(refuse_busy(connection));
                continue;
            };
            let is_file = connection.unread.starts_with(b"PUT ");
            let limit = if is_file { None } else { Some(COMMIT_MAX) };
            tokio::spawn(answer_within(limit, connection, facts, place));
            continue;
        }
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        tokio::spawn(answer_within(Some(REQUEST_MAX), connection, facts, place));
    }
}

/// Answers a connection in a place that is free again afterwards.
async fn answer_within<P>(
    limit: Option<Duration>,
    connection: HandOff,
    facts: Arc<Facts>,
    place: P,
) {
    let peer = connection.peer.address;
    let answered = answer(connection, facts);
    let outcome = match limit {
        Some(limit) => tokio::time::timeout(limit, answered).await,
        None => Ok(answered.await),
    };
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(%peer, error = %error, "a control connection ended");
        }
        Err(_) => tracing::debug!(%peer, "a control connection took too long"),
    }
    drop(place);
}

/// Tells that the node has no place for another upload now.
async fn refuse_busy(connection: HandOff) {
    const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 30\r\n\
        Content-Type: text/plain\r\nContent-Length: 43\r\nConnection: close\r\n\r\n\
        too many uploads at once: try again later\r\n";
    if let Ok(mut stream) = Rewound::new(connection) {
        let write = tokio::io::AsyncWriteExt::write_all(&mut stream, BUSY);
        let _over = tokio::time::timeout(HEAD_MAX, write).await;
    }
}

async fn answer(connection: HandOff, facts: Arc<Facts>) -> io::Result<()> {
    let peer = connection.peer;
    let stream = Rewound::new(connection)?;
    let at_hub = facts.ports.hub == Some(peer.local.port());
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let facts = facts.clone();
        async move {
            let request = match at_hub {
                true => towline_models::below_prefix(request),
                false => request,
            };
            let page = facts
                .http
                .doors()
                .page(request.headers().get(header::ORIGIN));
            let mut reply = match route(&request, peer.address, &facts) {
                Routed::Reply(reply) => reply,
                Routed::Tuning => tuning(&facts).await,
                Routed::Models => models(request, &peer, facts).await,
                Routed::Nfs => nfs(request, &peer, facts).await,
                Routed::Upload => upload(request, &peer, facts).await,
            };
            reply
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
            if let Some(origin) = page {
                show_to(origin, &mut reply);
            }
            Ok::<_, Infallible>(reply)
        }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_headers(100)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

/// Longest body of a request, in bytes: names and a path.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Longest body of a request that names every file of a model, in bytes: 100,000 of them.
const FILES_BYTES_MAX: usize = 16 << 20;

/// Answers `/v1/models`. The store reads and syncs files, so a thread that may block does it.
async fn models(request: Request<Incoming>, peer: &Peer, facts: Arc<Facts>) -> Reply {
    if let Some(reply) = refusal(peer.address.ip(), &facts) {
        return reply;
    }
    let Some(desk) = facts.models.as_ref() else {
        let why = "this node has no store of models: see the notes of towline status\n";
        return text(StatusCode::NOT_FOUND, why.into());
    };
    let path = request.uri().path().to_owned();
    let below = path.strip_prefix("/v1/models").unwrap_or("").to_owned();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let sent = request.headers().get(header::AUTHORIZATION);
    let sent = sent.map(HeaderValue::as_bytes);
    let caller = match desk.caller(sent, is_owner(peer)) {
        Ok(caller) => caller,
        Err(refusal) => return answered(refusal, &facts),
    };
    // A long list is taken only from those who could publish what it names.
    let is_listed = matches!(below.as_str(), "/missing" | "/publish");
    let limit = if is_listed && caller.sight.may_publish_some() {
        FILES_BYTES_MAX
    } else {
        BODY_BYTES_MAX
    };
    let Ok(body) = Limited::new(request.into_body(), limit).collect().await else {
        return text(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request is too long\n".into(),
        );
    };
    let body = body.to_bytes();
    let working = facts.clone();
    let done = tokio::task::spawn_blocking(move || {
        let desk = working.models.as_ref()?;
        Some(match below.strip_prefix('/') {
            Some(verb) if !reads => desk.change(verb, &body, &caller),
            _ => desk.read(&below, &caller),
        })
    });
    match done.await {
        Ok(Some(answer)) => answered(answer, &facts),
        Ok(None) => text(StatusCode::NOT_FOUND, "this node has no store\n".into()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// Answers `/v1/nfs/*`. Handles are opened for it, so a thread that may block does it.
async fn nfs(request: Request<Incoming>, peer: &Peer, facts: Arc<Facts>) -> Reply {
    if let Some(reply) = refusal(peer.address.ip(), &facts) {
        return reply;
    }
    let path = request.uri().path().to_owned();
    let (is_change, owns) = (*request.method() == Method::POST, is_owner(peer));
    let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
    else {
        let why = "the request is too long\n";
        return text(StatusCode::PAYLOAD_TOO_LARGE, why.into());
    };
    let body = is_change.then(|| body.to_bytes());
    let nfs = facts.nfs.clone();
    let done = tokio::task::spawn_blocking(move || {
        crate::nfs_desk::answer(&nfs, &path, body.as_deref(), owns)
    });
    match done.await {
        Ok((code, value)) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            with_type(text(status, value.to_string()), "application/json")
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// An answer about models as a reply; refusals for want of a right are counted.
fn answered((code, value): (u16, serde_json::Value), facts: &Facts) -> Reply {
    if matches!(code, 401 | 403)
        && let Some(uploads) = &facts.uploads
    {
        uploads.tally().refused.fetch_add(1, Ordering::Relaxed);
    }
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_type(text(status, value.to_string()), "application/json")
}

/// Answers what changes a model below `/hf`. Whoever sends a token may come from elsewhere.
async fn upload(request: Request<Incoming>, peer: &Peer, facts: Arc<Facts>) -> Reply {
    if let Some(reply) = refusal(peer.address.ip(), &facts) {
        return reply;
    }
    let Some(desk) = facts.uploads.clone() else {
        return text(
            StatusCode::NOT_FOUND,
            "this node has no store of models\n".into(),
        );
    };
    let host = request.headers().get(header::HOST);
    let host = host
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost")
        .to_owned();
    let scheme = match facts.ports.tls == Some(peer.local.port()) {
        true => "https",
        false => "http",
    };
    let prefix = match facts.ports.hub == Some(peer.local.port()) {
        true => "",
        false => "/hf",
    };
    let base = format!("{scheme}://{host}{prefix}");
    let answer = desk.answer(request, base).await;
    let why = answer.body.get("error").and_then(|why| why.as_str());
    let why = why.and_then(|why| HeaderValue::from_str(why).ok());
    let mut reply = with_type(
        text(answer.status, answer.body.to_string()),
        "application/json",
    );
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

/// Whether the other end is a program of root or of the node's own user, on this machine.
fn is_owner(peer: &Peer) -> bool {
    let own = rustix::process::geteuid().as_raw();
    peer.address.ip().to_canonical().is_loopback()
        && peer_owner(peer).is_some_and(|uid| uid == 0 || uid == own)
}

/// A reply, or what takes a while to make.
enum Routed {
    Reply(Reply),
    /// The report of `towline tune check`.
    Tuning,
    /// The store of models.
    Models,
    /// Clients of NFSv4.
    Nfs,
    /// What a hub client publishes.
    Upload,
}

fn route<B>(request: &Request<B>, peer: SocketAddr, facts: &Facts) -> Routed {
    let path = request.uri().path();
    if path.starts_with("/hf/") {
        return Routed::Upload;
    }
    if path == "/v1/models" || path.starts_with("/v1/models/") {
        return Routed::Models;
    }
    if path.starts_with("/v1/nfs/") {
        return Routed::Nfs;
    }
    if request.uri().path() == "/v1/tune" && *request.method() == Method::GET {
        return match refusal(peer.ip(), facts) {
            Some(reply) => Routed::Reply(reply),
            None => Routed::Tuning,
        };
    }
    Routed::Reply(page(request, peer, facts))
}

/// The report on card and host; reading them blocks for a second, so it is done on a thread that
/// may block.
async fn tuning(facts: &Facts) -> Reply {
    let watch = facts.tuning.clone();
    let made = tokio::task::spawn_blocking(move || {
        let report = watch.refresh().map_err(|error| error.to_string())?;
        serde_json::to_string(&*report).map_err(|error| error.to_string())
    });
    match made.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(body) => with_type(text(StatusCode::OK, body), "application/json"),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// The metrics, with the last report on card and host; a new one is begun where that is due.
fn metrics(facts: &Facts) -> String {
    if facts.tuning.is_due() {
        let watch = facts.tuning.clone();
        // Whoever asks next sees it; a failure is told at /v1/tune.
        tokio::task::spawn_blocking(move || drop(watch.refresh()));
    }
    control_metrics::render(facts)
}

fn page<B>(request: &Request<B>, peer: SocketAddr, facts: &Facts) -> Reply {
    let path = request.uri().path();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut reply = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "this page knows GET only\n".into(),
        );
        reply
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    match path {
        "/healthz" if facts.standing.faults().is_empty() => text(StatusCode::OK, "ok\n".into()),
        "/healthz" => {
            let why = "the folder of a volume is not the one that is served; towline status on \
                       the node and its log say which\n";
            text(StatusCode::SERVICE_UNAVAILABLE, why.into())
        }
        "/" => {
            let mut reply = text(StatusCode::FOUND, "the volumes are at /files/\n".into());
            reply
                .headers_mut()
                .insert(header::LOCATION, HeaderValue::from_static("/files/"));
            reply
        }
        "/metrics" | "/v1/status" => match refusal(peer.ip(), facts) {
            Some(reply) => reply,
            None if path == "/metrics" => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                with_type(text(StatusCode::OK, metrics(facts)), kind)
            }
            None => status(peer.ip(), facts),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "no such page: there are /files/, /hf/, /v2/, /healthz, /metrics, /v1/status, \
             /v1/models and /v1/tune\n"
                .into(),
        ),
    }
}

fn status(peer: IpAddr, facts: &Facts) -> Reply {
    match serde_json::to_string(&facts.status_for(peer)) {
        Ok(body) => with_type(text(StatusCode::OK, body), "application/json"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// Why this request gets no answer, if it gets none.
fn refusal(peer: IpAddr, facts: &Facts) -> Option<Reply> {
    let peer = peer.to_canonical();
    let mut exports = facts.exports.all().iter();
    if !peer.is_loopback() && !exports.any(|export| export.reach(peer) > Reach::None) {
        let why = "this address may reach no volume: name it with --allow on the node\n";
        return Some(text(StatusCode::FORBIDDEN, why.into()));
    }
    None
}

/// Lets a page of an origin that was judged read the reply.
fn show_to(origin: &'static str, reply: &mut Reply) {
    let fields = reply.headers_mut();
    let mut set = |name, value| {
        fields.insert(name, HeaderValue::from_static(value));
    };
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    set(header::ACCESS_CONTROL_EXPOSE_HEADERS, CORS_SHOWN);
    set(header::VARY, "Origin");
}

fn text(status: StatusCode, body: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    with_type(reply, "text/plain; charset=utf-8")
}

fn with_type(mut reply: Reply, kind: &'static str) -> Reply {
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// A connection whose first bytes have been read already.
struct Rewound {
    unread: Bytes,
    stream: Stream,
}

enum Stream {
    Tcp(TcpStream),
    /// The kernel encrypts.
    KernelTls(TcpStream),
    /// The inner end of a TLS relay.
    Unix(UnixStream),
}

impl Rewound {
    fn new(connection: HandOff) -> io::Result<Self> {
        let fd = connection.stream;
        let stream = match rustix::net::sockopt::socket_domain(&fd)? {
            rustix::net::AddressFamily::UNIX => Stream::Unix(UnixStream::from_std(
                std::os::unix::net::UnixStream::from(fd),
            )?),
            _ => {
                let encrypts = towline_sys::kernel_tls::is_attached(&fd);
                let stream = TcpStream::from_std(std::net::TcpStream::from(fd))?;
                if encrypts {
                    Stream::KernelTls(stream)
                } else {
                    Stream::Tcp(stream)
                }
            }
        };
        Ok(Self {
            unread: Bytes::from(connection.unread),
            stream,
        })
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match &mut self.stream {
            Stream::Tcp(stream) | Stream::KernelTls(stream) => Pin::new(stream),
            Stream::Unix(stream) => Pin::new(stream),
        }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(count));
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Tcp(stream) | Stream::KernelTls(stream) => {
                Pin::new(stream).poll_read(context, buffer)
            }
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Stream::KernelTls(stream) = &self.stream {
            // A full socket is that of a peer that does not read; it sees a cut.
            let _ = towline_sys::kernel_tls::close_notify(stream);
        }
        self.writer().poll_shutdown(context)
    }
}
