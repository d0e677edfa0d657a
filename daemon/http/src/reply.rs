//! Writes the head of a reply, and whole replies that say no, straight into the output.
//!
//! Governed by RFC 9110 section 6.6 (Date), 8.6 (Content-Length) and RFC 9112 section 9.6
//! (Connection). Invariant: what stands in a head are constants, numbers and percent-encoded or
//! base-checked text, so no peer's byte can split a reply. Nothing is allocated but the buffer's
//! own growth.

use crate::date::DATE_BYTES;
use crate::doors::CORS_SHOWN;
use crate::faces::s3::fault;
use crate::head::{Head, Method};
use crate::status::{Extra, Refusal, Status};

/// What of the request decides how any reply to it looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tone {
    /// The connection stays open behind the reply.
    pub(crate) keep_alive: bool,
    /// The client must be told explicitly that it does.
    pub(crate) is_http_1_0: bool,
    /// The reply has no body whatever its length says.
    pub(crate) is_head: bool,
    /// A body that explains is JSON.
    pub(crate) wants_json: bool,
    /// A body that explains is XML, in the words of S3.
    pub(crate) is_s3: bool,
    /// A page of this origin asks, and may read the reply.
    pub(crate) page: Option<&'static str>,
}

impl Tone {
    /// The tone of a reply to `head`; `keep_alive` as far as this server is concerned.
    #[must_use]
    pub(crate) fn of(head: &Head<'_>, keep_alive: bool) -> Self {
        Self {
            keep_alive: keep_alive && head.keep_alive,
            is_http_1_0: head.is_http_1_0,
            is_head: head.method == Method::Head,
            wants_json: head.wants_json,
            is_s3: false,
            page: None,
        }
    }

    /// For a head that could not be read.
    pub(crate) const UNREADABLE: Self = Self {
        keep_alive: false,
        is_http_1_0: false,
        is_head: false,
        wants_json: false,
        is_s3: false,
        page: None,
    };
}

/// A reply head under way.
#[derive(Debug)]
pub(crate) struct ReplyHead<'b> {
    buffer: &'b mut Vec<u8>,
}

impl<'b> ReplyHead<'b> {
    /// Begins with status line, Date, Server and, where it is not the default, Connection.
    #[must_use]
    pub(crate) fn begin(
        buffer: &'b mut Vec<u8>,
        status: Status,
        date: &[u8; DATE_BYTES],
        tone: Tone,
    ) -> Self {
        buffer.extend_from_slice(status.line().as_bytes());
        let mut head = Self { buffer };
        head.text("Date", date);
        head.text("Server", b"towline");
        if !tone.keep_alive {
            head.text("Connection", b"close");
        } else if tone.is_http_1_0 {
            head.text("Connection", b"keep-alive");
        }
        if let Some(origin) = tone.page {
            head.text("Access-Control-Allow-Origin", origin.as_bytes());
            head.text("Access-Control-Expose-Headers", CORS_SHOWN.as_bytes());
            head.text("Vary", b"Origin");
        }
        head
    }

    /// A field. `value` must hold no CR or LF: constants and encoded text only.
    pub(crate) fn text(&mut self, name: &str, value: &[u8]) {
        debug_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b": ");
        self.buffer.extend_from_slice(value);
        self.buffer.extend_from_slice(b"\r\n");
    }

    /// A field with a number.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b": ");
        push_number(self.buffer, value);
        self.buffer.extend_from_slice(b"\r\n");
    }

    /// `Content-Range: bytes start-last/size` (RFC 9110 section 14.4); `length` is at least 1.
    pub(crate) fn content_range(&mut self, start: u64, length: u64, size: u64) {
        push_content_range(self.buffer, start, length, size);
    }

    /// The empty line.
    pub(crate) fn end(self) {
        self.buffer.extend_from_slice(b"\r\n");
    }
}

