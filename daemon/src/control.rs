//! The control plane's door: connections that a worker has handed over, and how many at once.
//!
//! The workers have already read a request's first bytes, and have judged names and pages
//! (`towline_http::doors`). There is one request per connection: the reply says `Connection:
//! close`, so a client's next file request goes to a worker again. Invariant: uploads, which may
//! take hours, never take the places of everybody else. Not promised: speed.

mod answer;
mod pages;
mod rewound;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use towline_io::HandOff;
use towline_models::{PREFIX, UploadPlaces};

pub(crate) use answer::Control;
pub(crate) use pages::Pages;
use rewound::Rewound;

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

/// Answers connections until the channel closes.
pub(crate) async fn serve(mut handed_off: Receiver<HandOff>, control: Arc<Control>) {
    let places = Arc::new(Semaphore::new(ANSWERED_MAX));
    let uploads = Arc::new(UploadPlaces::default());
    while let Some(connection) = handed_off.recv().await {
        let peer = connection.peer.address;
        let (sends, is_file) = sends(&connection, control.is_hub(&connection.peer));
        if sends {
            let Some(place) = uploads.take(peer.ip()) else {
                tracing::debug!(%peer, "too many uploads at once");
                tokio::spawn(refuse_busy(connection));
                continue;
            };
            let limit = if is_file { None } else { Some(COMMIT_MAX) };
            let answered = control.clone().answer(connection);
            tokio::spawn(within(limit, peer, answered, place));
            continue;
        }
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let answered = control.clone().answer(connection);
        tokio::spawn(within(Some(REQUEST_MAX), peer, answered, place));
    }
}

/// Whether a connection brings an upload, by the first bytes of its head, and whether that is a
/// file.
fn sends(connection: &HandOff, is_hub: bool) -> (bool, bool) {
    let starts = |method: &str| {
        let rest = connection.unread.strip_prefix(method.as_bytes());
        rest.is_some_and(|rest| {
            let below = rest.strip_prefix(PREFIX.as_bytes());
            is_hub || below.is_some_and(|below| below.starts_with(b"/"))
        })
    };
    let is_file = starts("PUT ");
    (is_file || starts("POST "), is_file)
}

/// Answers a connection in a place that is free again afterwards.
async fn within<Place>(
    limit: Option<Duration>,
    peer: std::net::SocketAddr,
    answered: impl Future<Output = std::io::Result<()>>,
    place: Place,
) {
    let outcome = match limit {
        Some(limit) => tokio::time::timeout(limit, answered).await,
        None => Ok(answered.await),
    };
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a control connection ended"),
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
