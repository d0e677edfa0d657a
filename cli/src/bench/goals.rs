//! The goals that a measurement is held against: named ones, a preset's, or the card's.
//!
//! Invariant: what is named wins over a preset; the card's goal holds only where nobody named one.
//! One list may serve several verbs: what a verb does not measure is not its goal, but a list
//! without any goal of its own is a mistake that is told before anything runs.

use clap::Args;
use towline_link::goals;
use towline_link::result::target::names_of;
use towline_link::result::{Kind, Report, Target};

use crate::failure::Failure;

/// Options that set goals.
#[derive(Args, Clone, Debug)]
pub(crate) struct GoalOptions {
    /// Goals such as link=9.4Gbps,rtt=0.5ms,share=9.4Gbps; of them those count that this verb
    /// measures. A missed one makes the exit code 1.
    #[arg(long, value_name = "GOALS")]
    target: Option<String>,
    /// Goals by name, such as dual-10g: two PCs and one 10GbE cable. Without any goal, speed and
    /// MTU of the card set one for links and shares, where the card tells its speed.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// No goal from the card.
    #[arg(long)]
    no_goal: bool,
}

/// Goals as they were read.
#[derive(Clone, Debug)]
pub(crate) struct Goals {
    named: Vec<Target>,
    from_card: bool,
}

impl GoalOptions {
    /// The goals for measurements of this kind.
    pub(crate) fn read(&self, kind: Kind) -> Result<Goals, Failure> {
        let mut named = match &self.target {
            Some(text) => Target::parse_list(text)
                .map_err(|fault| Failure::usage(format!("--target: {fault}")))?,
            None => Vec::new(),
        };
        named.retain(|goal| goal.concerns(kind));
        if let Some(name) = &self.preset {
            let preset = goals::preset(name, kind)
                .map_err(|why| Failure::usage(format!("--preset: {why}")))?;
            let is_new = |target: &Target| named.iter().all(|one| one.name != target.name);
            let more: Vec<Target> = preset.into_iter().filter(is_new).collect();
            named.extend(more);
        }
        let is_asked = self.target.is_some() || self.preset.is_some();
        if is_asked && named.is_empty() {
            let known = names_of(kind).join(", ");
            let text = format!("none of these goals is measured here; there are: {known}");
            return Err(Failure::usage(text));
        }
        Ok(Goals {
            from_card: !is_asked && !self.no_goal,
            named,
        })
    }
}

impl Goals {
    /// Holds a report against them.
    pub(crate) fn judge(&self, report: &mut Report) {
        let mut goals = self.named.clone();
        if self.from_card {
            goals.extend(report.card_goal.clone());
        }
        report.judge(&goals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str, kind: Kind) -> Result<Vec<String>, Failure> {
        let options = GoalOptions {
            target: Some(target.to_owned()),
            preset: None,
            no_goal: false,
        };
        let goals = options.read(kind)?.named.into_iter();
        Ok(goals.map(|goal| goal.name).collect())
    }

    #[test]
    fn one_list_serves_several_verbs_but_not_all() {
        let list = "link=9.4Gbps,rtt=0.5ms,share=9.4Gbps";
        assert_eq!(read(list, Kind::Link).unwrap(), ["link", "rtt"]);
        assert_eq!(read(list, Kind::Share).unwrap(), ["rtt", "share"]);
        let error = read(list, Kind::Disk).unwrap_err().to_string();
        assert!(error.contains("there are: disk"), "{error}");
    }
}
