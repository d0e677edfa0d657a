//! Goals that a measurement is held against: `link=9.4Gbps,rtt=0.5ms`.
//!
//! Invariant: a goal has the unit and direction of its figure, and only known figures can be goals,
//! so that a slip of the pen is an error and never a goal that is always met.

use serde::{Deserialize, Serialize};

use super::Kind;
use super::figure::{Better, Figure, Unit};

const LINK: &[Kind] = &[Kind::Link];
const NETWORK: &[Kind] = &[Kind::Link, Kind::Share];
const REQUESTS: &[Kind] = &[Kind::RequestResponse];

/// Figures that can be goals: name, unit, measurements that have them, meaning.
pub const GOALS: [Goal; 14] = [
    goal("link", Unit::BitsPerSecond, LINK, "throughput"),
    goal(
        "link_reverse",
        Unit::BitsPerSecond,
        LINK,
        "throughput towards this host, --bidir",
    ),
    goal("rtt", Unit::Seconds, NETWORK, "median round trip, idle"),
    goal("rtt_p99", Unit::Seconds, NETWORK, "99th percentile, idle"),
    goal(
        "rtt_loaded",
        Unit::Seconds,
        NETWORK,
        "median round trip under load",
    ),
    goal(
        "rtt_loaded_p99",
        Unit::Seconds,
        NETWORK,
        "99th percentile under load",
    ),
    goal(
        "rr",
        Unit::Seconds,
        REQUESTS,
        "median round trip of requests",
    ),
    goal(
        "rr_p99",
        Unit::Seconds,
        REQUESTS,
        "99th percentile of requests",
    ),
    goal("retransmits", Unit::Count, LINK, "segments sent again"),
    goal("loss", Unit::Percent, LINK, "datagrams lost"),
    goal("jitter", Unit::Seconds, LINK, "jitter of datagrams"),
    goal(
        "share",
        Unit::BitsPerSecond,
        &[Kind::Share],
        "sequential reads of a share",
    ),
    goal(
        "model",
        Unit::Seconds,
        &[Kind::Model],
        "time until a model is loaded",
    ),
    goal(
        "disk",
        Unit::BitsPerSecond,
        &[Kind::Disk],
        "sequential reads of a disk",
    ),
];

/// A figure that can be a goal.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Its name.
    pub name: &'static str,
    /// Its unit, which also says which direction is better.
    pub unit: Unit,
    /// The measurements that have it.
    pub kinds: &'static [Kind],
    /// What it is.
    pub meaning: &'static str,
}

const fn goal(
    name: &'static str,
    unit: Unit,
    kinds: &'static [Kind],
    meaning: &'static str,
) -> Goal {
    Goal {
        name,
        unit,
        kinds,
        meaning,
    }
}

/// Names of the goals that a measurement of this kind can have.
#[must_use]
pub fn names_of(kind: Kind) -> Vec<&'static str> {
    let goals = GOALS.iter().filter(|goal| goal.kinds.contains(&kind));
    goals.map(|goal| goal.name).collect()
}

/// One goal with its value in base units.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Target {
    /// Name of the figure.
    pub name: String,
    /// What it must reach.
    pub value: f64,
    /// Unit of the figure.
    pub unit: Unit,
    /// Where it came from: `--target`, a preset, or the link's speed.
    pub from: String,
}

/// A goal and what became of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TargetOutcome {
    /// The goal.
    #[serde(flatten)]
    pub target: Target,
    /// What was measured, if it was.
    pub measured: Option<f64>,
    /// Whether the goal was reached.
    pub met: bool,
}

/// Why a list of goals cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetFault {
    /// No such figure.
    #[error("no goal is called {name}; there are: {}", known())]
    Name {
        /// What was written.
        name: String,
    },
    /// No value, or one that has another unit.
    #[error("{name}={value}: write {example}")]
    Value {
        /// Which goal.
        name: String,
        /// What was written.
        value: String,
        /// What could have been written.
        example: String,
    },
    /// Not of the form NAME=VALUE.
    #[error("{text}: write NAME=VALUE, such as link=9.4Gbps,rtt=0.5ms")]
    Form {
        /// What was written.
        text: String,
    },
}

fn known() -> String {
    GOALS.map(|goal| goal.name).join(", ")
}

