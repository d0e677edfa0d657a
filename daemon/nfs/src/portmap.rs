//! Portmap version 2 and rpcbind versions 3 and 4 (RFC 1833): where our programs are.
//!
//! It knows this node's own programs and nothing else; SET and UNSET are refused, and there is no
//! CALLIT, because a server that calls others on request is an amplifier (threat N15). Invariant:
//! no answer is longer than [`crate::datagram::REPLY_BYTES_MAX`]. Not promised: GETTIME and the
//! address conversions of rpcbind, which no client of NFS asks for.

use std::net::IpAddr;

use towline_io::Peer;

use crate::server::{Ports, Server};
use crate::xdr::{Malformed, Reader, Writer};
use crate::{mount, v3};

/// Program number of portmap and rpcbind (RFC 1833 section 1).
pub const PROGRAM: u32 = 100_000;

/// Portmap (RFC 1833 section 3).
pub const VERSION_MIN: u32 = 2;

/// The newest rpcbind (RFC 1833 section 2.2.1).
pub const VERSION_MAX: u32 = 4;

/// TCP in portmap version 2 (RFC 1833 section 3.1, `IPPROTO_TCP`).
const TCP: u32 = 6;

/// UDP in portmap version 2 (RFC 1833 section 3.1, `IPPROTO_UDP`).
const UDP: u32 = 17;

/// Longest string in the arguments of rpcbind, in bytes: a universal address has at most 54.
const STRING_BYTES_MAX: usize = 128;

/// A procedure of portmap or rpcbind (RFC 1833 sections 2.2.1 and 3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Procedure {
    Null,
    Set,
    Unset,
    /// GETPORT in version 2, GETADDR in 3 and 4.
    Find,
    /// GETVERSADDR in version 4: only if the version is there.
    FindVersion,
    Dump,
}

impl Procedure {
    pub(crate) fn from_number(version: u32, number: u32) -> Option<Self> {
        match (version, number) {
            (_, 0) => Some(Self::Null),
            (_, 1) => Some(Self::Set),
            (_, 2) => Some(Self::Unset),
            (_, 3) => Some(Self::Find),
            (_, 4) => Some(Self::Dump),
            (4, 9) => Some(Self::FindVersion),
            _ => None,
        }
    }
}

/// One program at one place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Mapping {
    program: u32,
    version: u32,
    protocol: u32,
    port: u16,
}

/// Carries out a call and writes its results. Does not block.
///
/// # Errors
/// [`Malformed`]: answer GARBAGE_ARGS.
pub(crate) fn answer(
    server: &Server,
    peer: &Peer,
    (procedure, version): (Procedure, u32),
    arguments: &mut Reader<'_>,
    out: &mut Writer<'_>,
) -> Result<(), Malformed> {
    let ports = &server.settings.ports;
    match (procedure, version) {
        (Procedure::Null, _) => {}
        (Procedure::Set | Procedure::Unset, _) => out.u32(0),
        (Procedure::Find, VERSION_MIN) => {
            let [program, version, protocol] =
                [arguments.u32()?, arguments.u32()?, arguments.u32()?];
            let found = find(ports, program, version, protocol);
            out.u32(found.map_or(0, |mapping| u32::from(mapping.port)));
        }
        (Procedure::Find | Procedure::FindVersion, _) => {
            let (program, version) = (arguments.u32()?, arguments.u32()?);
            let protocol = protocol(arguments.opaque(STRING_BYTES_MAX)?);
            let found = protocol
                .and_then(|protocol| find(ports, program, version, protocol))
                .filter(|found| procedure == Procedure::Find || found.version == version);
            let address = found.map(|found| universal(peer.local.ip(), found.port));
            out.opaque(address.unwrap_or_default().as_bytes());
        }
        (Procedure::Dump, _) => {
            for mapping in mappings(ports) {
                write_mapping(&mapping, version, peer, out);
            }
            out.u32(0);
        }
    }
    Ok(())
}

