//! The goals that a measurement is held against: named ones, a preset's, or the card's.
//!
//! Invariant: what is named wins over a preset; the card's goal holds only where nobody named one.

use clap::Args;
use towline_bench::link::{LinkRun, report};
use towline_bench::result::Target;

use crate::failure::Failure;

/// Options that set goals.
#[derive(Args, Clone, Debug)]
pub(crate) struct GoalOptions {
    /// Goals such as link=9.4Gbps,rtt=0.5ms; a missed one makes the exit code 1.
    #[arg(long, value_name = "GOALS")]
    target: Option<String>,
    /// Goals by name, such as dual-10g: two PCs and one 10GbE cable. Without any goal, speed and
    /// MTU of the card set one, where the card tells its speed.
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
    pub(crate) fn read(&self) -> Result<Goals, Failure> {
        let mut named = match &self.target {
            Some(text) => Target::parse_list(text)
                .map_err(|fault| Failure::usage(format!("--target: {fault}")))?,
            None => Vec::new(),
        };
        if let Some(name) = &self.preset {
            let preset =
                report::preset(name).map_err(|why| Failure::usage(format!("--preset: {why}")))?;
            let is_new = |target: &Target| named.iter().all(|one| one.name != target.name);
            let more: Vec<Target> = preset.into_iter().filter(is_new).collect();
            named.extend(more);
        }
        Ok(Goals {
            from_card: named.is_empty() && !self.no_goal,
            named,
        })
    }
}

impl Goals {
    /// The goals for this test.
    pub(crate) fn or_of_card(&self, run: &LinkRun) -> Vec<Target> {
        let mut goals = self.named.clone();
        if self.from_card {
            goals.extend(report::goal_of_card(run));
        }
        goals
    }
}
