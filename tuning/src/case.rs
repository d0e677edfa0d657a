//! What a rule may look at: one host's facts, the values, the profile, the subject links and the
//! peer's side where there is one.
//!
//! Invariant: borrowed and read-only, so a rule stays a pure function.

use serde::{Deserialize, Serialize};

use crate::facts::{HostFacts, LinkFacts};
use crate::formula::Headers;
use crate::peer::PeerFacts;
use crate::values::{Preset, Values};
use crate::verdict::{State, not_here};

/// What the host is tuned for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Throughput on a local network.
    #[default]
    Lan,
    /// Throughput over distance.
    Wan,
    /// Short answers before throughput.
    Latency,
}

/// One question to all rules.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The host.
    pub facts: &'a HostFacts,
    /// The values of the data file.
    pub values: &'a Values,
    /// What the host is tuned for.
    pub profile: Profile,
    /// The links that carry the traffic in question, uppers before what lies below them.
    pub subjects: &'a [&'a LinkFacts],
    /// What was measured together with the peer.
    pub peer: Option<&'a PeerFacts>,
    /// A named goal.
    pub preset: Option<&'a Preset>,
}

impl Case<'_> {
    /// The fastest known speed of the subjects, in Mbit/s.
    ///
    /// # Errors
    /// `unknown` where no link reports its speed.
    pub fn speed_mbit(&self) -> Result<u32, State> {
        let speeds = self
            .subjects
            .iter()
            .filter_map(|link| link.speed_mbit().ok());
        speeds.max().ok_or_else(|| {
            not_here("speed unknown: no link in question reports one; --link-speed 10G tells it")
        })
    }

    /// Round trip to count with, in milliseconds: measured, else that of a local network.
    #[must_use]
    pub fn rtt_ms(&self) -> f64 {
        let measured = self.peer.and_then(|peer| {
            let idle = peer.rtt_idle.as_ref()?;
            let loaded = peer.rtt_loaded.as_ref();
            Some(loaded.map_or(idle.p50_ms, |loaded| loaded.p50_ms.max(idle.p50_ms)))
        });
        measured.unwrap_or(match self.profile {
            Profile::Lan | Profile::Latency => self.values.formula.lan_rtt_ms,
            // A link across a continent; the peer's measurement replaces it.
            Profile::Wan => 50.0,
        })
    }

    /// The headers in front of the payload on that link.
    #[must_use]
    pub fn headers(&self, link: &LinkFacts) -> Headers {
        let carried_by_vlan = self.subjects.iter().any(|upper| {
            upper.vlan_id.is_some() && upper.lower.as_deref() == Some(link.name.as_str())
        });
        Headers {
            six: self.peer.is_some_and(|peer| peer.address.contains(':')),
            timestamps: self.facts.sysctl("net.ipv4.tcp_timestamps") != Ok("0"),
            vlan: link.vlan_id.is_some() || carried_by_vlan,
        }
    }

    /// Whether the link, or something on it, carries a default route.
    #[must_use]
    pub fn carries_default(&self, link: &LinkFacts) -> bool {
        self.facts.default_links.iter().any(|name| {
            let Some(top) = self.facts.link(name) else {
                return false;
            };
            self.facts
                .stack(top)
                .iter()
                .any(|below| below.name == link.name)
        })
    }
}
