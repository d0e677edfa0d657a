//! Receiving the bytes of one file: gathered as they come, written by a few threads in turn.
//!
//! Invariant: a sender that is slow or stands still holds no thread; at most [`WRITERS_MAX`]
//! threads write for all uploads together, each for one piece at a time. What has come when a
//! sender breaks off is kept. Not promised: that a file is written faster than one thread hashes
//! it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Request, header};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::pace::{Ended, Pace};
use super::staging::{Arriving, Place, Sink};
use super::{Expected, Inflow, Uploads};

/// Most threads that write for uploads at once: a quarter of those of the control plane, so that
/// the rest answer; hashing needs no more than there are cores.
pub(super) const WRITERS_MAX: usize = 4;

/// Bytes of one upload that are gathered in memory before they are written: 64 MiB for as many
/// uploads as there may be, and few enough turns of a thread for a fast one.
const GATHERED_BYTES: usize = 256 << 10;

/// Most bytes that are thrown away of a body that is refused, so that its sender reads why.
const DRAINED_BYTES: usize = 16 << 20;

/// How long that may take.
const DRAINED_MAX: Duration = Duration::from_secs(5);

/// Why a PUT fails, by whose fault.
#[derive(Debug)]
pub(crate) enum PutFault {
    /// The place is none of ours, or too old.
    Place,
    /// The bytes are not what was announced, or do not follow what is here.
    Bytes(String),
    /// There is no room for them.
    Full(String),
    /// The sender stood still, or sent next to nothing.
    Idle(String),
    /// Others send too much at once.
    Busy(String),
    /// A thread died.
    Thread(String),
}

/// How a body ended.
enum End {
    /// More may come.
    Open,
    Whole,
    Broken(PutFault),
}

impl Uploads {
    /// Takes the bytes of a file, or of a part, where its sender was told to put them; the ETag of
    /// a part. With `Content-Range` a file goes on behind what is here.
    pub(crate) async fn put(
        self: &Arc<Self>,
        request: Request<Inflow>,
        place: &str,
    ) -> Result<Option<String>, PutFault> {
        let range = request.headers().get(header::CONTENT_RANGE).cloned();
        let range = range.as_ref().map(header::HeaderValue::as_bytes);
        let mut body = request.into_body();
        let taken = match self.staging.judge(place) {
            Some(Place::Whole(expected)) => {
                let taken = self.take(expected, range, &mut body).await;
                taken.map(|()| None)
            }
            Some(Place::Part(expected, plan, number)) => {
                let part = (&expected, &plan, number);
                self.take_part(part, &mut body).await.map(Some)
            }
            Some(Place::Complete(..)) | None => return Err(PutFault::Place),
        };
        match &taken {
            Err(PutFault::Full(_)) => {
                self.tally.full.fetch_add(1, Ordering::Relaxed);
                drain(&mut body).await;
            }
            Err(PutFault::Busy(_)) => drain(&mut body).await,
            Err(PutFault::Idle(_)) => {
                self.tally.slow.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        taken
    }

    async fn take(
        self: &Arc<Self>,
        expected: Expected,
        range: Option<&[u8]>,
        body: &mut Inflow,
    ) -> Result<(), PutFault> {
        let size = expected.size;
        let from = match range.map(|range| begins_at(range, size)) {
            None => 0,
            Some(Some(from)) => from,
            Some(None) => {
                let why = "write Content-Range: bytes FIRST-LAST/SIZE, up to the end of the file";
                return Err(PutFault::Bytes(why.to_owned()));
            }
        };
        let uploads = self.clone();
        let begun = self.work(move || uploads.staging.begin(expected, from));
        let mut held = Held::new(begun.await?);
        let mut more = from > 0;
        while more {
            more = self.with(&mut held, Arriving::hash_again).await?;
        }
        self.pour(&mut held, body).await?;
        self.finish(held, Arriving::finish).await?;
        self.tally.bytes.fetch_add(size - from, Ordering::Relaxed);
        Ok(())
    }

    /// Pours a whole body into what takes it.
    pub(super) async fn pour<S: Sink>(
        &self,
        held: &mut Held<S>,
        body: &mut Inflow,
    ) -> Result<(), PutFault> {
        let mut pace = Pace::new(self.bounds.pace);
        let mut pieces = Vec::new();
        loop {
            // The next piece comes while this one is written.
            let written = async {
                match pieces.is_empty() {
                    true => Ok(()),
                    false => {
                        let write = move |file: &mut S| file.write(&pieces);
                        self.with(held, write).await
                    }
                }
            };
            let (written, (gathered, end)) = tokio::join!(written, gather(body, &mut pace));
            written?;
            match end {
                End::Open => pieces = gathered,
                End::Whole | End::Broken(_) => {
                    let write = move |file: &mut S| file.write(&gathered);
                    self.with(held, write).await?;
                    return match end {
                        End::Broken(fault) => Err(fault),
                        End::Open | End::Whole => Ok(()),
                    };
                }
            }
        }
    }

    /// Does the last thing with what took the bytes.
    pub(super) async fn finish<S: Sink, T: Send + 'static>(
        &self,
        mut held: Held<S>,
        last: impl FnOnce(S) -> io::Result<T> + Send + 'static,
    ) -> Result<T, PutFault> {
        match held.0.take() {
            Some(sink) => self.work(move || last(sink)).await,
            None => Err(PutFault::Thread("an upload lost its file".to_owned())),
        }
    }

    /// Does something with the file on a thread that may block.
    async fn with<S: Sink, T: Send + 'static>(
        &self,
        held: &mut Held<S>,
        act: impl FnOnce(&mut S) -> io::Result<T> + Send + 'static,
    ) -> Result<T, PutFault> {
        let Some(mut file) = held.0.take() else {
            return Err(PutFault::Thread("an upload lost its file".to_owned()));
        };
        let done = self.work(move || {
            let done = act(&mut file);
            // A fault lets go of the file here, where that may block.
            done.map(|done| (file, done))
        });
        let (file, done) = done.await?;
        held.0 = Some(file);
        Ok(done)
    }

