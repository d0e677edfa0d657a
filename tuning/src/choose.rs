//! Which links a question is about.
//!
//! Invariant: a link that is named, or that the kernel would use for the peer, comes with
//! everything below it: the VLAN's parent, the bond's members, the bridge's ports.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::error::TuneError;
use crate::facts::{HostFacts, LinkFacts};
use crate::root::Root;

/// Kinds that containers and virtual machines hang up by the dozen: not looked at unless named.
const VIRTUAL: [&str; 5] = ["veth", "tun", "ifb", "dummy", "virtual"];

/// The link of that name with all below it.
///
/// # Errors
/// When there is no such link; the message names those that there are.
pub fn named<'a>(facts: &'a HostFacts, name: &str) -> Result<Vec<&'a LinkFacts>, TuneError> {
    let Some(top) = facts.link(name) else {
        let known: Vec<&str> = facts.links.iter().map(|link| link.name.as_str()).collect();
        return Err(TuneError::usage(format!(
            "no interface {name}; there are: {}",
            known.join(", ")
        )));
    };
    Ok(facts.stack(top))
}

/// The link that the kernel uses for that address.
///
/// # Errors
/// When there is no route, or the address that it gives is on no link.
pub fn towards(facts: &HostFacts, peer: IpAddr) -> Result<&LinkFacts, TuneError> {
    let own = own_address(peer)?;
    holding(facts, own).ok_or_else(|| {
        TuneError::usage(format!(
            "the address {own} towards {peer} is on no link of this host"
        ))
    })
}

/// The link towards the server of an NFS mount.
///
/// # Errors
/// When nothing of NFS is mounted there, or as [`towards`].
pub fn towards_server<'a>(facts: &'a HostFacts, path: &str) -> Result<&'a LinkFacts, TuneError> {
    let bare = path.trim_end_matches('/');
    let Some(mount) = facts.mounts.iter().find(|mount| mount.path == bare) else {
        return Err(TuneError::usage(format!("no NFS mount at {path}")));
    };
    // The mount's own address; an older kernel tells only the name in front of the path.
    let named = mount.options.get("addr").map(String::as_str);
    let server = named.or_else(|| mount.device.rsplit_once(":/").map(|(server, _)| server));
    let server = server.unwrap_or("").trim_matches(['[', ']']);
    let address = crate::peer::ask::resolve(server)?;
    towards(facts, address.ip())
}

/// The address that this host would use towards the peer.
fn own_address(peer: IpAddr) -> Result<IpAddr, TuneError> {
    let refused = |error| TuneError::system(format!("no route to {peer}"), error);
    let any = if peer.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    // Connecting a datagram socket asks the routing table and sends nothing.
    let socket = UdpSocket::bind(any).map_err(refused)?;
    socket.connect(SocketAddr::new(peer, 9)).map_err(refused)?;
    Ok(socket.local_addr().map_err(refused)?.ip())
}

/// The name of the link that the kernel uses for that address, without reading the whole host.
///
/// # Errors
/// As [`towards`], or when the interfaces cannot be listed.
pub fn name_towards(root: &Root, peer: IpAddr) -> Result<String, TuneError> {
    let own = own_address(peer)?;
    let facts = crate::read::addresses(root)?;
    holding(&facts, own)
        .map(|link| link.name.clone())
        .ok_or_else(|| TuneError::usage(format!("the address {own} is on no link of this host")))
}

/// The link that has that address.
#[must_use]
pub fn holding(facts: &HostFacts, address: IpAddr) -> Option<&LinkFacts> {
    let holds = |text: &String| {
        let bare = text.split('/').next().unwrap_or("");
        bare.parse::<IpAddr>() == Ok(address)
    };
    facts
        .links
        .iter()
        .find(|link| link.addresses.iter().any(holds))
}

/// The links that a question without a name is about: all that are up, have an address and are no
/// container's, with everything below; the virtual ones only where there is nothing else.
#[must_use]
pub fn usual(facts: &HostFacts) -> Vec<&LinkFacts> {
    let up = |link: &&LinkFacts| link.admin_up && !link.is_loopback() && !link.addresses.is_empty();
    let mut tops: Vec<&LinkFacts> = facts
        .links
        .iter()
        .filter(up)
        .filter(|link| !VIRTUAL.contains(&link.kind.as_str()))
        .collect();
    if tops.is_empty() {
        tops = facts.links.iter().filter(up).collect();
    }
    let mut found: Vec<&LinkFacts> = Vec::new();
    for link in tops.into_iter().flat_map(|top| facts.stack(top)) {
        if !found.iter().any(|known| known.name == link.name) {
            found.push(link);
        }
    }
    found
}
