//! Interfaces, addresses, default routes and queueing disciplines through rtnetlink, and the few
//! settings of an interface that are written through it.
//!
//! Governed by rtnetlink(7) and `linux/if_link.h`. Not promised: a consistent picture while
//! somebody else changes the interfaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::facts::LinkFacts;
use crate::netlink::{Ask, Attributes, Netlink, find, find_string, find_u32, u16_of, u32_of};

const RTM_SETLINK: u16 = 19;
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
const RTM_GETQDISC: u16 = 38;
const IFINFO_BYTES: usize = 16;
const IFADDR_BYTES: usize = 8;
const RTMSG_BYTES: usize = 12;
const TCMSG_BYTES: usize = 20;
const IFF_UP: u32 = 1;
const ARPHRD_LOOPBACK: u16 = 772;
const RT_TABLE_MAIN: u8 = 254;
const TC_H_ROOT: u32 = 0xffff_ffff;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_MIN_MTU: u16 = 50;
const IFLA_MAX_MTU: u16 = 51;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;

/// Names of the operational states, in the order of RFC 2863 as `linux/if.h` numbers them.
const OPERSTATES: [&str; 7] = [
    "unknown",
    "notpresent",
    "down",
    "lowerlayerdown",
    "testing",
    "dormant",
    "up",
];

/// Names of the bonding modes, in the order of `linux/if_bonding.h`.
const BOND_MODES: [&str; 7] = [
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
];

/// Names of the transmit hash policies, in the order of `linux/if_bonding.h`.
const BOND_HASHES: [&str; 6] = [
    "layer2",
    "layer3+4",
    "layer2+3",
    "encap2+3",
    "encap3+4",
    "vlan+srcmac",
];

/// All interfaces with addresses and queueing disciplines.
pub(crate) fn links(socket: &mut Netlink) -> io::Result<Vec<LinkFacts>> {
    let answers = socket.ask(RTM_GETLINK, Ask::All, &[0; IFINFO_BYTES])?;
    let mut parsed: Vec<(LinkFacts, Option<u32>, Option<u32>)> =
        answers.iter().filter_map(|answer| link(answer)).collect();
    let names: Vec<(u32, String)> = parsed
        .iter()
        .map(|(link, _, _)| (link.index, link.name.clone()))
        .collect();
    let name_of = |index: u32| {
        let found = names.iter().find(|(known, _)| *known == index);
        found.map(|(_, name)| name.clone())
    };
    for (link, master, lower) in &mut parsed {
        link.master = master.and_then(name_of);
        link.lower = lower.filter(|lower| *lower != link.index).and_then(name_of);
    }
    let mut links: Vec<LinkFacts> = parsed.into_iter().map(|(link, _, _)| link).collect();
    for (index, address) in addresses(socket)? {
        if let Some(link) = links.iter_mut().find(|link| link.index == index) {
            link.addresses.push(address);
        }
    }
    for (index, kind) in qdiscs(socket)? {
        if let Some(link) = links.iter_mut().find(|link| link.index == index) {
            link.qdiscs.push(kind);
        }
    }
    Ok(links)
}

fn link(answer: &[u8]) -> Option<(LinkFacts, Option<u32>, Option<u32>)> {
    let layer = u16_of(answer.get(2..4)?)?;
    let index = u32_of(answer.get(4..8)?)?;
    let flags = u32_of(answer.get(8..12)?)?;
    let bytes = answer.get(IFINFO_BYTES..)?;
    let state = find(bytes, IFLA_OPERSTATE).and_then(|payload| payload.first().copied());
    let mut facts = LinkFacts {
        name: find_string(bytes, IFLA_IFNAME)?,
        index,
        kind: if layer == ARPHRD_LOOPBACK {
            "loopback".to_owned()
        } else {
            String::new()
        },
        mac: find(bytes, IFLA_ADDRESS).map(mac_text).unwrap_or_default(),
        admin_up: flags & IFF_UP != 0,
        operstate: state
            .and_then(|state| OPERSTATES.get(usize::from(state)))
            .map_or_else(String::new, |name| (*name).to_owned()),
        mtu: find_u32(bytes, IFLA_MTU).unwrap_or(0),
        mtu_min: find_u32(bytes, IFLA_MIN_MTU).unwrap_or(0),
        mtu_max: find_u32(bytes, IFLA_MAX_MTU).unwrap_or(0),
        transmit_queue: find_u32(bytes, IFLA_TXQLEN).unwrap_or(0),
        ..LinkFacts::default()
    };
    if let Some(info) = find(bytes, IFLA_LINKINFO) {
        add_info(&mut facts, info);
    }
    let elsewhere = find(bytes, IFLA_LINK_NETNSID).is_some();
    // The other end of a veth pair is a peer, not something below.
    let lower = find_u32(bytes, IFLA_LINK).filter(|_| !elsewhere && facts.kind != "veth");
    Some((facts, find_u32(bytes, IFLA_MASTER), lower))
}

