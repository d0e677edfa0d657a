//! `towline tune confirm`: keeps a change that could have dropped the link, and persists it.
//!
//! Invariant: a change whose time is over is never confirmed, it is put back instead.

use std::process::ExitCode;

use clap::Args;
use towline_tuning::persist::{Outcome, Place};
use towline_tuning::{Root, apply};

use super::{kept, state};
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune confirm      after `towline tune apply`, once you still reach the host

Exit codes: 0 kept, 1 in force, but its owner refused to keep it over a reboot,
2 nothing waits or it cannot be written.";

/// Options of `confirm`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    state: state::StateOptions,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Answer {
    snapshot: String,
    kept: Outcome,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let (store, _lock, _) = options.state.open()?;
    let (snapshot, outcome) = apply::confirm(&store, Place::at(&Root::default()))?;
    let code = kept::code(&outcome);
    if options.json {
        output::json(&Answer {
            snapshot: snapshot.name,
            kept: outcome,
        })?;
    } else {
        let told = kept::told(&outcome);
        output::print(&format!("snapshot {} stays\n{told}", snapshot.name))?;
    }
    Ok(code)
}
