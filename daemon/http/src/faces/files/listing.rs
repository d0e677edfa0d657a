//! A directory as a page or as JSON, read on a pool thread.
//!
//! Programs that mirror a folder read its page and believe it, so a page has every name: pages of
//! fewer are for those who ask (`limit`). Long ones are written to a file without a name and sent
//! from there, so that a slow reader holds disk and not memory. Invariant: memory is bounded by
//! [`ENTRIES_MAX`] and [`LARGE_MAX`], and a listing that is not whole says so and where to go on.
//! Not promised: that entries made or removed meanwhile are seen.

use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::OFlags;
use rustix::io::Errno;
use towline_io::{FileSpan, OpenFile, Output};
use towline_volume::volume::{Detail, Pace};
use towline_volume::{Export, Name, VolumeError};

use crate::done::Done;
use crate::exchange::{Exchange, Flow, Request};
pub use crate::faces::files::entries::{Body, ENTRIES_MAX, Page};
use crate::faces::files::entries::{Entry, Listing, Question};
use crate::faces::files::listing_json;
use crate::faces::files::page;
use crate::keyring::Sight;
use crate::path::Place;
use crate::reply::ReplyHead;
use crate::status::{Refusal, Status};

/// A listing that looks at more entries than this is a large one: 5 MB while it is made.
const LARGE_ENTRIES: usize = 50_000;

/// Most large listings that are made at once on a node: 400 MB. Others are told to try again.
const LARGE_MAX: usize = 4;

/// Longest listing that is sent from memory, in bytes; a longer one from a file.
const HELD_BYTES_MAX: usize = 256 << 10;

/// Large listings that are being made, over the whole process.
static LARGE: AtomicUsize = AtomicUsize::new(0);

/// A place among the large listings.
struct Large;

