//! Answers of the ethtool family, taken apart.
//!
//! Attribute numbers are those of `linux/ethtool_netlink.h`; the module's layout is SFF-8472.
//! Invariant: no I/O, and an attribute that is not there is not guessed.

use std::collections::BTreeMap;
use std::io;

use crate::facts::{
    Channels, Coalesce, Eee, Feature, Fec, LinkModes, Module, Pause, Rings, SpeedSource,
};
use crate::netlink::{attributes, find, find_string, find_u8, find_u32, u32_of, u64_of};
use crate::reading::Reading;

const BITSET_NOMASK: u16 = 1;
const BITSET_BITS: u16 = 3;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

/// Speed of a link without one, as `linux/ethtool.h` writes -1.
const SPEED_UNKNOWN: u32 = u32::MAX;

/// The two I2C addresses of an SFP module, and the bytes that are read of each page.
pub(super) const MODULE_IDENTITY_ADDRESS: u8 = 0x50;
pub(super) const MODULE_DIAGNOSTICS_ADDRESS: u8 = 0x51;
pub(super) const MODULE_PAGE_BYTES: u32 = 128;
const MODULE_DATA: u16 = 7;

/// The names in a bit set, each with its value.
fn bits(set: &[u8]) -> Vec<(String, bool)> {
    let plain = find(set, BITSET_NOMASK).is_some();
    let list = find(set, BITSET_BITS).unwrap_or(&[]);
    attributes(list)
        .filter_map(|(_, bit)| {
            let name = find_string(bit, BIT_NAME)?;
            Some((name, plain || find(bit, BIT_VALUE).is_some()))
        })
        .collect()
}

fn set_names(answer: &[u8], kind: u16) -> Vec<String> {
    let set = find(answer, kind).map(bits).unwrap_or_default();
    let on = set.into_iter().filter(|(_, on)| *on);
    on.map(|(name, _)| name).collect()
}

pub(super) fn modes(answer: &[u8]) -> LinkModes {
    const AUTONEG: u16 = 2;
    const OURS: u16 = 3;
    const PEER: u16 = 4;
    const SPEED: u16 = 5;
    const DUPLEX: u16 = 6;
    let ours = find(answer, OURS).map(bits).unwrap_or_default();
    let speed = find_u32(answer, SPEED).filter(|speed| *speed != SPEED_UNKNOWN && *speed != 0);
    let duplex = match find_u8(answer, DUPLEX) {
        Some(0) => Some("half".to_owned()),
        Some(1) => Some("full".to_owned()),
        _ => None,
    };
    LinkModes {
        speed_mbit: Reading::from_option(speed, "the driver reports no speed"),
        speed_source: SpeedSource::default(),
        duplex: Reading::from_option(duplex, "the driver reports no duplex"),
        autoneg: find_u8(answer, AUTONEG) == Some(1),
        supported: ours.iter().map(|(name, _)| name.clone()).collect(),
        advertised: ours
            .into_iter()
            .filter(|(_, on)| *on)
            .map(|(name, _)| name)
            .collect(),
        peer: set_names(answer, PEER),
    }
}

pub(super) fn features(answer: &[u8]) -> BTreeMap<String, Feature> {
    const HARDWARE: u16 = 2;
    const ACTIVE: u16 = 4;
    const NO_CHANGE: u16 = 5;
    let hardware = set_names(answer, HARDWARE);
    let frozen = set_names(answer, NO_CHANGE);
    let mut found: BTreeMap<String, Feature> = BTreeMap::new();
    for name in &hardware {
        let fixed = frozen.contains(name);
        found.insert(name.clone(), Feature { on: false, fixed });
    }
    for name in set_names(answer, ACTIVE) {
        let fixed = !hardware.contains(&name) || frozen.contains(&name);
        found.insert(name, Feature { on: true, fixed });
    }
    found
}

