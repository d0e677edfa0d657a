//! `towline tune script`: a script for a machine without towline.
//!
//! Printed, not run: look at it before it goes to the other machine. Changes nothing on this
//! host.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use towline_tuning::script;

use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune script windows --peer 10.0.0.1 > towline-tune.ps1
  towline tune script macos > towline-tune.sh
  towline tune import sheet.json            judge what the script printed";

/// Options of `script`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The machine's system.
    system: System,
    /// The host towards which the link is used: picks the interface and tests MTU 9000.
    #[arg(long, value_name = "HOST")]
    peer: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum System {
    Windows,
    Macos,
    Linux,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let system = match options.system {
        System::Windows => script::System::Windows,
        System::Macos => script::System::Macos,
        System::Linux => script::System::Linux,
    };
    output::print(&script::text(system, options.peer.as_deref())?)?;
    Ok(ExitCode::SUCCESS)
}
