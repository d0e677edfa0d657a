//! Kernel TLS: the kernel encrypts and decrypts on a TCP socket whose handshake is over, so that
//! files leave by sendfile(2) as they do without TLS (Documentation/networking/tls.rst).
//!
//! Invariant: a socket whose [`attach`] failed is as it was before. Not promised:
//! records that carry no data. recv(2) fails with EIO at one (an alert, a key update), which counts
//! as the end of what the peer sends.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

use crate::last_errno;
use crate::sockets::{get_option, set_option};

/// Version on the wire (RFC 8446 section 4.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// Which way a key is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// What this side sends.
    Send,
    /// What this side receives.
    Receive,
}

/// The key of one way. Nonces are 12 bytes, salt first.
#[derive(Clone, Copy)]
pub enum TrafficKey<'a> {
    /// AES-128-GCM.
    Aes128Gcm(&'a [u8; 16], &'a [u8; 12]),
    /// AES-256-GCM.
    Aes256Gcm(&'a [u8; 32], &'a [u8; 12]),
    /// ChaCha20-Poly1305.
    Chacha20Poly1305(&'a [u8; 32], &'a [u8; 12]),
}

impl std::fmt::Debug for TrafficKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TrafficKey(***)")
    }
}

/// A cipher that kernels may know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cipher {
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    Chacha20Poly1305,
}

/// Which ciphers this kernel takes over, found out on a connection of this process to itself.
#[must_use]
pub fn ciphers() -> Vec<Cipher> {
    let all = [
        Cipher::Aes128Gcm,
        Cipher::Aes256Gcm,
        Cipher::Chacha20Poly1305,
    ];
    all.into_iter()
        .filter(|cipher| probe(*cipher).is_ok())
        .collect()
}

fn probe(cipher: Cipher) -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    let key = match cipher {
        Cipher::Aes128Gcm => TrafficKey::Aes128Gcm(&[0; 16], &[0; 12]),
        Cipher::Aes256Gcm => TrafficKey::Aes256Gcm(&[0; 32], &[0; 12]),
        Cipher::Chacha20Poly1305 => TrafficKey::Chacha20Poly1305(&[0; 32], &[0; 12]),
    };
    for version in [TlsVersion::V12, TlsVersion::V13] {
        let socket = std::net::TcpStream::connect(listener.local_addr()?)?;
        attach(&socket)?;
        install(&socket, Way::Send, version, key, 0)?;
        install(&socket, Way::Receive, version, key, 0)?;
    }
    Ok(())
}

/// Asks for kernel TLS on a connected socket. Changes nothing that travels.
///
/// # Errors
/// `NOENT` where the kernel has no TLS; `NOTCONN` before the connection stands.
pub fn attach(socket: impl AsFd) -> Result<(), Errno> {
    set_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_ULP, b"tls\0")
}

/// Hands the key of one way to the kernel; `sequence` is the number of the next record.
///
/// # Errors
/// What setsockopt(2) reports: `INVAL` or `NOENT` for a cipher that this kernel does not know.
pub fn install(
    socket: impl AsFd,
    way: Way,
    version: TlsVersion,
    key: TrafficKey<'_>,
    sequence: u64,
) -> Result<(), Errno> {
    let option = match way {
        Way::Send => libc::TLS_TX,
        Way::Receive => libc::TLS_RX,
    };
    let info = crypto_info(version, key, sequence);
    set_option(socket.as_fd(), libc::SOL_TLS, option, &info)
}

/// `struct tls12_crypto_info_*` of linux/tls.h as bytes: version and cipher in the host's order,
/// then nonce, key, salt and the record number, the most significant byte first.
fn crypto_info(version: TlsVersion, key: TrafficKey<'_>, sequence: u64) -> Vec<u8> {
    let version: u16 = match version {
        TlsVersion::V12 => 0x0303,
        TlsVersion::V13 => 0x0304,
    };
    let (cipher, key, nonce, salt_bytes): (_, &[u8], _, _) = match key {
        TrafficKey::Aes128Gcm(key, nonce) => (libc::TLS_CIPHER_AES_GCM_128, key, nonce, 4),
        TrafficKey::Aes256Gcm(key, nonce) => (libc::TLS_CIPHER_AES_GCM_256, key, nonce, 4),
        TrafficKey::Chacha20Poly1305(key, nonce) => {
            (libc::TLS_CIPHER_CHACHA20_POLY1305, key, nonce, 0)
        }
    };
    let (salt, rest) = nonce.split_at(salt_bytes);
    let mut info = Vec::with_capacity(64);
    info.extend_from_slice(&version.to_ne_bytes());
    info.extend_from_slice(&cipher.to_ne_bytes());
    for part in [rest, key, salt, &sequence.to_be_bytes()] {
        info.extend_from_slice(part);
    }
    info
}

/// Whether the kernel does TLS on this socket.
#[must_use]
pub fn is_attached(socket: impl AsFd) -> bool {
    let mut name = [0; 16];
    let asked = get_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_ULP, &mut name);
    asked.is_ok_and(|length| length > 3 && name.starts_with(b"tls"))
}

/// Type of the records that carry alerts (RFC 8446 section 5.1).
const ALERT: u8 = 21;

/// A warning, `close_notify` (RFC 8446 section 6.1).
const CLOSE_NOTIFY: [u8; 2] = [1, 0];

/// A control message of one byte (cmsg(3)): its data begins behind the header, both aligned to 8.
#[repr(C)]
struct RecordType {
    header: libc::cmsghdr,
    data: [u8; 8],
}

/// Tells the peer that no more data follows, so that it can tell an end from a cut (RFC 8446
/// section 6.1). Does not wait.
///
/// # Errors
/// What sendmsg(2) reports: `AGAIN` where the socket is full.
pub fn close_notify(socket: impl AsFd) -> Result<(), Errno> {
    let mut alert = CLOSE_NOTIFY;
    let mut part = libc::iovec {
        iov_base: alert.as_mut_ptr().cast(),
        iov_len: alert.len(),
    };
    let mut control = RecordType {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + 1,
            cmsg_level: libc::SOL_TLS,
            cmsg_type: libc::TLS_SET_RECORD_TYPE,
        },
        data: [ALERT, 0, 0, 0, 0, 0, 0, 0],
    };
    // SAFETY: all fields of `msghdr` are numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<RecordType>();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `message` names `part`, `alert` and `control` with their sizes; all of them live
    // until the call returns, and the kernel only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const message, flags) };
    if sent < 0 { Err(last_errno()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_size_of_the_kernels_structure() {
        let nonce = &[1; 12];
        let long = crypto_info(TlsVersion::V13, TrafficKey::Aes256Gcm(&[2; 32], nonce), 3);
        let short = crypto_info(TlsVersion::V12, TrafficKey::Aes128Gcm(&[2; 16], nonce), 3);
        let chacha = TrafficKey::Chacha20Poly1305(&[2; 32], nonce);
        let chacha = crypto_info(TlsVersion::V13, chacha, 3);
        assert_eq!(long.len(), size_of::<libc::tls12_crypto_info_aes_gcm_256>());
        assert_eq!(
            short.len(),
            size_of::<libc::tls12_crypto_info_aes_gcm_128>()
        );
        assert_eq!(
            chacha.len(),
            size_of::<libc::tls12_crypto_info_chacha20_poly1305>()
        );
        assert_eq!(&long[long.len() - 8..], &[0, 0, 0, 0, 0, 0, 0, 3]);
    }
}
