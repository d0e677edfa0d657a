//! A netlink socket that asks one question at a time, and the attributes of its messages.
//!
//! One codec serves rtnetlink and the generic ethtool family, for which no kept crate can write
//! settings. Governed by netlink(7), `linux/netlink.h` and `linux/genetlink.h`. Invariant: every
//! wait and every answer is bounded, and a length that the kernel names is checked before use.

use std::io;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send,
    socket_with,
};

/// Longest wait for one answer: the kernel answers at once unless a driver hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

/// Room for one datagram in bytes: the kernel cuts a dump into pieces of at most 32 KiB.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// Most messages in one answer: a host with 10,000 interfaces or routes is beyond this tool.
const MESSAGES_MAX: usize = 20_000;

const HEADER_BYTES: usize = 16;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Message type of the generic netlink controller, and its question for a family's number.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// How much is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    /// One object.
    One,
    /// All objects.
    All,
}

/// A netlink socket.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// A socket for interfaces, addresses, routes.
    pub(crate) fn route() -> io::Result<Self> {
        // NETLINK_ROUTE is protocol 0, which is what no protocol means.
        Self::open(None)
    }

    /// A socket for generic netlink.
    pub(crate) fn generic() -> io::Result<Self> {
        Self::open(Some(netlink::GENERIC))
    }

    /// A socket for questions about sockets.
    pub(crate) fn sock_diag() -> io::Result<Self> {
        Self::open(Some(netlink::SOCK_DIAG))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let kind = SocketType::RAW;
        let socket = socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIME_MAX))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// The number of a generic family.
    pub(crate) fn family(&mut self, name: &str) -> io::Result<u16> {
        let mut body = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
        Attributes(&mut body).string(CTRL_ATTR_FAMILY_NAME, name);
        let answers = self.ask(GENL_ID_CTRL, Ask::One, &body)?;
        let attributes = answers.first().and_then(|answer| answer.get(4..));
        attributes
            .and_then(|bytes| find(bytes, CTRL_ATTR_FAMILY_ID))
            .and_then(u16_of)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such netlink family"))
    }

    /// Sends a question and gives the payloads of the answers, without their netlink headers.
    pub(crate) fn ask(&mut self, kind: u16, ask: Ask, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let flags = NLM_F_REQUEST
            | match ask {
                Ask::One => NLM_F_ACK,
                Ask::All => NLM_F_DUMP,
            };
        let length = u32::try_from(HEADER_BYTES + body.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0_u32.to_ne_bytes());
        message.extend(body);
        send(&self.socket, &message, SendFlags::empty())?;
        self.collect()
    }

    fn collect(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut answers = Vec::new();
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while answers.len() < MESSAGES_MAX {
            let (count, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = &buffer[..count];
            while let Some((kind, sequence, payload, after)) = split_message(rest) {
                rest = after;
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    NLMSG_NOOP => {}
                    NLMSG_DONE => return Ok(answers),
                    NLMSG_ERROR => {
                        let code = payload.get(..4).and_then(i32_of).unwrap_or(0);
                        if code == 0 {
                            return Ok(answers);
                        }
                        return Err(io::Error::from_raw_os_error(-code));
                    }
                    _ => answers.push(payload.to_vec()),
                }
            }
        }
        Err(io::Error::other("the kernel's answer does not end"))
    }
}

fn split_message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = usize::try_from(u32_of(bytes.get(..4)?)?).ok()?;
    let kind = u16_of(bytes.get(4..6)?)?;
    let sequence = u32_of(bytes.get(8..12)?)?;
    let payload = bytes.get(HEADER_BYTES..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, sequence, payload, after))
}

/// Appends attributes to a message.
pub(crate) struct Attributes<'a>(pub(crate) &'a mut Vec<u8>);

impl Attributes<'_> {
    fn bytes(&mut self, kind: u16, bytes: &[u8]) -> &mut Self {
        // Attributes of this crate are names, numbers and short lists: far below 64 KiB.
        let length = u16::try_from(bytes.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn flag(&mut self, kind: u16) -> &mut Self {
        self.bytes(kind, &[])
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub(crate) fn string(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        let mut inner = Vec::new();
        fill(&mut Attributes(&mut inner));
        self.bytes(kind | NLA_F_NESTED, &inner)
    }
}

/// The attributes in a message, as pairs of kind and payload. Stops at the first broken one.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_of(rest.get(..2)?)?);
        let kind = u16_of(rest.get(2..4)?)? & NLA_TYPE_MASK;
        let payload = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, payload))
    })
}

/// The payload of the first attribute of that kind.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(found, _)| *found == kind)
        .map(|(_, payload)| payload)
}

/// The number in the first attribute of that kind.
pub(crate) fn find_u32(bytes: &[u8], kind: u16) -> Option<u32> {
    find(bytes, kind).and_then(u32_of)
}

/// The octet in the first attribute of that kind.
pub(crate) fn find_u8(bytes: &[u8], kind: u16) -> Option<u8> {
    find(bytes, kind).and_then(|payload| payload.first().copied())
}

/// The text in the first attribute of that kind.
pub(crate) fn find_string(bytes: &[u8], kind: u16) -> Option<String> {
    find(bytes, kind).map(text_of)
}

/// The text of a payload, without the closing zero.
pub(crate) fn text_of(payload: &[u8]) -> String {
    let end = payload.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&payload[..end.unwrap_or(payload.len())]).into_owned()
}

pub(crate) fn u16_of(bytes: &[u8]) -> Option<u16> {
    bytes.get(..2)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(crate) fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.get(..4)?.try_into().ok().map(u32::from_ne_bytes)
}

pub(crate) fn u64_of(bytes: &[u8]) -> Option<u64> {
    bytes.get(..8)?.try_into().ok().map(u64::from_ne_bytes)
}

fn i32_of(bytes: &[u8]) -> Option<i32> {
    bytes.get(..4)?.try_into().ok().map(i32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_written() {
        let mut bytes = Vec::new();
        Attributes(&mut bytes)
            .string(2, "eth0")
            .u8(3, 7)
            .nest(4, |inner| {
                inner.u32(1, 9000).flag(9);
            });
        assert_eq!(find_string(&bytes, 2).as_deref(), Some("eth0"));
        assert_eq!(find_u8(&bytes, 3), Some(7));
        assert_eq!(find_u32(find(&bytes, 4).unwrap(), 1), Some(9000));
        assert!(find(find(&bytes, 4).unwrap(), 9).is_some());
    }

    #[test]
    fn a_cut_attribute_ends_the_list() {
        let mut bytes = Vec::new();
        Attributes(&mut bytes).u32(1, 5).u32(2, 6);
        bytes.truncate(12);
        assert_eq!(attributes(&bytes).count(), 1);
        assert_eq!(attributes(&[200, 0, 1, 0]).count(), 0);
    }
}
