//! `towline tune`: what the network card and the host should be, are, and how to fix and unfix
//! them. One verb below it, one file.
//!
//! Exit codes: 0 clean, 1 findings, 2 could not run; 64 wrong usage, as everywhere.

mod answer;
mod apply;
mod bundle;
mod check;
mod confirm;
mod diff;
mod guard;
mod history;
mod import;
mod kept;
mod plan;
mod revert;
mod script;
mod show;
mod state;
mod wrap;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use towline_tuning::{Profile, Report};

use crate::failure::Failure;

/// The verbs of `towline tune`.
#[derive(Debug, Subcommand)]
pub(crate) enum TuneVerb {
    /// Check link, card, PCIe, processors, memory, sysctls and NFS mounts; changes nothing.
    #[command(after_help = check::EXAMPLES)]
    Check(check::Options),
    /// Make the changes that the findings ask for; each can be taken back.
    #[command(after_help = apply::EXAMPLES)]
    Apply(apply::Options),
    /// Keep a change that could have dropped the link.
    #[command(after_help = confirm::EXAMPLES)]
    Confirm(confirm::Options),
    /// Put back what was before a snapshot.
    #[command(after_help = revert::EXAMPLES)]
    Revert(revert::Options),
    /// List all snapshots and how they ended.
    #[command(after_help = history::EXAMPLES)]
    History(history::Options),
    /// Compare the reports of two hosts.
    #[command(after_help = diff::EXAMPLES)]
    Diff(diff::Options),
    /// Write everything for a bug report into one file, addresses replaced.
    #[command(after_help = bundle::EXAMPLES)]
    Bundle(bundle::Options),
    /// Print a script for a machine without towline.
    #[command(after_help = script::EXAMPLES)]
    Script(script::Options),
    /// Judge the JSON that such a script printed.
    #[command(after_help = import::EXAMPLES)]
    Import(import::Options),
    /// Answer the measurements of another host's `check --peer`, until Ctrl-C.
    #[command(after_help = answer::EXAMPLES)]
    Answer(answer::Options),
    /// Waits for a confirmation and takes a snapshot back without one; started by `apply`.
    #[command(hide = true)]
    Guard(guard::Options),
}

/// What the host is tuned for.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum ProfileName {
    /// Throughput on a local network.
    #[default]
    Lan,
    /// Throughput over distance.
    Wan,
    /// Short answers before throughput.
    Latency,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Lan => Self::Lan,
            ProfileName::Wan => Self::Wan,
            ProfileName::Latency => Self::Latency,
        }
    }
}

/// Something was found: the code that scripts look for.
pub(crate) const FINDINGS: u8 = 1;

/// The exit code of a report.
pub(crate) fn code_of(report: &Report) -> ExitCode {
    if report.has_findings() {
        ExitCode::from(FINDINGS)
    } else {
        ExitCode::SUCCESS
    }
}

pub(crate) fn run(verb: &TuneVerb) -> Result<ExitCode, Failure> {
    match verb {
        TuneVerb::Check(options) => check::run(options),
        TuneVerb::Apply(options) => apply::run(options),
        TuneVerb::Confirm(options) => confirm::run(options),
        TuneVerb::Revert(options) => revert::run(options),
        TuneVerb::History(options) => history::run(options),
        TuneVerb::Diff(options) => diff::run(options),
        TuneVerb::Bundle(options) => bundle::run(options),
        TuneVerb::Script(options) => script::run(options),
        TuneVerb::Import(options) => import::run(options),
        TuneVerb::Answer(options) => answer::run(options),
        TuneVerb::Guard(options) => guard::run(options),
    }
}
