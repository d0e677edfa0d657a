//! NFSv3, MOUNT and port mapper calls, one at a time, for setup, names and small files.
//!
//! Governed by RFC 1813 (sections 3.3 and 5.2) and RFC 1833 (section 3, PMAPPROC_GETPORT).
//! Invariant: every reply is read through a bounded reader; a status is told by its name. Not
//! promised: other procedures, locks, or version 4.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::place::{NfsPlace, address};
use super::{Entry, SourceError};
use crate::rpc::{CallWriter, Caller, MOUNT, NFS, Reader, connect_reserved, exchange};

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Port of the port mapper (RFC 1833 section 3.1).
const PORT_MAPPER_PORT: u16 = 111;
/// Program number of the port mapper (RFC 1833 section 3.1).
const PORT_MAPPER: u32 = 100_000;
/// Most entries of a folder that are listed, as a count: enough for any share's folder of models.
const ENTRIES_MAX: usize = 100_000;
/// Type of a plain file (RFC 1813 section 2.5, `NF3REG`).
const PLAIN_FILE: u32 = 1;
/// Octets of attributes (RFC 1813 section 2.6, `fattr3`).
const ATTRIBUTES_BYTES: usize = 84;

/// Attributes that matter here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    /// Whether it is a plain file.
    pub(super) is_file: bool,
    /// Its length.
    pub(super) bytes: u64,
}

/// One connection that makes one call at a time.
pub(super) struct NfsClient {
    stream: TcpStream,
    what: String,
    caller: Caller,
    xid: u32,
}

/// Where a server is, once its ports are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) nfs: SocketAddr,
    mount: SocketAddr,
}

type Outcome<T> = Result<T, SourceError>;

fn reach(server: SocketAddr) -> Outcome<TcpStream> {
    let unreachable = |error| SourceError::Unreachable {
        what: format!("{} port {}", server.ip(), server.port()),
        error,
    };
    // Tried with a limit first: a connection from a reserved port has none of its own.
    let tried = TcpStream::connect_timeout(&server, CONNECT_MAX).map_err(unreachable)?;
    drop(tried);
    let stream = connect_reserved(server);
    let stream = stream.map_err(|error| broken(&server.to_string(), &error))?;
    stream
        .set_nodelay(true)
        .map_err(|error| SourceError::system("a socket", error))?;
    Ok(stream)
}

fn broken(what: &str, error: &anyhow::Error) -> SourceError {
    SourceError::server(what, format!("{error:#}"))
}

/// The names of RFC 1813 section 2.6 for what a user meets.
fn status_name(status: u32) -> String {
    let name = match status {
        1 => "not the owner, or squashed (NFS3ERR_PERM)",
        2 => "there is no such name (NFS3ERR_NOENT)",
        5 => "the server cannot read it (NFS3ERR_IO)",
        13 => "this host or user may not (NFS3ERR_ACCES); try uid= and gid= in the URL",
        20 => "no folder (NFS3ERR_NOTDIR)",
        21 => "it is a folder (NFS3ERR_ISDIR)",
        30 => "read-only (NFS3ERR_ROFS)",
        70 => "the handle is stale (NFS3ERR_STALE)",
        _ => return format!("status {status}"),
    };
    name.to_owned()
}

impl Server {
    /// Finds the ports of a place: as named, else MOUNT beside NFS, else what the port mapper says.
    pub(super) fn find(place: &NfsPlace) -> Outcome<Self> {
        let nfs = address(&place.host, place.port)?;
        let at = |port| SocketAddr::new(nfs.ip(), port);
        if let Some(port) = place.mount_port {
            let mount = at(port);
            return Ok(Self { nfs, mount });
        }
        let both = Self { nfs, mount: nfs };
        if both.answers_mount() {
            return Ok(both);
        }
        let port = asked_port(at(PORT_MAPPER_PORT)).map_err(|error| {
            let what = format!("MOUNT of {}", place.host);
            let why = format!(
                "neither on port {} nor named by port 111: {error}",
                place.port
            );
            SourceError::server(what, format!("{why}. Write ?mountport=N"))
        })?;
        let mount = at(port);
        Ok(Self { nfs, mount })
    }

    /// Whether the null procedure of MOUNT is answered on the port of NFS.
    fn answers_mount(&self) -> bool {
        let caller = Caller { uid: 0, gid: 0 };
        let mut call = CallWriter::new();
        call.begin(1, MOUNT, 0, caller);
        call.end(0);
        let stream = reach(self.mount);
        stream.is_ok_and(|mut stream| exchange(&mut stream, &call.take()).is_ok())
    }

