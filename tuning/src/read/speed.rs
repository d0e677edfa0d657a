//! Where the speed of a link comes from: its driver, whoever asks, or nowhere.
//!
//! veth, tun, tap and the bridges over them say 10 Gbit/s, which nobody measured. Invariant: a
//! speed counts as the driver's only where hardware is below the link, at whatever depth; any
//! other is marked as invented, and rules that need a speed say that there is none. Who knows
//! better says so ([`ToldSpeeds`]), and the report shows it. Not promised: that hardware behind a
//! guest's card is as fast as it says.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::TuneError;
use crate::facts::{HostFacts, LinkFacts, LinkModes, SpeedSource};
use crate::reading::Reading;

/// The environment variable that tells speeds.
pub const SPEEDS_VARIABLE: &str = "TOWLINE_LINK_SPEED";

/// Slowest and fastest speed that can be told, in Mbit/s: Ethernet has been slower and will be
/// faster, and neither is tuned here.
const SPEEDS_MBIT: std::ops::RangeInclusive<u64> = 10..=1_600_000;

/// Most links that are told of in one text: as many as are looked at.
const TOLD_MAX: usize = super::LINKS_MAX;

/// Speeds that the user tells, for links whose driver does not know.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ToldSpeeds {
    /// In Mbit/s, for every link without a speed of its own.
    others: Option<u32>,
    /// In Mbit/s, by the link's name, whatever its driver says.
    links: BTreeMap<String, u32>,
}

impl ToldSpeeds {
    /// Reads `10G`, or `tap0=10G,eth1=2.5G`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TuneError> {
        let mut told = Self::default();
        let words = text.split(',').map(str::trim);
        for word in words.filter(|word| !word.is_empty()).take(TOLD_MAX) {
            let (link, rate) = match word.split_once('=') {
                Some((link, rate)) => (Some(link), rate),
                None => (None, word),
            };
            let mbit = mbit(rate).ok_or_else(|| {
                TuneError::usage(format!(
                    "{word:?} is no speed of a link: write LINK=SPEED, or a SPEED alone for every \
                     link whose driver has none, such as tap0=10G or 2.5G"
                ))
            })?;
            match link {
                Some(link) => drop(told.links.insert(link.trim().to_owned(), mbit)),
                None => told.others = Some(mbit),
            }
        }
        Ok(told)
    }

    /// What [`SPEEDS_VARIABLE`] tells; nothing where it is not set, or empty.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn of_environment() -> Result<Self, TuneError> {
        let text = std::env::var(SPEEDS_VARIABLE).unwrap_or_default();
        Self::parse(&text).map_err(|error| TuneError::usage(format!("{SPEEDS_VARIABLE}: {error}")))
    }
}

/// `2.5G`, `10Gbit/s`, `100M` in Mbit/s.
fn mbit(text: &str) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.trim_end_matches("/s").trim_end_matches("ps");
    let text = text.trim_end_matches("bit").trim_end_matches('b');
    let (number, scale) = match text.strip_suffix('g') {
        Some(number) => (number, 1_000.0),
        None => (text.strip_suffix('m')?, 1.0),
    };
    let number: f64 = number.trim().parse().ok()?;
    let mbit = (number * scale).round();
    let sane = mbit.is_finite() && mbit >= 0.0;
    let mbit = sane.then_some(mbit as u64)?;
    let mbit = SPEEDS_MBIT.contains(&mbit).then_some(mbit)?;
    u32::try_from(mbit).ok()
}

