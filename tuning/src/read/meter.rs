//! The counters of this host around a transfer.
//!
//! Invariant: two samples, one at the start and one at the stop; pause frames come from the ethtool
//! family where the driver counts them, and the driver's own counters are summed by meaning.

use std::time::Duration;

use super::counters::{self, Sample};
use crate::driver_counters::{DriverCounters, Meaning};
use crate::ethtool::Ethtool;
use crate::facts::{HostFacts, LinkFacts};
use crate::peer::Deltas;
use crate::root::Root;

/// A measurement that has begun.
#[derive(Debug)]
pub struct Meter {
    root: Root,
    facts: HostFacts,
    before: Sample,
    pause_before: Option<(u64, u64)>,
}

impl Meter {
    /// Takes the first sample.
    #[must_use]
    pub fn start(root: &Root, link: &str) -> Self {
        let facts = HostFacts {
            links: vec![LinkFacts {
                name: link.to_owned(),
                ..LinkFacts::default()
            }],
            ..HostFacts::default()
        };
        Self {
            before: counters::sample(root, &facts),
            pause_before: pauses(link),
            root: root.clone(),
            facts,
        }
    }

    /// Takes the second sample and gives the growth.
    #[must_use]
    pub fn stop(mut self) -> Deltas {
        let after = counters::sample(&self.root, &self.facts);
        // The window's length is of no interest here; it must only not be zero.
        counters::put(
            &mut self.facts,
            &self.before,
            after,
            Duration::from_millis(1),
        );
        let mut link = self.facts.links.remove(0);
        let name = link.name.clone();
        if let (Some(before), Some(now)) = (self.pause_before, pauses(&name)) {
            let grown = |now: u64, before: u64| now.saturating_sub(before);
            let deltas = &mut link.counter_deltas;
            deltas.insert("pause_rx_frames".to_owned(), grown(now.0, before.0));
            deltas.insert("pause_tx_frames".to_owned(), grown(now.1, before.1));
        }
        if let Ok(names) = DriverCounters::load() {
            for (meaning, name) in Meaning::ALL {
                if let Some(sum) = names.sum(meaning, &link.driver_counter_deltas) {
                    link.counter_deltas.insert(name.to_owned(), sum);
                }
            }
        }
        Deltas {
            stack: self.facts.counter_deltas,
            link: link.counter_deltas,
            busiest: self.facts.cpu.busiest,
        }
    }
}

fn pauses(link: &str) -> Option<(u64, u64)> {
    let pause = Ethtool::open().ok()?.pause(link).ok()?;
    Some((pause.rx_frames?, pause.tx_frames?))
}
