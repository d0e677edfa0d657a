//! `towline push`: a folder becomes an immutable revision of a model.
//!
//! The node reads the folder itself, so folder and node are on one machine.

use std::path::PathBuf;

use clap::Args;
use towlined::models::wire;

use crate::bar::size;
use crate::failure::Failure;
use crate::options::NodeUrl;
use crate::{client, output, task};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline push ./tiny-llama acme/tiny-llama
  towline push ./tiny-llama acme/tiny-llama:v2 --message 'longer context'
  towline push --json ./out acme/run-17 | jq -r .revision

The tag is 'main' unless another is named behind a colon. Pushing the same content again
stores nothing.

Exit codes: 0 published, 64 usage, 65 refused, 69 no node, 74 storage, 75 try again.";

/// What to publish.
#[derive(Args, Debug)]
pub(crate) struct Push {
    #[command(flatten)]
    node: NodeUrl,
    /// The folder, on the node's own machine.
    directory: PathBuf,
    /// Name and tag: ORG/MODEL or ORG/MODEL:TAG.
    name: String,
    /// What is said about the revision.
    #[arg(long, short, default_value = "publish")]
    message: String,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(push: &Push) -> Result<(), Failure> {
    let (name, tag) = name_and_tag(&push.name);
    let directory = std::path::absolute(&push.directory)
        .and_then(std::fs::canonicalize)
        .map_err(|error| Failure::usage(format!("{}: {error}", push.directory.display())))?;
    if !directory.is_dir() {
        return Err(Failure::usage(format!(
            "{}: not a folder",
            directory.display()
        )));
    }
    let request = wire::Push {
        directory,
        name: name.to_owned(),
        tag: tag.unwrap_or("main").to_owned(),
        message: push.message.clone(),
    };
    let begun = client::post(&push.node, "/v1/models/push", &request)?;
    let result = task::follow(&push.node, begun)?;
    report(&result, push.json)
}

/// Cuts `ORG/MODEL:TAG` at its colon.
pub(crate) fn name_and_tag(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((name, tag)) => (name, Some(tag)),
        None => (text, None),
    }
}

/// Prints what was published.
pub(crate) fn report(result: &serde_json::Value, json: bool) -> Result<(), Failure> {
    if json {
        return output::print(&format!("{result:#}\n"));
    }
    let published: wire::Published = serde_json::from_value(result.clone())
        .map_err(|error| Failure::Internal(error.to_string()))?;
    output::print(&describe(&published))
}

fn describe(published: &wire::Published) -> String {
    let wire::Published {
        name,
        tag,
        revision,
        files,
        bytes,
        ..
    } = published;
    let mut text = format!(
        "{name}:{tag} is {revision}\n{files} files, {}\n",
        size(*bytes)
    );
    if published.unchanged {
        text.push_str("nothing is new: the tag pointed there already\n");
        return text;
    }
    let rows = [
        ("written", published.bytes_written),
        ("linked to files that were here", published.bytes_linked),
        (
            "sharing blocks with chunks that were here",
            published.bytes_cloned,
        ),
        ("zeros, which take no room", published.bytes_zero),
    ];
    for (what, bytes) in rows.into_iter().filter(|(_, bytes)| *bytes > 0) {
        text.push_str(&format!("{:>12}  {what}\n", size(bytes)));
    }
    if published.bytes_known_written > 0 {
        text.push_str(&format!(
            "{:>12}  of that in chunks that were here, on a file system that cannot share them\n",
            size(published.bytes_known_written)
        ));
    }
    text
}