/// Marks every speed with where it comes from, and puts in what was told.
pub(super) fn judge(facts: &mut HostFacts, told: &ToldSpeeds) {
    let real = with_hardware(&facts.links);
    for link in &mut facts.links {
        let is_real = real.contains(&link.name);
        if let Reading::Value(modes) = &mut link.modes
            && !is_real
            && matches!(modes.speed_mbit, Reading::Value(_))
        {
            modes.speed_source = SpeedSource::Invented;
        }
        let own = told.links.get(&link.name).copied();
        let Some(mbit) = own.or_else(|| told.others.filter(|_| link.speed_mbit().is_err())) else {
            continue;
        };
        if link.is_loopback() {
            continue;
        }
        if !matches!(link.modes, Reading::Value(_)) {
            link.modes = Reading::Value(LinkModes::default());
        }
        if let Reading::Value(modes) = &mut link.modes {
            modes.speed_mbit = Reading::Value(mbit);
            modes.speed_source = SpeedSource::Told;
        }
    }
}

/// The links that are hardware, or lie on it.
fn with_hardware(links: &[LinkFacts]) -> BTreeSet<String> {
    let mut real: BTreeSet<String> = BTreeSet::new();
    // Each round goes one floor up; no host stacks more floors than it has links.
    for _ in 0..=links.len() {
        let before = real.len();
        for link in links {
            let is_above = |other: &LinkFacts| {
                other.master.as_ref() == Some(&link.name) && real.contains(&other.name)
            };
            let lies_on = link
                .lower
                .as_ref()
                .is_some_and(|lower| real.contains(lower));
            if link.is_device() || lies_on || links.iter().any(is_above) {
                real.insert(link.name.clone());
            }
        }
        if real.len() == before {
            break;
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, kind: &str, master: Option<&str>, lower: Option<&str>) -> LinkFacts {
        LinkFacts {
            name: name.to_owned(),
            kind: kind.to_owned(),
            master: master.map(str::to_owned),
            lower: lower.map(str::to_owned),
            modes: Reading::Value(LinkModes {
                speed_mbit: Reading::Value(10_000),
                ..LinkModes::default()
            }),
            ..LinkFacts::default()
        }
    }

    fn host() -> HostFacts {
        HostFacts {
            links: vec![
                link("lo", "loopback", None, None),
                link("veth0", "veth", Some("br1"), None),
                link("tun0", "tun", None, None),
                link("br1", "bridge", None, None),
                link("br0", "bridge", None, None),
                link("vlan5", "vlan", Some("br0"), Some("bond0")),
                link("bond0", "bond", None, None),
                link("eth0", "physical", Some("bond0"), None),
            ],
            ..HostFacts::default()
        }
    }

    #[test]
    fn only_what_lies_on_hardware_has_a_speed_of_its_own() {
        let mut facts = host();
        judge(&mut facts, &ToldSpeeds::default());
        for link in &facts.links {
            let is_real = ["eth0", "bond0", "vlan5", "br0"].contains(&link.name.as_str());
            assert_eq!(link.speed_mbit().is_ok(), is_real, "{}", link.name);
        }
    }

    #[test]
    fn what_is_told_counts_where_the_driver_does_not_know_and_by_name_everywhere() {
        let mut facts = host();
        judge(
            &mut facts,
            &ToldSpeeds::parse("2.5G, eth0=100Gbit/s").unwrap(),
        );
        for link in &facts.links {
            let wanted = match link.name.as_str() {
                "lo" => None,
                "eth0" => Some(100_000),
                "bond0" | "vlan5" | "br0" => Some(10_000),
                _ => Some(2_500),
            };
            assert_eq!(link.speed_mbit().ok(), wanted, "{}", link.name);
        }
    }

    #[test]
    fn what_is_no_speed_is_refused() {
        for wrong in [
            "fast",
            "eth0=",
            "10",
            "9M",
            "1601G",
            "eth0=nanG",
            "-1G",
            "=x",
        ] {
            let why = ToldSpeeds::parse(wrong).unwrap_err().to_string();
            assert!(why.contains("SPEED"), "{wrong}: {why}");
        }
        for (right, mbit) in [("10M", 10), ("1600G", 1_600_000), ("1 Gbps", 1_000)] {
            assert_eq!(
                ToldSpeeds::parse(right).unwrap().others,
                Some(mbit),
                "{right}"
            );
        }
        assert_eq!(ToldSpeeds::parse("").unwrap(), ToldSpeeds::default());
    }
}
