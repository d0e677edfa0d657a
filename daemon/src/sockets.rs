//! Every socket of the node, opened before anything is served.
//!
//! Invariant: either all sockets are open when [`open`] returns, or none is. The port of NFS moves
//! on to the next free one only if nobody asked for a port. Not promised: the portmapper; where
//! port 111 may not be had, the node says so and clients name their ports.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use towline_base::clock;
use towline_config::{Effective, Portmap};
use towline_io::listen_all;

use crate::error::NodeError;
use crate::face::Speaks;
use towline_http::Port;

/// How long a port may take to come free after its last owner was killed.
const RELEASE_MAX: Duration = Duration::from_millis(1_000);

/// Time between two tries within [`RELEASE_MAX`].
const RELEASE_STEP: Duration = Duration::from_millis(20);

/// Ports tried after the usual one when that is taken.
const NFS_PORTS_TRIED: u16 = 64;

/// Port of the portmapper (RFC 1833 section 3.2).
pub(crate) const PORTMAP_PORT: u16 = 111;

/// How clients learn the NFS port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum PortmapState {
    /// This node answers on port 111.
    Served,
    /// Port 111 belongs to another program, which may take registrations.
    Taken,
    /// Not at all; why.
    Absent(String),
}

/// A listening address with one socket per worker.
pub(crate) struct Door {
    pub(crate) speaks: Speaks,
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<OwnedFd>,
}

/// Every socket.
pub(crate) struct Sockets {
    pub(crate) doors: Vec<Door>,
    /// For each address of HTTPS a socket for each worker.
    pub(crate) tls: Vec<Vec<OwnedFd>>,
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) nfs_port: u16,
    pub(crate) tls_port: Option<u16>,
    /// The port of the hub's own.
    pub(crate) hub_port: Option<u16>,
    pub(crate) portmap: PortmapState,
}

/// Ports that tell what a connection to them is about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ports {
    /// Connections come through TLS.
    pub(crate) tls: Option<u16>,
    /// Every path is the hub's.
    pub(crate) hub: Option<u16>,
}

impl Sockets {
    pub(crate) fn ports(&self) -> Ports {
        Ports {
            tls: self.tls_port,
            hub: self.hub_port,
        }
    }
}

/// Opens everything that the settings ask for.
pub(crate) fn open(effective: &Effective, workers: usize) -> Result<Sockets, NodeError> {
    let listen = &effective.listen;
    let addresses = &listen.addresses.value;
    let mut doors = Vec::new();
    open_port(
        &mut doors,
        Speaks::Http(Port::Http),
        addresses,
        listen.http_port.value,
        workers,
        "Stop the other program, or choose another port with --http-port (0 takes a free one)",
    )?;
    let nfs_port = open_nfs(&mut doors, effective, workers)?;
    if let Some(port) = listen.s3_port.value {
        let hint = "Stop the other program, or choose another port with listen.s3_port";
        open_port(
            &mut doors,
            Speaks::Http(Port::S3),
            addresses,
            port,
            workers,
            hint,
        )?;
    }
    let hub_port = match listen.hub_port.value {
        None => None,
        Some(port) => {
            let hint = "Stop the other program, or choose another port with listen.hub_port";
            let opened = open_port(
                &mut doors,
                Speaks::Http(Port::Hub),
                addresses,
                port,
                workers,
                hint,
            )?;
            Some(opened)
        }
    };
    let (tls, tls_port) = open_tls(effective, workers)?;
    let mut udp = Vec::new();
    let portmap = match listen.portmap.value {
        Portmap::Off => PortmapState::Absent("it is switched off".to_owned()),
        Portmap::Auto => open_portmap(&mut doors, &mut udp, addresses, workers)?,
    };
    Ok(Sockets {
        doors,
        tls,
        udp,
        nfs_port,
        tls_port,
        hub_port,
        portmap,
    })
}

