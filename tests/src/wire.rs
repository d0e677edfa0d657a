//! A socket that says exactly what a test wants said, and ONC RPC built by hand.
//!
//! Governed by RFC 5531. Invariant: every read has a time and a size limit, so no server can make a
//! test hang or grow. Not promised: correctness of what is sent; that is the point.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use towline_bench::rpc::{CallWriter, Caller, NFS, Reader, connect_reserved};

/// Longest wait for a reply: longer than any timeout after which a server closes on its own.
const REPLY_LIMIT: Duration = Duration::from_secs(15);
/// Longest record taken from a server, in bytes.
const RECORD_BYTES_MAX: usize = 4 << 20;

/// An ordinary user; root would be squashed.
pub const USER: Caller = Caller {
    uid: 1000,
    gid: 1000,
};

/// What came back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// The connection ended or was reset.
    Closed,
    /// Nothing came in time.
    Silence,
    /// One record, its mark removed.
    Record(Vec<u8>),
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    xid: u32,
}

impl Wire {
    /// Connects, from a reserved port when this process may.
    ///
    /// # Errors
    /// Fails when nobody listens.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::over(connect_reserved(address)?)
    }

    /// Uses a connection that exists.
    ///
    /// # Errors
    /// Fails when its options cannot be set.
    pub fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        stream.set_write_timeout(Some(REPLY_LIMIT))?;
        Ok(Self {
            stream,
            xid: std::process::id() << 8,
        })
    }

    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes. False when the server has closed already, which a hostile test expects.
    ///
    /// # Errors
    /// Fails when the server neither reads nor closes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<bool> {
        match self.stream.write_all(bytes) {
            Ok(()) => Ok(true),
            Err(error) if is_end(error.kind()) => Ok(false),
            Err(error) => Err(error).context("send"),
        }
    }

    /// Receives one record.
    ///
    /// # Errors
    /// Fails when the record is longer than four MiB.
    pub fn receive(&mut self) -> Result<Heard> {
        let mut message = Vec::new();
        loop {
            let mut mark = [0; 4];
            match self.stream.read_exact(&mut mark) {
                Ok(()) => {}
                Err(error) if is_end(error.kind()) => return Ok(Heard::Closed),
                Err(error) if is_silence(error.kind()) => return Ok(Heard::Silence),
                Err(error) => return Err(error).context("receive"),
            }
            let mark = u32::from_be_bytes(mark);
            let length = (mark & 0x7fff_ffff) as usize;
            let start = message.len();
            ensure!(
                start + length <= RECORD_BYTES_MAX,
                "a record of more than 4 MiB"
            );
            message.resize(start + length, 0);
            if self.stream.read_exact(&mut message[start..]).is_err() {
                return Ok(Heard::Closed);
            }
            if mark >> 31 == 1 {
                return Ok(Heard::Record(message));
            }
        }
    }

    /// Receives up to `limit` bytes, until the end or silence.
    ///
    /// # Errors
    /// Fails on anything but end and silence.
    pub fn receive_all(&mut self, limit: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        while out.len() < limit {
            match self.stream.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => out.extend_from_slice(&piece[..length]),
                Err(error) if is_end(error.kind()) || is_silence(error.kind()) => break,
                Err(error) => return Err(error).context("receive"),
            }
        }
        Ok(out)
    }

    /// Calls an NFSv3 procedure as [`USER`] and returns status and the rest of the reply.
    ///
    /// # Errors
    /// Fails when the connection ends or the call is not accepted.
    pub fn nfs(&mut self, procedure: u32, arguments: &[u8]) -> Result<(u32, Vec<u8>)> {
        self.xid = self.xid.wrapping_add(1);
        let mut call = CallWriter::new();
        call.begin(self.xid, NFS, procedure, USER);
        call.raw(arguments);
        call.end(0);
        ensure!(self.send(&call.take())?, "the server closed the connection");
        let Heard::Record(reply) = self.receive()? else {
            anyhow::bail!("no reply to procedure {procedure}");
        };
        let answer = Answer::parse(&reply)?;
        ensure!(answer.xid == self.xid, "reply to another call");
        ensure!(answer.accepted == Some(0), "call not accepted: {answer:?}");
        let mut reader = Reader(&answer.body);
        Ok((reader.number()?, reader.0.to_vec()))
    }
}

fn is_end(kind: ErrorKind) -> bool {
    use ErrorKind as E;
    matches!(
        kind,
        E::UnexpectedEof | E::ConnectionReset | E::BrokenPipe | E::ConnectionAborted
    )
}

fn is_silence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The head of a reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Transaction.
    pub xid: u32,
    /// Accept state (RFC 5531 section 9), `None` for a denied call.
    pub accepted: Option<u32>,
    /// What follows.
    pub body: Vec<u8>,
}

impl Answer {
    /// Parses a reply.
    ///
    /// # Errors
    /// Fails when the record is no reply.
    pub fn parse(record: &[u8]) -> Result<Self> {
        let mut reader = Reader(record);
        let (xid, kind, state) = (reader.number()?, reader.number()?, reader.number()?);
        ensure!(
            kind == 1 && state <= 1,
            "not a reply: kind {kind}, state {state}"
        );
        if state == 1 {
            return Ok(Self {
                xid,
                accepted: None,
                body: reader.0.to_vec(),
            });
        }
        let _flavor = reader.number()?;
        let _verifier = reader.opaque()?;
        let accepted = Some(reader.number()?);
        Ok(Self {
            xid,
            accepted,
            body: reader.0.to_vec(),
        })
    }
}

/// XDR arguments.
#[derive(Clone, Debug, Default)]
pub struct Arguments(CallWriter);

impl Arguments {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(CallWriter::new())
    }

    /// A number.
    #[must_use]
    pub fn number(mut self, value: u32) -> Self {
        self.0.number(value);
        self
    }

    /// A long number.
    #[must_use]
    pub fn long(mut self, value: u64) -> Self {
        self.0.long(value);
        self
    }

    /// Counted, padded bytes.
    #[must_use]
    pub fn opaque(mut self, bytes: &[u8]) -> Self {
        self.0.opaque(bytes);
        self
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(mut self) -> Vec<u8> {
        self.0.take()
    }
}
