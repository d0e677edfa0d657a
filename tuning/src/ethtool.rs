//! The ethtool family of generic netlink: what a driver tells about its card, and the settings
//! that it takes.
//!
//! Governed by `Documentation/networking/ethtool-netlink.rst` and `linux/ethtool_netlink.h`.
//! Invariant: reading changes nothing, and a value that the driver does not report is an error of
//! its own, never a zero.

mod parse;
mod set;

use std::collections::BTreeMap;
use std::io;

use crate::facts::{Channels, Coalesce, Eee, Feature, Fec, LinkModes, Module, Pause, Rings};
pub(crate) use towline_sys::ethtool::DriverSocket;

use crate::netlink::{Ask, Attributes, Netlink, find};

const VERSION: u8 = 1;
const HEADER: u16 = 1;
const HEADER_DEV_NAME: u16 = 2;
const HEADER_FLAGS: u16 = 3;
/// Asks for the counters of flow control too.
const FLAG_STATS: u32 = 4;

/// Messages that ask or set, as `linux/ethtool_netlink.h` numbers them.
mod message {
    pub(super) const LINKMODES_GET: u8 = 4;
    pub(super) const FEATURES_GET: u8 = 11;
    pub(super) const FEATURES_SET: u8 = 12;
    pub(super) const PRIVFLAGS_GET: u8 = 13;
    pub(super) const RINGS_GET: u8 = 15;
    pub(super) const RINGS_SET: u8 = 16;
    pub(super) const CHANNELS_GET: u8 = 17;
    pub(super) const CHANNELS_SET: u8 = 18;
    pub(super) const COALESCE_GET: u8 = 19;
    pub(super) const COALESCE_SET: u8 = 20;
    pub(super) const PAUSE_GET: u8 = 21;
    pub(super) const PAUSE_SET: u8 = 22;
    pub(super) const EEE_GET: u8 = 23;
    pub(super) const EEE_SET: u8 = 24;
    pub(super) const FEC_GET: u8 = 29;
    pub(super) const MODULE_EEPROM_GET: u8 = 31;
    pub(super) const RSS_GET: u8 = 38;
}

/// Asks about the cards of this host.
#[derive(Debug)]
pub(crate) struct Ethtool {
    socket: Netlink,
    family: u16,
}

impl Ethtool {
    /// Opens the family. Fails where the kernel is older than 5.6.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Netlink::generic()?;
        let family = socket.family("ethtool")?;
        Ok(Self { socket, family })
    }

    fn send(
        &mut self,
        message: u8,
        link: &str,
        flags: u32,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) -> io::Result<Vec<u8>> {
        let mut body = vec![message, VERSION, 0, 0];
        let mut attributes = Attributes(&mut body);
        attributes.nest(HEADER, |header| {
            header.string(HEADER_DEV_NAME, link);
            if flags != 0 {
                header.u32(HEADER_FLAGS, flags);
            }
        });
        fill(&mut attributes);
        let answers = self.socket.ask(self.family, Ask::One, &body)?;
        let first = answers.into_iter().next().unwrap_or_default();
        Ok(first.get(4..).unwrap_or(&[]).to_vec())
    }

    fn get(&mut self, message: u8, link: &str) -> io::Result<Vec<u8>> {
        let answer = self.send(message, link, 0, |_| {})?;
        if find(&answer, HEADER).is_none() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the driver gave an empty answer",
            ));
        }
        Ok(answer)
    }

    /// Speed, duplex and link modes.
    pub(crate) fn modes(&mut self, link: &str) -> io::Result<LinkModes> {
        self.get(message::LINKMODES_GET, link)
            .map(|answer| parse::modes(&answer))
    }

    /// Offloads.
    pub(crate) fn features(&mut self, link: &str) -> io::Result<BTreeMap<String, Feature>> {
        self.get(message::FEATURES_GET, link)
            .map(|answer| parse::features(&answer))
    }

    /// Ring sizes.
    pub(crate) fn rings(&mut self, link: &str) -> io::Result<Rings> {
        self.get(message::RINGS_GET, link)
            .map(|answer| parse::rings(&answer))
    }

    /// Channel counts.
    pub(crate) fn channels(&mut self, link: &str) -> io::Result<Channels> {
        self.get(message::CHANNELS_GET, link)
            .map(|answer| parse::channels(&answer))
    }

    /// Interrupt coalescing.
    pub(crate) fn coalesce(&mut self, link: &str) -> io::Result<Coalesce> {
        self.get(message::COALESCE_GET, link)
            .map(|answer| parse::coalesce(&answer))
    }

    /// Flow control and its counters.
    pub(crate) fn pause(&mut self, link: &str) -> io::Result<Pause> {
        let answer = self.send(message::PAUSE_GET, link, FLAG_STATS, |_| {})?;
        Ok(parse::pause(&answer))
    }

    /// Energy-efficient Ethernet.
    pub(crate) fn eee(&mut self, link: &str) -> io::Result<Eee> {
        self.get(message::EEE_GET, link)
            .map(|answer| parse::eee(&answer))
    }

    /// Forward error correction.
    pub(crate) fn fec(&mut self, link: &str) -> io::Result<Fec> {
        self.get(message::FEC_GET, link)
            .map(|answer| parse::fec(&answer))
    }

    /// The driver's private flags that are on.
    pub(crate) fn private_flags(&mut self, link: &str) -> io::Result<Vec<String>> {
        self.get(message::PRIVFLAGS_GET, link)
            .map(|answer| parse::private_flags(&answer))
    }

    /// The receive hash table.
    pub(crate) fn hash_table(&mut self, link: &str) -> io::Result<Vec<u32>> {
        let answer = self.get(message::RSS_GET, link)?;
        parse::hash_table(&answer).ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "the driver tells no hash table")
        })
    }

    /// The measurements of an SFP module. Needs CAP_NET_ADMIN.
    pub(crate) fn module(&mut self, link: &str) -> io::Result<Module> {
        let page = |this: &mut Self, address: u8| {
            this.send(message::MODULE_EEPROM_GET, link, 0, |attributes| {
                attributes
                    .u32(2, 0)
                    .u32(3, parse::MODULE_PAGE_BYTES)
                    .u8(4, 0)
                    .u8(5, 0)
                    .u8(6, address);
            })
        };
        let identity = page(self, parse::MODULE_IDENTITY_ADDRESS)?;
        parse::has_diagnostics(&identity)?;
        let answer = page(self, parse::MODULE_DIAGNOSTICS_ADDRESS)?;
        parse::module(&answer)
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "the module's page is short"))
    }
}
