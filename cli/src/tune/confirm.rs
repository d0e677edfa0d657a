//! `towline tune confirm`: keeps a change that could have dropped the link, and persists it.
//!
//! Invariant: a change whose time is over is never confirmed, it is put back instead.

use std::process::ExitCode;

use towline_tuning::{Root, apply};

use super::state;
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune confirm      after `towline tune apply`, once you still reach the host

Exit codes: 0 kept, 2 nothing waits or it cannot be written.";

pub(crate) fn run(options: &state::StateOptions) -> Result<ExitCode, Failure> {
    let (store, _lock, _) = options.open()?;
    let (snapshot, outcome) = apply::confirm(&store, &Root::default())?;
    let kept = super::apply::kept(&outcome);
    output::print(&format!("snapshot {} stays\n{kept}", snapshot.name))?;
    Ok(ExitCode::SUCCESS)
}
