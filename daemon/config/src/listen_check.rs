//! The rules for the names of a node and for the web pages that may use it (`[listen]`).
//!
//! Governed by RFC 1123 section 2.1 (names of hosts) and RFC 6454 section 6.2 (origins as text).
//! Invariant: an origin is exact, never a pattern: a page that may use the node is one that
//! somebody named. Not promised: that a name leads here.

use toml::Spanned;

use crate::checker::Checker;
use crate::effective::Setting;
use crate::file::At;

/// Longest name of a host, in bytes (RFC 1123 section 2.1).
const NAME_BYTES_MAX: usize = 253;

/// Most names, and most origins: each request may be compared with all of them.
const LIST_MAX: usize = 64;

type Texts = At<Vec<Spanned<String>>>;

/// `listen.names`.
pub(crate) fn names(check: &mut Checker<'_>, at: &Texts) -> Setting<Vec<String>> {
    let instead = "write a host name without scheme and port, like \"files.lab.example\"";
    list(check, at, ("listen.names", instead), |text| {
        is_host(text).then(|| text.to_ascii_lowercase())
    })
}

/// `listen.origins`.
pub(crate) fn origins(check: &mut Checker<'_>, at: &Texts) -> Setting<Vec<String>> {
    let instead = "write scheme, host and port of one site, like \"https://app.example:3000\"";
    list(check, at, ("listen.origins", instead), |text| {
        let (scheme, authority) = text.split_once("://")?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_good = matches!(scheme, "http" | "https")
            && (is_host(host) || bare.parse::<std::net::IpAddr>().is_ok())
            && port.is_none_or(|port| port.parse::<u16>().is_ok());
        is_good.then(|| text.to_ascii_lowercase())
    })
}

fn is_host(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

fn list(
    check: &mut Checker<'_>,
    at: &Texts,
    (key, instead): (&str, &str),
    read: impl Fn(&str) -> Option<String>,
) -> Setting<Vec<String>> {
    let Some(at) = at else {
        return Setting::default_of(Vec::new());
    };
    if at.get_ref().len() > LIST_MAX {
        let what = format!("there are more than {LIST_MAX} of them");
        check.refuse(
            at.span().start,
            key,
            what,
            "leave out those that nobody uses",
        );
    }
    let mut found = Vec::new();
    for written in at.get_ref().iter().take(LIST_MAX) {
        match read(written.get_ref()) {
            Some(good) => found.push(good),
            None => {
                let what = format!("\"{}\" is none", written.get_ref().escape_debug());
                check.refuse(written.span().start, key, what, instead);
            }
        }
    }
    check.here(at, found)
}
