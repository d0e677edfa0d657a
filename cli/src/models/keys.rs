//! Keys that sign models: making one, and giving its word for a revision that is on a node.
//!
//! Invariant: a key that signs is read on this machine and stays here; the node gets a signature.
//! Not promised: that whoever signs a revision that is there has looked at its files.

use std::path::Path;

use serde_json::json;
use towline_api as api;
use towline_store::ManifestId;
use towline_store::signing_key;

use crate::failure::Failure;
use crate::options::NodeUrl;
use crate::push::name_and_tag;
use crate::{client, output};

/// Makes a key, and tells what makes nodes trust it.
pub(super) fn make(file: &Path, name: &str, json: bool) -> Result<(), Failure> {
    if name
        .chars()
        .any(|one| one.is_control() || one == '"' || one == '\\')
    {
        return Err(Failure::usage("--name: write a name without quotes"));
    }
    let key = signing_key::make(file).map_err(|fault| Failure::usage(fault.to_string()))?;
    let line = format!("{key} {name}");
    let (line, shown) = (line.trim_end(), file.display());
    if json {
        return output::json(&json!({ "file": file, "key": key.to_string(), "trusted_key": line }));
    }
    output::print(&format!(
        "{shown} signs models: keep it secret, and keep a copy where it is safe.\n\
         Nodes trust it with this in their configuration:\n\n\
         [models]\ntrusted_keys = [\"{line}\"]\n"
    ))
}

/// Signs a revision that is on the node.
pub(super) fn sign(
    node: &NodeUrl,
    name: &str,
    key: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    let (bare, revision) = name_and_tag(name);
    let signature = match key {
        None => None,
        Some(key) => Some(signature(node, bare, revision.unwrap_or("main"), key)?),
    };
    let request = api::Sign {
        name: bare.to_owned(),
        revision: revision.map(str::to_owned),
        signature,
    };
    let _: serde_json::Value = client::post(node, "/v1/models/sign", &request)?;
    if json {
        return output::print("{}\n");
    }
    output::print(&format!("{name} is signed\n"))
}

fn signature(
    node: &NodeUrl,
    name: &str,
    wanted: &str,
    key: &Path,
) -> Result<api::SignatureText, Failure> {
    let signer = signing_key::read(key).map_err(|fault| Failure::usage(fault.to_string()))?;
    let model: api::Model = client::get(node, &format!("/v1/models/{name}"))?;
    let mut revisions = model.revisions.iter();
    let found = revisions.find(|revision| {
        revision.revision == wanted || revision.tags.iter().any(|tag| tag == wanted)
    });
    let found = found.ok_or_else(|| {
        Failure::Refused(format!(
            "no revision {wanted} of {name}; see 'towline models show'"
        ))
    })?;
    let manifest: ManifestId = found.manifest.parse().map_err(|fault| {
        Failure::Internal(format!("the node names no manifest ({fault}): update it"))
    })?;
    let signature = signer.sign_manifest(&manifest);
    Ok(api::SignatureText {
        key: signature.key.to_string(),
        bytes: signature.hex(),
    })
}