impl Large {
    fn enter() -> Result<Self, VolumeError> {
        let this = Self;
        if LARGE.fetch_add(1, Ordering::Relaxed) < LARGE_MAX {
            return Ok(this);
        }
        Err(VolumeError::Busy(Errno::AGAIN))
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        LARGE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts reading a directory.
pub(crate) fn defer(
    exchange: &Exchange,
    request: &Request<'_, '_>,
    export: Arc<Export>,
    (place, sight): (Place, Sight),
    output: &mut Output<Done>,
) -> Result<Flow, Refusal> {
    let question = Question::parse(request.head.query)?;
    let wants_json = request.head.wants_json;
    let server = exchange.server.clone();
    output.defer(move || {
        let listed = read(&export, &place.names, (question, &sight)).map(|mut listing| {
            let page = if wants_json {
                listing_json::directory(&export.name, &place, &listing)
            } else {
                let order = listing.question.order;
                listing
                    .entries
                    .sort_by(|one, other| order.compare(one, other));
                page::directory(&place, &listing)
            };
            page.spooled(server.spool())
        });
        Done::Listed(listed)
    });
    Ok(Flow::Wait)
}

impl Page {
    /// A page in memory.
    pub(crate) fn new(media: &'static str, body: Vec<u8>) -> Self {
        let body = Body::Held(body);
        Self { media, body }
    }

    /// The same, in a file below `folder` if it is long. Where no file can be had it stays in
    /// memory.
    fn spooled(self, folder: Option<&Path>) -> Self {
        let (Body::Held(bytes), Some(folder)) = (&self.body, folder) else {
            return self;
        };
        if bytes.len() <= HELD_BYTES_MAX {
            return self;
        }
        match spool(folder, bytes) {
            Ok(file) => Self {
                body: Body::Spooled(Arc::new(OpenFile::new(file)), bytes.len() as u64),
                ..self
            },
            Err(error) => {
                tracing::debug!(%error, "a long listing stays in memory");
                self
            }
        }
    }
}

/// Writes to a file that nobody else can open and that is gone when it is closed.
fn spool(folder: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlags::TMPFILE.bits() as i32)
        .open(folder)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Puts a page out.
pub(crate) fn reply(
    exchange: &mut Exchange,
    request: &Request<'_, '_>,
    page: Page,
    output: &mut Output<Done>,
) -> Flow {
    let mut worker = exchange.worker.borrow_mut();
    let (_, date) = worker.date();
    worker.counters.replied(Status::OK);
    let length = match &page.body {
        Body::Held(bytes) => bytes.len() as u64,
        Body::Spooled(_, length) => *length,
    };
    let mut head = ReplyHead::begin(output.buffer(), Status::OK, &date, request.tone);
    head.text("Content-Type", page.media.as_bytes());
    head.text("Cache-Control", b"no-cache");
    head.text("Vary", b"Accept");
    head.text("X-Content-Type-Options", b"nosniff");
    head.text(
        "Content-Security-Policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
          frame-ancestors 'none'; base-uri 'none'",
    );
    head.number("Content-Length", length);
    head.end();
    if request.tone.is_head {
        return Flow::Replied;
    }
    match page.body {
        Body::Held(bytes) => output.buffer().extend_from_slice(&bytes),
        Body::Spooled(file, length) => output.span(FileSpan {
            file,
            offset: 0,
            length,
        }),
    }
    Flow::Replied
}

/// Names of a directory as they pass by: all, or the first `limit` behind `after`.
struct Names {
    after: Vec<u8>,
    limit: usize,
    first: BinaryHeap<Name>,
    has_more: bool,
    large: Option<Large>,
}

impl Names {
    fn take(&mut self, name: Name) -> Result<(), VolumeError> {
        if name.as_bytes() <= self.after.as_slice() {
            return Ok(());
        }
        self.first.push(name);
        if self.first.len() > LARGE_ENTRIES && self.large.is_none() {
            self.large = Some(Large::enter()?);
        }
        if self.first.len() > self.limit {
            self.first.pop();
            self.has_more = true;
        }
        Ok(())
    }
}

fn read(
    export: &Export,
    names: &[Name],
    (question, sight): (Question, &Sight),
) -> Result<Listing, VolumeError> {
    let (volume, who) = (export.whole(), &export.anonymous);
    let dir = volume.walk(names, who, Pace::Blocking)?;
    let mut found = Names {
        after: question.after.clone(),
        limit: question.limit.unwrap_or(ENTRIES_MAX),
        first: BinaryHeap::new(),
        has_more: false,
        large: None,
    };
    let mut fault = None;
    volume.read_dir(&dir, who, 0, Detail::Names, &mut |entry| {
        // `.` and `..` are no names.
        let Ok(name) = Name::new(entry.name) else {
            return ControlFlow::Continue(());
        };
        let hidden = export.hidden.as_ref();
        if hidden.is_some_and(|it| !sight.sees_entry(it, names, name.as_bytes())) {
            return ControlFlow::Continue(());
        }
        match found.take(name) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                fault = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(error) = fault {
        return Err(error);
    }
    let names = found.first.into_sorted_vec();
    let next = names.last().filter(|_| found.has_more).cloned();
    let entries = names.into_iter().filter_map(|name| {
        let seen = volume.peek(&dir, &name, who).ok()?;
        Some(Entry {
            name,
            kind: seen.kind,
            size: seen.size,
            modified: seen.modified.seconds,
        })
    });
    Ok(Listing {
        entries: entries.collect(),
        next,
        question,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faces::files::entries::HTML;

    #[test]
    fn a_page_of_some_names_is_for_those_who_ask() {
        let whole = Question::parse(b"x=1").unwrap();
        assert_eq!(whole, Question::default());
        let some = Question::parse(b"limit=10&after=a%20b").unwrap();
        assert_eq!((some.limit, some.after.as_slice()), (Some(10), &b"a b"[..]));
        for wrong in [&b"after=%zz"[..], b"limit=0", b"limit=x", b"limit=1000001"] {
            assert!(Question::parse(wrong).is_err());
        }
        assert!(Question::parse(b"limit=1000000").is_ok());
    }

    #[test]
    fn a_long_page_lies_in_a_file_and_a_short_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = Page::new(HTML, vec![b'x'; HELD_BYTES_MAX]).spooled(Some(folder.path()));
        assert!(matches!(at.body, Body::Held(_)));
        let past = Page::new(HTML, vec![b'x'; HELD_BYTES_MAX + 1]);
        let past = past.spooled(Some(folder.path()));
        assert!(matches!(past.body, Body::Spooled(_, length) if length == 262_145));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
