//! The handshake of one TLS connection, read record by record.
//!
//! Just the bytes of one record are asked for at a time, so nothing behind the handshake is taken
//! from the socket: what follows is the relay's, or the kernel's where it decrypts. Invariant: at
//! most [`INCOMING_BYTES_MAX`] are held for a peer. Not promised: an end; whoever calls bounds the
//! time.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest flight of a client that is held, in bytes: a hello with the largest key shares known
/// takes 2 KiB, one in several records some more.
const INCOMING_BYTES_MAX: usize = 64 << 10;

/// Bytes in front of a record: type, version, length (RFC 8446 section 5.1).
const RECORD_HEAD_BYTES: usize = 5;

/// Largest record, in bytes (RFC 5246 section 6.2.3, the longer of the two versions).
const RECORD_BYTES_MAX: usize = (1 << 14) + 2048;

/// What the state machine asks for.
enum Step {
    Again,
    Send,
    Read,
    Over,
}

/// Shakes hands; what comes back has nothing unsent and has read nothing behind its last record.
///
/// # Errors
/// What the peer did wrong, after it has been told so; or that it went away.
pub(crate) async fn accept(
    stream: &mut TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<UnbufferedServerConnection> {
    let mut tls = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
    let (mut incoming, mut outgoing) = (Vec::new(), Vec::new());
    loop {
        let (used, step) = step(&mut tls, &mut incoming, &mut outgoing);
        incoming.drain(..used);
        match step {
            Ok(Step::Again) => {}
            Ok(Step::Send) => {
                stream.write_all(&outgoing).await?;
                outgoing.clear();
            }
            Ok(Step::Read) => read_record(stream, &mut incoming).await?,
            Ok(Step::Over) => return Ok(tls),
            Err(error) => {
                tell(&mut tls, stream).await;
                return Err(error);
            }
        }
    }
}

/// One step; how many bytes of `incoming` it has used.
fn step(
    tls: &mut UnbufferedServerConnection,
    incoming: &mut [u8],
    outgoing: &mut Vec<u8>,
) -> (usize, io::Result<Step>) {
    let UnbufferedStatus { discard, state } = tls.process_tls_records(incoming);
    let broken = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let step = match state {
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            encode(outgoing, |room| data.encode(room)).map(|()| Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Send)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Read),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Over),
        Ok(_) => broken("the peer did not finish its handshake"),
    };
    (discard, step)
}

/// Appends what a state of the connection encodes.
pub(crate) fn encode(
    outgoing: &mut Vec<u8>,
    mut make: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> io::Result<()> {
    let start = outgoing.len();
    let mut room = 0;
    loop {
        outgoing.resize(start + room, 0);
        match make(outgoing.get_mut(start..).unwrap_or(&mut [])) {
            Ok(count) => {
                outgoing.truncate(start + count);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needed)) if room < needed.required_size => {
                room = needed.required_size;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// Reads on to the end of one record.
async fn read_record(stream: &mut TcpStream, incoming: &mut Vec<u8>) -> io::Result<()> {
    let start = incoming.len();
    if start > INCOMING_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a client's flight is too long",
        ));
    }
    let mut head = [0; RECORD_HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let [_, _, _, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > RECORD_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "that is not TLS: speak https:// to this port",
        ));
    }
    incoming.extend_from_slice(&head);
    incoming.resize(start + RECORD_HEAD_BYTES + length, 0);
    let rest = incoming.get_mut(start + RECORD_HEAD_BYTES..);
    stream.read_exact(rest.unwrap_or(&mut [])).await?;
    Ok(())
}

/// Sends the alert that an error has left behind, as far as the socket takes it.
async fn tell(tls: &mut UnbufferedServerConnection, stream: &mut TcpStream) {
    let mut outgoing = Vec::new();
    // One alert and its transmission; a machine that wants more has gone wrong.
    for _ in 0..4 {
        match step(tls, &mut [], &mut outgoing).1 {
            Ok(Step::Again) => {}
            Ok(Step::Send) => {
                let _ = stream.try_write(&outgoing);
                return;
            }
            _ => return,
        }
    }
}
