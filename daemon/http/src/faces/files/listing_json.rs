//! A directory, or the list of volumes, as JSON for programs.
//!
//! Names that are not UTF-8 are shown with replacement characters; `href` names the entry
//! exactly, percent-encoded, relative to the listing's own address. Invariant: what is here is
//! the same set as on the page for people.

use serde::Serialize;
use towline_volume::FileKind;

use crate::date;
use crate::faces::files::entries::{JSON, Listing, Page};
use crate::path::{self, Place};

#[derive(Serialize)]
struct Directory<'a> {
    volume: &'a str,
    path: String,
    entries: Vec<Entry>,
    /// Query for the next page.
    next: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    href: String,
    kind: &'static str,
    size: u64,
    modified: String,
}

#[derive(Serialize)]
struct Volumes<'a> {
    volumes: Vec<VolumeEntry<'a>>,
}

#[derive(Serialize)]
struct VolumeEntry<'a> {
    name: &'a str,
    href: String,
    kind: &'static str,
    writable: bool,
}

/// What a type of node is called.
pub(crate) fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::Block | FileKind::Character | FileKind::Fifo | FileKind::Socket => "special",
    }
}

/// The name of an entry as a relative reference.
pub(crate) fn href(name: &[u8], is_directory: bool) -> String {
    let mut encoded = Vec::new();
    path::encode(name, &mut encoded);
    if is_directory {
        encoded.push(b'/');
    }
    String::from_utf8_lossy(&encoded).into_owned()
}

/// Query for the next page, if there is one.
pub(crate) fn next(listing: &Listing) -> Option<String> {
    let last = listing.next.as_ref()?;
    let limit = listing.question.limit;
    let limit = limit.map_or(String::new(), |limit| format!("&limit={limit}"));
    Some(format!("?after={}{limit}", href(last.as_bytes(), false)))
}

/// A directory.
pub(crate) fn directory(volume: &str, place: &Place, listing: &Listing) -> Page {
    let path: String = place
        .names
        .iter()
        .map(|name| format!("{}/", String::from_utf8_lossy(name.as_bytes())))
        .collect();
    let entries = listing.entries.iter().map(|entry| Entry {
        name: String::from_utf8_lossy(entry.name.as_bytes()).into_owned(),
        href: href(entry.name.as_bytes(), entry.kind == FileKind::Directory),
        kind: kind(entry.kind),
        size: entry.size,
        modified: date::format_rfc3339(entry.modified),
    });
    page(&Directory {
        volume,
        path: format!("/{path}"),
        entries: entries.collect(),
        next: next(listing),
    })
}

/// The volumes: name, what it is for, and whether the client may write.
pub(crate) fn volumes<'a>(list: impl Iterator<Item = (&'a str, &'static str, bool)>) -> Page {
    let volumes = list.map(|(name, kind, writable)| VolumeEntry {
        name,
        href: href(name.as_bytes(), true),
        kind,
        writable,
    });
    page(&Volumes {
        volumes: volumes.collect(),
    })
}

fn page(value: &impl Serialize) -> Page {
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    Page::new(JSON, body)
}
