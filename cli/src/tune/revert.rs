//! `towline tune revert`: puts back what was before a snapshot, and all newer ones.
//!
//! Invariant: newest first, so that the oldest values are written last and stand at the end.

use std::process::ExitCode;

use clap::Args;
use towline_tuning::persist::Place;
use towline_tuning::{Root, apply};

use super::state;
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune revert                  back to before the first change that stands
  towline tune revert 1763800000000    back to before that snapshot

Exit codes: 0 done or nothing to do, 2 something could not be put back.";

/// Options of `revert`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The snapshot to go back to before; the oldest that stands if left out.
    snapshot: Option<String>,
    #[command(flatten)]
    state: state::StateOptions,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Answer {
    taken_back: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let (store, _lock, mut machine) = options.state.open()?;
    let name = options.snapshot.as_deref();
    let names = apply::revert(&store, &mut machine, Place::at(&Root::default()), name)?;
    if options.json {
        output::json(&Answer { taken_back: names })?;
        return Ok(ExitCode::SUCCESS);
    }
    if names.is_empty() {
        output::print("nothing stands that could be taken back\n")?;
    }
    for name in names {
        output::print(&format!("snapshot {name} is taken back\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
