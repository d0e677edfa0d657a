//! A file or folder of an NFSv3 server, read by a client of our own: no mount, no page cache here.
//!
//! Invariant: the handle is the one that the server gave for the path at the beginning. Not
//! promised: that the server reads from its disk; its memory is not ours to drop.

mod call;
mod queue;
pub mod reply;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{getegid, geteuid};

use super::place::NfsPlace;
use super::{Access, Cold, Entry, Queue, Source, SourceError, Tree, Walk};
use crate::rpc::{Caller, connect_reserved};
use call::{NfsClient, Server};
use queue::NfsQueue;

/// Longest silence before the server counts as hung.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Largest file read whole, in bytes.
const WHOLE_BYTES_MAX: usize = 16 << 20;
/// Most bytes of one READ that are asked for, whatever the server would give.
const READ_BYTES_MAX: u32 = 4 << 20;

/// What a path on a server turned out to be.
#[derive(Debug)]
pub enum Found {
    /// A plain file.
    File(NfsSource),
    /// A folder.
    Folder(NfsTree),
}

/// A file.
#[derive(Debug)]
pub struct NfsSource {
    name: String,
    server: SocketAddr,
    caller: Caller,
    handle: Vec<u8>,
    bytes: u64,
    block_bytes_max: u32,
}

/// A folder.
#[derive(Debug)]
pub struct NfsTree {
    server: SocketAddr,
    caller: Caller,
    handle: Vec<u8>,
    read_bytes_max: u32,
}

fn caller(place: &NfsPlace) -> Caller {
    Caller {
        uid: place.uid.unwrap_or_else(|| geteuid().as_raw()),
        gid: place.gid.unwrap_or_else(|| getegid().as_raw()),
    }
}

/// Mounts and looks up a place.
///
/// # Errors
/// When the server does not answer, refuses, or has no such path.
pub fn find(place: &NfsPlace, bytes_max: u64) -> Result<Found, SourceError> {
    let caller = caller(place);
    let server = Server::find(place)?;
    let (mut handle, names) = server.mount(&place.path, caller)?;
    let mut client = NfsClient::connect(server.nfs, caller)?;
    for name in &names {
        handle = client.lookup(&handle, name)?.0;
    }
    let found = client.attributes(&handle)?;
    let most = client.read_bytes_max(&handle)?.clamp(4096, READ_BYTES_MAX);
    if found.is_file {
        return Ok(Found::File(NfsSource {
            name: format!("nfs://{}{}", place.host, place.path),
            server: server.nfs,
            caller,
            handle,
            bytes: found.bytes.min(bytes_max),
            block_bytes_max: most,
        }));
    }
    Ok(Found::Folder(NfsTree {
        server: server.nfs,
        caller,
        handle,
        read_bytes_max: most.min(512 << 10),
    }))
}

impl NfsSource {
    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    pub(super) fn caller(&self) -> Caller {
        self.caller
    }

    pub(super) fn handle(&self) -> &[u8] {
        &self.handle
    }
}

impl Source for NfsSource {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn block_bytes_max(&self) -> u32 {
        self.block_bytes_max
    }

    fn streams(&self) -> bool {
        false
    }

    fn open(&self, access: Access) -> Result<Box<dyn Queue + '_>, SourceError> {
        let stream = connect_reserved(self.server);
        let stream =
            stream.map_err(|error| SourceError::server(self.name(), format!("{error:#}")))?;
        let set = |stream: &TcpStream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            stream.set_write_timeout(Some(SILENCE_MAX))
        };
        set(&stream).map_err(|error| SourceError::system("a socket", error))?;
        let (depth, block) = (access.depth, access.block_bytes);
        Ok(Box::new(NfsQueue::new(self, stream, depth, block)))
    }

    fn cool(&self) -> Cold {
        Cold::No("it is the server's memory, which only the server can drop".to_owned())
    }

    fn peer(&self) -> Option<SocketAddr> {
        Some(self.server)
    }
}

impl NfsTree {
    /// A file of the folder, by its name.
    ///
    /// # Errors
    /// When it is not there.
    pub fn file(&self, name: &str, bytes_max: u64) -> Result<NfsSource, SourceError> {
        let mut client = NfsClient::connect(self.server, self.caller)?;
        let (handle, _) = client.lookup(&self.handle, name)?;
        let found = client.attributes(&handle)?;
        Ok(NfsSource {
            name: name.to_owned(),
            server: self.server,
            caller: self.caller,
            block_bytes_max: client.read_bytes_max(&handle)?.clamp(4096, READ_BYTES_MAX),
            bytes: found.bytes.min(bytes_max),
            handle,
        })
    }
}

impl Tree for NfsTree {
    fn open(&self) -> Result<Box<dyn Walk + '_>, SourceError> {
        let client = NfsClient::connect(self.server, self.caller)?;
        Ok(Box::new(NfsWalk { tree: self, client }))
    }
}

struct NfsWalk<'a> {
    tree: &'a NfsTree,
    client: NfsClient,
}

impl Walk for NfsWalk<'_> {
    fn list(&mut self) -> Result<Vec<Entry>, SourceError> {
        self.client.list(&self.tree.handle)
    }

    fn stat(&mut self, name: &str) -> Result<u64, SourceError> {
        let (handle, attributes) = self.client.lookup(&self.tree.handle, name)?;
        match attributes {
            Some(attributes) => Ok(attributes.bytes),
            None => Ok(self.client.attributes(&handle)?.bytes),
        }
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, SourceError> {
        let (handle, _) = self.client.lookup(&self.tree.handle, name)?;
        let mut all = Vec::new();
        while all.len() < WHOLE_BYTES_MAX {
            let most = self.tree.read_bytes_max;
            let (bytes, is_end) = self.client.read(&handle, all.len() as u64, most)?;
            let is_last = is_end || bytes.is_empty();
            all.extend_from_slice(&bytes);
            if is_last {
                break;
            }
        }
        Ok(all)
    }
}
