//! The head of a request: cut out of the stream, judged strictly, borrowed and never copied.
//!
//! Governed by RFC 9112 sections 2 to 6 and RFC 9110. Where the RFCs leave a choice, the choice
//! that two parsers cannot understand differently is taken: lines end in CRLF only, a folded
//! line is refused, `Content-Length` is digits only and stands once and never beside
//! `Transfer-Encoding` (threat H2). Invariant: the answer depends on the bytes of the head
//! alone, not on how the stream was cut. Nothing is allocated. Not promised: that fields which
//! this server does not use make sense.

mod field;

use memchr::{memchr, memchr_iter};

pub use field::Body;
use field::Fields;

/// Longest request head, in bytes with the empty line at its end: browsers stay below 8 KiB,
/// and the receive buffer of a connection must hold one (RFC 9112 section 3 recommends 8,000
/// for the request line alone).
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Most field lines in one head; browsers send about 20 (RFC 9110 section 5.4 asks for a limit).
pub const FIELDS_MAX: usize = 100;

/// What the client wants done (RFC 9110 section 9.3; MKCOL: RFC 4918 section 9.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// The contents.
    Get,
    /// What GET would say, without the contents.
    Head,
    /// A question with a body, or a change, of the hub.
    Post,
    /// Store a file.
    Put,
    /// Remove a file or an empty directory.
    Delete,
    /// Create a directory.
    Mkcol,
    /// Which methods there are.
    Options,
    /// A method that no file has.
    Other,
}

impl Method {
    /// The name, for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Mkcol => "MKCOL",
            Self::Options => "OPTIONS",
            Self::Other => "other",
        }
    }

    fn from_bytes(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"MKCOL" => Self::Mkcol,
            b"OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }
}

/// Why a head is not accepted. Whatever follows it cannot be trusted: answer and close.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeadFault {
    /// The first bytes are no request line.
    #[error("the request does not begin with a method, a target and HTTP/1.1")]
    NotHttp,
    /// The peer speaks HTTP/2 without asking (RFC 9113 section 3.4); it gets no answer.
    #[error("HTTP/2 is not spoken here; use HTTP/1.1")]
    Http2,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("only HTTP/1.1 and HTTP/1.0 are spoken here")]
    Version,
    /// A line ends in a line feed without carriage return, or has control characters.
    #[error("every line must end in CR LF and hold no control characters")]
    BadLine,
    /// Neither a path nor an absolute URL.
    #[error("the request target must be a path that begins with '/'")]
    BadTarget,
    /// No end within [`HEAD_BYTES_MAX`].
    #[error("the request head is longer than 16 KiB; send fewer or shorter fields")]
    TooLong,
    /// More than [`FIELDS_MAX`] fields.
    #[error("the request has more than 100 fields; send fewer")]
    TooManyFields,
    /// A field name that is no token, or a space before the colon.
    #[error("a field name is broken")]
    BadFieldName,
    /// A line that begins with a space (RFC 9112 section 5.2).
    #[error("folded field lines are not accepted; write each field on one line")]
    Folded,
    /// A field that may stand once stands twice.
    #[error("a field that may stand once stands twice")]
    Duplicate,
    /// Not only digits, or above 2^63-1.
    #[error("Content-Length must be decimal digits, at most 2^63-1")]
    BadLength,
    /// Both framings (RFC 9112 section 6.3).
    #[error("Content-Length and Transfer-Encoding must not stand together")]
    TwoFramings,
    /// A coding other than `chunked`.
    #[error("the only transfer coding is 'chunked', in HTTP/1.1")]
    BadCoding,
    /// HTTP/1.1 without Host, or one that is no host (RFC 9112 section 3.2).
    #[error("HTTP/1.1 needs exactly one valid Host field")]
    BadHost,
    /// An expectation other than `100-continue`.
    #[error("the only expectation is '100-continue'")]
    Expectation,
}

/// A request head that was accepted. Borrows from the input.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: Method,
    /// The path as it was sent, still percent-encoded, beginning with `/`; `*` for `OPTIONS *`.
    pub path: &'a [u8],
    /// What follows the `?`, still encoded; empty if there is none.
    pub query: &'a [u8],
    /// Value of `Host`: bytes of a host and port only.
    pub host: Option<&'a [u8]>,
    /// Whether the client speaks HTTP/1.0.
    pub is_http_1_0: bool,
    /// Whether the connection stays open behind the reply, as far as the client is concerned.
    pub keep_alive: bool,
    /// How the body is framed.
    pub body: Body,
    /// `Expect: 100-continue`: the body comes after an interim reply.
    pub expects_continue: bool,
    /// The client prefers JSON to a page.
    pub wants_json: bool,
    /// Value of `Range`.
    pub range: Option<&'a [u8]>,
    /// Value of `If-Range`.
    pub if_range: Option<&'a [u8]>,
    /// Value of `If-Match`.
    pub if_match: Option<&'a [u8]>,
    /// Value of `If-None-Match`.
    pub if_none_match: Option<&'a [u8]>,
    /// Value of `If-Modified-Since`.
    pub if_modified_since: Option<&'a [u8]>,
    /// Value of `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a [u8]>,
    /// Value of `Origin`: which page made a browser ask.
    pub origin: Option<&'a [u8]>,
    /// Value of `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// Value of `Content-Range`, for resumed uploads.
    pub content_range: Option<&'a [u8]>,
    /// Every field line as it was sent, with its CR LF, each checked for form.
    pub lines: &'a [u8],
}

