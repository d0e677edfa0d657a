//! Settings that a driver takes, one message each.
//!
//! All need CAP_NET_ADMIN. Invariant: a message names only the value that is to change; whoever
//! calls reads it back, because drivers round and ignore.

use std::io;

use super::{Ethtool, message};

impl Ethtool {
    /// Switches one offload.
    pub(crate) fn set_feature(&mut self, link: &str, feature: &str, on: bool) -> io::Result<()> {
        self.send(message::FEATURES_SET, link, 0, |attributes| {
            attributes.nest(3, |wanted| {
                wanted.nest(3, |bits| {
                    bits.nest(1, |bit| {
                        bit.string(2, feature);
                        if on {
                            bit.flag(3);
                        }
                    });
                });
            });
        })
        .map(drop)
    }

    /// Sets both ring sizes, in descriptors.
    pub(crate) fn set_rings(&mut self, link: &str, rx: u32, tx: u32) -> io::Result<()> {
        self.send(message::RINGS_SET, link, 0, |attributes| {
            attributes.u32(6, rx).u32(9, tx);
        })
        .map(drop)
    }

    /// Sets the number of combined channels.
    pub(crate) fn set_channels(&mut self, link: &str, combined: u32) -> io::Result<()> {
        self.send(message::CHANNELS_SET, link, 0, |attributes| {
            attributes.u32(9, combined);
        })
        .map(drop)
    }

    /// Switches adaptive receive coalescing.
    pub(crate) fn set_adaptive_receive(&mut self, link: &str, on: bool) -> io::Result<()> {
        self.send(message::COALESCE_SET, link, 0, |attributes| {
            attributes.u8(11, u8::from(on));
        })
        .map(drop)
    }

    /// Sets flow control.
    pub(crate) fn set_pause(&mut self, link: &str, rx: bool, tx: bool) -> io::Result<()> {
        self.send(message::PAUSE_SET, link, 0, |attributes| {
            attributes.u8(3, u8::from(rx)).u8(4, u8::from(tx));
        })
        .map(drop)
    }

    /// Switches energy-efficient Ethernet.
    pub(crate) fn set_eee(&mut self, link: &str, on: bool) -> io::Result<()> {
        self.send(message::EEE_SET, link, 0, |attributes| {
            attributes.u8(5, u8::from(on));
        })
        .map(drop)
    }
}
