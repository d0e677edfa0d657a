//! The TCP sockets of this network namespace with their buffers and congestion control.
//!
//! Governed by sock_diag(7) and `linux/inet_diag.h`. Needs no privilege. Invariant: addresses are
//! not taken, so a fact sheet does not tell who talks to whom; the list is bounded, listeners and
//! the largest buffers first.

use std::cmp::Reverse;
use std::io;

use crate::facts::SocketFacts;
use crate::netlink::{Ask, Netlink, attributes, u32_of};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// States as bits, in the order of `linux/tcp_states.h`.
const ESTABLISHED_AND_LISTEN: u32 = 1 << 1 | 1 << 10;
const LISTEN: u8 = 10;
/// Attributes of an answer; a question names them as bits, counted from one.
const DIAG_CONG: u16 = 4;
const DIAG_SKMEMINFO: u16 = 7;
const EXTENSIONS: u8 = 1 << (DIAG_CONG - 1) | 1 << (DIAG_SKMEMINFO - 1);
/// `struct inet_diag_req_v2` and `struct inet_diag_msg`.
const REQUEST_BYTES: usize = 56;
const ANSWER_BYTES: usize = 72;

/// Sockets that are kept: a busy server has thousands, of which the largest buffers tell enough.
const SOCKETS_MAX: usize = 256;

/// All listeners and established connections, of both IP versions.
pub(crate) fn tcp_sockets() -> io::Result<Vec<SocketFacts>> {
    let mut socket = Netlink::sock_diag()?;
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut request = vec![0; REQUEST_BYTES];
        request[..3].copy_from_slice(&[family, IPPROTO_TCP, EXTENSIONS]);
        request[4..8].copy_from_slice(&ESTABLISHED_AND_LISTEN.to_ne_bytes());
        let answers = socket.ask(SOCK_DIAG_BY_FAMILY, Ask::All, &request)?;
        found.extend(answers.iter().filter_map(|answer| parse(answer)));
    }
    found.sort_by_key(|socket| {
        let largest = socket.receive_bytes.max(socket.send_bytes);
        (Reverse(socket.listening), Reverse(largest), socket.port)
    });
    found.dedup();
    found.truncate(SOCKETS_MAX);
    Ok(found)
}

fn parse(answer: &[u8]) -> Option<SocketFacts> {
    let listening = *answer.get(1)? == LISTEN;
    // Ports are in network order.
    let port = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let mut facts = SocketFacts {
        port: port(4)?,
        peer_port: if listening { None } else { port(6) },
        listening,
        ..SocketFacts::default()
    };
    for (kind, payload) in attributes(answer.get(ANSWER_BYTES..)?) {
        match kind {
            DIAG_CONG => {
                let text = payload.split(|octet| *octet == 0).next()?;
                facts.congestion_control = String::from_utf8_lossy(text).into_owned();
            }
            // Allocated, receive buffer, allocated, send buffer, ...
            DIAG_SKMEMINFO => {
                facts.receive_bytes = u64::from(u32_of(payload.get(4..8)?)?);
                facts.send_bytes = u64::from(u32_of(payload.get(12..16)?)?);
            }
            _ => {}
        }
    }
    Some(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_this_process_is_seen_with_its_buffers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = match tcp_sockets() {
            Ok(sockets) => sockets,
            // A kernel without tcp_diag.
            Err(error) => return assert_eq!(error.kind(), io::ErrorKind::NotFound),
        };
        let own = sockets.iter().find(|socket| socket.port == port).unwrap();
        assert!(own.listening && own.receive_bytes > 0, "{own:?}");
        assert!(!own.congestion_control.is_empty(), "{own:?}");
    }

    #[test]
    fn a_short_answer_is_left_out() {
        assert_eq!(parse(&[2, LISTEN, 0, 0]), None);
    }
}