pub(super) fn rings(answer: &[u8]) -> Rings {
    let number = |kind| find_u32(answer, kind).unwrap_or(0);
    Rings {
        rx: number(6),
        rx_max: number(2),
        tx: number(9),
        tx_max: number(5),
    }
}

pub(super) fn channels(answer: &[u8]) -> Channels {
    let number = |kind| find_u32(answer, kind).unwrap_or(0);
    Channels {
        combined: number(9),
        combined_max: number(5),
        rx: number(6),
        tx: number(7),
    }
}

pub(super) fn coalesce(answer: &[u8]) -> Coalesce {
    Coalesce {
        adaptive_rx: find_u8(answer, 11).map(|on| on == 1),
        rx_usecs: find_u32(answer, 2),
        rx_frames: find_u32(answer, 3),
    }
}

pub(super) fn pause(answer: &[u8]) -> Pause {
    let on = |kind| find_u8(answer, kind) == Some(1);
    let statistics = find(answer, 5).unwrap_or(&[]);
    let frames = |kind| find(statistics, kind).and_then(u64_of);
    Pause {
        autoneg: on(2),
        rx: on(3),
        tx: on(4),
        rx_frames: frames(3),
        tx_frames: frames(2),
    }
}

pub(super) fn eee(answer: &[u8]) -> Eee {
    Eee {
        active: find_u8(answer, 4) == Some(1),
        enabled: find_u8(answer, 5) == Some(1),
    }
}

pub(super) fn fec(answer: &[u8]) -> Fec {
    // Link mode bits of `linux/ethtool.h`.
    let active = match find_u32(answer, 4) {
        Some(50) => "rs",
        Some(51) => "baser",
        Some(74) => "llrs",
        _ => "off",
    };
    Fec {
        active: active.to_owned(),
        automatic: find_u8(answer, 3) == Some(1),
    }
}

pub(super) fn private_flags(answer: &[u8]) -> Vec<String> {
    set_names(answer, 2)
}

pub(super) fn hash_table(answer: &[u8]) -> Option<Vec<u32>> {
    let raw = find(answer, 4)?;
    Some(raw.chunks_exact(4).filter_map(u32_of).collect())
}

/// Whether the module's identity page says that it measures itself, calibrated by itself.
pub(super) fn has_diagnostics(answer: &[u8]) -> io::Result<()> {
    const SFP: u8 = 3;
    const MEASURES_CALIBRATED: u8 = 0x60;
    let unsupported = |why: &str| Err(io::Error::new(io::ErrorKind::Unsupported, why.to_owned()));
    let page = find(answer, MODULE_DATA).unwrap_or(&[]);
    match (page.first(), page.get(92)) {
        (Some(&SFP), Some(kind)) if kind & MEASURES_CALIBRATED == MEASURES_CALIBRATED => Ok(()),
        (Some(&SFP), _) => unsupported("the module does not measure itself"),
        (Some(_), _) => unsupported("only SFP modules are read (SFF-8472)"),
        (None, _) => unsupported("no module"),
    }
}

/// The measurements of page A2h of SFF-8472: table 9-5 thresholds, table 9-11 values.
pub(super) fn module(answer: &[u8]) -> Option<Module> {
    let page = find(answer, MODULE_DATA)?;
    let word = |at: usize| Some(u16::from_be_bytes(page.get(at..at + 2)?.try_into().ok()?));
    // Temperature in 1/256 degree, signed; power in units of 0.1 microwatt.
    let degrees = |at: usize| Some(f64::from(word(at)?.cast_signed()) / 256.0);
    let milliwatts = |at: usize| Some(f64::from(word(at)?) / 10_000.0);
    Some(Module {
        temperature: degrees(96)?,
        temperature_max: degrees(0)?,
        receive_mw: milliwatts(104)?,
        receive_mw_min: milliwatts(34)?,
        receive_mw_max: milliwatts(32)?,
    })
}