fn open_port(
    doors: &mut Vec<Door>,
    speaks: Speaks,
    addresses: &[IpAddr],
    port: u16,
    workers: usize,
    hint: &str,
) -> Result<u16, NodeError> {
    let what = match speaks {
        Speaks::Http(Port::Http) => "HTTP",
        Speaks::Http(Port::S3) => "S3",
        Speaks::Http(Port::Hub) => "the hub",
        Speaks::Nfs => "NFS",
        Speaks::Portmap => "the portmapper",
    };
    let mut port = port;
    let mut opened = Vec::new();
    for ip in addresses {
        let address = SocketAddr::new(*ip, port);
        let failed = |error| NodeError::Bind {
            what,
            address,
            error,
            hint: hint.to_owned(),
        };
        let sockets = match speaks {
            // Taken for good by rpcbind wherever that runs: no reason to wait.
            Speaks::Portmap => listen_all(address, workers),
            Speaks::Http(_) | Speaks::Nfs => listen_patiently(address, workers),
        };
        let sockets = sockets.map_err(failed)?;
        // A free port that the system chose for the first address serves the others too.
        port = bound_port(&sockets).ok_or_else(|| failed(Errno::INVAL))?;
        let address = SocketAddr::new(*ip, port);
        opened.push(Door {
            speaks,
            address,
            sockets,
        });
    }
    doors.extend(opened);
    Ok(port)
}

/// The port that the sockets of one address have.
fn bound_port(sockets: &[OwnedFd]) -> Option<u16> {
    let bound = rustix::net::getsockname(sockets.first()?).ok()?;
    SocketAddr::try_from(bound).ok().map(|bound| bound.port())
}

/// Opens the sockets of one address. A port that is in use is tried again for a moment: when a
/// node is killed the kernel takes its rings apart in the background, and they hold the listening
/// sockets for some milliseconds after the process is gone.
fn listen_patiently(address: SocketAddr, workers: usize) -> Result<Vec<OwnedFd>, Errno> {
    let started = clock::now();
    loop {
        match listen_all(address, workers) {
            Err(Errno::ADDRINUSE) if clock::now() - started < RELEASE_MAX => {
                std::thread::sleep(RELEASE_STEP);
            }
            other => return other,
        }
    }
}

fn open_nfs(
    doors: &mut Vec<Door>,
    effective: &Effective,
    workers: usize,
) -> Result<u16, NodeError> {
    let setting = &effective.listen.nfs_port;
    let addresses = &effective.listen.addresses.value;
    let hint =
        "Stop the other program, or choose another port with --nfs-port (0 takes a free one)";
    let first = setting.value;
    let last = if setting.is_default() {
        first.saturating_add(NFS_PORTS_TRIED)
    } else {
        first
    };
    let mut result = open_port(doors, Speaks::Nfs, addresses, first, workers, hint);
    for port in first.saturating_add(1)..=last {
        match result {
            Err(NodeError::Bind {
                error: Errno::ADDRINUSE,
                ..
            }) => {
                result = open_port(doors, Speaks::Nfs, addresses, port, workers, hint);
            }
            other => return other,
        }
    }
    result
}

/// Sockets of one port, for each address one for each worker, and the port.
type TlsSockets = (Vec<Vec<OwnedFd>>, Option<u16>);

fn open_tls(effective: &Effective, workers: usize) -> Result<TlsSockets, NodeError> {
    let Some(tls) = &effective.tls else {
        return Ok((Vec::new(), None));
    };
    let mut port = tls.port.value;
    let mut opened = Vec::new();
    for ip in &effective.listen.addresses.value {
        let address = SocketAddr::new(*ip, port);
        let failed = |error| NodeError::Bind {
            what: "HTTPS",
            address,
            error,
            hint: "Stop the other program, or choose another port in [tls]".to_owned(),
        };
        let sockets = listen_patiently(address, workers).map_err(failed)?;
        port = bound_port(&sockets).ok_or_else(|| failed(Errno::INVAL))?;
        opened.push(sockets);
    }
    Ok((opened, Some(port)))
}

fn open_portmap(
    doors: &mut Vec<Door>,
    udp: &mut Vec<UdpSocket>,
    addresses: &[IpAddr],
    workers: usize,
) -> Result<PortmapState, NodeError> {
    let opened = open_port(doors, Speaks::Portmap, addresses, PORTMAP_PORT, workers, "");
    match opened {
        Ok(_) => {}
        Err(NodeError::Bind {
            error: Errno::ADDRINUSE,
            ..
        }) => return Ok(PortmapState::Taken),
        Err(NodeError::Bind {
            error: Errno::ACCESS | Errno::PERM,
            ..
        }) => {
            let why = "only root may open port 111".to_owned();
            return Ok(PortmapState::Absent(why));
        }
        Err(other) => return Err(other),
    }
    for ip in addresses {
        let socket = UdpSocket::bind(SocketAddr::new(*ip, PORTMAP_PORT));
        match socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket)) {
            Ok(socket) => udp.push(socket),
            Err(error) => {
                tracing::warn!(%error, "portmap over UDP is not served");
            }
        }
    }
    Ok(PortmapState::Served)
}
