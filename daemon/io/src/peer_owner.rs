//! Which local user owns the other end of a loopback connection (sock_diag(7)).
//!
//! The kernel is asked for exactly one TCP socket: the one whose source is our peer and whose
//! destination is us. Invariant: an answer is the uid of that socket and of no other. Not
//! promised: an answer; kernels without `INET_DIAG` give none, and then the caller must not
//! assume anything good.

use std::net::{IpAddr, SocketAddr};

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

use crate::protocol::Peer;

const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
/// linux/sock_diag.h: `SOCK_DIAG_BY_FAMILY`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// linux/netlink.h: `NLM_F_REQUEST`.
const NLM_F_REQUEST: u16 = 1;
/// Where `idiag_uid` lies in an answer: netlink header, four bytes, the 48 of the socket's
/// addresses, and three counters (linux/inet_diag.h, `struct inet_diag_msg`).
const UID_AT: usize = HEADER_BYTES + 4 + 48 + 12;

/// The uid of the socket at the other end, if it is on this host and the kernel tells.
#[must_use]
pub fn peer_owner(peer: &Peer) -> Option<u32> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        flags,
        Some(SOCK_DIAG),
    )
    .ok()?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &request(peer), SendFlags::empty(), &kernel).ok()?;
    let mut answer = [0; 512];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::DONTWAIT).ok()?;
    let kind = answer.get(4..6)?;
    if kind != SOCK_DIAG_BY_FAMILY.to_ne_bytes() || length < UID_AT + 4 {
        return None;
    }
    let uid = answer.get(UID_AT..UID_AT + 4)?;
    Some(u32::from_ne_bytes(uid.try_into().ok()?))
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(peer: &Peer) -> Vec<u8> {
    /// IPPROTO_TCP, ip(7).
    const TCP: u8 = 6;
    let mut bytes = Vec::with_capacity(REQUEST_BYTES);
    bytes.extend((REQUEST_BYTES as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    let family = if peer.address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    bytes.extend([family.as_raw() as u8, TCP, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(peer.address.port().to_be_bytes());
    bytes.extend(peer.local.port().to_be_bytes());
    for address in [peer.address, peer.local] {
        bytes.extend(octets(address));
    }
    bytes.extend([0; 4]);
    // INET_DIAG_NOCOOKIE: whichever socket has these addresses.
    bytes.extend([0xff; 8]);
    bytes
}

fn octets(address: SocketAddr) -> [u8; 16] {
    match address.ip() {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            for (to, from) in bytes.iter_mut().zip(v4.octets()) {
                *to = from;
            }
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_owner_of_a_local_connection_is_this_user() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(any) else {
                continue;
            };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (_server, address) = listener.accept().unwrap();
            let peer = Peer {
                address,
                local: listener.local_addr().unwrap(),
            };
            assert_eq!(
                peer_owner(&peer),
                Some(rustix::process::getuid().as_raw()),
                "{any}"
            );
            drop(client);
        }
        let nobody = "127.0.0.1:9".parse().unwrap();
        assert_eq!(
            peer_owner(&Peer {
                address: nobody,
                local: nobody
            }),
            None
        );
    }
}
