//! What a measurement yields, in one shape for links, shares, models and disks.
//!
//! A [`Report`] has figures (one number each, with unit and direction), series (a sample per
//! second), latencies (histograms), processor use per side, a verdict with its evidence, and the
//! goals it was held against. Text, JSON, CSV, saved runs and pages are made from it alone, so all
//! of them agree. Invariant: what was not measured is absent, never zero. Not promised: that a
//! report of a newer version can be read by an older one.

pub mod cpu;
pub mod figure;
pub mod latency;
pub mod series;
pub mod target;
pub mod verdict;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use cpu::{CoreUse, SideCpu};
pub use figure::{Better, Figure, Unit};
pub use latency::Latency;
pub use series::{Sample, Series};
pub use target::{Goal, Target, TargetOutcome};
pub use verdict::{Evidence, Limit, Verdict};

/// What was measured.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The way between two hosts.
    Link,
    /// Round trips of small messages.
    RequestResponse,
    /// The ways between several hosts.
    Mesh,
    /// A share as its clients read it.
    Share,
    /// How a model is loaded.
    Model,
    /// A local disk.
    Disk,
}

/// One measurement.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// What was measured.
    pub kind: Kind,
    /// Host, URL or path.
    pub subject: String,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub started_s: u64,
    /// How it was done: option and value, to tell whether two reports may be compared.
    pub options: BTreeMap<String, String>,
    /// The numbers that count, the most important first.
    pub figures: Vec<Figure>,
    /// Numbers over time.
    pub series: Vec<Series>,
    /// Distributions of times.
    pub latencies: Vec<Latency>,
    /// Processor use of each side.
    pub cpu: Vec<SideCpu>,
    /// What limited it, and how that is known.
    pub verdict: Option<Verdict>,
    /// The goals, and whether they were reached.
    pub targets: Vec<TargetOutcome>,
    /// The goal that speed and MTU of the card set, where it tells them and the measurement was to
    /// find the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_goal: Option<Target>,
    /// What a reader must know to read the numbers rightly.
    pub notes: Vec<String>,
}

impl Report {
    /// An empty report.
    #[must_use]
    pub fn new(kind: Kind, subject: impl Into<String>, started_s: u64) -> Self {
        Self {
            kind,
            subject: subject.into(),
            started_s,
            options: BTreeMap::new(),
            figures: Vec::new(),
            series: Vec::new(),
            latencies: Vec::new(),
            cpu: Vec::new(),
            verdict: None,
            targets: Vec::new(),
            card_goal: None,
            notes: Vec::new(),
        }
    }

    /// Adds a figure.
    pub fn put(&mut self, name: &str, value: f64, unit: Unit, better: Better) {
        self.figures.push(Figure {
            name: name.to_owned(),
            value,
            unit,
            better,
        });
    }

    /// Adds a distribution with its median as figure `name` and its 99th percentile as `name_p99`.
    pub fn put_latency(&mut self, name: &str, latency: Latency) {
        let (median, beyond) = (latency.p50_s, latency.p99_s);
        self.put(name, median, Unit::Seconds, Better::Lower);
        self.put(&format!("{name}_p99"), beyond, Unit::Seconds, Better::Lower);
        self.latencies.push(latency);
    }

    /// Makes the figure called `name` the first: the one that goals and readers look for.
    pub fn put_first(&mut self, name: &str) {
        self.figures.sort_by_key(|figure| figure.name != name);
    }

    /// The figure called `name`.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// Holds the figures against goals; a goal whose figure was not measured is missed.
    pub fn judge(&mut self, targets: &[Target]) {
        let outcomes = targets.iter().map(|target| {
            let figure = self
                .figures
                .iter()
                .find(|figure| figure.name == target.name);
            target.judge(figure)
        });
        self.targets = outcomes.collect();
    }

    /// Whether a goal was missed.
    #[must_use]
    pub fn misses_a_target(&self) -> bool {
        self.targets.iter().any(|outcome| !outcome.met)
    }
}
