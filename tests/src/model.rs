//! A small model made on the spot and published on a node under test, for clients of every kind.
//!
//! The folder holds what trips clients up: a file above 10 MiB (so a resume can happen), a name
//! with a space and a plus, a directory in a directory, an empty file, and a tokenizer and a
//! configuration that transformers can load. Invariant: every byte is known, so what a client
//! fetched is compared with its source byte for byte. Not promised: that the weights mean anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::content;
use crate::node::{Node, Settings};
use crate::paths;
use crate::process::{command, must_run};

/// Name of the model.
pub const NAME: &str = "acme/tiny-llama";
/// Content of the weights.
const SEED: u64 = 23;
/// Bytes of the weights behind their header: a little over two resumable pieces of 10 MiB.
const WEIGHTS_BYTES: u64 = 24_000_004;
/// Longest time for publishing.
const PUSH_LIMIT: Duration = Duration::from_secs(60);

/// A node with the model on it.
#[derive(Debug)]
pub struct Shelf {
    /// The node.
    pub node: Node,
    /// The folder that was published.
    pub source: PathBuf,
    /// The revision's id.
    pub revision: String,
}

impl Shelf {
    /// A node with default settings and the model as `main`.
    ///
    /// # Errors
    /// Fails when the node does not start or does not publish.
    pub fn new() -> Result<Self> {
        Self::with_configuration("")
    }

    /// The same with a configuration.
    ///
    /// # Errors
    /// Fails when the node does not start or does not publish.
    pub fn with_configuration(configuration: &str) -> Result<Self> {
        let node = Node::start_with(Settings {
            configuration: configuration.to_owned(),
            arguments: Vec::new(),
            ..Settings::default()
        })?;
        let source = node.scratch().join("source");
        write(&source)?;
        let revision = push(&node, &source, NAME)?;
        Ok(Self {
            node,
            source,
            revision,
        })
    }

    /// What HF_ENDPOINT is to be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}/hf", self.node.http())
    }

    /// What HF_ENDPOINT is to be where the configuration has `listen.hub_port`.
    ///
    /// # Errors
    /// Fails when the node has no such port.
    pub fn own_endpoint(&self) -> Result<String> {
        let url = format!("http://{}", self.node.http());
        let arguments = ["status", "--json", "--node", &url];
        let status = must_run(command(paths::program("towline")?, &arguments), PUSH_LIMIT)?;
        let status: Value = serde_json::from_slice(&status)?;
        let all = status["listeners"].as_array().context("no listeners")?;
        let mut hubs = all.iter().filter(|listener| listener["protocol"] == "hub");
        let address = hubs.next().context("the hub has no port")?["address"].as_str();
        Ok(format!("http://{}", address.context("no address")?))
    }

    /// Judges a folder that a client filled: the same files with the same bytes, whatever else
    /// the client keeps below `.cache`.
    ///
    /// # Errors
    /// Fails when a file is missing, is new or differs.
    pub fn judge(&self, folder: &Path) -> Result<()> {
        self.judge_without(folder, &[])
    }

    /// The same where a client cannot fetch some files from anywhere.
    ///
    /// # Errors
    /// Fails when another file is missing, is new or differs.
    pub fn judge_without(&self, folder: &Path, absent: &[&str]) -> Result<()> {
        let (mut wanted, found) = (files(&self.source)?, files(folder)?);
        wanted.retain(|name, _| !absent.contains(&name.as_str()));
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        ensure!(
            wanted == found,
            "{} differs from the source: {:?} instead of {:?}, or another content",
            folder.display(),
            names(&found),
            names(&wanted)
        );
        Ok(())
    }
}

/// Publishes a folder; the revision's id.
///
/// # Errors
/// Fails when `towline push` does.
pub fn push(node: &Node, folder: &Path, name: &str) -> Result<String> {
    let url = format!("http://{}", node.http());
    let folder = folder.display().to_string();
    let arguments = ["push", "--json", "--node", &url, &folder, name];
    let output = must_run(command(paths::program("towline")?, &arguments), PUSH_LIMIT)?;
    let published: Value = serde_json::from_slice(&output)?;
    let revision = published.get("revision").and_then(Value::as_str);
    Ok(revision.context("no revision")?.to_owned())
}

/// Every file below a folder with its bytes, links followed.
///
/// # Errors
/// Fails when one cannot be read.
pub fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            let name = path.strip_prefix(folder)?.display().to_string();
            if path.is_dir() && name != ".cache" {
                waiting.push(path);
            } else if path.is_file() {
                found.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// Makes the folder of the model.
///
/// # Errors
/// Fails when it cannot be written.
pub fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("sub dir/deep"))?;
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16,
        "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "vocab_size": 8, "bos_token_id": 1, "eos_token_id": 2,
    });
    let tokenizer = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "bos_token": "<s>",
        "eos_token": "</s>", "model_max_length": 128,
    });
    for (name, value) in [
        ("config.json", &config),
        ("tokenizer_config.json", &tokenizer),
        ("tokenizer.json", &words()),
    ] {
        fs::write(folder.join(name), serde_json::to_vec_pretty(value)?)?;
    }
    fs::write(folder.join("README.md"), "---\nlicense: mit\n---\n# tiny\n")?;
    fs::write(folder.join("empty.txt"), "")?;
    fs::write(folder.join("sub dir/a+b.txt"), "hi\n")?;
    fs::write(folder.join("sub dir/deep/notes.txt"), "below\n")?;
    fs::write(folder.join("model.safetensors"), weights()?)?;
    Ok(())
}

/// A tokenizer of eight words, in the format of the `tokenizers` library.
fn words() -> Value {
    let words = [
        "<unk>", "<s>", "</s>", "tow", "line", "feeds", "the", "cards",
    ];
    let vocabulary: BTreeMap<&str, usize> = words.into_iter().zip(0..).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    })
}

/// A well-formed safetensors file with one tensor.
fn weights() -> Result<Vec<u8>> {
    let header = json!({
        "weight": {
            "dtype": "F32", "shape": [WEIGHTS_BYTES / 4], "data_offsets": [0, WEIGHTS_BYTES],
        },
    });
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.append(&mut header);
    file.extend(content::bytes(SEED, 0, usize::try_from(WEIGHTS_BYTES)?));
    Ok(file)
}

/// A small model: configuration, a file in a folder, one of 9 MB.
///
/// # Errors
/// Fails when it cannot be written.
pub fn small(at: &Path, seed: u64) -> Result<()> {
    fs::create_dir_all(at.join("sub"))?;
    fs::write(at.join("config.json"), "{\"a\":1}\n")?;
    fs::write(at.join("sub/a.txt"), "hi\n")?;
    content::write(&at.join("model.bin"), seed, 9_000_001)
}

/// Compares two folders with `diff`.
///
/// # Errors
/// Fails when they differ.
pub fn same(one: &Path, other: &Path) -> Result<()> {
    let status = Command::new("diff")
        .arg("-r")
        .arg(one)
        .arg(other)
        .status()?;
    ensure!(
        status.success(),
        "{} differs from {}",
        one.display(),
        other.display()
    );
    Ok(())
}
