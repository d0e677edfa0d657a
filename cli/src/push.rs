//! `towline push`: a folder becomes an immutable revision of a model.
//!
//! A node on this machine reads the folder itself. To any other one the files are sent that it
//! lacks; and where a key signs, everything is read and hashed here, because a signature is the
//! publisher's word for what the publisher has seen. Invariant: the key never leaves this machine.

mod send;
mod signed;

use std::path::{Path, PathBuf};

use clap::Args;
use towline_api as api;
use towline_store::{RepoKind, RepoName};

use crate::bar::size;
use crate::failure::Failure;
use crate::options::{NodeToken, NodeUrl};
use crate::{client, output, task};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline push ./tiny-llama acme/tiny-llama
  towline push ./tiny-llama acme/tiny-llama:v2 --message 'longer context'
  towline push --json ./out acme/run-17 | jq -r .revision
  TOWLINE_TOKEN=... towline push ./out acme/run-17 --node http://10.0.0.1:8420
  towline push ./out acme/run-17 --sign-key ~/.config/towline/key
  towline push --type dataset ./rows acme/rows       the same as: push ./rows datasets/acme/rows

The tag is 'main' unless another is named behind a colon. Pushing the same content again
stores nothing. To a node elsewhere only files go that it lacks, and one that broke off goes
on where it stood; that needs a token of the node's [[models.tokens]] with the right to
publish. The node's own key (models.signing_key) signs unless --sign-key does.

Exit codes: 0 published, 64 usage, 65 refused, 69 no node, 74 storage, 75 try again.";

/// What to publish.
#[derive(Args, Debug)]
pub(crate) struct Push {
    #[command(flatten)]
    node: NodeUrl,
    #[command(flatten)]
    token: NodeToken,
    /// The folder.
    directory: PathBuf,
    /// Name and tag: ORG/MODEL, MODEL, or with :TAG behind it.
    name: String,
    /// What it is: datasets and spaces have names of their own, like datasets/ORG/NAME.
    #[arg(long = "type", value_name = "TYPE", value_parser = ["model", "dataset", "space"])]
    kind: Option<String>,
    /// What is said about the revision.
    #[arg(long, short, default_value = "publish")]
    message: String,
    /// Sign with the key in this file; 'towline models keygen' makes one.
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Send the files to a node on this machine too, which need not be able to read the folder.
    #[arg(long)]
    upload: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(push: &Push) -> Result<(), Failure> {
    let node = push.node.with(&push.token)?;
    let directory = std::path::absolute(&push.directory)
        .and_then(std::fs::canonicalize)
        .map_err(|error| {
            let folder = push.directory.display();
            Failure::usage(format!(
                "{folder}: {error}. Name the folder with the model's files"
            ))
        })?;
    if !directory.is_dir() {
        return Err(Failure::usage(format!(
            "{}: not a folder",
            directory.display()
        )));
    }
    let begun = if push.upload || node.is_elsewhere() {
        send::publish(push, &node, &directory)?
    } else {
        hand_over(push, &node, &directory)?
    };
    let result = task::follow(&node, begun)?;
    report(&result, push.json)
}

/// Lets the node read the folder.
fn hand_over(
    push: &Push,
    node: &NodeUrl,
    directory: &Path,
) -> Result<api::Task<serde_json::Value>, Failure> {
    let (name, tag) = push.name_and_tag()?;
    let signed = match &push.sign_key {
        None => None,
        Some(_) => signed::folder(push, node, directory)?.signed,
    };
    let request = api::Push {
        directory: directory.to_owned(),
        name,
        tag,
        message: push.message.clone(),
        signed,
    };
    client::post(node, "/v1/models/push", &request)
}

impl Push {
    /// The whole name, with its kind in front, and the tag.
    fn name_and_tag(&self) -> Result<(String, String), Failure> {
        let (name, tag) = name_and_tag(&self.name);
        let kind = self.kind.as_deref().and_then(RepoKind::of_word);
        let usage = |fault: towline_store::NameFault| Failure::usage(fault.to_string());
        let name: RepoName = match kind {
            // A name that says what it is may be written with --type, too.
            Some(kind) if kind != RepoKind::Model && name.starts_with(kind.prefix()) => {
                name.parse().map_err(usage)?
            }
            Some(kind) => RepoName::of_kind(kind, name).map_err(usage)?,
            None => name.parse().map_err(usage)?,
        };
        let tag = tag.unwrap_or("main").to_owned();
        Ok((name.to_string(), tag))
    }
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
    let published: api::Published = serde_json::from_value(result.clone())
        .map_err(|error| Failure::Internal(error.to_string()))?;
    output::print(&describe(&published))
}

fn describe(published: &api::Published) -> String {
    let api::Published {
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
