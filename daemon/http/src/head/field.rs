//! The field lines of a request head: those that matter here, each judged when it comes.
//!
//! Governed by RFC 9110 section 5 and RFC 9112 sections 5 and 6. Invariant: a field that decides
//! framing or a condition stands at most once, so no two readers can pick different ones. Fields
//! that are lists by nature and only hints (Accept, Connection) may repeat. Unknown fields are
//! checked for form and forgotten.

use super::{Head, HeadFault, Method, is_token};
use crate::range::digits;

/// Longest field name that means anything here, in bytes: `if-unmodified-since` has 19.
const NAME_BYTES_MAX: usize = 19;

/// How the body of a request is framed (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Body {
    /// No body.
    #[default]
    Absent,
    /// This many bytes, at most 2^63-1.
    Length(u64),
    /// In chunks (RFC 9112 section 7.1).
    Chunked,
}

/// What the lines so far have said.
#[derive(Default)]
pub(super) struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    accepts_json: bool,
    accepts_html: bool,
    range: Option<&'a [u8]>,
    if_range: Option<&'a [u8]>,
    if_match: Option<&'a [u8]>,
    if_none_match: Option<&'a [u8]>,
    if_modified_since: Option<&'a [u8]>,
    if_unmodified_since: Option<&'a [u8]>,
    authorization: Option<&'a [u8]>,
    origin: Option<&'a [u8]>,
    content_range: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Takes one line without its CR LF, not empty.
    pub(super) fn take_line(&mut self, line: &'a [u8]) -> Result<(), HeadFault> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(HeadFault::Folded);
        }
        let colon = line
            .iter()
            .position(|byte| !is_token(*byte))
            .filter(|place| *place > 0 && line.get(*place) == Some(&b':'))
            .ok_or(HeadFault::BadFieldName)?;
        let name = line.get(..colon).unwrap_or(&[]);
        let value = line.get(colon + 1..).unwrap_or(&[]).trim_ascii();
        let mut lower = [0; NAME_BYTES_MAX];
        let Some(lower) = lower.get_mut(..name.len()) else {
            return Ok(());
        };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.take(lower, value)
    }

    fn take(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), HeadFault> {
        match name {
            b"host" => once(&mut self.host, value),
            b"range" => once(&mut self.range, value),
            b"if-range" => once(&mut self.if_range, value),
            b"if-match" => once(&mut self.if_match, value),
            b"if-none-match" => once(&mut self.if_none_match, value),
            b"if-modified-since" => once(&mut self.if_modified_since, value),
            b"if-unmodified-since" => once(&mut self.if_unmodified_since, value),
            b"origin" => once(&mut self.origin, value),
            b"authorization" => once(&mut self.authorization, value),
            b"content-range" => once(&mut self.content_range, value),
            b"content-length" => self.take_length(value),
            b"transfer-encoding" => self.take_coding(value),
            b"connection" => {
                self.close |= has_token(value, b"close");
                self.keep_alive |= has_token(value, b"keep-alive");
                Ok(())
            }
            b"accept" => {
                self.accepts_json |= has_token(value, b"application/json");
                self.accepts_html |= has_token(value, b"text/html");
                Ok(())
            }
            b"expect" if value.eq_ignore_ascii_case(b"100-continue") => {
                self.expects_continue = true;
                Ok(())
            }
            b"expect" => Err(HeadFault::Expectation),
            _ => Ok(()),
        }
    }

    /// Digits only: `+5`, `5, 5` and `0x5` were read differently by two parsers once
    /// (CVE-2021-32715).
    fn take_length(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        let length = digits(value)
            .filter(|length| *length <= i64::MAX as u64)
            .ok_or(HeadFault::BadLength)?;
        once(&mut self.length, length)
    }

    fn take_coding(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadFault::BadCoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// Judges what only the whole head can tell.
    pub(super) fn finish(
        self,
        method: Method,
        path: &'a [u8],
        query: &'a [u8],
        is_http_1_0: bool,
    ) -> Result<Head<'a>, HeadFault> {
        let body = match (self.length, self.chunked) {
            (Some(_), true) => return Err(HeadFault::TwoFramings),
            (None, true) if is_http_1_0 => return Err(HeadFault::BadCoding),
            (None, true) => Body::Chunked,
            (Some(length), false) => Body::Length(length),
            (None, false) => Body::Absent,
        };
        match self.host {
            None if !is_http_1_0 => return Err(HeadFault::BadHost),
            Some(host) if !host.iter().all(|byte| is_host(*byte)) => {
                return Err(HeadFault::BadHost);
            }
            None | Some(_) => {}
        }
        Ok(Head {
            host: self.host,
            method,
            path,
            query,
            is_http_1_0,
            keep_alive: !self.close && (!is_http_1_0 || self.keep_alive),
            body,
            expects_continue: self.expects_continue && !is_http_1_0,
            wants_json: self.accepts_json && !self.accepts_html,
            range: self.range,
            if_range: self.if_range,
            if_match: self.if_match,
            if_none_match: self.if_none_match,
            if_modified_since: self.if_modified_since,
            if_unmodified_since: self.if_unmodified_since,
            origin: self.origin,
            authorization: self.authorization,
            content_range: self.content_range,
            lines: &[],
        })
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), HeadFault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(HeadFault::Duplicate),
    }
}

/// Whether a comma-separated list names `token`, whatever its parameters.
fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|element| {
        let name = element.split(|byte| *byte == b';').next().unwrap_or(&[]);
        name.trim_ascii().eq_ignore_ascii_case(token)
    })
}

/// A byte of `uri-host [":" port]` (RFC 3986 section 3.2.2); no user name, path or space.
fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b':'
                | b'['
                | b']'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}
