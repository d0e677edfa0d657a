//! Connections to sources whose receive buffers are no deeper than their path needs.
//!
//! What lies in a receive buffer when the process dies was sent for nothing, and on a short path
//! the kernel lets it grow to megabytes for each connection. Invariant: on a path of more than a
//! few milliseconds the kernel decides as ever. Not promised: the bound for connections through a
//! proxy, whose own path is what is measured, or for object stores, whose client is another.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use towline_sys::tcp_info::tcp_info;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    RustlsConnector, Transport,
};

use crate::fetch::STREAMS;

/// Fastest line that all connections together shall fill, in bytes per second: 10 Gb/s.
const LINE_BYTES_PER_S: u64 = 1_250_000_000;

/// Smallest receive buffer, in bytes: one block of an arrival.
const BUFFER_BYTES_MIN: u64 = 256 << 10;

/// Where the path needs more than this the kernel decides, in bytes.
const BUFFER_BYTES_MAX: u64 = 2 << 20;

/// Opens TCP connections for [`ureq`].
#[derive(Debug)]
struct Shallow;

/// What [`ureq`] does by itself, with receive buffers of our own measure.
pub(super) fn connector() -> impl Connector {
    ().chain(ConnectProxyConnector::default())
        .chain(Shallow)
        .chain(RustlsConnector::default())
}

impl<In: Transport> Connector<In> for Shallow {
    type Out = Either<In, Connection>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let config = details.config;
        let stream = connect(details)?;
        stream.set_nodelay(config.no_delay())?;
        bound(&stream);
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(Connection { stream, buffers })))
    }
}

/// One connection.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let timeout = timeout.for_write();
        let wait = timeout.not_zero().map(|left| *left);
        self.stream.set_write_timeout(wait)?;
        let output = self.buffers.output().get(..amount).unwrap_or(&[]);
        let sent = (&self.stream).write_all(output);
        sent.map_err(|error| ended(error, &timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = timeout.for_read();
        let wait = timeout.not_zero().map(|left| *left);
        self.stream.set_read_timeout(wait)?;
        let input = self.buffers.input_append_buf();
        let count = loop {
            match (&self.stream).read(input) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other.map_err(|error| ended(error, &timeout))?,
            }
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// Whether nothing has come, the end neither, since the last answer.
    fn is_open(&mut self) -> bool {
        let silent = |stream: &TcpStream| {
            stream.set_nonblocking(true)?;
            let looked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            looked
        };
        matches!(silent(&self.stream), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

/// What a failed call on a socket with a time limit means.
fn ended(error: std::io::Error, timeout: &NextTimeout) -> ureq::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

/// Tries every address of the host, within the time that is left for all of them.
fn connect(details: &ConnectionDetails<'_>) -> Result<TcpStream, ureq::Error> {
    let mut last = ureq::Error::HostNotFound;
    for address in &details.addrs {
        let wait = details.timeout.not_zero().map(|left| *left);
        let tried = match wait {
            Some(wait) => TcpStream::connect_timeout(address, wait),
            None => TcpStream::connect(address),
        };
        match tried {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Bounds the receive buffer of a connection on a short path.
fn bound(stream: &TcpStream) {
    let Ok(info) = tcp_info(stream) else {
        return;
    };
    let Some(bytes) = depth(Duration::from_micros(u64::from(info.rtt_us))) else {
        return;
    };
    // A connection with a deeper buffer works as well.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(stream, bytes);
}

/// How deep a receive buffer must be on a path with this round trip; `None`: the kernel knows.
fn depth(round_trip: Duration) -> Option<usize> {
    // Twice what is under way: one half is read while the other one comes.
    let under_way = round_trip.as_micros() as u64 * LINE_BYTES_PER_S / 1_000_000;
    let bytes = (2 * under_way / STREAMS as u64).max(BUFFER_BYTES_MIN);
    (bytes <= BUFFER_BYTES_MAX).then_some(bytes as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_path_gets_a_shallow_buffer_and_a_long_one_is_left_alone() {
        assert_eq!(depth(Duration::from_micros(50)), Some(256 << 10));
        assert_eq!(depth(Duration::from_millis(2)), Some(625_000));
        assert_eq!(depth(Duration::from_millis(80)), None);
    }
}