    /// Waits for one of the threads that uploads may hold, and for its work.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, PutFault> {
        let died = |error: &dyn std::fmt::Display| PutFault::Thread(error.to_string());
        let place = self.writers.clone().acquire_owned().await;
        let place = place.map_err(|error| died(&error))?;
        let done = tokio::task::spawn_blocking(move || {
            let done = act();
            drop(place);
            done
        });
        let done = done.await.map_err(|error| died(&error))?;
        done.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                PutFault::Full(error.to_string())
            }
            io::ErrorKind::ResourceBusy => PutFault::Busy(error.to_string()),
            _ => PutFault::Bytes(error.to_string()),
        })
    }
}

/// What takes the bytes; let go of by a thread that may block, whatever becomes of the request.
pub(super) struct Held<S: Sink>(Option<S>);

impl<S: Sink> Held<S> {
    pub(super) fn new(sink: S) -> Self {
        Self(Some(sink))
    }
}

impl<S: Sink> Drop for Held<S> {
    fn drop(&mut self) {
        if let (Some(file), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(file));
        }
    }
}

/// The next bytes of a body, as many as are written at once.
async fn gather(body: &mut Inflow, pace: &mut Pace) -> (Vec<Bytes>, End) {
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    while bytes < GATHERED_BYTES {
        match pace.next(body).await {
            Ok(Some(piece)) => {
                bytes += piece.len();
                pieces.push(piece);
            }
            Ok(None) => return (pieces, End::Whole),
            Err(Ended::Broken(why)) => return (pieces, End::Broken(PutFault::Bytes(why))),
            Err(Ended::Slow(why)) => return (pieces, End::Broken(PutFault::Idle(why))),
        }
    }
    (pieces, End::Open)
}

/// Throws away some of a body that is refused: a sender that cannot send on may not read why.
async fn drain(body: &mut Inflow) {
    let all = async {
        let mut left = DRAINED_BYTES;
        while left > 0
            && let Some(Ok(frame)) = body.frame().await
        {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            left = left.saturating_sub(bytes);
        }
    };
    let _over = timeout(DRAINED_MAX, all).await;
}

/// The first byte of a range that reaches to the end of a file of this size.
fn begins_at(range: &[u8], size: u64) -> Option<u64> {
    let text = std::str::from_utf8(range).ok()?;
    let (span, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let ends = whole.parse() == Ok(size) && last.checked_add(1) == Some(size);
    (ends && first <= last).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_goes_to_the_end_or_is_none() {
        assert_eq!(begins_at(b"bytes 3-9/10", 10), Some(3));
        for wrong in [
            "bytes 3-8/10",
            "bytes 3-9/11",
            "bytes 10-9/10",
            "3-9/10",
            "bytes */10",
            "bytes -1-9/10",
        ] {
            assert_eq!(begins_at(wrong.as_bytes(), 10), None, "{wrong}");
        }
        assert_eq!(begins_at(b"bytes 0-18446744073709551615/0", 0), None);
    }
}
