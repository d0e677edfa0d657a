//! `towline pull`: a model from a hub, a web server, an object store or a folder.
//!
//! The node does the work and keeps what has come. Invariant: a token goes to the hub that the
//! source names, and nowhere else.

use clap::Args;
use towline_api as api;

use crate::failure::Failure;
use crate::options::NodeUrl;
use crate::push::{name_and_tag, report};
use crate::{client, task};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline pull hf://Qwen/Qwen3-8B                      from the hub, as Qwen/Qwen3-8B:main
  towline pull hf://Qwen/Qwen3-8B@v1 --endpoint http://other-node:8420/hf
  towline pull https://files.example/llama/ acme/llama:v2
  towline pull s3://bucket/models/llama acme/llama     (AWS_* in the node's environment)
  towline pull /mnt/disk/llama acme/llama

A pull that was stopped or killed goes on where it stood when it is begun again.

Exit codes: 0 pulled, 64 usage, 65 refused, 69 no node, 74 storage, 75 the source failed.";

/// What to pull.
#[derive(Args, Debug)]
pub(crate) struct Pull {
    #[command(flatten)]
    node: NodeUrl,
    /// hf://ORG/MODEL[@REV], http(s)://HOST/FOLDER/, s3://BUCKET/PREFIX, or a folder.
    source: String,
    /// Name and tag here: ORG/MODEL or ORG/MODEL:TAG; for hf:// the same as there.
    name: Option<String>,
    /// The hub that hf:// means.
    #[arg(long, env = "HF_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,
    /// Token of the source, for this pull only.
    #[arg(long, env = "HF_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(pull: &Pull) -> Result<(), Failure> {
    let (name, tag) = match pull.name.as_deref().map(name_and_tag) {
        Some((name, tag)) => (Some(name.to_owned()), tag.map(str::to_owned)),
        None => (None, None),
    };
    let source = if pull.source.contains("://") {
        pull.source.clone()
    } else {
        let path = std::fs::canonicalize(&pull.source).map_err(|error| {
            Failure::usage(format!(
                "{0}: {error}. A folder of this machine is named by its path; a model of the hub \
                 is hf://{0}",
                pull.source
            ))
        })?;
        path.display().to_string()
    };
    let is_hub = source.starts_with("hf://");
    let request = api::Pull {
        source,
        endpoint: pull.endpoint.clone(),
        // A hub's token must not go to another kind of server because it is in the environment.
        token: pull.token.clone().filter(|_| is_hub).map(api::Token),
        name,
        tag,
    };
    let begun = client::post(&pull.node, "/v1/models/pull", &request)?;
    let result = task::follow(&pull.node, begun)?;
    report(&result, pull.json)
}
