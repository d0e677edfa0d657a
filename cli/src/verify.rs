//! `towline verify`: read and hash everything, and tell what is wrong.
//!
//! Invariant: exit code 0 means that every byte that was asked about is as it was published, or is
//! so again. Not promised: that it stays so; disks forget.

use std::process::ExitCode;

use clap::Args;
use towline_api as api;

use crate::bar::size;
use crate::failure::Failure;
use crate::options::NodeUrl;
use crate::push::name_and_tag;
use crate::{client, output, task};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline verify                        everything, the index included
  towline verify acme/tiny-llama:main
  towline verify --look-only --json

What is wrong is healed from where the model came, if that answers; else it is taken out
of sight and kept in .towline/quarantine of the volume. Signatures are checked as well: one
that does not hold is set aside, and what models.require_signature demands must be there.

Exit codes: 0 sound, or sound again; 1 something could not be healed; 64 usage, 65 refused,
69 no node, 74 storage.";

/// What to verify.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    #[command(flatten)]
    node: NodeUrl,
    /// ORG/MODEL or ORG/MODEL:TAG; everything if left out.
    name: Option<String>,
    /// Everything (the same as no name).
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Repair nothing, set nothing aside.
    #[arg(long)]
    look_only: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(verify: &Verify) -> Result<ExitCode, Failure> {
    let named = verify.name.as_deref().map(name_and_tag);
    let request = api::Verify {
        name: named.map(|(name, _)| name.to_owned()),
        revision: named.and_then(|(_, tag)| tag.map(str::to_owned)),
        look_only: verify.look_only,
    };
    let begun = client::post(&verify.node, "/v1/models/verify", &request)?;
    let result = task::follow(&verify.node, begun)?;
    let report: api::Verified = serde_json::from_value(result.clone())
        .map_err(|error| Failure::Internal(error.to_string()))?;
    if verify.json {
        output::print(&format!("{result:#}\n"))?;
    } else {
        output::print(&describe(&report))?;
    }
    let is_sound = report
        .damages
        .iter()
        .all(|damage| damage.remedy == "healed");
    Ok(if is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn describe(report: &api::Verified) -> String {
    let mut text = format!(
        "{} revisions, {} files, {} read\n",
        report.revisions,
        report.files,
        size(report.bytes)
    );
    if report.damages.is_empty() {
        text.push_str("everything is as it was published\n");
    }
    for damage in &report.damages {
        text.push_str(&format!(
            "{}: {} ({})\n",
            damage.remedy, damage.path, damage.kind
        ));
        text.push_str(&format!("  {}\n", damage.detail));
        for revision in &damage.revisions {
            text.push_str(&format!("  of {revision}\n"));
        }
    }
    text
}
