//! `towline bench save NAME HOST`: five or more runs of a link test, kept under a name.
//!
//! The folder is `$XDG_STATE_HOME/towline/bench` or `~/.local/state/towline/bench`. What is saved
//! again replaces what was there.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use towline_bench::history::{RUNS_MAX, RUNS_MIN, Set, median_and_mad};
use towline_bench::link::{client, report};
use towline_bench::result::Report;

use super::goals::GoalOptions;
use super::link::TestOptions;
use super::stopping;
use crate::failure::Failure;
use crate::{output, table};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench save before 10.0.0.2 -t 5            five runs of five seconds
  towline bench save before 10.0.0.2 --runs 9 -P 4
  towline bench compare before 10.0.0.2 -t 5         after a change

Exit codes: 0 saved and every goal met, 1 saved but a goal missed, 2 could not run.";

/// Options of `save`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Under which name.
    name: String,
    #[command(flatten)]
    repeated: Repeated,
    #[command(flatten)]
    goals: GoalOptions,
    /// Print the saved set as JSON.
    #[arg(long)]
    json: bool,
}

/// A test that is run several times.
#[derive(Args, Debug)]
pub(crate) struct Repeated {
    #[command(flatten)]
    test: TestOptions,
    /// How often; five is the least that has a median worth its name.
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(RUNS_MIN as i64..=RUNS_MAX as i64))]
    runs: u32,
    /// Folder of saved sets [default: ~/.local/state/towline/bench]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Repeated {
    /// Where sets lie.
    pub(super) fn folder(&self) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.folder {
            return Ok(folder.clone());
        }
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let state = set("XDG_STATE_HOME").map(PathBuf::from);
        let home = || set("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        let base = state.or_else(home);
        let base = base.ok_or_else(|| Failure::usage("no home folder: name one with --folder"))?;
        Ok(base.join("towline/bench"))
    }

    /// All runs, one after the other, told as they end.
    pub(super) fn run(
        &self,
        goals: Option<&GoalOptions>,
        quiet: bool,
    ) -> Result<Vec<Report>, Failure> {
        let test = self.test.build()?;
        let goals = goals.map(GoalOptions::read).transpose()?;
        let stop = stopping::flag()?;
        let mut reports = Vec::new();
        for number in 1..=self.runs {
            let run = client::run(&test, &stop, |_| {})?;
            if let Some(fault) = &run.fault {
                let text = format!("run {number} of {} ended early: {fault}", self.runs);
                return Err(Failure::Measurement(text));
            }
            let mut report = report::of(&run);
            if let Some(goals) = &goals {
                report.judge(&goals.or_of_card(&run));
            }
            if !quiet {
                let rate = report.figure("link").map(|figure| figure.show());
                let rate = rate.unwrap_or_default();
                output::print(&format!("run {number} of {}: {rate}\n", self.runs))?;
            }
            reports.push(report);
            stopped(&stop)?;
        }
        Ok(reports)
    }
}

fn stopped(stop: &AtomicBool) -> Result<(), Failure> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Failure::Measurement(
            "stopped; nothing was saved".to_owned(),
        )),
        false => Ok(()),
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let folder = options.repeated.folder()?;
    let mut set = Set::new(&options.name)?;
    set.runs = options.repeated.run(Some(&options.goals), options.json)?;
    let path = set.save(&folder)?;
    if options.json {
        let text = serde_json::to_string_pretty(&set)
            .map_err(|error| Failure::Internal(error.to_string()))?;
        output::print(&format!("{text}\n"))?;
    } else {
        output::print(&format!("{}saved as {}\n", medians(&set), path.display()))?;
    }
    let missed = set.runs.iter().any(Report::misses_a_target);
    Ok(match missed {
        true => ExitCode::from(super::TARGET_MISSED),
        false => ExitCode::SUCCESS,
    })
}

fn medians(set: &Set) -> String {
    let Some(first) = set.runs.first() else {
        return String::new();
    };
    let rows: Vec<Vec<String>> = first
        .figures
        .iter()
        .map(|figure| {
            let runs = set.runs.iter().filter_map(|run| run.figure(&figure.name));
            let values: Vec<f64> = runs.map(|figure| figure.value).collect();
            let (median, mad) = median_and_mad(&values);
            let show = |value| figure.unit.show(value);
            vec![figure.name.clone(), show(median), show(mad)]
        })
        .collect();
    table::layout(&["FIGURE", "MEDIAN", "MAD"], &rows)
}
