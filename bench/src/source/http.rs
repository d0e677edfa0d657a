//! A file of an HTTP server by ranges (RFC 9110 section 14), and a folder of a towline node.
//!
//! Each slot has a connection of its own. Sequential slots ask once for the rest of their part and
//! take it block by block, as `curl` and loaders do; others ask for each block. Invariant: a range
//! counts only when the server answered with exactly that range's length. A connection that the
//! server closed between two requests is opened again, once. Not promised: redirects.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http_head::{self, HEAD_BYTES_MAX, Head};
use super::place::{HttpPlace, address};
use super::{Access, Cold, Entry, Queue, Source, SourceError, Told, Tree, Walk, region};
use crate::poll::Poll;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest silence before the server counts as hung.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Largest body that is held whole, in bytes: a listing or a small file.
const WHOLE_BYTES_MAX: u64 = 16 << 20;

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
        let mut poll = poll()?;
        let mut lines = Vec::new();
        for slot in 0..access.depth as usize {
            let end = region(self.bytes, &access, slot).1;
            let stream_end = access.is_sequential.then_some(end);
            lines.push(Line::open(self, &mut poll, slot, &access, stream_end)?);
        }
        Ok(Box::new(HttpQueue {
            source: self,
            poll,
            lines,
            finished: Vec::new(),
        }))
    }

    fn cool(&self) -> Cold {
        Cold::No("it is the server's memory, which only the server can drop".to_owned())
    }

    fn peer(&self) -> Option<SocketAddr> {
        Some(self.address)
    }
}

fn poll() -> Result<Poll, SourceError> {
    Poll::new(false).map_err(|error| SourceError::server("epoll", format!("{error:#}")))
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

/// A connection of one slot.
struct Line {
    stream: TcpStream,
    /// Where its part ends, when it streams.
    stream_end: Option<u64>,
    buffer: Vec<u8>,
    filled: usize,
    /// The block under way: offset and length.
    wanted: Option<(u64, u32)>,
    /// Body octets of the present response that were not told yet, once its head is known.
    body_left: Option<u64>,
    /// Where the next body octet lies in the file.
    position: u64,
    closes: bool,
    is_fresh: bool,
}

impl Line {
    fn open(
        source: &HttpSource,
        poll: &mut Poll,
        slot: usize,
        access: &Access,
        stream_end: Option<u64>,
    ) -> Result<Self, SourceError> {
        let stream = connect(&source.place, source.address)?;
        let mut line = Self {
            stream,
            stream_end,
            buffer: vec![0; access.block_bytes as usize + HEAD_BYTES_MAX],
            filled: 0,
            wanted: None,
            body_left: None,
            position: 0,
            closes: false,
            is_fresh: true,
        };
        line.register(poll, slot)?;
        Ok(line)
    }

    fn register(&mut self, poll: &Poll, slot: usize) -> Result<(), SourceError> {
        let failed = |error| SourceError::system("a socket", error);
        self.stream.set_nonblocking(true).map_err(failed)?;
        let added = poll.add(&self.stream, slot, false);
        added.map_err(|error| SourceError::server("epoll", format!("{error:#}")))
    }

    fn renew(&mut self, source: &HttpSource, poll: &Poll, slot: usize) -> Result<(), SourceError> {
        self.stream = connect(&source.place, source.address)?;
        self.filled = 0;
        self.body_left = None;
        self.closes = false;
        self.is_fresh = true;
        self.register(poll, slot)
    }

    fn send(&mut self, source: &HttpSource) -> Result<(), SourceError> {
        let Some((offset, length)) = self.wanted else {
            return Ok(());
        };
        let end = self.stream_end.unwrap_or(offset + u64::from(length));
        let range = format!("Range: bytes={offset}-{}\r\n", end - 1);
        let text = request("GET", &source.place.authority, &source.place.path, &range);
        self.position = offset;
        // A request is shorter than any socket buffer, and the one before it was answered.
        let sent = self.stream.write_all(text.as_bytes());
        sent.map_err(|error| SourceError::system(source.place.path.clone(), error))
    }

    /// Takes a head off the buffer when it is whole.
    fn take_head(&mut self, source: &HttpSource) -> Result<(), SourceError> {
        let fault = |why: String| SourceError::server(source.place.path.clone(), why);
        let seen = self.buffer.get(..self.filled).unwrap_or(&[]);
        let Some(head) = http_head::parse(seen).map_err(fault)? else {
            return Ok(());
        };
        let (offset, length) = self.wanted.unwrap_or((0, 0));
        let end = self.stream_end.unwrap_or(offset + u64::from(length));
        let whole = head.status == 200 && offset == 0 && head.body_bytes == end;
        if head.status != 206 && !whole {
            let why = match head.status {
                200 => "it sends the whole file: this server has no ranges".to_owned(),
                status => format!("status {status} instead of 206"),
            };
            return Err(fault(why));
        }
        if head.body_bytes != end - offset {
            let why = format!("{} bytes instead of {}", head.body_bytes, end - offset);
            return Err(fault(why));
        }
        self.body_left = Some(head.body_bytes);
        self.closes = head.closes;
        self.drop_front(head.head_bytes);
        Ok(())
    }

    fn drop_front(&mut self, count: usize) {
        self.buffer.copy_within(count..self.filled, 0);
        self.filled -= count;
    }

    /// Reads what is there; true when the wanted block is whole.
    fn receive(&mut self, source: &HttpSource) -> Result<Progress, SourceError> {
        loop {
            if self.body_left.is_none() {
                self.take_head(source)?;
            }
            let length = self.wanted.map_or(0, |(_, length)| length as usize);
            if self.body_left.is_some() && self.filled >= length {
                return Ok(Progress::Whole);
            }
            // Never more than this block once the head is gone: the next one starts at the front.
            let limit = match self.body_left {
                Some(_) => length,
                // Little of a body comes with its head, so little has to be moved to the front.
                None => HEAD_BYTES_MAX,
            };
            let room = self.buffer.get_mut(self.filled..limit).unwrap_or(&mut []);
            match self.stream.read(room) {
                Ok(0) => return Ok(Progress::Closed),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Progress::Partial);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(Progress::Closed);
                }
                Err(error) => {
                    return Err(SourceError::system(source.place.path.clone(), error));
                }
            }
        }
    }
}

