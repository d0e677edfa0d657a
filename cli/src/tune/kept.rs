//! What is told of values that were written where they outlive a reboot.
//!
//! Invariant: what was refused comes last, with what to do, so that it is not overlooked.

use std::process::ExitCode;

use towline_tuning::persist::Outcome;

use super::{FINDINGS, wrap};

/// Whether everything that can be kept is kept.
pub(super) fn code(outcome: &Outcome) -> ExitCode {
    if outcome.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FINDINGS)
    }
}

/// Where everything went, line by line.
pub(super) fn told(outcome: &Outcome) -> String {
    let places = outcome
        .places
        .iter()
        .map(|place| format!("kept in {place}\n"));
    let notes = outcome.notes.iter().map(|note| format!("note: {note}\n"));
    let failures = outcome.failures.iter().map(|failure| {
        let mut text = String::new();
        let rest = "in force now, but perhaps not after a reboot; the next `towline tune apply`, \
                    confirm or revert tries it again";
        wrap::put(&mut text, "warning: ", &format!("{failure}; {rest}"));
        text
    });
    places.chain(notes).chain(failures).collect()
}
