//! Who may ask at all: the names that this node answers to, and the web pages that may use it.
//!
//! A page of another site can make a browser send requests here, and a name of its own can be made
//! to lead here (DNS rebinding, threat H6). So a request must name this node as its host, and if it
//! tells which page made it (Origin, RFC 6454 section 7), that page must be this node's own or one
//! that the operator named, which is then told so (the Fetch standard, section 3.3, CORS).
//! Invariant: this is judged once for every request at every door, before anything else. Not
//! promised: that programs other than browsers tell the truth about either.

use std::net::IpAddr;

use crate::head::{Head, Method};
use crate::status::{Refusal, Status};

/// Methods that a page may use.
pub(crate) const CORS_METHODS: &str = "GET, HEAD, POST, PUT, DELETE, MKCOL";

/// Fields that a page may send.
pub(crate) const CORS_FIELDS: &str = "Authorization, Content-Type, Content-Range, Range, If-Range, \
     If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, X-Requested-With";

/// Fields of a reply that a page may read, beside those that every page may.
pub const CORS_SHOWN: &str = "Accept-Ranges, Content-Length, Content-Range, ETag, Link, \
     Location, Range, Retry-After, X-Error-Code, X-Error-Message, X-Linked-Etag, X-Linked-Size, \
     X-Repo-Commit";

/// Seconds for which a browser remembers what it may: an hour.
pub(crate) const CORS_SECONDS: &str = "3600";

const WRONG_HOST: Refusal = Refusal::new(
    Status::MISDIRECTED,
    "this node does not have that name: ask by its address or host name, or add the name to \
     [listen] names on the node",
);

const WRONG_PAGE: Refusal = Refusal::new(
    Status::FORBIDDEN,
    "pages of other sites may not ask this node; one that may belongs into [listen] origins on \
     the node",
);

/// The names of the node and the pages that may use it.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    node: String,
    names: Vec<String>,
    origins: Vec<&'static str>,
}

/// What a request is, as far as browsers are concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Visit {
    /// No page of another site is involved.
    Own,
    /// A page of this origin, which may.
    Page(&'static str),
    /// A browser asks whether a page of this origin may.
    Preflight(&'static str),
}

impl Doors {
    /// Doors of the node `node`, which has `names` besides, for pages of `origins`. The origins
    /// live as long as the process: they are few, and every reply may name one.
    #[must_use]
    pub fn new(node: &str, names: Vec<String>, origins: Vec<String>) -> Self {
        let kept = origins.into_iter().map(|origin| &*origin.leak());
        Self {
            node: node.to_owned(),
            names,
            origins: kept.collect(),
        }
    }

    /// Judges a request.
    ///
    /// # Errors
    /// 421 under a name that is not ours, 403 for a page that may not.
    pub fn judge(&self, head: &Head<'_>) -> Result<Visit, Refusal> {
        // Whoever asks only whether the node is well learns nothing else.
        if head.path == b"/healthz" && head.method != Method::Options {
            return Ok(Visit::Own);
        }
        if head.host.is_some_and(|host| !self.is_ours(host)) {
            return Err(WRONG_HOST);
        }
        let Some(origin) = head.origin else {
            return Ok(Visit::Own);
        };
        if is_own_page(origin, head.host) {
            return Ok(Visit::Own);
        }
        let named = self.page(Some(&origin)).ok_or(WRONG_PAGE)?;
        let asks = head.method == Method::Options
            && head
                .values(b"access-control-request-method")
                .next()
                .is_some();
        Ok(if asks {
            Visit::Preflight(named)
        } else {
            Visit::Page(named)
        })
    }

    /// The page of an Origin field that may read a reply, where it is not this node's own.
    #[must_use]
    pub fn page(&self, origin: Option<&impl AsRef<[u8]>>) -> Option<&'static str> {
        let origin = origin?.as_ref();
        let mut named = self.origins.iter();
        named
            .find(|own| own.as_bytes().eq_ignore_ascii_case(origin))
            .copied()
    }

    /// Whether a Host field names this node: an address, `localhost`, the node's own name with any
    /// domain behind it, or one that the operator added.
    #[must_use]
    pub fn is_ours(&self, host: &[u8]) -> bool {
        let Ok(host) = std::str::from_utf8(host) else {
            return false;
        };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let first_label = |name: &str| name.split('.').next().unwrap_or("").to_ascii_lowercase();
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || (!name.is_empty() && first_label(name) == first_label(&self.node))
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// Whether an origin is the very host that is asked.
fn is_own_page(origin: &[u8], host: Option<&[u8]>) -> bool {
    let authority = [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| origin.strip_prefix(scheme));
    match (authority, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head;

    fn judge(doors: &Doors, lines: &str) -> Result<Visit, Status> {
        let text = format!("{lines}\r\n\r\n");
        let (head, _) = head::parse(text.as_bytes(), &mut 0).unwrap().unwrap();
        doors.judge(&head).map_err(|refusal| refusal.status)
    }

    #[test]
    fn only_names_of_this_node_are_answered() {
        let doors = Doors::new("n1.example", vec!["files.lab".to_owned()], Vec::new());
        for ours in [
            "10.0.0.1:8420",
            "[::1]:8420",
            "localhost",
            "n1",
            "N1.lan:8420",
            "files.lab:8420",
            "Files.Lab.",
        ] {
            assert!(doors.is_ours(ours.as_bytes()), "{ours}");
        }
        for foreign in ["evil.example", "n2:8420", "", "n1x", "x.files.lab", "."] {
            assert!(!doors.is_ours(foreign.as_bytes()), "{foreign}");
        }
    }

    /// Threat H6: a page of another site, and a foreign name that leads here.
    #[test]
    fn a_page_asks_only_if_it_is_ours_or_was_named() {
        let origins = vec!["https://app.example".to_owned()];
        let doors = Doors::new("n1", Vec::new(), origins);
        let get = "GET /files/v/f HTTP/1.1\r\nHost: 10.0.0.1:8420";
        assert_eq!(judge(&doors, get), Ok(Visit::Own));
        let own = format!("{get}\r\nOrigin: http://10.0.0.1:8420");
        assert_eq!(judge(&doors, &own), Ok(Visit::Own));
        for other in ["null", "http://10.0.0.1", "https://evil.example"] {
            let text = format!("{get}\r\nOrigin: {other}");
            assert_eq!(judge(&doors, &text), Err(Status::FORBIDDEN), "{other}");
        }
        let named = format!("{get}\r\nOrigin: https://app.example");
        assert_eq!(
            judge(&doors, &named),
            Ok(Visit::Page("https://app.example"))
        );
        let asks = "OPTIONS /files/v/f HTTP/1.1\r\nHost: n1\r\nOrigin: https://app.example\r\n\
                    Access-Control-Request-Method: PUT";
        assert_eq!(
            judge(&doors, asks),
            Ok(Visit::Preflight("https://app.example"))
        );
        let rebound = "GET /files/v/f HTTP/1.1\r\nHost: evil.example";
        assert_eq!(judge(&doors, rebound), Err(Status::MISDIRECTED));
    }
}