    /// The root of the shortest export that begins the path, and the names that follow.
    pub(super) fn mount(&self, path: &str, caller: Caller) -> Outcome<(Vec<u8>, Vec<String>)> {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let mut last = String::new();
        for count in 1..=names.len() {
            let (front, rest) = names.split_at(count);
            let export = format!("/{}", front.join("/"));
            match self.mount_one(&export, caller) {
                Ok(root) => {
                    return Ok((root, rest.iter().map(|name| (*name).to_owned()).collect()));
                }
                Err(error) => last = error.to_string(),
            }
        }
        let what = format!("no export of {} begins {path}", self.nfs.ip());
        Err(SourceError::server(what, last))
    }

    fn mount_one(&self, export: &str, caller: Caller) -> Outcome<Vec<u8>> {
        let mut client = NfsClient::connect(self.mount, caller)?;
        // MOUNTPROC3_MNT, RFC 1813 section 5.2.1.
        let reply = client.call(MOUNT, 1, |call| call.opaque(export.as_bytes()))?;
        let mut reader = Reader(&reply);
        let mut read = || -> anyhow::Result<(u32, Vec<u8>)> {
            match reader.number()? {
                0 => Ok((0, reader.opaque()?.to_vec())),
                status => Ok((status, Vec::new())),
            }
        };
        match read().map_err(|error| broken(export, &error))? {
            (0, root) => Ok(root),
            (status, _) => Err(SourceError::server(export, status_name(status))),
        }
    }
}

fn asked_port(mapper: SocketAddr) -> Outcome<u16> {
    let mut stream = reach(mapper)?;
    let mut call = CallWriter::new();
    call.begin_version(1, PORT_MAPPER, 2, 3, Caller { uid: 0, gid: 0 });
    // MOUNT version 3 over TCP (protocol 6).
    for number in [MOUNT, 3, 6, 0] {
        call.number(number);
    }
    call.end(0);
    let reply = exchange(&mut stream, &call.take());
    let reply = reply.map_err(|error| broken("the port mapper", &error))?;
    let port = Reader(&reply).number().ok();
    let port = port.and_then(|port| u16::try_from(port).ok());
    let none = || SourceError::server("the port mapper", "it knows no MOUNT over TCP");
    port.filter(|port| *port != 0).ok_or_else(none)
}

impl NfsClient {
    pub(super) fn connect(server: SocketAddr, caller: Caller) -> Outcome<Self> {
        Ok(Self {
            stream: reach(server)?,
            what: server.to_string(),
            caller,
            xid: 0,
        })
    }

    fn call(
        &mut self,
        program: u32,
        procedure: u32,
        arguments: impl FnOnce(&mut CallWriter),
    ) -> Outcome<Vec<u8>> {
        self.xid = self.xid.wrapping_add(1);
        let mut call = CallWriter::new();
        call.begin(self.xid, program, procedure, self.caller);
        arguments(&mut call);
        call.end(0);
        let reply = exchange(&mut self.stream, &call.take());
        reply.map_err(|error| broken(&self.what, &error))
    }

    /// LOOKUP (RFC 1813 section 3.3.3): the handle, and its attributes where the server tells.
    pub(super) fn lookup(
        &mut self,
        folder: &[u8],
        name: &str,
    ) -> Outcome<(Vec<u8>, Option<Attributes>)> {
        let reply = self.call(NFS, 3, |call| {
            call.opaque(folder);
            call.opaque(name.as_bytes());
        })?;
        let mut reader = Reader(&reply);
        let mut read = || -> anyhow::Result<(u32, Vec<u8>, Option<Attributes>)> {
            match reader.number()? {
                0 => Ok((0, reader.opaque()?.to_vec(), maybe_attributes(&mut reader)?)),
                status => Ok((status, Vec::new(), None)),
            }
        };
        match read().map_err(|error| broken(name, &error))? {
            (0, handle, attributes) => Ok((handle, attributes)),
            (status, ..) => Err(SourceError::server(name, status_name(status))),
        }
    }

    /// GETATTR (RFC 1813 section 3.3.1).
    pub(super) fn attributes(&mut self, handle: &[u8]) -> Outcome<Attributes> {
        let reply = self.call(NFS, 1, |call| call.opaque(handle))?;
        let mut reader = Reader(&reply);
        let mut read = || -> anyhow::Result<Result<Attributes, u32>> {
            match reader.number()? {
                0 => Ok(Ok(attributes(&mut reader)?)),
                status => Ok(Err(status)),
            }
        };
        let found = read().map_err(|error| broken("GETATTR", &error))?;
        found.map_err(|status| SourceError::server("GETATTR", status_name(status)))
    }

    /// FSINFO (RFC 1813 section 3.3.19): most bytes of a READ.
    pub(super) fn read_bytes_max(&mut self, handle: &[u8]) -> Outcome<u32> {
        let reply = self.call(NFS, 19, |call| call.opaque(handle))?;
        let mut reader = Reader(&reply);
        let mut read = || -> anyhow::Result<u32> {
            anyhow::ensure!(reader.number()? == 0, "FSINFO failed");
            maybe_attributes(&mut reader)?;
            reader.number()
        };
        read().map_err(|error| broken("FSINFO", &error))
    }