impl Target {
    /// The goals of `link=9.4Gbps,rtt=0.5ms`.
    ///
    /// # Errors
    /// [`TargetFault`], which says what to write.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, TargetFault> {
        text.split(',').map(Self::parse).collect()
    }

    fn parse(text: &str) -> Result<Self, TargetFault> {
        let form = || TargetFault::Form { text: text.into() };
        let (name, value) = text.trim().split_once('=').ok_or_else(form)?;
        let found = GOALS.iter().find(|goal| goal.name == name);
        let goal = found.ok_or_else(|| TargetFault::Name { name: name.into() })?;
        let parsed = parse_value(value, goal.unit).ok_or_else(|| TargetFault::Value {
            name: name.into(),
            value: value.into(),
            example: format!("{name}={}", example(goal.unit)),
        })?;
        Ok(Self {
            name: name.to_owned(),
            value: parsed,
            unit: goal.unit,
            from: "--target".to_owned(),
        })
    }

    /// Whether measurements of this kind have such a figure.
    #[must_use]
    pub fn concerns(&self, kind: Kind) -> bool {
        names_of(kind).contains(&self.name.as_str())
    }

    /// Which direction is better.
    #[must_use]
    pub fn better(&self) -> Better {
        match self.unit {
            Unit::BitsPerSecond | Unit::BytesPerSecond | Unit::PerSecond => Better::Higher,
            Unit::Seconds | Unit::Percent | Unit::Count | Unit::SecondsPerGib => Better::Lower,
        }
    }

    /// Holds a figure against the goal.
    #[must_use]
    pub fn judge(&self, figure: Option<&Figure>) -> TargetOutcome {
        let measured = figure.map(|figure| figure.value);
        let met = measured.is_some_and(|value| match self.better() {
            Better::Higher => value >= self.value,
            Better::Lower => value <= self.value,
        });
        TargetOutcome {
            target: self.clone(),
            measured,
            met,
        }
    }
}

impl TargetOutcome {
    /// The line that people read.
    #[must_use]
    pub fn line(&self) -> String {
        let target = &self.target;
        let relation = match target.better() {
            Better::Higher => "at least",
            Better::Lower => "at most",
        };
        let got = match self.measured {
            Some(value) => target.unit.show(value),
            None => "not measured".to_owned(),
        };
        let word = if self.met { "met" } else { "MISSED" };
        let wanted = target.unit.show(target.value);
        format!(
            "{word}: {} {got}, wanted {relation} {wanted} ({})",
            target.name, target.from
        )
    }
}

fn example(unit: Unit) -> &'static str {
    match unit {
        Unit::BitsPerSecond | Unit::BytesPerSecond => "9.4Gbps",
        Unit::Seconds => "0.5ms",
        Unit::Percent => "0.1%",
        Unit::PerSecond | Unit::Count | Unit::SecondsPerGib => "100",
    }
}

/// A number with its unit in base units.
fn parse_value(text: &str, unit: Unit) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    let number: f64 = number.parse().ok()?;
    let factor = match unit {
        Unit::BitsPerSecond | Unit::BytesPerSecond => rate_factor(suffix)?,
        Unit::Seconds => match suffix {
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            _ => return None,
        },
        Unit::Percent => match suffix {
            "%" | "" => 1.0,
            _ => return None,
        },
        Unit::PerSecond | Unit::Count | Unit::SecondsPerGib => match suffix {
            "" => 1.0,
            _ => return None,
        },
    };
    Some(number * factor)
}

fn rate_factor(suffix: &str) -> Option<f64> {
    let suffix = suffix
        .strip_suffix("bit/s")
        .or(suffix.strip_suffix("bps"))?;
    Some(match suffix {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_with_their_units() {
        let goals = Target::parse_list("link=9.4Gbps,rtt=0.5ms,loss=0.1%").unwrap();
        let values: Vec<f64> = goals.iter().map(|goal| goal.value).collect();
        assert_eq!(values, [9.4e9, 0.5e-3, 0.1]);
        for wrong in [
            "link",
            "lnik=1Gbps",
            "link=9.4",
            "link=5ms",
            "rtt=5",
            "link=xGbps",
        ] {
            let fault = Target::parse_list(wrong).unwrap_err().to_string();
            assert!(!fault.is_empty(), "{wrong}");
        }
        let fault = Target::parse_list("link=9.4").unwrap_err();
        assert_eq!(fault.to_string(), "link=9.4: write link=9.4Gbps");
    }

    #[test]
    fn a_goal_at_its_value_is_met_and_what_was_not_measured_is_missed() {
        let goals = Target::parse_list("link=100bps,rtt=1s").unwrap();
        let figure = |value| Figure {
            name: String::new(),
            value,
            unit: Unit::Count,
            better: Better::Higher,
        };
        assert!(goals[0].judge(Some(&figure(100.0))).met);
        assert!(!goals[0].judge(Some(&figure(99.9))).met);
        assert!(goals[1].judge(Some(&figure(1.0))).met);
        assert!(!goals[1].judge(Some(&figure(1.1))).met);
        assert!(!goals[1].judge(None).met);
    }
}
