//! `towline tune history`: all snapshots, what they changed and how they ended.
//!
//! Reads only: what a run that died has left is shown as interrupted, and put back by the next
//! verb that may write.

use std::process::ExitCode;

use clap::Args;
use towline_tuning::snapshot::Fate;

use super::state;
use crate::failure::Failure;
use crate::{output, table};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune history
  towline tune history --json | jq '.[].items[].setting'";

/// Options of `history`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    state: state::StateOptions,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Entry {
    fate: Fate,
    #[serde(flatten)]
    snapshot: towline_tuning::snapshot::Snapshot,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let store = options.state.store();
    let entries: Vec<Entry> = store
        .all()?
        .into_iter()
        .map(|snapshot| Entry {
            fate: store.fate(&snapshot),
            snapshot,
        })
        .collect();
    let text = if options.json {
        let json = serde_json::to_string_pretty(&entries)
            .map_err(|error| Failure::Internal(error.to_string()))?;
        format!("{json}\n")
    } else {
        table::layout(
            &["SNAPSHOT", "STATE", "CHECK", "SETTING", "BEFORE", "AFTER"],
            &rows(&entries),
        )
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn rows(entries: &[Entry]) -> Vec<Vec<String>> {
    let word = |fate| match fate {
        Fate::Interrupted => "interrupted",
        Fate::Waiting => "waiting",
        Fate::Confirmed => "stands",
        Fate::Reverted => "taken back",
    };
    entries
        .iter()
        .flat_map(|entry| {
            entry.snapshot.items.iter().map(|item| {
                vec![
                    entry.snapshot.name.clone(),
                    word(entry.fate).to_owned(),
                    item.id.clone(),
                    item.setting.to_string(),
                    item.before.clone(),
                    item.after.clone(),
                ]
            })
        })
        .collect()
}