/// Writes one Content-Range line.
pub(crate) fn push_content_range(buffer: &mut Vec<u8>, start: u64, length: u64, size: u64) {
    buffer.extend_from_slice(b"Content-Range: bytes ");
    push_number(buffer, start);
    buffer.push(b'-');
    push_number(buffer, start + length.saturating_sub(1));
    buffer.push(b'/');
    push_number(buffer, size);
    buffer.extend_from_slice(b"\r\n");
}

/// Writes a number in decimal.
pub(crate) fn push_number(buffer: &mut Vec<u8>, value: u64) {
    // 2^64-1 has 20 digits.
    let mut digits = [0; 20];
    let mut rest = value;
    let mut first = digits.len();
    for (place, slot) in digits.iter_mut().enumerate().rev() {
        *slot = b'0' + (rest % 10) as u8;
        first = place;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    buffer.extend_from_slice(digits.get(first..).unwrap_or(&[]));
}

/// Writes a whole reply that says no and why.
pub(crate) fn refuse(buffer: &mut Vec<u8>, refusal: &Refusal, date: &[u8; DATE_BYTES], tone: Tone) {
    let (media, body) = if tone.is_s3 {
        let body = fault::error(fault::code(refusal.status), refusal.why);
        ("application/xml", body)
    } else if tone.wants_json {
        let Refusal { status, why, .. } = refusal;
        let text = format!("{{\"status\":{},\"error\":\"{why}\"}}\n", status.code());
        ("application/json", text)
    } else {
        let text = format!("{}: {}\n", refusal.status.title(), refusal.why);
        ("text/plain; charset=utf-8", text)
    };
    let mut head = ReplyHead::begin(buffer, refusal.status, date, tone);
    match refusal.extra {
        Extra::Nothing => {}
        Extra::Allow(methods) => head.text("Allow", methods.as_bytes()),
        Extra::Size(size) => head.text("Content-Range", format!("bytes */{size}").as_bytes()),
        Extra::Held(0) => {}
        Extra::Held(held) => head.text("Range", format!("bytes=0-{}", held - 1).as_bytes()),
        Extra::Challenge => challenge(&mut head),
        Extra::Retry => head.text("Retry-After", b"1"),
    }
    head.text("Content-Type", media.as_bytes());
    head.text("X-Content-Type-Options", b"nosniff");
    head.number("Content-Length", body.len() as u64);
    head.end();
    if !tone.is_head {
        buffer.extend_from_slice(body.as_bytes());
    }
}

/// Both ways of sending a token (RFC 9110 section 11.6.1): many clients know Basic only, and wait
/// to be asked for it. In two lines, since some read only the first scheme of one.
pub(crate) fn challenge(head: &mut ReplyHead<'_>) {
    head.text("WWW-Authenticate", b"Bearer realm=\"towline\"");
    head.text(
        "WWW-Authenticate",
        b"Basic realm=\"towline\", charset=\"UTF-8\"",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for value in [0, 7, 10, 65_536, u64::MAX] {
            let mut buffer = Vec::new();
            push_number(&mut buffer, value);
            assert_eq!(buffer, value.to_string().into_bytes());
        }
    }

    #[test]
    fn a_refusal_says_what_failed_in_text_or_json() {
        let mut buffer = Vec::new();
        let date = crate::date::format(0);
        refuse(&mut buffer, &Refusal::NOT_FOUND, &date, Tone::UNREADABLE);
        let text = String::from_utf8(buffer).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 404 Not Found\r\nDate: Thu, 01 Jan 1970"),
            "{text}"
        );
        assert!(text.contains("Connection: close\r\n"), "{text}");
        assert!(
            text.ends_with("see /files/ for what you can reach\n"),
            "{text}"
        );
        let mut buffer = Vec::new();
        let tone = Tone {
            wants_json: true,
            ..Tone::UNREADABLE
        };
        refuse(&mut buffer, &Refusal::NOT_FOUND, &date, tone);
        let text = String::from_utf8(buffer).unwrap();
        assert!(
            text.contains("\r\n\r\n{\"status\":404,\"error\":\""),
            "{text}"
        );
    }
}
