//! What a driver tells through the ethtool ioctl only: its firmware's version and its own counters.
//!
//! Netlink has neither (`Documentation/networking/ethtool-netlink.rst` lists both as ioctl only),
//! so this file does what tuning cannot. Invariant: every request carries a
//! buffer that is larger than what the kernel writes into it, every length that comes back is
//! checked before use, and nothing is changed. Governed by `linux/ethtool.h`, netdevice(7).
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;

use rustix::fd::OwnedFd;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

const SIOCETHTOOL: Opcode = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
/// String set of the driver's counters.
const ETH_SS_STATS: u32 = 1;
/// Bytes of one name.
const ETH_GSTRING_LEN: usize = 32;
/// Bytes of an interface's name with its NUL (`linux/if.h`).
const IFNAMSIZ: usize = 16;

/// `struct ethtool_drvinfo`: request, five texts of 32 bytes, 12 reserved, five numbers.
const DRVINFO_BYTES: usize = 196;
const DRVINFO_FIRMWARE: usize = 68;
const DRVINFO_COUNTERS: usize = 180;

/// Most counters of one card: a ConnectX with 128 queues has about 5,000.
const COUNTERS_MAX: usize = 32_768;

/// Counters that a card may gain between two requests without leaving the buffer: a driver whose
/// queues are changed meanwhile gains some tens for each.
const COUNTERS_SPARE: usize = 16_384;

/// `struct ifreq` with the pointer of its union; the union's other members are no longer than the
/// padding here.
#[repr(C)]
struct Request {
    name: [u8; IFNAMSIZ],
    data: *mut c_void,
    rest: [usize; 3],
}

/// One request with the buffer that it reads and writes.
struct Ask<'buffer> {
    request: Request,
    buffer: PhantomData<&'buffer mut [u8]>,
}

// SAFETY: SIOCETHTOOL takes a pointer to `struct ifreq`, which `as_ptr` gives: `Request` begins
// with the same fields and is not shorter. The kernel follows its pointer into the borrowed buffer,
// whose size each caller in this file chooses for its request.
unsafe impl Ioctl for Ask<'_> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        SIOCETHTOOL
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.request).cast()
    }

    // SAFETY: nothing is read through the pointer; the answer is in the buffer.
    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// What a driver says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DriverInfo {
    /// Version of the firmware; empty where it tells none.
    pub firmware: String,
    counters: usize,
}

/// A socket to ask drivers through.
#[derive(Debug)]
pub struct DriverSocket(OwnedFd);

impl DriverSocket {
    /// Any socket will do: the request names the interface.
    pub fn open() -> io::Result<Self> {
        let kind = SocketType::DGRAM;
        let flags = SocketFlags::CLOEXEC;
        Ok(Self(socket_with(AddressFamily::INET, kind, flags, None)?))
    }

    /// Sends one request. `buffer` must hold what the kernel writes for its first word; see the
    /// callers.
    fn ask(&self, link: &str, buffer: &mut [u8]) -> io::Result<()> {
        let mut name = [0; IFNAMSIZ];
        match name.get_mut(..link.len()) {
            Some(place) if link.len() < IFNAMSIZ => place.copy_from_slice(link.as_bytes()),
            Some(_) | None => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
        let ask = Ask {
            request: Request {
                name,
                data: buffer.as_mut_ptr().cast(),
                rest: [0; 3],
            },
            buffer: PhantomData,
        };
        // SAFETY: the request and its buffer live until the call returns, and the buffer is as
        // large as the callers say for what they ask.
        unsafe { ioctl(&self.0, ask) }?;
        Ok(())
    }

    /// Firmware and number of counters.
    pub fn info(&self, link: &str) -> io::Result<DriverInfo> {
        // The kernel writes one `struct ethtool_drvinfo`, which has not grown since Linux 2.6.
        let mut buffer = vec![0; DRVINFO_BYTES];
        put(&mut buffer, 0, ETHTOOL_GDRVINFO);
        self.ask(link, &mut buffer)?;
        Ok(DriverInfo {
            firmware: text(&buffer, DRVINFO_FIRMWARE),
            counters: number(&buffer, DRVINFO_COUNTERS),
        })
    }

    /// The driver's own counters by its own names.
    pub fn counters(&self, link: &str) -> io::Result<BTreeMap<String, u64>> {
        let count = self.info(link)?.counters;
        if count == 0 || count > COUNTERS_MAX {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        // The kernel writes as many entries as the driver has by then, not as many as we name, so
        // the buffer has room for a driver that gains some meanwhile.
        let room = count * 2 + COUNTERS_SPARE;
        let mut names = vec![0; 12 + room * ETH_GSTRING_LEN];
        put(&mut names, 0, ETHTOOL_GSTRINGS);
        put(&mut names, 4, ETH_SS_STATS);
        put(&mut names, 8, u32::try_from(count).unwrap_or(0));
        self.ask(link, &mut names)?;
        let mut values = vec![0; 8 + room * 8];
        put(&mut values, 0, ETHTOOL_GSTATS);
        put(&mut values, 4, u32::try_from(count).unwrap_or(0));
        self.ask(link, &mut values)?;
        if number(&names, 8) != count || number(&values, 4) != count {
            return Err(io::Error::other("the driver's counters changed meanwhile"));
        }
        let named = names.get(12..).unwrap_or(&[]).chunks_exact(ETH_GSTRING_LEN);
        let counted = values.get(8..).unwrap_or(&[]).chunks_exact(8);
        Ok(named
            .zip(counted)
            .take(count)
            .map(|(name, value)| {
                let value = value.try_into().map_or(0, u64::from_ne_bytes);
                (text(name, 0), value)
            })
            .collect())
    }
}

fn put(buffer: &mut [u8], at: usize, number: u32) {
    if let Some(place) = buffer.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
}

fn number(buffer: &[u8], at: usize) -> usize {
    let octets = buffer.get(at..at + 4).and_then(|four| four.try_into().ok());
    octets.map_or(0, |four| u32::from_ne_bytes(four) as usize)
}

/// A text of up to 32 bytes that ends with NUL.
fn text(buffer: &[u8], at: usize) -> String {
    let field = buffer.get(at..at + ETH_GSTRING_LEN).unwrap_or(&[]);
    let end = field.iter().position(|octet| *octet == 0);
    let text = field.get(..end.unwrap_or(field.len())).unwrap_or(&[]);
    String::from_utf8_lossy(text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_fit_or_is_not_there_is_refused() {
        let socket = DriverSocket::open().unwrap();
        let long = socket.info("an-interface-too-long").unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::InvalidInput);
        assert!(socket.info("nowhere0").is_err());
        // Loopback has a driver's name at most, and no counters.
        assert!(socket.counters("lo").is_err());
    }

    #[test]
    fn texts_end_at_their_nul_or_at_their_length() {
        let mut field = vec![b'x'; ETH_GSTRING_LEN];
        assert_eq!(text(&field, 0).len(), ETH_GSTRING_LEN);
        field[3] = 0;
        assert_eq!(text(&field, 0), "xxx");
        assert_eq!(text(&field, 1), "");
    }
}
