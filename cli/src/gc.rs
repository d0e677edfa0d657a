//! `towline gc`: free what no tag, pin or lease holds any more.
//!
//! Invariant: `--dry-run` changes nothing. Not promised: that what it tells is what a later run
//! frees; models change meanwhile.

use clap::Args;
use towline_api as api;

use crate::bar::size;
use crate::failure::Failure;
use crate::options::NodeUrl;
use crate::{client, output};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline gc --dry-run      what would go
  towline gc                mark what is unused; free what was marked a day ago
  towline gc --grace 0      free at once what an earlier run has marked

Nothing goes at the first sight: a run marks, and a later one frees what is still unused.

Exit codes: 0 done, 64 usage, 65 refused, 69 no node, 74 storage.";

/// How to collect.
#[derive(Args, Debug)]
pub(crate) struct Gc {
    #[command(flatten)]
    node: NodeUrl,
    /// Only tell what would go.
    #[arg(long)]
    dry_run: bool,
    /// Seconds that something must have been unused; a day by default.
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u64>,
    /// Print what the node said as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(gc: &Gc) -> Result<(), Failure> {
    let request = api::Gc {
        dry_run: gc.dry_run,
        grace: gc.grace,
    };
    let collected: api::Collected = client::post(&gc.node, "/v1/models/gc", &request)?;
    if gc.json {
        let text = serde_json::to_string_pretty(&collected)
            .map_err(|error| Failure::Internal(error.to_string()))?;
        return output::print(&format!("{text}\n"));
    }
    output::print(&describe(&collected))
}

fn describe(collected: &api::Collected) -> String {
    let (went, marked) = match collected.dry_run {
        true => ("would free", "would mark"),
        false => ("freed", "marked for the next run"),
    };
    let mut text = format!(
        "{went}: {} in {} files\n{marked}: {} in {} files\n",
        size(collected.bytes),
        collected.files,
        size(collected.bytes_marked),
        collected.files_marked
    );
    if collected.bytes_uploads > 0 {
        let bytes = size(collected.bytes_uploads);
        text.push_str(&format!(
            "{went}: {bytes} of uploads that nobody published\n"
        ));
    }
    for name in &collected.revisions {
        text.push_str(&format!("{went}: {name}\n"));
    }
    for name in &collected.revisions_marked {
        text.push_str(&format!("{marked}: {name}\n"));
    }
    text
}
