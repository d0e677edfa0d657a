//! The way that a client's sockets take: family, own address, device, own ports, and how long a
//! connection may take to stand (iperf3(1): `-4`, `-6`, `-B`, `--bind-dev`, `--cport`,
//! `--connect-timeout`).
//!
//! Invariant: control connection, data streams and echoes of one test go the same way; a wait for
//! a connection ends within a tenth of a second once the user wants to stop. Not promised: that a
//! bound address decides the card; that is the routing table's, or `device`'s.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::control::{Deadline, wait};
use super::error::LinkError;

/// Longest wait for a connection unless somebody says otherwise.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Between two looks whether the user wants to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Most addresses of a name that are tried, as a count.
const ADDRESSES_MAX: usize = 8;

/// A family of addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    fn has(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// The way.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Only addresses of this family.
    pub family: Option<Family>,
    /// This end's address.
    pub address: Option<IpAddr>,
    /// The device that carries everything.
    pub device: Option<String>,
    /// This end's port of the first data stream; the next streams have the next ports.
    pub client_port: Option<u16>,
    /// Longest wait for the control connection; five seconds if not said.
    pub connect_max: Option<Duration>,
}

impl Way {
    /// The addresses of a host that this way leads to, in the order in which they are tried.
    ///
    /// # Errors
    /// When the name has none, or none of the family that is wanted.
    pub fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, LinkError> {
        let own = self.address.map(|own| match own {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        });
        if let (Some(own), Some(wanted)) = (own, self.family)
            && own != wanted
        {
            let text = format!(
                "the address to bind is one of {}, and {} is wanted: leave out one of the two",
                own.name(),
                wanted.name()
            );
            return Err(LinkError::Usage(text));
        }
        let found = addresses(host, port)?;
        let Some(family) = self.family.or(own) else {
            return Ok(found.into_iter().take(ADDRESSES_MAX).collect());
        };
        let fitting = found.into_iter().filter(|found| family.has(found.ip()));
        let fitting: Vec<SocketAddr> = fitting.take(ADDRESSES_MAX).collect();
        match fitting.is_empty() {
            true => {
                let name = family.name();
                let text = format!("{host} has no {name} address: name another host or family");
                Err(LinkError::Usage(text))
            }
            false => Ok(fitting),
        }
    }

    /// Gives a new socket this end's address, device and `port` (0: any).
    pub(super) fn bind(
        &self,
        socket: &impl AsFd,
        towards: SocketAddr,
        port: u16,
    ) -> Result<(), LinkError> {
        if let Some(device) = &self.device {
            socket2::SockRef::from(socket)
                .bind_device(Some(device.as_bytes()))
                .map_err(|error| {
                    let what = format!(
                        "cannot bind to the device {device}; see 'ip link' for its name (older \
                         kernels want CAP_NET_RAW for it)"
                    );
                    LinkError::system(what, error)
                })?;
        }
        if self.address.is_none() && port == 0 {
            return Ok(());
        }
        let own = self.address.unwrap_or(match towards {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        let own = SocketAddr::new(own, port);
        // A port that the test before this one used may still be remembered by the kernel.
        sockopt::set_socket_reuseaddr(socket, true)
            .and_then(|()| rustix::net::bind(socket, &own))
            .map_err(|error| {
                let what = format!(
                    "cannot bind to {own}; name an address of this host ('ip address') and a \
                     free port"
                );
                LinkError::system(what, error)
            })
    }

    /// This end's port of stream `index`, 0 where any will do.
    pub(super) fn port_of(&self, index: usize) -> Result<u16, LinkError> {
        let Some(first) = self.client_port else {
            return Ok(0);
        };
        let port = u16::try_from(index).ok();
        port.and_then(|index| first.checked_add(index))
            .ok_or_else(|| {
                let text = format!("--cport {first}: too high for so many streams");
                LinkError::Usage(text)
            })
    }
}

/// All addresses of a host.
fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, LinkError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found: Vec<SocketAddr> = (bare, port)
        .to_socket_addrs()
        .map_err(|error| LinkError::Usage(format!("{host} has no address: {error}")))?
        .collect();
    match found.is_empty() {
        true => Err(LinkError::Usage(format!("{host} has no address"))),
        false => Ok(found),
    }
}

/// Why there is no connection.
pub(super) enum NoConnection {
    /// The network's or the other end's answer; another address may do better.
    Refused(io::Error),
    /// The user wants to stop.
    Stopped,
    /// This end cannot do what was asked for.
    Own(LinkError),
}

/// A connection, its socket bound and `prepared` before; it blocks. Waits for `most`, or until
/// `stop` is raised.
pub(super) fn dial(
    way: &Way,
    (address, port): (SocketAddr, u16),
    most: Duration,
    stop: &AtomicBool,
    prepare: impl FnOnce(&OwnedFd) -> Result<(), LinkError>,
) -> Result<TcpStream, NoConnection> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let refused = |error: Errno| NoConnection::Refused(error.into());
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(refused)?;
    way.bind(&socket, address, port)
        .map_err(NoConnection::Own)?;
    prepare(&socket).map_err(NoConnection::Own)?;
    rustix::io::ioctl_fionbio(&socket, true).map_err(refused)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => stand(&socket, most, stop)?,
        Err(error) => return Err(refused(error)),
    }
    rustix::io::ioctl_fionbio(&socket, false).map_err(refused)?;
    Ok(TcpStream::from(socket))
}

/// Waits until a connection stands.
fn stand(socket: &OwnedFd, most: Duration, stop: &AtomicBool) -> Result<(), NoConnection> {
    let refused = |error: Errno| NoConnection::Refused(error.into());
    let deadline = Deadline::after(most);
    loop {
        let mut wanted = [PollFd::new(socket, PollFlags::OUT)];
        wait(&mut wanted, deadline.left().min(LOOK_EVERY));
        if wanted.iter().any(|one| !one.revents().is_empty()) {
            return match sockopt::socket_error(socket) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) | Err(error) => Err(refused(error)),
            };
        }
        if stop.load(Ordering::Relaxed) {
            return Err(NoConnection::Stopped);
        }
        if deadline.has_passed() {
            let text = format!("no answer within {} ms", most.as_millis());
            let error = io::Error::new(io::ErrorKind::TimedOut, text);
            return Err(NoConnection::Refused(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(family: Option<Family>, address: Option<&str>) -> Way {
        Way {
            family,
            address: address.map(|text| text.parse().unwrap()),
            ..Way::default()
        }
    }

    #[test]
    fn only_addresses_that_the_way_leads_to_are_tried() {
        let count = |way: &Way, host| way.resolve(host, 1).map(|found| found.len()).ok();
        assert_eq!(count(&way(None, None), "::1"), Some(1));
        assert_eq!(count(&way(Some(Family::V6), None), "[::1]"), Some(1));
        assert_eq!(count(&way(Some(Family::V4), None), "::1"), None);
        assert_eq!(count(&way(None, Some("127.0.0.1")), "::1"), None);
        assert_eq!(
            count(&way(Some(Family::V6), Some("127.0.0.1")), "::1"),
            None
        );
    }

    #[test]
    fn streams_have_ports_in_a_row_up_to_the_last_port() {
        let way = Way {
            client_port: Some(65_534),
            ..Way::default()
        };
        assert_eq!(way.port_of(1).unwrap(), 65_535);
        assert!(way.port_of(2).is_err());
        assert_eq!(Way::default().port_of(9).unwrap(), 0);
    }
}