/// Where a program is. Like rpcbind it names another version if the asked one is not there: the
/// client then learns from the program itself which versions there are.
fn find(ports: &Ports, program: u32, version: u32, protocol: u32) -> Option<Mapping> {
    let fits = |mapping: &Mapping| mapping.program == program && mapping.protocol == protocol;
    let exact = mappings(ports).find(|mapping| fits(mapping) && mapping.version == version);
    exact.or_else(|| mappings(ports).find(fits))
}

fn mappings(ports: &Ports) -> impl Iterator<Item = Mapping> {
    let entry = |program, version, protocol, port: Option<u16>| {
        port.map(|port| Mapping {
            program,
            version,
            protocol,
            port,
        })
    };
    let (nfs, mount_udp, portmap) = (Some(ports.nfs), ports.mount_udp, ports.portmap);
    [
        entry(v3::PROGRAM, v3::VERSION, TCP, nfs),
        entry(mount::PROGRAM, 3, TCP, nfs),
        entry(mount::PROGRAM, 1, TCP, nfs),
        entry(mount::PROGRAM, 3, UDP, mount_udp),
        entry(mount::PROGRAM, 1, UDP, mount_udp),
        entry(PROGRAM, 2, TCP, portmap),
        entry(PROGRAM, 3, TCP, portmap),
        entry(PROGRAM, 4, TCP, portmap),
        entry(PROGRAM, 2, UDP, portmap),
        entry(PROGRAM, 3, UDP, portmap),
        entry(PROGRAM, 4, UDP, portmap),
    ]
    .into_iter()
    .flatten()
}

fn write_mapping(mapping: &Mapping, version: u32, peer: &Peer, out: &mut Writer<'_>) {
    let Mapping {
        program,
        version: offered,
        protocol,
        port,
    } = *mapping;
    out.words([1, program, offered]);
    match version {
        VERSION_MIN => out.words([protocol, u32::from(port)]),
        _ => {
            let local = peer.local.ip().to_canonical();
            let netid = match (protocol, local) {
                (TCP, IpAddr::V4(_)) => "tcp",
                (TCP, IpAddr::V6(_)) => "tcp6",
                (_, IpAddr::V4(_)) => "udp",
                (_, IpAddr::V6(_)) => "udp6",
            };
            out.opaque(netid.as_bytes());
            out.opaque(universal(local, port).as_bytes());
            out.opaque(b"towline");
        }
    }
}

/// The protocol of a network id (RFC 5665 section 5.1).
fn protocol(netid: &[u8]) -> Option<u32> {
    match netid {
        b"tcp" | b"tcp6" => Some(TCP),
        b"udp" | b"udp6" => Some(UDP),
        _ => None,
    }
}

/// A universal address: the IP address, then the port as two numbers (RFC 5665 section 5.2.3).
fn universal(address: IpAddr, port: u16) -> String {
    let [high, low] = port.to_be_bytes();
    format!("{}.{high}.{low}", address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports {
        nfs: 12049,
        mount_udp: None,
        portmap: Some(111),
    };

    #[test]
    fn a_program_is_found_in_any_version_and_only_where_it_is() {
        let port = |program, version, protocol| {
            find(&PORTS, program, version, protocol).map(|mapping| mapping.port)
        };
        assert_eq!(port(v3::PROGRAM, 3, TCP), Some(12049));
        assert_eq!(port(v3::PROGRAM, 4, TCP), Some(12049));
        assert_eq!(port(v3::PROGRAM, 3, UDP), None);
        assert_eq!(port(mount::PROGRAM, 3, UDP), None);
        assert_eq!(port(PROGRAM, 2, UDP), Some(111));
        assert_eq!(port(100_227, 3, TCP), None);
    }

    #[test]
    fn a_universal_address_ends_with_the_port_in_two_parts() {
        let address = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(universal(address, 2049), "10.0.0.1.8.1");
    }

    #[test]
    fn there_is_no_indirect_call() {
        for version in VERSION_MIN..=VERSION_MAX {
            assert_eq!(Procedure::from_number(version, 5), None);
            assert_eq!(Procedure::from_number(version, 10), None);
        }
    }
}
