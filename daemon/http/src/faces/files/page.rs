//! Listings for people: one self-contained page, no script, light and dark.
//!
//! Every name is shown escaped and linked percent-encoded, so a name cannot become markup
//! (a file may be called `<script>`). Programs that mirror a folder take every link for an entry of
//! it: entries are plain relative references, the way back is absolute, and what sorts is a button.
//! Invariant: nothing is fetched from anywhere else.

use std::fmt::Write;

use towline_base::ByteCount;
use towline_volume::FileKind;

use crate::date;
use crate::faces::files::entries::{HTML, Listing, Page};
use crate::faces::files::listing_json::{href, kind, next};
use crate::faces::files::order::Column;
use crate::path::{PREFIX, Place};

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.15rem;font-weight:600;overflow-wrap:anywhere}\
a{color:light-dark(#0550ae,#79b8ff);text-decoration:none}a:hover{text-decoration:underline}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.3rem .5rem;border-bottom:1px solid light-dark(#ddd,#333)}\
td:first-child{overflow-wrap:anywhere}\
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
th,.q{color:light-dark(#666,#999);font-weight:400}\
button{all:unset;cursor:pointer}button:hover{text-decoration:underline}\
button:focus-visible{outline:2px solid}";

/// A directory.
pub(crate) fn directory(place: &Place, listing: &Listing) -> Page {
    let volume = place.volume.as_deref().unwrap_or(&[]);
    let trail: Vec<&[u8]> = std::iter::once(volume)
        .chain(place.names.iter().map(|name| name.as_bytes()))
        .collect();
    let mut html = open(trail.last().copied().unwrap_or(volume), &trail);
    heads(&mut html, listing);
    html.push_str("<tr><td><a href=\"../\">../</a><td><td>");
    for entry in &listing.entries {
        let is_directory = entry.kind == FileKind::Directory;
        let shown = escape(entry.name.as_bytes());
        let link = href(entry.name.as_bytes(), is_directory);
        let time = date::format_short(entry.modified);
        let (cell, size) = match entry.kind {
            FileKind::Directory => (format!("<a href=\"{link}\">{shown}/</a>"), String::new()),
            FileKind::Regular => {
                let size = ByteCount(entry.size).to_string();
                (format!("<a href=\"{link}\">{shown}</a>"), size)
            }
            FileKind::Symlink
            | FileKind::Block
            | FileKind::Character
            | FileKind::Fifo
            | FileKind::Socket => {
                let kind = kind(entry.kind);
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
        let files = String::from_utf8_lossy(PREFIX);
        push(&mut html, format_args!("<a href=\"{files}\">files</a>"));
    }
    let mut link = String::from_utf8_lossy(PREFIX).into_owned();
    for (place, name) in trail.iter().enumerate() {
        let shown = escape(name);
        link.push_str(&href(name, true));
        if place + 1 == trail.len() {
            push(&mut html, format_args!(" / {shown}"));
        } else {
            push(&mut html, format_args!(" / <a href=\"{link}\">{shown}</a>"));
        }
    }
    html.push_str("</h1>");
    html
}

/// The heads of the columns, each a button that sorts.
fn heads(html: &mut String, listing: &Listing) {
    html.push_str("<form id=s></form><table><thead><tr>");
    let order = listing.question.order;
    for (column, word, head) in Column::ALL {
        let class = if column == Column::Name {
            ""
        } else {
            " class=n"
        };
        let (sorted, arrow) = match (order.column == column, order.is_down) {
            (false, _) => ("", ""),
            (true, false) => (" aria-sort=ascending", " \u{2191}"),
            (true, true) => (" aria-sort=descending", " \u{2193}"),
        };
        let click = order.after_click(column, word);
        push(
            html,
            format_args!(
                "<th{class}{sorted}><button form=s name=sort value=\"{click}\">{head}{arrow}\
                 </button>"
            ),
        );
    }
    html.push_str("<tbody>");
}

/// What the page does not show.
fn foot(html: &mut String, listing: &Listing) {
    if listing.entries.is_empty() {
        html.push_str("<p class=q>Nothing here.");
    }
    if let Some(next) = next(listing) {
        let next = escape(next.as_bytes());
        push(
            html,
            format_args!("<p>There is more: <a href=\"{next}\">next page</a>"),
        );
    }
}

fn finish(mut html: String) -> Page {
    html.push_str("</html>\n");
    Page::new(HTML, html.into_bytes())
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
    use crate::faces::files::entries::{Body, Question};

    fn text(page: Page) -> String {
        match page.body {
            Body::Held(bytes) => String::from_utf8(bytes).unwrap(),
            Body::Spooled(..) => panic!("a short page lies in a file"),
        }
    }

    #[test]
    fn a_name_cannot_become_markup() {
        let place = Place::parse(b"v/%3Cscript%3E/").unwrap();
        let listing = Listing {
            entries: Vec::new(),
            next: Some(towline_volume::Name::new(b"<b>").unwrap()),
            question: Question::default(),
        };
        let html = text(directory(&place, &listing));
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
        assert!(html.contains("&lt;script&gt;") && html.contains("?after=%3Cb%3E"));
        // What a mirror may follow: one step up, the trail from the root, the next page.
        let links: Vec<&str> = html.split("href=\"").skip(1).collect();
        assert!(links[0].starts_with("/files/\"") && links[1].starts_with("/files/v/\""));
        assert_eq!(escape(b"a\"'&\n\xff"), "a&quot;&#39;&amp;\u{fffd}\u{fffd}");
    }

    #[test]
    fn an_empty_index_says_why() {
        let html = text(volumes([].into_iter()));
        assert!(html.contains("No volume is open to your address"));
    }
}