fn add_info(facts: &mut LinkFacts, info: &[u8]) {
    const VLAN_ID: u16 = 1;
    const BOND_MODE: u16 = 1;
    const BOND_HASH: u16 = 14;
    let Some(kind) = find_string(info, INFO_KIND) else {
        return;
    };
    let data = find(info, INFO_DATA).unwrap_or(&[]);
    let word = |kind: u16, words: &[&str]| {
        let number = find(data, kind)?.first().copied()?;
        words
            .get(usize::from(number))
            .map(|word| (*word).to_owned())
    };
    match kind.as_str() {
        "vlan" => facts.vlan_id = find(data, VLAN_ID).and_then(u16_of),
        "bond" => {
            facts.bond_mode = word(BOND_MODE, &BOND_MODES);
            facts.bond_hash = word(BOND_HASH, &BOND_HASHES);
        }
        _ => {}
    }
    facts.kind = kind;
}

fn mac_text(bytes: &[u8]) -> String {
    let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

fn addresses(socket: &mut Netlink) -> io::Result<Vec<(u32, String)>> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    let answers = socket.ask(RTM_GETADDR, Ask::All, &[0; IFADDR_BYTES])?;
    let one = |answer: &Vec<u8>| {
        let prefix = *answer.get(1)?;
        let index = u32_of(answer.get(4..8)?)?;
        let bytes = answer.get(IFADDR_BYTES..)?;
        let raw = find(bytes, IFA_LOCAL).or_else(|| find(bytes, IFA_ADDRESS))?;
        Some((index, format!("{}/{prefix}", address_of(raw)?)))
    };
    Ok(answers.iter().filter_map(one).collect())
}

fn address_of(raw: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(raw) {
        return Some(IpAddr::V4(Ipv4Addr::from(four)));
    }
    let sixteen = <[u8; 16]>::try_from(raw).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(sixteen)))
}

fn qdiscs(socket: &mut Netlink) -> io::Result<Vec<(u32, String)>> {
    const TCA_KIND: u16 = 1;
    let answers = socket.ask(RTM_GETQDISC, Ask::All, &[0; TCMSG_BYTES])?;
    let one = |answer: &Vec<u8>| {
        let index = u32_of(answer.get(4..8)?)?;
        let parent = u32_of(answer.get(12..16)?)?;
        let kind = find_string(answer.get(TCMSG_BYTES..)?, TCA_KIND)?;
        Some((parent != TC_H_ROOT, index, kind))
    };
    let mut found: Vec<(bool, u32, String)> = answers.iter().filter_map(one).collect();
    // The root first; the order below it is the kernel's.
    found.sort_by_key(|(child, index, _)| (*index, *child));
    Ok(found
        .into_iter()
        .map(|(_, index, kind)| (index, kind))
        .collect())
}

/// Interfaces of the default routes of the main table, lowest metric first.
pub(crate) fn default_links(socket: &mut Netlink) -> io::Result<Vec<u32>> {
    const RTA_OIF: u16 = 4;
    const RTA_PRIORITY: u16 = 6;
    let answers = socket.ask(RTM_GETROUTE, Ask::All, &[0; RTMSG_BYTES])?;
    let mut found: Vec<(u32, u32)> = answers
        .iter()
        .filter_map(|answer| {
            let is_default = *answer.get(1)? == 0 && *answer.get(4)? == RT_TABLE_MAIN;
            let bytes = answer.get(RTMSG_BYTES..)?;
            let metric = find_u32(bytes, RTA_PRIORITY).unwrap_or(0);
            is_default.then(|| find_u32(bytes, RTA_OIF).map(|link| (metric, link)))?
        })
        .collect();
    found.sort_unstable();
    found.dedup_by_key(|(_, link)| *link);
    Ok(found.into_iter().map(|(_, link)| link).collect())
}

/// What of an interface is written through rtnetlink.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkWrite {
    /// The MTU in bytes.
    Mtu(u32),
    /// The length of the transmit queue in packets.
    TransmitQueue(u32),
    /// Up or down.
    Up(bool),
}

/// Writes one setting of an interface. Needs CAP_NET_ADMIN.
pub(crate) fn write(socket: &mut Netlink, index: u32, write: LinkWrite) -> io::Result<()> {
    let mut body = vec![0; IFINFO_BYTES];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    match write {
        LinkWrite::Mtu(mtu) => {
            Attributes(&mut body).u32(IFLA_MTU, mtu);
        }
        LinkWrite::TransmitQueue(length) => {
            Attributes(&mut body).u32(IFLA_TXQLEN, length);
        }
        LinkWrite::Up(up) => {
            body[8..12].copy_from_slice(&u32::from(up).to_ne_bytes());
            body[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
        }
    }
    socket.ask(RTM_SETLINK, Ask::One, &body).map(drop)
}

/// The index, MTU, transmit queue and state of one interface as they are now.
pub(crate) fn one(socket: &mut Netlink, name: &str) -> io::Result<LinkFacts> {
    let mut body = vec![0; IFINFO_BYTES];
    Attributes(&mut body).string(IFLA_IFNAME, name);
    let answers = socket.ask(RTM_GETLINK, Ask::One, &body)?;
    answers
        .first()
        .and_then(|answer| link(answer))
        .map(|(link, _, _)| link)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no interface {name}")))
}
