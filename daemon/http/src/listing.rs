//! A directory as a page or as JSON, read on a pool thread and cut to a page of names.
//!
//! A directory may hold millions of entries. Its names pass by once, and only the first
//! [`PAGE_ENTRIES_MAX`] in order behind the name that the client asks for are kept. Invariant:
//! memory is bounded by the page, whatever the directory holds; a page that is cut says so and
//! where to go on. Not promised: that entries made or removed meanwhile are seen.

use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::sync::Arc;

use towline_io::Output;
use towline_volume::volume::{Detail, Pace};
use towline_volume::{Attributes, Export, Name, VolumeError};

use crate::connection::{Connection, Flow, Request};
use crate::done::Done;
use crate::keyring::Sight;
use crate::listing_json;
use crate::page;
use crate::path::{self, Place};
use crate::reply::ReplyHead;
use crate::status::{Refusal, Status};

/// Most entries on one page: a browser shows a thousand rows at once, and each costs one
/// statx(2), so a page takes milliseconds.
pub const PAGE_ENTRIES_MAX: usize = 1000;

/// Most entries of a directory that are looked at for one page: about a second of a pool
/// thread's time. What lies behind them is not listed, and the page says so.
pub const ENTRIES_READ_MAX: usize = 1_000_000;

/// Media type of a page.
pub(crate) const HTML: &str = "text/html; charset=utf-8";

/// Media type of the JSON form.
pub(crate) const JSON: &str = "application/json";

/// A finished page.
#[derive(Debug)]
pub struct Page {
    /// Its media type.
    pub media: &'static str,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// A directory's entries in the order of their names' bytes.
pub(crate) struct Listing {
    /// The entries of this page.
    pub(crate) entries: Vec<(Name, Attributes)>,
    /// There are more behind the last one.
    pub(crate) continues: bool,
    /// The directory is longer than [`ENTRIES_READ_MAX`].
    pub(crate) is_cut: bool,
}

/// Starts reading a directory.
pub(crate) fn defer(
    request: &Request<'_, '_>,
    export: Arc<Export>,
    (place, sight): (Place, Sight),
    output: &mut Output<Done>,
) -> Result<Flow, Refusal> {
    let after = after(request.head.query)?;
    let wants_json = request.head.wants_json;
    output.defer(move || {
        let listed = read(&export, &place.names, (&after, &sight)).map(|listing| {
            if wants_json {
                listing_json::directory(&export.name, &place, &listing)
            } else {
                page::directory(&place, &listing)
            }
        });
        Done::Listed(listed)
    });
    Ok(Flow::Wait)
}

/// Puts a page out.
pub(crate) fn reply(
    connection: &mut Connection,
    request: &Request<'_, '_>,
    page: &Page,
    output: &mut Output<Done>,
) -> Flow {
    let mut worker = connection.worker.borrow_mut();
    let (_, date) = worker.date();
    worker.counters.replied(Status::OK);
    let mut head = ReplyHead::begin(output.buffer(), Status::OK, &date, request.tone);
    head.text("Content-Type", page.media.as_bytes());
    head.text("Cache-Control", b"no-cache");
    head.text("Vary", b"Accept");
    head.text("X-Content-Type-Options", b"nosniff");
    head.text(
        "Content-Security-Policy",
        b"default-src 'none'; style-src 'unsafe-inline'",
    );
    head.number("Content-Length", page.body.len() as u64);
    head.end();
    if !request.tone.is_head {
        output.buffer().extend_from_slice(&page.body);
    }
    Flow::Replied
}

/// The name in `after=NAME` of a query; empty if there is none.
fn after(query: &[u8]) -> Result<Vec<u8>, Refusal> {
    let found = query
        .split(|byte| *byte == b'&')
        .find_map(|pair| pair.strip_prefix(b"after="));
    Ok(path::decode(found.unwrap_or(&[]))?)
}

fn read(
    export: &Export,
    names: &[Name],
    (after, sight): (&[u8], &Sight),
) -> Result<Listing, VolumeError> {
    let (volume, who) = (export.whole(), &export.anonymous);
    let dir = volume.walk(names, who, Pace::Blocking)?;
    let mut first: BinaryHeap<Name> = BinaryHeap::with_capacity(PAGE_ENTRIES_MAX + 1);
    let mut left = ENTRIES_READ_MAX;
    let mut continues = false;
    let ended = volume.read_dir(&dir, who, 0, Detail::Names, &mut |entry| {
        if left == 0 {
            return ControlFlow::Break(());
        }
        left -= 1;
        // `.` and `..` are no names.
        let Ok(name) = Name::new(entry.name) else {
            return ControlFlow::Continue(());
        };
        let hidden = export.hidden.as_ref();
        let is_seen = hidden.is_none_or(|it| sight.sees_entry(it, names, name.as_bytes()));
        if is_seen && name.as_bytes() > after {
            first.push(name);
        }
        if first.len() > PAGE_ENTRIES_MAX {
            first.pop();
            continues = true;
        }
        ControlFlow::Continue(())
    })?;
    let entries = first
        .into_sorted_vec()
        .into_iter()
        .filter_map(|name| {
            let attributes = volume.peek(&dir, &name, who).ok()?;
            Some((name, attributes))
        })
        .collect();
    Ok(Listing {
        entries,
        continues,
        is_cut: !ended,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_continuation_is_decoded_from_the_query() {
        assert_eq!(after(b"x=1&after=a%20b"), Ok(b"a b".to_vec()));
        assert_eq!(after(b""), Ok(Vec::new()));
        assert!(after(b"after=%zz").is_err());
    }
}
