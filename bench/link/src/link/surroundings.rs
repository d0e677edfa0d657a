//! What happens around a test on this host: the card that carries it and counters that complain.
//!
//! Invariant: only growth during the test is told, and zeros are left out. Counters are those of
//! `towline_tuning`: interface statistics, pause frames, and /proc/net/{snmp,netstat}.

use std::net::IpAddr;

use towline_tuning::read::Meter;
use towline_tuning::{Root, choose};

use super::run::Card;

/// Counters whose growth means trouble, with what they mean.
pub(super) const COUNTERS: [(&str, &str); 14] = [
    ("rx_dropped", "received frames dropped by this host"),
    ("tx_dropped", "frames dropped before sending"),
    ("rx_missed_errors", "frames that the card had no room for"),
    ("rx_fifo_errors", "overruns of the card's receive queue"),
    ("rx_crc_errors", "damaged frames: cable, optics or port"),
    ("rx_errors", "receive errors"),
    ("tx_errors", "send errors"),
    (
        "pause_rx_frames",
        "pause frames received: the other end asked to stop",
    ),
    (
        "pause_tx_frames",
        "pause frames sent: this host asked to stop",
    ),
    ("Tcp.RetransSegs", "segments sent again by this host"),
    ("Udp.RcvbufErrors", "datagrams dropped: receive buffer full"),
    (
        "TcpExt.TCPRcvQDrop",
        "segments dropped: receive buffer full",
    ),
    ("TcpExt.PruneCalled", "receive buffers pruned"),
    ("TcpExt.TCPBacklogDrop", "segments dropped: backlog full"),
];

/// A measurement around a test.
#[derive(Debug, Default)]
pub struct Surroundings {
    meter: Option<Meter>,
    card: Option<Card>,
}

impl Surroundings {
    /// Takes the first sample of the interface towards `peer`.
    pub fn begin(peer: IpAddr) -> Self {
        let root = Root::default();
        let Ok(name) = choose::name_towards(&root, peer.to_canonical()) else {
            return Self::default();
        };
        let number = |file: &str| {
            let path = format!("/sys/class/net/{name}/{file}");
            let text = std::fs::read_to_string(path).ok()?;
            // A link that is down or has no speed says -1.
            text.trim().parse::<u32>().ok().filter(|number| *number > 0)
        };
        let speed = number("speed").filter(|_| has_hardware(&name));
        Self {
            meter: Some(Meter::start(&root, &name)),
            card: Some(Card {
                speed_mbit: speed,
                mtu: number("mtu"),
                name,
            }),
        }
    }

    /// The card, and what grew since the begin.
    pub fn end(&mut self) -> (Option<Card>, std::collections::BTreeMap<String, u64>) {
        let Some(meter) = self.meter.take() else {
            return (self.card.take(), std::collections::BTreeMap::new());
        };
        let deltas = meter.stop();
        let known = |name: &String| COUNTERS.iter().any(|(counter, _)| counter == name);
        let grown = deltas.link.into_iter().chain(deltas.stack);
        let counters = grown.filter(|(name, count)| *count > 0 && known(name));
        (self.card.take(), counters.collect())
    }
}

/// Whether a card carries the interface, itself or below it (a bond, a VLAN). Purely virtual ones
/// such as veth name a speed too, which means nothing.
fn has_hardware(name: &str) -> bool {
    has_hardware_below(name, FLOORS_MAX)
}

/// The same, so many floors down: a bridge over veth has something below it, and no hardware.
fn has_hardware_below(name: &str, floors: u32) -> bool {
    let folder = std::path::Path::new("/sys/class/net").join(name);
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.any(|entry| {
        let below = entry.strip_prefix("lower_").filter(|_| floors > 0);
        entry == "device" || below.is_some_and(|lower| has_hardware_below(lower, floors - 1))
    })
}

/// Most links on top of each other that are looked through: VLAN, bridge, bond, and some more.
const FLOORS_MAX: u32 = 8;
