//! What the kernel knows of a TCP connection (tcp(7), `TCP_INFO`; `struct tcp_info` of
//! linux/tcp.h), and the segment size that a socket asks for.
//!
//! Invariant: a field that this kernel does not have is `None`; nothing is guessed from a short
//! answer. Times are microseconds. Not promised: that fields are read at one instant.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::sockets::{get_option, set_option};

/// Room for the kernel's answer in bytes; newer kernels have more fields, which are cut off.
const INFO_BYTES: usize = 256;

/// One look at a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TcpInfo {
    /// Largest segment sent, in bytes of payload.
    pub segment_bytes: u32,
    /// Largest packet of the path, in bytes.
    pub path_mtu: u32,
    /// Smoothed round trip.
    pub rtt_us: u32,
    /// Its mean deviation.
    pub rtt_var_us: u32,
    /// Congestion window in segments.
    pub congestion_window: u32,
    /// Segments that may be out of order before they count as lost.
    pub reordering: u32,
    /// Round trip as the receiver estimates it; 0 if it does not.
    pub receive_rtt_us: u32,
    /// Segments sent again since the connection began.
    pub retransmits: u32,
    /// Shortest round trip of the last minutes.
    pub min_rtt_us: Option<u32>,
    /// Bytes that the peer has acknowledged.
    pub bytes_acked: Option<u64>,
    /// Bytes received.
    pub bytes_received: Option<u64>,
    /// Payload bytes per second that arrived lately.
    pub delivery_rate: Option<u64>,
    /// Time with unacknowledged data.
    pub busy_us: Option<u64>,
    /// Of it, held up by the peer's receive window.
    pub receive_window_limited_us: Option<u64>,
    /// Of it, held up by the send buffer.
    pub send_buffer_limited_us: Option<u64>,
    /// Bytes sent, those sent again included.
    pub bytes_sent: Option<u64>,
    /// Bytes sent again.
    pub bytes_retransmitted: Option<u64>,
    /// Segments that the peer told it had twice (RFC 2883): sent again though they were not lost.
    pub duplicates: Option<u32>,
    /// The peer's receive window in bytes.
    pub send_window: Option<u32>,
}

/// Looks at a connection.
///
/// # Errors
/// What getsockopt(2) reports, `NOTSUP` and the like for something that is no TCP socket.
pub fn tcp_info(socket: impl AsFd) -> Result<TcpInfo, Errno> {
    let mut answer = [0_u8; INFO_BYTES];
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    let length = get_option(socket.as_fd(), level, name, &mut answer)?;
    Ok(parse(answer.get(..length).unwrap_or(&[])))
}

/// Reads the fields at their offsets; the structure only ever grew at its end.
fn parse(answer: &[u8]) -> TcpInfo {
    let short = |at: usize| {
        let bytes = answer.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    let long = |at: usize| {
        let bytes = answer.get(at..)?.first_chunk::<8>()?;
        Some(u64::from_ne_bytes(*bytes))
    };
    TcpInfo {
        segment_bytes: short(16).unwrap_or(0),
        path_mtu: short(60).unwrap_or(0),
        rtt_us: short(68).unwrap_or(0),
        rtt_var_us: short(72).unwrap_or(0),
        congestion_window: short(80).unwrap_or(0),
        reordering: short(88).unwrap_or(0),
        receive_rtt_us: short(92).unwrap_or(0),
        retransmits: short(100).unwrap_or(0),
        bytes_acked: long(120),
        bytes_received: long(128),
        // The kernel says "none yet" as the largest number.
        min_rtt_us: short(148).filter(|rtt| *rtt != u32::MAX),
        delivery_rate: long(160),
        busy_us: long(168),
        receive_window_limited_us: long(176),
        send_buffer_limited_us: long(184),
        bytes_sent: long(200),
        bytes_retransmitted: long(208),
        duplicates: short(216),
        send_window: short(228),
    }
}

/// Asks for segments of at most `bytes`, before the connection is made (tcp(7), `TCP_MAXSEG`).
///
/// # Errors
/// `INVAL` for a size that the kernel does not take.
pub fn set_segment_bytes(socket: impl AsFd, bytes: u32) -> Result<(), Errno> {
    set_number(socket, libc::IPPROTO_TCP, libc::TCP_MAXSEG, bytes)
}

/// Wakes a reader only when `bytes` are there, or the end (socket(7), `SO_RCVLOWAT`): many small
/// wake-ups cost a fast receiver more than the bytes do. 1 is the usual.
///
/// # Errors
/// What setsockopt(2) reports.
pub fn set_receive_low_water(socket: impl AsFd, bytes: u32) -> Result<(), Errno> {
    set_number(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes)
}

fn set_number(
    socket: impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    number: u32,
) -> Result<(), Errno> {
    let value = libc::c_int::try_from(number).map_err(|_| Errno::INVAL)?;
    set_option(socket.as_fd(), level, name, &value.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn a_connection_tells_what_went_over_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[7; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
        server.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
        let info = tcp_info(&client).unwrap();
        // The handshake's SYN counts as one byte in some kernels.
        assert!(
            (1000..=1001).contains(&info.bytes_acked.unwrap()),
            "{info:?}"
        );
        assert_eq!(info.bytes_received, Some(1));
        assert_eq!(info.bytes_sent, Some(1000));
        assert!(info.rtt_us > 0 && info.segment_bytes > 500, "{info:?}");
        assert!(info.send_window.unwrap() > 0);
    }

    #[test]
    fn a_short_answer_has_absent_fields_and_no_socket_gives_an_error() {
        let info = parse(&[1; 104]);
        assert_eq!((info.retransmits, info.busy_us), (0x0101_0101, None));
        assert!(tcp_info(UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(set_segment_bytes(&listener, 1000), Ok(()));
        assert_eq!(set_segment_bytes(&listener, u32::MAX), Err(Errno::INVAL));
        assert_eq!(set_receive_low_water(&listener, 1), Ok(()));
    }
}
