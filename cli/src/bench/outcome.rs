//! What the verbs share, disk and model do with their report: goals, text, JSON, CSV, a page.
//!
//! Invariant: one report becomes all of them, so they agree; the exit code is that of the goals.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use towline_bench::result::{Report, Target};
use towline_bench::{csv, html};

use crate::failure::Failure;
use crate::{output, table};

/// Options of every such verb.
#[derive(Args, Debug)]
pub(crate) struct OutcomeOptions {
    /// Goals such as share=9.4Gbps; a missed one makes the exit code 1.
    #[arg(long, value_name = "GOALS")]
    target: Option<String>,
    /// Print the report as JSON.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print figures and samples as CSV.
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    page: PageOption,
}

/// The page, for every verb that measures.
#[derive(Args, Clone, Debug)]
pub(crate) struct PageOption {
    /// Write a page with plots too: one file, which needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl PageOption {
    /// Writes the page where one was asked for.
    pub(super) fn write(&self, reports: &[Report]) -> Result<(), Failure> {
        let Some(path) = &self.html else {
            return Ok(());
        };
        std::fs::write(path, html::page(reports)).map_err(|error| unwritable(path, &error))
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Measurement(format!("--html {}: {error}", path.display()))
}

impl OutcomeOptions {
    /// Whether progress may be told.
    pub(super) fn is_quiet(&self) -> bool {
        self.json || self.csv
    }

    /// The goals, before anything is measured: a slip of the pen shows at once.
    pub(super) fn goals(&self) -> Result<Vec<Target>, Failure> {
        let Some(text) = &self.target else {
            return Ok(Vec::new());
        };
        Target::parse_list(text).map_err(|fault| Failure::usage(format!("--target: {fault}")))
    }

    /// Judges, prints and writes.
    pub(super) fn finish(&self, mut report: Report, goals: &[Target]) -> Result<ExitCode, Failure> {
        report.judge(goals);
        let text = match (self.json, self.csv) {
            (true, _) => format!("{}\n", super::pretty(&report)?),
            (_, true) => csv::of(&report),
            _ => describe(&report),
        };
        output::print(&text)?;
        let missed = report.misses_a_target();
        self.page.write(&[report])?;
        Ok(match missed {
            true => ExitCode::from(super::TARGET_MISSED),
            false => ExitCode::SUCCESS,
        })
    }
}

/// The report for people.
fn describe(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .figures
        .iter()
        .filter(|figure| !figure.name.ends_with("_p99"))
        .map(|figure| {
            let beyond = report.figure(&format!("{}_p99", figure.name));
            let beyond = beyond.map(|found| found.show()).unwrap_or_default();
            vec![figure.name.clone(), figure.show(), beyond]
        })
        .collect();
    let mut text = format!("\n{}", table::layout(&["FIGURE", "VALUE", "P99"], &rows));
    if let Some(verdict) = &report.verdict {
        text.push_str(&format!("\nverdict: {}\n", verdict.line()));
        text.push_str(&format!("         {}\n", verdict.advice));
        for evidence in &verdict.evidence {
            text.push_str(&format!("  - {}\n", evidence.says));
        }
    }
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    for target in &report.targets {
        text.push_str(&format!("{}\n", target.line()));
    }
    text
}
