//! What is shown of a directory, and how it was asked for.
//!
//! Invariant: a question that cannot be read is refused, never guessed. Not promised: an order of
//! names that are no UTF-8.

use std::sync::Arc;

use towline_io::OpenFile;
use towline_volume::{FileKind, Name};

use crate::faces::files::order::Order;
use crate::path;
use crate::query::Query;
use crate::status::{Refusal, Status};

/// Most entries of one listing: each costs about 100 bytes and a statx(2), a million one or two
/// seconds of a pool thread.
pub const ENTRIES_MAX: usize = 1_000_000;

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
    pub body: Body,
}

/// Where the bytes of a page are.
#[derive(Debug)]
pub enum Body {
    /// In memory.
    Held(Vec<u8>),
    /// In a file without a name, so long.
    Spooled(Arc<OpenFile>, u64),
}

/// What is shown of an entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) kind: FileKind,
    /// In bytes.
    pub(crate) size: u64,
    /// In seconds since 1970-01-01 UTC.
    pub(crate) modified: i64,
}

/// A directory's entries.
pub(crate) struct Listing {
    /// The entries of this page.
    pub(crate) entries: Vec<Entry>,
    /// Where a listing goes on: behind this name.
    pub(crate) next: Option<Name>,
    /// How it was asked for.
    pub(crate) question: Question,
}

/// What of a directory is asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Question {
    /// Only names behind this one, in the order of their bytes; empty for all.
    pub(super) after: Vec<u8>,
    /// Only so many of them.
    pub(crate) limit: Option<usize>,
    /// How a page for people is sorted.
    pub(crate) order: Order,
}

impl Question {
    pub(super) fn parse(query: &[u8]) -> Result<Self, Refusal> {
        let wrong = Refusal::new(
            Status::BAD_REQUEST,
            "limit must be a number from 1 to 1000000, and after a name",
        );
        let mut pairs = query.split(|byte| *byte == b'&');
        let after = pairs.find_map(|pair| pair.strip_prefix(b"after="));
        let limit = match Query(query).all("limit").next() {
            None => None,
            Some(text) => {
                let number = text.and_then(|text| text.parse().ok());
                Some(
                    number
                        .filter(|it| (1..=ENTRIES_MAX).contains(it))
                        .ok_or(wrong)?,
                )
            }
        };
        Ok(Self {
            after: path::decode(after.unwrap_or(&[]))?,
            limit,
            order: Order::parse(Query(query).text("sort").as_deref()),
        })
    }
}
