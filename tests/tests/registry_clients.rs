//! `ollama pull` of GGUF models, request by request as ollama sends them.
//!
//! Invariant: every layer is compared with its file byte for byte, and the manifest hashes to what
//! the node says. Not promised: ollama itself, which no package source here has.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use towline_tests::content;
use towline_tests::model::push;
use towline_tests::node::Node;
use towline_tests::ollama::{pull, status};

const NAME: &str = "acme/tiny-gguf";
/// Bytes of the one tensor.
const TENSOR_BYTES: usize = 400_000;

/// A GGUF file of version 3 with one tensor.
fn gguf(architecture: &str, file_type: u32, seed: u64) -> Vec<u8> {
    let text = |value: &str| {
        let mut bytes = (value.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(value.as_bytes());
        bytes
    };
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend(1_u64.to_le_bytes());
    file.extend(3_u64.to_le_bytes());
    file.extend(
        [
            text("general.architecture"),
            8_u32.to_le_bytes().into(),
            text(architecture),
        ]
        .concat(),
    );
    file.extend(
        [
            text("general.size_label"),
            8_u32.to_le_bytes().into(),
            text("100K"),
        ]
        .concat(),
    );
    file.extend(
        [
            text("general.file_type"),
            4_u32.to_le_bytes().into(),
            file_type.to_le_bytes().into(),
        ]
        .concat(),
    );
    file.extend(text("weight"));
    file.extend(1_u32.to_le_bytes());
    file.extend((TENSOR_BYTES as u64 / 4).to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(content::bytes(seed, 0, TENSOR_BYTES));
    file
}

fn served() -> Result<(Node, PathBuf)> {
    let node = Node::start()?;
    let source = node.scratch().join("gguf");
    fs::create_dir_all(&source)?;
    for (name, bytes) in [
        ("tiny-Q4_K_M.gguf", gguf("llama", 15, 1)),
        ("tiny-Q8_0.gguf", gguf("llama", 7, 2)),
        ("mmproj-tiny-F16.gguf", gguf("clip", 1, 3)),
        ("template", b"{{ .Prompt }}".to_vec()),
        ("params", b"{\"stop\":[\"</s>\"]}".to_vec()),
        ("LICENSE", b"Do what you like.\n".to_vec()),
        ("README.md", b"# tiny\n".to_vec()),
    ] {
        fs::write(source.join(name), bytes)?;
    }
    push(&node, &source, NAME)?;
    Ok((node, source))
}

#[test]
fn ollama_pulls_every_layer_byte_for_byte() -> Result<()> {
    let (node, source) = served()?;
    for (tag, file, file_type) in [
        ("latest", "tiny-Q4_K_M.gguf", "Q4_K_M"),
        ("main", "tiny-Q4_K_M.gguf", "Q4_K_M"),
        ("Q8_0", "tiny-Q8_0.gguf", "Q8_0"),
        ("q8_0", "tiny-Q8_0.gguf", "Q8_0"),
    ] {
        // Once in parts, once in one, as a file of this size goes.
        for part_bytes in [100_003, 100 << 20] {
            let pulled = pull(node.http(), NAME, tag, part_bytes).context(tag)?;
            for (kind, name) in [
                ("model", file),
                ("projector", "mmproj-tiny-F16.gguf"),
                ("template", "template"),
                ("params", "params"),
                ("license", "LICENSE"),
            ] {
                let digest = pulled.layers.get(kind).context(kind)?;
                assert!(
                    pulled.blobs[digest] == fs::read(source.join(name))?,
                    "{tag} {kind}"
                );
            }
            assert_eq!(pulled.layers.len(), 6, "{:?}", pulled.layers);
            assert_eq!(pulled.config["model_format"], "gguf");
            assert_eq!(pulled.config["model_family"], "llama");
            assert_eq!(pulled.config["model_type"], "100K");
            assert_eq!(pulled.config["file_type"], file_type);
        }
    }
    Ok(())
}

/// The same revision gives the same manifest, whenever it is asked for.
#[test]
fn a_manifest_never_changes() -> Result<()> {
    let (mut node, _) = served()?;
    let first = pull(node.http(), NAME, "latest", 1 << 20)?;
    node.drain()?;
    node.restart()?;
    let second = pull(node.http(), NAME, "latest", 1 << 20)?;
    assert_eq!(first.manifest, second.manifest);
    Ok(())
}

#[test]
fn what_is_not_there_is_refused_as_ollama_understands() -> Result<()> {
    let (node, _) = served()?;
    let ask = |method: &str, path: &str| status(node.http(), method, path);
    let zeros = "0".repeat(64);
    assert_eq!(ask("GET", "/v2/")?, 200);
    assert_eq!(ask("GET", "/v2/acme/absent/manifests/latest")?, 404);
    assert_eq!(ask("GET", "/v2/acme/tiny-gguf/manifests/Q2_K")?, 404);
    assert_eq!(
        ask("HEAD", &format!("/v2/{NAME}/blobs/sha256:{zeros}"))?,
        404
    );
    assert_eq!(ask("GET", &format!("/v2/{NAME}/blobs/sha256:zz"))?, 404);
    assert_eq!(ask("GET", "/v2/acme/../x/manifests/latest")?, 404);
    assert_eq!(ask("POST", &format!("/v2/{NAME}/blobs/uploads/"))?, 405);
    let plain = node.scratch().join("plain");
    fs::create_dir_all(&plain)?;
    fs::write(plain.join("config.json"), "{}")?;
    fs::write(plain.join("broken.gguf"), "GGUX and no more")?;
    push(&node, &plain, "acme/plain")?;
    assert_eq!(ask("GET", "/v2/acme/plain/manifests/latest")?, 404);
    Ok(())
}
