//! The datagrams of a measurement: greeting, echo, and the socket that sends them unfragmented.
//!
//! An echo may ask for a larger reply than its own size, so the answering side first makes sure
//! that the asker's address is true: it hands out a code over that address, and only an echo with
//! the code is answered with another size. Invariant: without a valid code no reply is larger than
//! what brought it. Governed by ip(7), IP_MTU_DISCOVER.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use towline_base::mac::MAC_BYTES;

/// First octets of every datagram: name and version of this exchange.
const MAGIC: [u8; 4] = *b"TLp1";

/// Octets before the padding: magic, kind, code, sequence, wanted size.
pub(super) const HEAD_BYTES: usize = 4 + 1 + MAC_BYTES + 4 + 2;

/// Payload of an echo that measures time, in bytes.
pub(super) const SMALL_BYTES: usize = 64;

/// Largest payload of a UDP datagram over IPv4, in bytes: 65,535 less 28 of headers.
pub(super) const PAYLOAD_BYTES_MAX: usize = 65_507;

/// What a datagram is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Asks for a code.
    Hello,
    /// Gives one.
    Welcome,
    /// Asks for a reply of a size.
    Echo,
    /// Is one.
    Reply,
    /// The reply was too large for the answering host's own link.
    TooLarge,
}

/// One datagram without its padding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Datagram {
    pub(super) kind: Kind,
    pub(super) code: [u8; MAC_BYTES],
    pub(super) sequence: u32,
    /// Payload of the reply that is asked for, in bytes.
    pub(super) reply_bytes: u16,
}

impl Datagram {
    /// The octets, padded with zeros to `bytes`.
    pub(super) fn encode(&self, bytes: usize) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Hello => 1,
            Kind::Welcome => 2,
            Kind::Echo => 3,
            Kind::Reply => 4,
            Kind::TooLarge => 5,
        };
        let mut out = Vec::with_capacity(bytes.max(HEAD_BYTES));
        out.extend(MAGIC);
        out.push(kind);
        out.extend(self.code);
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.reply_bytes.to_be_bytes());
        out.resize(bytes.clamp(HEAD_BYTES, PAYLOAD_BYTES_MAX), 0);
        out
    }

    /// The datagram in the octets; nothing where they are something else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (kind, rest) = rest.split_first()?;
        let kind = match kind {
            1 => Kind::Hello,
            2 => Kind::Welcome,
            3 => Kind::Echo,
            4 => Kind::Reply,
            5 => Kind::TooLarge,
            _ => return None,
        };
        let (code, rest) = rest.split_first_chunk::<MAC_BYTES>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let (reply_bytes, _) = rest.split_first_chunk::<2>()?;
        Some(Self {
            kind,
            code: *code,
            sequence: u32::from_be_bytes(*sequence),
            reply_bytes: u16::from_be_bytes(*reply_bytes),
        })
    }
}

/// A socket whose packets are never cut and whose size the path's memory does not limit.
pub(super) fn unfragmented(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    match address.ip() {
        IpAddr::V4(_) => sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?,
        IpAddr::V6(_) => sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE)?,
    }
    Ok(socket)
}

/// Octets of IP and UDP in front of the payload.
pub(super) fn header_bytes(peer: IpAddr) -> u32 {
    if peer.is_ipv4() { 28 } else { 48 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_comes_back_as_it_was_sent() {
        let datagram = Datagram {
            kind: Kind::Echo,
            code: [7; MAC_BYTES],
            sequence: 9,
            reply_bytes: 8972,
        };
        let bytes = datagram.encode(SMALL_BYTES);
        assert_eq!(bytes.len(), SMALL_BYTES);
        assert_eq!(Datagram::decode(&bytes), Some(datagram));
        assert_eq!(Datagram::decode(&bytes[..HEAD_BYTES - 1]), None);
        assert_eq!(Datagram::decode(b"something else entirely"), None);
    }
}
