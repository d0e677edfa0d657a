//! The asking side of a measurement: everything about one peer, in a few seconds.
//!
//! Order: greet, fact sheet, path sizes, idle round trips, then a transfer each way with round
//! trips meanwhile. Invariant: a step that fails leaves its values out and does not stop the rest,
//! except the greeting.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::load::{self, STALL_MAX};
use super::path::Prober;
use super::{PORT, PeerFacts, Rtt, Transfer};
use crate::error::TuneError;
use crate::facts::HostFacts;
use crate::read::Meter;
use crate::reading::{Missing, Reading};
use crate::{Root, choose};

/// Largest fact sheet in bytes: a host with a thousand interfaces.
const SHEET_BYTES_MAX: u64 = 32 << 20;

/// How long each transfer runs.
pub const TRANSFER_TIME: Duration = Duration::from_secs(2);

/// Ports that a client of the shares needs: portmapper, NFS, HTTP of towline, iperf3.
const STORAGE_PORTS: [u16; 4] = [111, 2049, 8420, 5201];

/// Longest wait for a connection to one of them: a dropped SYN is sent again after one second.
const CONNECT_MAX: Duration = Duration::from_millis(1500);

/// Between two echoes under load, so that a thousand of them span the transfer.
const LOADED_GAP: Duration = Duration::from_millis(1);

/// The address of `HOST` or `HOST:PORT`; one of a link alone names it, `fe80::1%eth0` (RFC 4007
/// section 11).
///
/// # Errors
/// When the name has no address.
pub fn resolve(peer: &str) -> Result<SocketAddr, TuneError> {
    let bare: Option<IpAddr> = peer.parse().ok();
    let is_of_link = |address: &IpAddr| match address {
        IpAddr::V6(six) => six.is_unicast_link_local(),
        IpAddr::V4(_) => false,
    };
    if bare.as_ref().is_some_and(is_of_link) {
        return Err(TuneError::usage(format!(
            "{peer} is an address of one link: name the link behind it, as in {peer}%eth0"
        )));
    }
    let found = match bare {
        Some(address) => Some(SocketAddr::new(address, PORT)),
        // The system's resolver reads the name of a link, and brackets are not for it.
        None if peer.contains('%') => {
            let bare = peer.trim_start_matches('[').trim_end_matches(']');
            let mut found = (bare, PORT).to_socket_addrs().ok();
            found.as_mut().and_then(Iterator::next)
        }
        None if peer.contains(':') => first(peer),
        None => first(&format!("{peer}:{PORT}")),
    };
    found.ok_or_else(|| {
        TuneError::usage(format!(
            "no address is known for {peer}: write one as in 10.0.0.2 or 10.0.0.2:8421, or a name \
             that this host can look up"
        ))
    })
}

fn first(text: &str) -> Option<SocketAddr> {
    text.to_socket_addrs().ok()?.next()
}

/// Measures with the peer.
///
/// # Errors
/// When there is no route to it, or nobody answers there.
pub fn measure(
    facts: &HostFacts,
    peer: SocketAddr,
    transfers: bool,
) -> Result<PeerFacts, TuneError> {
    let own = choose::towards(facts, peer.ip())?;
    let mut prober = Prober::greet(peer)?;
    let mut found = PeerFacts {
        address: peer.ip().to_string(),
        own_link: Some(own.name.clone()),
        ..PeerFacts::default()
    };
    match sheet(peer) {
        Ok((link, facts)) => {
            found.peer_link = link;
            found.facts = Reading::Value(facts);
        }
        Err(error) => found.facts = missing("the peer's fact sheet", &error),
    }
    let theirs = found.carrying_link().map_or(own.mtu, |link| link.mtu);
    match prober.there(own.mtu) {
        Ok(there) => {
            found.path_mtu_there = Reading::Value(there.packet_bytes);
            found.black_hole = Reading::Value(there.vanished);
        }
        Err(error) => found.path_mtu_there = missing("probes to the peer", &error),
    }
    match prober.back(own.mtu.min(theirs)) {
        Ok(back) => found.path_mtu_back = Reading::Value(back.packet_bytes),
        Err(error) => found.path_mtu_back = missing("probes from the peer", &error),
    }
    if let Some(facts) = found.facts.value() {
        found.ports = ports(facts, peer);
    }
    found.rtt_idle = prober.round_trips(Duration::ZERO, || false).ok();
    if transfers {
        let (transfer, rtt) = loaded(&mut prober, || there(peer, &own.name));
        found.there = transfer;
        found.rtt_loaded = rtt;
        found.back = back(peer, &own.name).ok();
    }
    Ok(found)
}

fn missing<T>(what: &str, error: &io::Error) -> Reading<T> {
    Reading::missing(Missing::Unsupported(format!("{what}: {error}")))
}

/// Round trips while the transfer runs on a thread of its own.
fn loaded(
    prober: &mut Prober,
    transfer: impl FnOnce() -> io::Result<Transfer> + Send,
) -> (Option<Transfer>, Option<Rtt>) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            let result = transfer();
            done.store(true, Ordering::Relaxed);
            result
        });
        let rtt = prober
            .round_trips(LOADED_GAP, || done.load(Ordering::Relaxed))
            .ok();
        let transfer = running.join().ok().and_then(Result::ok);
        (transfer, rtt)
    })
}

/// Connects to the storage ports that the peer itself names as open on every address. Others are
/// not tried.
fn ports(facts: &HostFacts, peer: SocketAddr) -> BTreeMap<u16, bool> {
    let named = |port: u16| {
        let any = [format!("0.0.0.0:{port}"), format!("[::]:{port}")];
        facts
            .listeners
            .iter()
            .any(|listener| any.contains(listener))
    };
    let tried = STORAGE_PORTS.into_iter().filter(|port| named(*port));
    tried
        .map(|port| {
            let mut address = peer;
            address.set_port(port);
            (
                port,
                TcpStream::connect_timeout(&address, CONNECT_MAX).is_ok(),
            )
        })
        .collect()
}

fn connect(peer: SocketAddr, request: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&peer, STALL_MAX)?;
    stream.set_read_timeout(Some(STALL_MAX))?;
    stream.set_write_timeout(Some(STALL_MAX))?;
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

fn sheet(peer: SocketAddr) -> io::Result<(Option<String>, HostFacts)> {
    let mut text = Vec::new();
    let stream = connect(peer, "FACTS\n")?;
    stream.take(SHEET_BYTES_MAX).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

fn there(peer: SocketAddr, link: &str) -> io::Result<Transfer> {
    let mut stream = connect(peer, "SINK\n")?;
    let meter = Meter::start(&Root::default(), link);
    load::send(&mut stream, TRANSFER_TIME, meter)
}

fn back(peer: SocketAddr, link: &str) -> io::Result<Transfer> {
    let request = format!("SOURCE {}\n", TRANSFER_TIME.as_millis());
    let mut stream = connect(peer, &request)?;
    load::take(&mut stream, Meter::start(&Root::default(), link))
}
