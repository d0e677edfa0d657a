//! Listings for people: one self-contained page, no script, light and dark.
//!
//! Every name is shown escaped and linked percent-encoded, so a name cannot become markup
//! (a file may be called `<script>`). The links are plain relative references, which `rclone`
//! and `wget -r` follow too. Invariant: nothing is fetched from anywhere else.

use std::fmt::Write;

use towline_base::ByteCount;
use towline_volume::FileKind;

use crate::date;
use crate::listing::{ENTRIES_READ_MAX, HTML, Listing, Page};
use crate::listing_json::{href, kind};
use crate::path::Place;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.15rem;font-weight:600;overflow-wrap:anywhere}\
a{color:light-dark(#0550ae,#79b8ff);text-decoration:none}a:hover{text-decoration:underline}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.3rem .5rem;border-bottom:1px solid light-dark(#ddd,#333)}\
td:first-child{overflow-wrap:anywhere}\
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
th,.q{color:light-dark(#666,#999);font-weight:400}";

/// A directory.
pub(crate) fn directory(place: &Place, listing: &Listing) -> Page {
    let volume = place.volume.as_deref().unwrap_or(&[]);
    let trail: Vec<&[u8]> = std::iter::once(volume)
        .chain(place.names.iter().map(|name| name.as_bytes()))
        .collect();
    let mut html = open(trail.last().copied().unwrap_or(volume), &trail);
    html.push_str("<table><thead><tr><th>Name<th class=n>Size<th class=n>Modified (UTC)<tbody>");
    html.push_str("<tr><td><a href=\"../\">../</a><td><td>");
    for (name, attributes) in &listing.entries {
        let is_directory = attributes.kind == FileKind::Directory;
        let shown = escape(name.as_bytes());
        let link = href(name.as_bytes(), is_directory);
        let time = date::format_short(attributes.modified.seconds);
        let (cell, size) = match attributes.kind {
            FileKind::Directory => (format!("<a href=\"{link}\">{shown}/</a>"), String::new()),
            FileKind::Regular => {
                let size = ByteCount(attributes.size).to_string();
                (format!("<a href=\"{link}\">{shown}</a>"), size)
            }
            FileKind::Symlink
            | FileKind::Block
            | FileKind::Character
            | FileKind::Fifo
            | FileKind::Socket => {
                let kind = kind(attributes.kind);
                (
                    format!("{shown} <span class=q>{kind}</span>"),
                    String::new(),
                )
            }
        };
        push(
            &mut html,
            format_args!("<tr><td>{cell}<td class=n>{size}<td class=n>{time}"),
        );
    }
    html.push_str("</table>");
    foot(&mut html, listing);
    finish(html)
}

/// The volumes: name, what it is for, and whether the client may write.
pub(crate) fn volumes<'a>(list: impl Iterator<Item = (&'a str, &'static str, bool)>) -> Page {
    let mut html = open(b"volumes", &[]);
    html.push_str("<table><thead><tr><th>Volume<th>Kind<th>Access<tbody>");
    let mut count = 0;
    for (name, kind, writable) in list {
        let (shown, link) = (escape(name.as_bytes()), href(name.as_bytes(), true));
        let access = if writable { "read and write" } else { "read" };
        push(
            &mut html,
            format_args!("<tr><td><a href=\"{link}\">{shown}/</a><td>{kind}<td>{access}"),
        );
        count += 1;
    }
    html.push_str("</table>");
    if count == 0 {
        html.push_str("<p class=q>No volume is open to your address.");
    }
    finish(html)
}

/// The beginning of a page with a trail of links from the index down.
fn open(title: &[u8], trail: &[&[u8]]) -> String {
    let title = escape(title);
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\">\
         <title>{title} - towline</title><style>{STYLE}</style><h1>"
    );
    if trail.is_empty() {
        html.push_str("files");
    } else {
        let up = "../".repeat(trail.len());
        push(&mut html, format_args!("<a href=\"{up}\">files</a>"));
    }
    for (place, name) in trail.iter().enumerate() {
        let (shown, depth) = (escape(name), trail.len() - 1 - place);
        if depth == 0 {
            push(&mut html, format_args!(" / {shown}"));
        } else {
            let up = "../".repeat(depth);
            push(&mut html, format_args!(" / <a href=\"{up}\">{shown}</a>"));
        }
    }
    html.push_str("</h1>");
    html
}

/// What the page does not show.
fn foot(html: &mut String, listing: &Listing) {
    if listing.entries.is_empty() && !listing.is_cut {
        html.push_str("<p class=q>Nothing here.");
    }
    if let Some((last, _)) = listing.entries.last().filter(|_| listing.continues) {
        let next = href(last.as_bytes(), false);
        push(
            html,
            format_args!("<p>There is more: <a href=\"?after={next}\">next page</a>"),
        );
    }
    if listing.is_cut {
        push(
            html,
            format_args!("<p>Only {ENTRIES_READ_MAX} entries of this directory are listed."),
        );
    }
}

fn finish(mut html: String) -> Page {
    html.push_str("</html>\n");
    Page {
        media: HTML,
        body: html.into_bytes(),
    }
}

fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = html.write_fmt(text);
}

/// Text for HTML; what is not UTF-8 becomes replacement characters, control characters too.
fn escape(text: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_markup() {
        let place = Place::parse(b"v/%3Cscript%3E/").unwrap();
        let listing = Listing {
            entries: Vec::new(),
            continues: false,
            is_cut: true,
        };
        let html = String::from_utf8(directory(&place, &listing).body).unwrap();
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;") && html.contains("Only 1000000 entries"));
        assert_eq!(escape(b"a\"'&\n\xff"), "a&quot;&#39;&amp;\u{fffd}\u{fffd}");
    }

    #[test]
    fn an_empty_index_says_why() {
        let html = String::from_utf8(volumes([].into_iter()).body).unwrap();
        assert!(html.contains("No volume is open to your address"));
    }
}
