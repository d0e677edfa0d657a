//! Which share, disk or model is meant: a path, `nfs://HOST/EXPORT[/PATH]`, `http://HOST/PATH`.
//!
//! Invariant: an unknown scheme or query is an error that says what to write; percent signs are
//! decoded for NFS, which has no escapes, and left alone for HTTP, which has. Not promised: HTTPS.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::SourceError;

/// Port of NFS (RFC 1813 section 2.1 names it as the usual one).
pub const NFS_PORT: u16 = 2049;

/// Where something lies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A path of this host, mounted or local.
    Path(PathBuf),
    /// An NFS server.
    Nfs(NfsPlace),
    /// An HTTP server.
    Http(HttpPlace),
}

/// A path on an NFS server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NfsPlace {
    /// Its host.
    pub host: String,
    /// Port of NFS.
    pub port: u16,
    /// Port of MOUNT, where it was named; else that of NFS, else what the port mapper says.
    pub mount_port: Option<u16>,
    /// Export and path, with a leading slash.
    pub path: String,
    /// User id that the calls carry; this process's without.
    pub uid: Option<u32>,
    /// Group id that the calls carry.
    pub gid: Option<u32>,
}

/// A path on an HTTP server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpPlace {
    /// Host as the request names it, with the port where one was named.
    pub authority: String,
    /// Host alone.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query, with a leading slash.
    pub path: String,
}

fn usage(text: impl Into<String>) -> SourceError {
    SourceError::Usage(text.into())
}

impl Place {
    /// Reads a path or URL.
    ///
    /// # Errors
    /// [`SourceError::Usage`], which says what to write.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text.is_empty() {
                true => Err(usage("name a path, nfs://HOST/EXPORT or http://HOST/PATH")),
                false => Ok(Self::Path(PathBuf::from(text))),
            };
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        match scheme {
            "nfs" => nfs(authority, path).map(Self::Nfs),
            "http" => {
                let (host, port) = host_and_port(authority, 80)?;
                Ok(Self::Http(HttpPlace {
                    authority: authority.to_owned(),
                    host,
                    port,
                    path: path.to_owned(),
                }))
            }
            "https" => Err(usage(
                "https:// is not measured: a node serves the same files as http:// on its own port",
            )),
            _ => Err(usage(format!(
                "{scheme}:// is unknown: write a path, nfs://HOST/EXPORT or http://HOST/PATH"
            ))),
        }
    }
}

fn host_and_port(authority: &str, default: u16) -> Result<(String, u16), SourceError> {
    let wrong = || usage(format!("{authority}: write HOST or HOST:PORT"));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (authority, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.is_empty() || host.contains('@') {
        true => Err(wrong()),
        false => Ok((host.to_owned(), port)),
    }
}

fn nfs(authority: &str, path: &str) -> Result<NfsPlace, SourceError> {
    let (host, port) = host_and_port(authority, NFS_PORT)?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut place = NfsPlace {
        host,
        port,
        mount_port: None,
        path: decoded(path),
        uid: None,
        gid: None,
    };
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let wrong = || {
            usage(format!(
                "?{option}: there are port=N, mountport=N, uid=N and gid=N"
            ))
        };
        match name {
            "port" => place.port = value.parse().map_err(|_| wrong())?,
            "mountport" => place.mount_port = Some(value.parse().map_err(|_| wrong())?),
            "uid" => place.uid = Some(value.parse().map_err(|_| wrong())?),
            "gid" => place.gid = Some(value.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
    }
    match place.path.trim_matches('/').is_empty() {
        true => Err(usage("name the export: nfs://HOST/EXPORT[/PATH]")),
        false => Ok(place),
    }
}

/// `%20` as the octet it stands for; what is no escape stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let pair = tail
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        let value = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (first, value) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = tail.get(2..).unwrap_or(&[]);
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first address of a host.
///
/// # Errors
/// When its name is unknown.
pub fn address(host: &str, port: u16) -> Result<SocketAddr, SourceError> {
    let found = (host, port).to_socket_addrs();
    let found = found.map_err(|error| SourceError::system(format!("the name {host}"), error))?;
    let mut found: Vec<SocketAddr> = found.collect();
    // A server that listens on one family only mostly chose IPv4.
    found.sort_by_key(SocketAddr::is_ipv6);
    let first = found.first().copied();
    first.ok_or_else(|| usage(format!("{host} has no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        assert_eq!(
            Place::parse("/mnt/x").unwrap(),
            Place::Path(PathBuf::from("/mnt/x"))
        );
        let Place::Nfs(nfs) = Place::parse("nfs://h/models/a%20b?port=99&uid=7").unwrap() else {
            panic!("no NFS");
        };
        let seen = (nfs.host.as_str(), nfs.port, nfs.path.as_str(), nfs.uid);
        assert_eq!(seen, ("h", 99, "/models/a b", Some(7)));
        let Place::Http(http) = Place::parse("http://[::1]:8420/files/a?b").unwrap() else {
            panic!("no HTTP");
        };
        let seen = (http.host.as_str(), http.port, http.path.as_str());
        assert_eq!(seen, ("::1", 8420, "/files/a?b"));
        for wrong in [
            "",
            "ftp://h/x",
            "https://h/x",
            "nfs://h",
            "nfs:///x",
            "nfs://h/x?prot=1",
            "http://h:x/",
            "http://u@h/",
        ] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(decoded("100%"), "100%");
    }
}
