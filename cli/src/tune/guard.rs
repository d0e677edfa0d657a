//! `towline tune guard`: takes a snapshot back unless it is confirmed in time.
//!
//! Started by `apply` before the first change that can drop a link, so that neither a lost terminal
//! nor a killed `apply` leaves a host that nobody can reach.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use towline_base::clock;
use towline_tuning::TuneError;
use towline_tuning::snapshot::Fate;

use super::state;
use crate::failure::Failure;

/// Between two looks at the markers.
const STEP: Duration = Duration::from_millis(200);

/// Options of `guard`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    state: state::StateOptions,
    /// The snapshot to watch.
    snapshot: String,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let store = options.state.store();
    let found = store
        .all()?
        .into_iter()
        .find(|it| it.name == options.snapshot);
    let Some(snapshot) = found else {
        return Err(TuneError::usage(format!("no snapshot {}", options.snapshot)).into());
    };
    let Some(until) = snapshot.confirm_until_s else {
        return Ok(ExitCode::SUCCESS);
    };
    // One second more than the deadline, so that the two never race.
    while clock::since_epoch().as_secs() <= until {
        let settled = matches!(store.fate(&snapshot), Fate::Confirmed | Fate::Reverted);
        // A folder that somebody removed holds nothing that could be taken back.
        if settled || !store.folder().exists() {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(STEP);
    }
    // Opening takes back whatever is left over, this snapshot among it.
    options.state.open()?;
    Ok(ExitCode::SUCCESS)
}
