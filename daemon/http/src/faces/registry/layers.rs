//! Which files of a repository make up a model for ollama, and the documents that say so.
//!
//! A tag is a tag or revision of the repository, or, where a revision holds several GGUF files,
//! the name of a quantisation. Invariant: the documents depend on the revision alone, so every
//! node gives the same digest. Not promised: models in several GGUF pieces, which ollama does not
//! pull from a registry, and safetensors.

use std::sync::Arc;

use serde_json::{Value, json};
use towline_store::{CatalogFile, CatalogRepo, CatalogRevision};

use super::gguf::About;

/// What a manifest is.
pub(super) const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What a configuration is.
const CONFIGURATION: &str = "application/vnd.docker.container.image.v1+json";

/// The quantisation that is meant by default where there are several: most people's choice.
const USUAL: &str = "Q4_K_M";

/// Files that become layers of these kinds where a revision has them.
const OTHERS: [(&str, &str); 5] = [
    ("template", "template"),
    ("system", "system"),
    ("params", "params"),
    ("LICENSE", "license"),
    ("LICENSE.txt", "license"),
];

/// A model: a revision and one of its GGUF files.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) revision: Arc<CatalogRevision>,
    pub(super) file: CatalogFile,
}

/// What a tag means in a repository.
pub(super) fn choose(repo: &CatalogRepo, tag: &str) -> Option<Choice> {
    let at = |name: &str| {
        let mut tags = repo.tags.iter();
        let rev = match name.parse() {
            Ok(rev) => rev,
            Err(_) => tags.find(|(own, _)| own.as_str() == name)?.1.rev,
        };
        repo.revisions.get(&rev)
    };
    // What ollama sends when nobody named a tag.
    let named = at(tag).or_else(|| at("main").filter(|_| tag == "latest"));
    let (revision, quantisation) = match named {
        Some(revision) => (revision, None),
        None => (at("main")?, Some(tag)),
    };
    let files = models(revision);
    let file = match quantisation {
        Some(wanted) => files.iter().find(|file| is_called(file, wanted)),
        None => files
            .iter()
            .find(|file| is_called(file, USUAL))
            .or(files.first()),
    };
    Some(Choice {
        revision: Arc::clone(revision),
        file: (*file?).clone(),
    })
}

/// Every model that a tag of the repository leads to, once, at most `limit`.
pub(super) fn all(repo: &CatalogRepo, limit: usize) -> Vec<Choice> {
    let mut list: Vec<Choice> = Vec::new();
    for tag in repo.tags.values() {
        let Some(revision) = repo.revisions.get(&tag.rev) else {
            continue;
        };
        for file in models(revision) {
            if list.len() < limit && !list.iter().any(|known| known.file.id == file.id) {
                list.push(Choice {
                    revision: Arc::clone(revision),
                    file: file.clone(),
                });
            }
        }
    }
    list
}

/// The GGUF files of a revision that are whole models.
fn models(revision: &CatalogRevision) -> Vec<&CatalogFile> {
    let files = revision.files.iter();
    let is_model = |file: &&CatalogFile| {
        stem(file).is_some_and(|stem| !is_projector(stem) && !stem.contains("-of-0"))
            && file.sha256.is_some()
    };
    files.filter(is_model).collect()
}

/// The name of a GGUF file without its ending.
fn stem(file: &CatalogFile) -> Option<&str> {
    let name = file.path.segments().last()?;
    name.strip_suffix(".gguf")
}

fn is_projector(stem: &str) -> bool {
    stem.to_ascii_lowercase().contains("mmproj")
}

/// Whether the name of a file, or what stands behind its last `-` or `.`, is `wanted`.
fn is_called(file: &CatalogFile, wanted: &str) -> bool {
    stem(file).is_some_and(|stem| {
        let label = stem.rsplit(['-', '.']).next().unwrap_or(stem);
        stem.eq_ignore_ascii_case(wanted) || label.eq_ignore_ascii_case(wanted)
    })
}

/// The configuration of a model, as it is hashed and sent.
pub(super) fn configuration(choice: &Choice, about: &About) -> String {
    let family = about.architecture.as_deref().unwrap_or("unknown");
    let layers = layers(choice);
    let digests = layers.iter().filter_map(|layer| layer.get("digest"));
    let digests: Vec<&Value> = digests.collect();
    json!({
        "model_format": "gguf",
        "model_family": family,
        "model_families": [family],
        "model_type": about.size.as_deref().unwrap_or("unknown"),
        "file_type": about.file_type.unwrap_or("unknown"),
        "architecture": "amd64",
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": digests },
    })
    .to_string()
}

/// The manifest of a model, as it is hashed and sent.
pub(super) fn manifest(choice: &Choice, about: &About) -> String {
    let configuration = configuration(choice, about);
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": CONFIGURATION,
            "digest": digest(configuration.as_bytes()),
            "size": configuration.len(),
        },
        "layers": layers(choice),
    })
    .to_string()
}

fn layers(choice: &Choice) -> Vec<Value> {
    let layer = |file: &CatalogFile, kind: &str| {
        let sha256 = file.sha256?;
        Some(json!({
            "mediaType": format!("application/vnd.ollama.image.{kind}"),
            "digest": format!("sha256:{sha256}"),
            "size": file.size,
        }))
    };
    let files = &choice.revision.files;
    let projector = files
        .iter()
        .find(|file| stem(file).is_some_and(is_projector));
    let others = OTHERS.iter().filter_map(|(path, kind)| {
        let file = files.iter().find(|file| file.path.as_str() == *path)?;
        layer(file, kind)
    });
    let first = layer(&choice.file, "model");
    let second = projector.and_then(|file| layer(file, "projector"));
    first.into_iter().chain(second).chain(others).collect()
}

/// `sha256:` and the hash of some bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    let digits = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    std::iter::once("sha256:".to_owned())
        .chain(digits)
        .collect()
}
