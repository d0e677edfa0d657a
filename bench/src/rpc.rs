//! ONC RPC over TCP as a client writes it: calls, record marks, and a plain blocking exchange.
//!
//! Governed by RFC 5531 (calls, replies, section 11 record marking), RFC 4506 (XDR) and RFC 1813
//! (NFSv3, MOUNT). Invariant: [`CallWriter`] sends one fragment per call with its true length.
//! A reply is at most [`REPLY_BYTES_MAX`] octets, whatever its marks claim. Not promised: matching
//! transaction ids in [`exchange`]; one call is under way at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::net::{AddressFamily, SocketType, ipproto};

/// Program number of NFS (RFC 1813 section 3).
pub const NFS: u32 = 100_003;
/// Program number of MOUNT (RFC 1813 section 5).
pub const MOUNT: u32 = 100_005;
/// Longest setup reply accepted, in bytes.
const REPLY_BYTES_MAX: usize = 1 << 20;
/// Longest wait for a setup reply.
const REPLY_LIMIT: Duration = Duration::from_secs(10);
/// Ports below 1024 tried for a connection from this host (RFC 1813 knows the habit as a
/// "reserved port"); those below 600 are left to services.
const RESERVED_PORTS: std::ops::Range<u16> = 600..1023;

/// Who the calls claim to come from (RFC 5531 appendix A, AUTH_SYS).
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id; no supplementary groups are sent.
    pub gid: u32,
}

/// Builds calls, one after the other, into one buffer.
#[derive(Clone, Debug)]
pub struct CallWriter {
    buffer: Vec<u8>,
    mark_at: usize,
}

impl Default for CallWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl CallWriter {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            mark_at: 0,
        }
    }

    /// Starts a call to NFSv3 or MOUNTv3 with an AUTH_SYS credential.
    pub fn begin(&mut self, xid: u32, program: u32, procedure: u32, caller: Caller) {
        self.begin_version(xid, program, 3, procedure, caller);
    }

    /// Starts a call to another version of a program.
    pub fn begin_version(
        &mut self,
        xid: u32,
        program: u32,
        version: u32,
        procedure: u32,
        caller: Caller,
    ) {
        self.mark_at = self.buffer.len();
        self.number(0);
        for value in [xid, 0, 2, program, version, procedure] {
            self.number(value);
        }
        // Flavor 1, 24 bytes: stamp, name "b" padded to four, uid, gid, no groups.
        for value in [
            1,
            24,
            0,
            1,
            u32::from_be_bytes(*b"b\0\0\0"),
            caller.uid,
            caller.gid,
            0,
        ] {
            self.number(value);
        }
        self.number(0);
        self.number(0);
    }

    /// Appends a number.
    pub fn number(&mut self, value: u32) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends a long number.
    pub fn long(&mut self, value: u64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends counted, padded bytes: a handle, a name or a path.
    pub fn opaque(&mut self, bytes: &[u8]) {
        self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.buffer.extend_from_slice(bytes);
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Ends the call; `payload_bytes` (a multiple of four) will follow outside of this buffer.
    pub fn end(&mut self, payload_bytes: u32) {
        let own = u32::try_from(self.buffer.len() - self.mark_at - 4).unwrap_or(u32::MAX);
        let mark = (1 << 31) | (own + payload_bytes);
        self.buffer[self.mark_at..self.mark_at + 4].copy_from_slice(&mark.to_be_bytes());
    }

    /// The finished calls, leaving the writer empty.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Whether nothing was written since the last [`CallWriter::take`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Connects from a reserved port when this process may, as kernel clients do.
///
/// # Errors
/// Fails when nobody listens at `server`.
pub fn connect_reserved(server: SocketAddr) -> Result<TcpStream> {
    let family = if server.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let mut start = std::process::id() as u16;
    for _attempt in RESERVED_PORTS {
        start = start.wrapping_add(7);
        let port = RESERVED_PORTS.start + start % (RESERVED_PORTS.end - RESERVED_PORTS.start);
        let socket = rustix::net::socket(family, SocketType::STREAM, Some(ipproto::TCP))?;
        let own: SocketAddr = match server {
            SocketAddr::V4(_) => ([0, 0, 0, 0], port).into(),
            SocketAddr::V6(_) => ([0_u16; 8], port).into(),
        };
        match rustix::net::bind(&socket, &own) {
            Ok(()) => {}
            Err(rustix::io::Errno::ADDRINUSE) => continue,
            Err(_) => break,
        }
        match rustix::net::connect(&socket, &server) {
            Ok(()) => return Ok(TcpStream::from(socket)),
            Err(rustix::io::Errno::ADDRNOTAVAIL | rustix::io::Errno::ADDRINUSE) => {}
            Err(error) => return Err(error).with_context(|| format!("connect to {server}")),
        }
    }
    TcpStream::connect(server).with_context(|| format!("connect to {server}"))
}

/// Sends one finished call and returns the bytes after the accept state.
///
/// # Errors
/// Fails when the connection breaks or the server does not accept the call.
pub fn exchange(stream: &mut TcpStream, call: &[u8]) -> Result<Vec<u8>> {
    stream.set_read_timeout(Some(REPLY_LIMIT))?;
    stream.write_all(call).context("send call")?;
    let mut message = Vec::new();
    loop {
        let mut mark = [0; 4];
        stream
            .read_exact(&mut mark)
            .context("receive record mark")?;
        let mark = u32::from_be_bytes(mark);
        let length = (mark & 0x7fff_ffff) as usize;
        ensure!(message.len() + length <= REPLY_BYTES_MAX, "reply too long");
        let start = message.len();
        message.resize(start + length, 0);
        stream
            .read_exact(&mut message[start..])
            .context("receive reply")?;
        if mark >> 31 == 1 {
            break;
        }
    }
    let mut reader = Reader(&message);
    reader.accepted()?;
    Ok(reader.0.to_vec())
}

/// Reads XDR from a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// Takes the head of a reply (RFC 5531 section 9) to a call that was accepted and done: its
    /// transaction id.
    ///
    /// # Errors
    /// Fails where the call was refused or the head is cut short.
    pub fn accepted(&mut self) -> Result<u32> {
        let (xid, kind, state) = (self.number()?, self.number()?, self.number()?);
        let (_flavor, _verifier) = (self.number()?, self.opaque()?);
        let accepted = self.number()?;
        ensure!(
            (kind, state, accepted) == (1, 0, 0),
            "the call was refused: kind {kind}, state {state}, accept {accepted}"
        );
        Ok(xid)
    }

    /// Takes a number.
    ///
    /// # Errors
    /// Fails at the end of the slice.
    pub fn number(&mut self) -> Result<u32> {
        let (head, tail) = self.0.split_first_chunk::<4>().context("reply too short")?;
        self.0 = tail;
        Ok(u32::from_be_bytes(*head))
    }

    /// Takes counted, padded bytes.
    ///
    /// # Errors
    /// Fails at the end of the slice.
    pub fn opaque(&mut self) -> Result<&'a [u8]> {
        let length = self.number()? as usize;
        let padded = length
            .checked_next_multiple_of(4)
            .context("length too large")?;
        let (bytes, tail) = self.0.split_at_checked(padded).context("reply too short")?;
        self.0 = tail;
        Ok(&bytes[..length])
    }
}
