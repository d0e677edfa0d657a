//! NFSv3, MOUNT and port mapper calls, one at a time, for setup, names and small files.
//!
//! Governed by RFC 1813 (sections 3.3 and 5.2) and RFC 1833 (section 3, PMAPPROC_GETPORT).
//! Invariant: one call is under way, and its reply is bounded ([`crate::rpc::exchange`]); a status
//! is told by its name. Not promised: other procedures, locks, or version 4.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::reply::{self, Answer, Attributes};
use crate::rpc::{CallWriter, Caller, MOUNT, NFS, Reader, connect_reserved, exchange};
use crate::source::place::{NfsPlace, address};
use crate::source::{Entry, SourceError};

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Port of the port mapper (RFC 1833 section 3.1).
const PORT_MAPPER_PORT: u16 = 111;
/// Program number of the port mapper (RFC 1833 section 3.1).
const PORT_MAPPER: u32 = 100_000;
/// Most entries of a folder that are listed, as a count: enough for any share's folder of models.
const ENTRIES_MAX: usize = 100_000;
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
        // Nobody there is another fault than no MOUNT there.
        reach(nfs)?;
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
            SourceError::server(what, format!("{why} Write ?mountport=N"))
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
        let mounted = client.call(MOUNT, 1, reply::mount, |call| {
            call.opaque(export.as_bytes())
        })?;
        mounted.map_err(|status| SourceError::server(export, status_name(status)))
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
    let port = reply::port(&mut Reader(&reply)).ok().flatten();
    port.ok_or_else(|| SourceError::server("the port mapper", "it knows no MOUNT over TCP"))
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

    /// Makes a call and reads its reply.
    fn call<T>(
        &mut self,
        program: u32,
        procedure: u32,
        read: impl FnOnce(&mut Reader<'_>) -> Answer<T>,
        arguments: impl FnOnce(&mut CallWriter),
    ) -> Outcome<Result<T, u32>> {
        self.xid = self.xid.wrapping_add(1);
        let mut call = CallWriter::new();
        call.begin(self.xid, program, procedure, self.caller);
        arguments(&mut call);
        call.end(0);
        let reply = exchange(&mut self.stream, &call.take());
        let reply = reply.and_then(|reply| read(&mut Reader(&reply)));
        reply.map_err(|error| broken(&self.what, &error))
    }

    /// Makes an NFS call on `what`; a status is an error.
    fn must<T>(
        &mut self,
        what: &str,
        procedure: u32,
        read: impl FnOnce(&mut Reader<'_>) -> Answer<T>,
        arguments: impl FnOnce(&mut CallWriter),
    ) -> Outcome<T> {
        let answer = self.call(NFS, procedure, read, arguments)?;
        answer.map_err(|status| SourceError::server(what, status_name(status)))
    }

    /// LOOKUP (RFC 1813 section 3.3.3): the handle, and its attributes where the server tells.
    pub(super) fn lookup(
        &mut self,
        folder: &[u8],
        name: &str,
    ) -> Outcome<(Vec<u8>, Option<Attributes>)> {
        self.must(name, 3, reply::lookup, |call| {
            call.opaque(folder);
            call.opaque(name.as_bytes());
        })
    }

    /// GETATTR (RFC 1813 section 3.3.1).
    pub(super) fn attributes(&mut self, handle: &[u8]) -> Outcome<Attributes> {
        self.must("GETATTR", 1, reply::attributes, |call| call.opaque(handle))
    }

    /// FSINFO (RFC 1813 section 3.3.19): most bytes of a READ.
    pub(super) fn read_bytes_max(&mut self, handle: &[u8]) -> Outcome<u32> {
        self.must("FSINFO", 19, reply::read_bytes_max, |call| {
            call.opaque(handle)
        })
    }

    /// READ (RFC 1813 section 3.3.6) from `offset`, up to `count` bytes; whether the file ends.
    pub(super) fn read(
        &mut self,
        handle: &[u8],
        offset: u64,
        count: u32,
    ) -> Outcome<(Vec<u8>, bool)> {
        let owned = |reader: &mut Reader<'_>| {
            let answer = reply::read(reader)?;
            Ok(answer.map(|(bytes, is_end)| (bytes.to_vec(), is_end)))
        };
        self.must("READ", 6, owned, |call| {
            call.opaque(handle);
            call.long(offset);
            call.number(count);
        })
    }

    /// READDIRPLUS (RFC 1813 section 3.3.17) until the end.
    pub(super) fn list(&mut self, folder: &[u8]) -> Outcome<Vec<Entry>> {
        let mut found = Vec::new();
        let (mut cookie, mut verifier) = (0, 0);
        loop {
            let names = |reader: &mut Reader<'_>| reply::names(reader, cookie);
            let page = self.must("READDIRPLUS", 17, names, |call| {
                call.opaque(folder);
                call.long(cookie);
                call.long(verifier);
                // Bytes of names, and of the whole reply.
                call.number(8 * 1024);
                call.number(64 * 1024);
            })?;
            found.extend(page.entries);
            if page.is_end {
                return Ok(found);
            }
            if page.cookie == cookie || found.len() > ENTRIES_MAX {
                let why = format!("the folder is longer than {ENTRIES_MAX} or repeats itself");
                return Err(SourceError::server("READDIRPLUS", why));
            }
            (cookie, verifier) = (page.cookie, page.verifier);
        }
    }
}