enum Progress {
    Whole,
    Partial,
    Closed,
}

struct HttpQueue<'a> {
    source: &'a HttpSource,
    poll: Poll,
    lines: Vec<Line>,
    /// Slots whose block was in the buffer already when it was asked for.
    finished: Vec<usize>,
}

impl HttpQueue<'_> {
    /// Tells the block of a slot and makes it idle.
    fn tell(&mut self, slot: usize, told: &mut Told<'_>) -> Result<(), SourceError> {
        let Some(line) = self.lines.get_mut(slot) else {
            return Ok(());
        };
        let Some((_, length)) = line.wanted.take() else {
            return Ok(());
        };
        told(slot, line.buffer.get(..length as usize).unwrap_or(&[]))?;
        line.drop_front(length as usize);
        line.position += u64::from(length);
        line.is_fresh = false;
        let left = line.body_left.unwrap_or(0).saturating_sub(length.into());
        line.body_left = (left > 0).then_some(left);
        Ok(())
    }
}

impl Queue for HttpQueue<'_> {
    fn submit(&mut self, slot: usize, offset: u64, length: u32) -> Result<(), SourceError> {
        let Some(line) = self.lines.get_mut(slot) else {
            return Ok(());
        };
        line.wanted = Some((offset, length));
        let goes_on = line.body_left.is_some() && line.position == offset;
        if goes_on {
            if line.filled >= length as usize {
                self.finished.push(slot);
            }
            return Ok(());
        }
        if line.body_left.is_some() || line.closes {
            line.renew(self.source, &self.poll, slot)?;
        }
        line.send(self.source)
    }

    fn wait(&mut self, told: &mut Told<'_>) -> Result<(), SourceError> {
        let mut any = false;
        for slot in std::mem::take(&mut self.finished) {
            self.tell(slot, told)?;
            any = true;
        }
        let begun = Instant::now();
        loop {
            let patience = match any {
                true => Duration::ZERO,
                false => SILENCE_MAX.saturating_sub(begun.elapsed()),
            };
            let ready = self.poll.wait(patience);
            let ready =
                ready.map_err(|error| SourceError::server("epoll", format!("{error:#}")))?;
            if ready.is_empty() {
                let why = format!("no byte came for {} s", SILENCE_MAX.as_secs());
                let silent = SourceError::server(self.source.place.path.clone(), why);
                return any.then_some(()).ok_or(silent);
            }
            for token in ready.into_iter().map(|ready| ready.token) {
                let Some(line) = self.lines.get_mut(token) else {
                    continue;
                };
                match (line.receive(self.source)?, line.wanted) {
                    (Progress::Whole, Some(_)) => {
                        self.tell(token, told)?;
                        any = true;
                    }
                    (Progress::Whole | Progress::Partial, _) => {}
                    (Progress::Closed, None) => line.renew(self.source, &self.poll, token)?,
                    (Progress::Closed, Some(_)) if line.is_fresh || line.filled > 0 => {
                        let why = "the server closed the connection inside an answer";
                        return Err(SourceError::server(self.source.place.path.clone(), why));
                    }
                    (Progress::Closed, Some(_)) => {
                        line.renew(self.source, &self.poll, token)?;
                        line.send(self.source)?;
                    }
                }
            }
            if any {
                return Ok(());
            }
        }
    }
}

/// One connection for whole small answers.
struct Talk<'a> {
    place: &'a HttpPlace,
    address: SocketAddr,
    stream: TcpStream,
    closes: bool,
}

impl<'a> Talk<'a> {
    fn new(place: &'a HttpPlace, address: SocketAddr) -> Result<Self, SourceError> {
        Ok(Self {
            stream: connect(place, address)?,
            place,
            address,
            closes: false,
        })
    }

    fn refused(&self, path: &str, status: u16) -> SourceError {
        let why = match status {
            404 => "there is no such file (status 404)".to_owned(),
            401 | 403 => format!("this host may not read it (status {status})"),
            status => format!("status {status}"),
        };
        SourceError::server(format!("http://{}{path}", self.place.authority), why)
    }

    fn ask(
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
                let parsed = http_head::parse(&bytes);
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
        let mut path = self.0.place.path.clone();
        for byte in name.bytes() {
            match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                true => path.push(byte.into()),
                false => path.push_str(&format!("%{byte:02X}")),
            }
        }
        path
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
