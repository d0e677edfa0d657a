//! A file of an HTTP server by ranges (RFC 9110 section 14), and a folder of a towline node.
//!
//! Each slot has a connection of its own. Sequential slots ask once for the rest of their part and
//! take it block by block, as `curl` and loaders do; others ask for each block. Invariant: a range
//! counts only when the server answered with exactly that range's length. A connection that the
//! server closed between two requests is opened again, once. Not promised: redirects.

pub mod head;
mod line;
mod queue;
mod tree;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::place::{HttpPlace, address};
use super::{Access, Cold, Queue, Source, SourceError};
use queue::HttpQueue;
pub use tree::HttpTree;
use tree::Talk;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest silence before the server counts as hung.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// A file of a server.
#[derive(Debug)]
pub struct HttpSource {
    place: HttpPlace,
    address: SocketAddr,
    bytes: u64,
}

impl HttpSource {
    /// Asks for its length, of which `bytes_max` count.
    ///
    /// # Errors
    /// When the server does not answer or does not have it.
    pub fn new(place: &HttpPlace, bytes_max: u64) -> Result<Self, SourceError> {
        let address = address(&place.host, place.port)?;
        let mut talk = Talk::new(place, address)?;
        let (head, _) = talk.ask("HEAD", &place.path, "")?;
        if head.status != 200 {
            return Err(talk.refused(&place.path, head.status));
        }
        match head.body_bytes.min(bytes_max) {
            0 => Err(SourceError::Usage(format!("{} is empty", place.path))),
            bytes => Ok(Self {
                place: place.clone(),
                address,
                bytes,
            }),
        }
    }
}

impl Source for HttpSource {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn block_bytes_max(&self) -> u32 {
        16 << 20
    }

    fn streams(&self) -> bool {
        true
    }

    fn open(&self, access: Access) -> Result<Box<dyn Queue + '_>, SourceError> {
        Ok(Box::new(HttpQueue::open(self, &access)?))
    }

    fn cool(&self) -> Cold {
        Cold::No("it is the server's memory, which only the server can drop".to_owned())
    }

    fn peer(&self) -> Option<SocketAddr> {
        Some(self.address)
    }
}

fn connect(place: &HttpPlace, address: SocketAddr) -> Result<TcpStream, SourceError> {
    let connected = TcpStream::connect_timeout(&address, CONNECT_MAX);
    let connected = connected.and_then(|stream| {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        Ok(stream)
    });
    connected.map_err(|error| SourceError::Unreachable {
        what: format!("{} port {}", place.host, place.port),
        error,
    })
}

fn request(method: &str, authority: &str, path: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: towline-bench/{}\r\n\
         {more}\r\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// A name as one step of a path (RFC 3986 section 2.3).
pub(crate) fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}
