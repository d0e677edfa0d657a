//! `towline tune`: what the network card and the host should be, are, and how to fix and unfix
//! them. One verb below it, one file.
//!
//! Exit codes: 0 clean, 1 findings, 2 could not run; 64 wrong usage, as everywhere.

mod check;
mod show;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use towline_tuning::Profile;

use crate::failure::Failure;

/// The verbs of `towline tune`.
#[derive(Debug, Subcommand)]
pub(crate) enum TuneVerb {
    /// Check link, card, PCIe, processors, memory, sysctls and NFS mounts; changes nothing.
    #[command(after_help = check::EXAMPLES)]
    Check(check::Options),
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

pub(crate) fn run(verb: &TuneVerb) -> Result<ExitCode, Failure> {
    match verb {
        TuneVerb::Check(options) => check::run(options),
    }
}
