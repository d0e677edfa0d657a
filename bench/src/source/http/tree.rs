//! Whole small answers of a server, and a folder of a towline node by its listing in JSON.
//!
//! Invariant: an answer longer than [`WHOLE_BYTES_MAX`] is an error before it is read. A connection
//! that the server said it would close is opened again for the next request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::head::{self, Head};
use super::{connect, escaped, request};
use crate::source::place::{HttpPlace, address};
use crate::source::{Entry, SourceError, Tree, Walk};

/// Largest body that is held whole, in bytes: a listing or a small file.
const WHOLE_BYTES_MAX: u64 = 16 << 20;

/// One connection for whole small answers.
pub(super) struct Talk<'a> {
    place: &'a HttpPlace,
    address: SocketAddr,
    stream: TcpStream,
    closes: bool,
}

impl<'a> Talk<'a> {
    pub(super) fn new(place: &'a HttpPlace, address: SocketAddr) -> Result<Self, SourceError> {
        Ok(Self {
            stream: connect(place, address)?,
            place,
            address,
            closes: false,
        })
    }

    pub(super) fn refused(&self, path: &str, status: u16) -> SourceError {
        let why = match status {
            404 => "there is no such file (status 404)".to_owned(),
            401 | 403 => format!(
                "this host may not read it, or the file lets nobody but its owner (status {status})"
            ),
            status => format!("status {status}"),
        };
        SourceError::server(format!("http://{}{path}", self.place.authority), why)
    }

    pub(super) fn ask(
        &mut self,
        method: &str,
        path: &str,
        more: &str,
    ) -> Result<(Head, Vec<u8>), SourceError> {
        if std::mem::take(&mut self.closes) {
            self.stream = connect(self.place, self.address)?;
        }
        let what = || format!("http://{}{path}", self.place.authority);
        let failed = |error| SourceError::system(what(), error);
        let text = request(method, &self.place.authority, path, more);
        self.stream.write_all(text.as_bytes()).map_err(failed)?;
        let mut bytes = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        let mut head = None;
        loop {
            if head.is_none() {
                let parsed = head::parse(&bytes);
                head = parsed.map_err(|why| SourceError::server(what(), why))?;
            }
            if let Some(head) = &head {
                let body = match method {
                    "HEAD" => 0,
                    _ => head.body_bytes,
                };
                if body > WHOLE_BYTES_MAX {
                    return Err(SourceError::server(
                        what(),
                        "it is too large for a small file",
                    ));
                }
                if bytes.len() as u64 >= head.head_bytes as u64 + body {
                    break;
                }
            }
            match self.stream.read(&mut piece).map_err(failed)? {
                0 => {
                    return Err(SourceError::server(
                        what(),
                        "the server closed the connection",
                    ));
                }
                count => bytes.extend_from_slice(piece.get(..count).unwrap_or(&[])),
            }
        }
        let Some(head) = head else {
            return Err(SourceError::server(what(), "no head"));
        };
        self.closes = head.closes;
        let body = bytes.split_off(head.head_bytes.min(bytes.len()));
        Ok((head, body))
    }

    fn must(
        &mut self,
        method: &str,
        path: &str,
        more: &str,
    ) -> Result<(Head, Vec<u8>), SourceError> {
        let (head, body) = self.ask(method, path, more)?;
        match head.status {
            200 => Ok((head, body)),
            status => Err(self.refused(path, status)),
        }
    }
}

/// A folder of a towline node, whose listing is JSON.
#[derive(Debug)]
pub struct HttpTree {
    place: HttpPlace,
    address: SocketAddr,
}

impl HttpTree {
    /// A folder; its path gets a slash at its end.
    ///
    /// # Errors
    /// When its host is unknown.
    pub fn new(place: &HttpPlace) -> Result<Self, SourceError> {
        let mut place = place.clone();
        if !place.path.ends_with('/') {
            place.path.push('/');
        }
        let address = address(&place.host, place.port)?;
        Ok(Self { place, address })
    }
}

impl Tree for HttpTree {
    fn open(&self) -> Result<Box<dyn Walk + '_>, SourceError> {
        Ok(Box::new(HttpWalk(Talk::new(&self.place, self.address)?)))
    }
}

struct HttpWalk<'a>(Talk<'a>);

impl HttpWalk<'_> {
    fn path(&self, name: &str) -> String {
        format!("{}{}", self.0.place.path, escaped(name))
    }
}

impl Walk for HttpWalk<'_> {
    fn list(&mut self) -> Result<Vec<Entry>, SourceError> {
        let path = self.0.place.path.clone();
        let (_, body) = self.0.must("GET", &path, "Accept: application/json\r\n")?;
        let no_listing = || {
            let why = "no listing in JSON, which towline's nodes give: name one file instead";
            SourceError::server(path.clone(), why)
        };
        let value: Value = serde_json::from_slice(&body).map_err(|_| no_listing())?;
        let entries = value.get("entries").and_then(Value::as_array);
        let entry = |entry: &Value| {
            let name = entry.get("name")?.as_str()?.to_owned();
            let is_file = entry.get("kind")?.as_str()? == "file";
            let bytes = entry.get("size")?.as_u64().filter(|_| is_file);
            Some(Entry { name, bytes })
        };
        Ok(entries
            .ok_or_else(no_listing)?
            .iter()
            .filter_map(entry)
            .collect())
    }

    fn stat(&mut self, name: &str) -> Result<u64, SourceError> {
        let path = self.path(name);
        Ok(self.0.must("HEAD", &path, "")?.0.body_bytes)
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, SourceError> {
        let path = self.path(name);
        Ok(self.0.must("GET", &path, "")?.1)
    }
}