/// Takes a head off the front of `input`, without consuming it: the second value is how many
/// bytes it takes. `None`: not all of it is there. `scanned` remembers, between calls with the
/// same unread input, how far the end was looked for; it starts at 0.
///
/// # Errors
/// [`HeadFault`]: answer, then close.
pub fn parse<'a>(
    input: &'a [u8],
    scanned: &mut usize,
) -> Result<Option<(Head<'a>, usize)>, HeadFault> {
    // Empty lines before a request are skipped (RFC 9112 section 2.2).
    let mut start = 0;
    while input
        .get(start..)
        .is_some_and(|rest| rest.starts_with(b"\r\n"))
    {
        start += 2;
    }
    let text = input.get(start..).unwrap_or(&[]);
    match text {
        [] | [b'\r'] if start < HEAD_BYTES_MAX => return Ok(None),
        [first, ..] if is_token(*first) => {}
        _ => return Err(HeadFault::NotHttp),
    }
    let from = scanned.saturating_sub(2).max(start);
    match find_end(input, from) {
        Some(end) if end <= HEAD_BYTES_MAX => {
            *scanned = 0;
            let head = parse_lines(input.get(start..end).unwrap_or(&[]))?;
            Ok(Some((head, end)))
        }
        Some(_) => Err(HeadFault::TooLong),
        None if input.len() >= HEAD_BYTES_MAX => Err(HeadFault::TooLong),
        None => {
            *scanned = input.len();
            Ok(None)
        }
    }
}

/// The place behind the first empty line. One that ends in a bare line feed is found too, so
/// that it is refused at once and not after a timeout.
fn find_end(input: &[u8], from: usize) -> Option<usize> {
    memchr_iter(b'\n', input.get(from..)?).find_map(|place| {
        let next = from + place + 1;
        match input.get(next..) {
            Some([b'\n', ..]) => Some(next + 1),
            Some([b'\r', b'\n', ..]) => Some(next + 2),
            _ => None,
        }
    })
}

fn parse_lines(text: &[u8]) -> Result<Head<'_>, HeadFault> {
    let mut rest = text;
    let line = next_line(&mut rest)?;
    let (method, target, is_http_1_0) = parse_request_line(line)?;
    let (path, query) = parse_target(method, target)?;
    let mut fields = Fields::default();
    let lines = rest;
    let mut count = 0;
    loop {
        let line = next_line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > FIELDS_MAX {
            return Err(HeadFault::TooManyFields);
        }
        fields.take_line(line)?;
    }
    let head = fields.finish(Method::from_bytes(method), path, query, is_http_1_0)?;
    Ok(Head { lines, ..head })
}

impl<'a> Head<'a> {
    /// Every value of a field, in the order in which they came. `name` in lower case.
    pub fn values<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let lines = self.lines.split(|byte| *byte == b'\n');
        lines.filter_map(move |line| {
            let (own, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            own.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
        })
    }
}

/// The next line without its CR LF.
fn next_line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], HeadFault> {
    let end = memchr(b'\n', rest).ok_or(HeadFault::BadLine)?;
    let (line, behind) = rest.split_at_checked(end + 1).ok_or(HeadFault::BadLine)?;
    *rest = behind;
    let line = line.strip_suffix(b"\r\n").ok_or(HeadFault::BadLine)?;
    if line.iter().all(|byte| is_text(*byte)) {
        Ok(line)
    } else {
        Err(HeadFault::BadLine)
    }
}

/// Method, target, and whether the version is 1.0.
fn parse_request_line(line: &[u8]) -> Result<(&[u8], &[u8], bool), HeadFault> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(HeadFault::NotHttp);
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(HeadFault::NotHttp);
    }
    if target.is_empty() || target.contains(&b'\t') {
        return Err(HeadFault::BadTarget);
    }
    match version {
        b"HTTP/1.1" => Ok((method, target, false)),
        b"HTTP/1.0" => Ok((method, target, true)),
        b"HTTP/2.0" if method == b"PRI" => Err(HeadFault::Http2),
        _ if version.starts_with(b"HTTP/") => Err(HeadFault::Version),
        _ => Err(HeadFault::NotHttp),
    }
}

/// Path and query of a target in origin, absolute or asterisk form (RFC 9112 section 3.2).
fn parse_target<'a>(method: &[u8], target: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), HeadFault> {
    if target == b"*" && method == b"OPTIONS" {
        return Ok((target, b""));
    }
    if target.contains(&b'#') {
        return Err(HeadFault::BadTarget);
    }
    let place = if target.starts_with(b"/") {
        target
    } else {
        behind_authority(target).ok_or(HeadFault::BadTarget)?
    };
    let cut = memchr(b'?', place).unwrap_or(place.len());
    let (path, query) = place.split_at_checked(cut).unwrap_or((place, b""));
    let path: &[u8] = if path.is_empty() { b"/" } else { path };
    Ok((path, query.get(1..).unwrap_or(b"")))
}

/// What follows scheme and authority in `http://host/path`.
fn behind_authority(target: &[u8]) -> Option<&[u8]> {
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })?;
    let rest = target.get(scheme.len()..)?;
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    (end > 0).then(|| rest.get(end..))?
}

/// A byte of a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// A byte of a line: visible, space, tab or above ASCII (RFC 9110 section 5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests;