    /// READ (RFC 1813 section 3.3.6) from `offset`, up to `count` bytes.
    pub(super) fn read(
        &mut self,
        handle: &[u8],
        offset: u64,
        count: u32,
    ) -> Outcome<(Vec<u8>, bool)> {
        let reply = self.call(NFS, 6, |call| {
            call.opaque(handle);
            call.long(offset);
            call.number(count);
        })?;
        let mut reader = Reader(&reply);
        let read = read_reply(&mut reader).map_err(|error| broken("READ", &error))?;
        let (bytes, is_end) =
            read.map_err(|status| SourceError::server("READ", status_name(status)))?;
        Ok((bytes.to_vec(), is_end))
    }

    /// READDIRPLUS (RFC 1813 section 3.3.17) until the end.
    pub(super) fn list(&mut self, folder: &[u8]) -> Outcome<Vec<Entry>> {
        let mut found = Vec::new();
        let (mut cookie, mut verifier) = (0, 0);
        loop {
            let reply = self.call(NFS, 17, |call| {
                call.opaque(folder);
                call.long(cookie);
                call.long(verifier);
                // Bytes of names, and of the whole reply.
                call.number(8 * 1024);
                call.number(64 * 1024);
            })?;
            let before = cookie;
            let page = page(&mut Reader(&reply), &mut found, &mut cookie, &mut verifier);
            match page.map_err(|error| broken("READDIRPLUS", &error))? {
                Ok(true) => return Ok(found),
                Ok(false) if cookie == before || found.len() > ENTRIES_MAX => {
                    let why = format!("the folder is longer than {ENTRIES_MAX} or repeats itself");
                    return Err(SourceError::server("READDIRPLUS", why));
                }
                Ok(false) => {}
                Err(status) => {
                    return Err(SourceError::server("READDIRPLUS", status_name(status)));
                }
            }
        }
    }
}

/// One page of names; true at the end of the folder.
fn page(
    reader: &mut Reader<'_>,
    found: &mut Vec<Entry>,
    cookie: &mut u64,
    verifier: &mut u64,
) -> anyhow::Result<Result<bool, u32>> {
    let status = reader.number()?;
    if status != 0 {
        return Ok(Err(status));
    }
    maybe_attributes(reader)?;
    *verifier = long(reader)?;
    while reader.number()? == 1 {
        let _file_id = long(reader)?;
        let name = String::from_utf8_lossy(reader.opaque()?).into_owned();
        *cookie = long(reader)?;
        let attributes = maybe_attributes(reader)?;
        if reader.number()? == 1 {
            reader.opaque()?;
        }
        if name != "." && name != ".." {
            let bytes = attributes.filter(|attributes| attributes.is_file);
            let bytes = bytes.map(|attributes| attributes.bytes);
            found.push(Entry { name, bytes });
        }
    }
    Ok(Ok(reader.number()? == 1))
}

fn long(reader: &mut Reader<'_>) -> anyhow::Result<u64> {
    Ok(u64::from(reader.number()?) << 32 | u64::from(reader.number()?))
}

fn attributes(reader: &mut Reader<'_>) -> anyhow::Result<Attributes> {
    let whole = reader.0.get(..ATTRIBUTES_BYTES);
    let mut inner = Reader(whole.ok_or_else(|| anyhow::anyhow!("attributes cut short"))?);
    reader.0 = reader.0.get(ATTRIBUTES_BYTES..).unwrap_or(&[]);
    let is_file = inner.number()? == PLAIN_FILE;
    // Mode, links, uid and gid come before the size.
    for _ in 0..4 {
        inner.number()?;
    }
    let bytes = long(&mut inner)?;
    Ok(Attributes { is_file, bytes })
}

fn maybe_attributes(reader: &mut Reader<'_>) -> anyhow::Result<Option<Attributes>> {
    match reader.number()? {
        0 => Ok(None),
        _ => attributes(reader).map(Some),
    }
}

/// The data of a READ reply and whether the file ends there, or the status.
pub(super) fn read_reply<'a>(
    reader: &mut Reader<'a>,
) -> anyhow::Result<Result<(&'a [u8], bool), u32>> {
    let status = reader.number()?;
    if status != 0 {
        return Ok(Err(status));
    }
    maybe_attributes(reader)?;
    let count = reader.number()? as usize;
    let is_end = reader.number()? == 1;
    let bytes = reader.opaque()?;
    anyhow::ensure!(bytes.len() == count, "the count is not that of the data");
    Ok(Ok((bytes, is_end)))
}
