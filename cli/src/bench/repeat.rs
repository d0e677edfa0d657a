//! A measurement that is run several times, for `save` and `compare`: a verb with its options.
//!
//! Invariant: the words are read by the same parser as those of `towline bench`, so whatever can be
//! measured can be saved; they are kept with the runs, and the same words measure the same again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Parser, Subcommand};
use towline_bench::history::{RUNS_MAX, RUNS_MIN};
use towline_link::result::{Kind, Report};

use super::goals::GoalOptions;
use super::measured::Measure;
use super::outcome::Form;
use super::{disk, link, model, rr, share, stopping};
use crate::failure::Failure;
use crate::output;

/// How often, and where sets lie.
#[derive(Args, Debug)]
pub(crate) struct Repeated {
    /// How often; five is the least that has a median worth its name.
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(RUNS_MIN as i64..=RUNS_MAX as i64))]
    runs: u32,
    /// Folder of saved sets [default: ~/.local/state/towline/bench]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// The words of a measurement.
#[derive(Debug, Parser)]
#[command(name = "towline bench save NAME", disable_help_subcommand = true)]
struct Words {
    #[command(subcommand)]
    verb: Verb,
}

/// What can be repeated; each has the options of the verb of that name.
#[derive(Debug, Subcommand)]
enum Verb {
    /// A link.
    Link(Box<link::TestOptions>),
    /// Round trips of small messages.
    Rr(rr::What),
    /// A share.
    Share(share::What),
    /// A disk.
    Disk(disk::What),
    /// Loading a model.
    Model(model::What),
}

/// A measurement that can be run.
#[derive(Debug)]
pub(super) struct Measurement(Verb);

impl Measurement {
    /// Reads a verb and its options.
    pub(super) fn parse(words: &[String]) -> Result<Self, Failure> {
        let name = "towline bench save NAME".to_owned();
        let all = std::iter::once(&name).chain(words);
        let words = Words::try_parse_from(all).map_err(|error| {
            let text = error.render().to_string();
            if !error.use_stderr() {
                return Failure::Help(text);
            }
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            Failure::usage(text.trim_end())
        })?;
        if let Verb::Link(test) = &words.verb {
            // What does not fit together is told before the first run.
            test.build()?;
        }
        Ok(Self(words.verb))
    }

    fn kind(&self) -> Kind {
        match &self.0 {
            Verb::Link(_) => Kind::Link,
            Verb::Rr(_) => rr::What::KIND,
            Verb::Share(_) => share::What::KIND,
            Verb::Disk(_) => disk::What::KIND,
            Verb::Model(_) => model::What::KIND,
        }
    }

    fn once(&self, stop: &AtomicBool) -> Result<Report, Failure> {
        // Only the runs are told, not what happens in each.
        let form = Form::Json;
        match &self.0 {
            Verb::Link(test) => test.measure(stop),
            Verb::Rr(what) => what.measure(stop, form),
            Verb::Share(what) => what.measure(stop, form),
            Verb::Disk(what) => what.measure(stop, form),
            Verb::Model(what) => what.measure(stop, form),
        }
    }
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
        what: &Measurement,
        goals: Option<&GoalOptions>,
        form: Form,
    ) -> Result<Vec<Report>, Failure> {
        let goals = goals.map(|goals| goals.read(what.kind())).transpose()?;
        let stop = stopping::flag()?;
        let mut reports = Vec::new();
        for number in 1..=self.runs {
            let mut report = what.once(&stop)?;
            if let Some(goals) = &goals {
                goals.judge(&mut report);
            }
            if form == Form::Text {
                let first = report.figures.first();
                let shown = first.map(|figure| format!("{} {}", figure.name, figure.show()));
                let shown = shown.unwrap_or_default();
                output::print(&format!("run {number} of {}: {shown}\n", self.runs))?;
            }
            reports.push(report);
            if stop.load(Ordering::Relaxed) {
                let text = "stopped; nothing was saved".to_owned();
                return Err(Failure::Measurement(text));
            }
        }
        Ok(reports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Measurement, Failure> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Measurement::parse(&words)
    }

    #[test]
    fn every_verb_that_measures_can_be_repeated() {
        for (line, kind) in [
            ("link 10.0.0.2 -t 5 -P 4", Kind::Link),
            ("rr 10.0.0.2 --request 128", Kind::RequestResponse),
            ("share nfs://10.0.0.2/models -t 1", Kind::Share),
            ("disk /var/tmp --depths 1,4", Kind::Disk),
            ("model /x/model.gguf --readers 2", Kind::Model),
        ] {
            assert_eq!(parse(line).unwrap().kind(), kind, "{line}");
        }
        for wrong in [
            "10.0.0.2",
            "mesh 10.0.0.2",
            "link 10.0.0.2 --len 9G",
            "share",
        ] {
            assert!(matches!(parse(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
