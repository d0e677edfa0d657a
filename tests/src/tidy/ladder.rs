//! Rules of the ladder: which crate may know which, where Cargo alone does not say it.
//!
//! Invariant: every crate below `daemon/` stands in ARCHITECTURE's table, the wire types know serde
//! and the base alone, and of the command line's verbs only `up` knows the node. Not promised:
//! what a crate re-exports.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Finding, Source};

/// What `daemon/api` may depend on.
const API_KNOWS: [&str; 2] = ["serde", "towline-base"];

/// The one file of the command line that may name the crate of the node.
const KNOWS_THE_NODE: &str = "cli/src/up.rs";

/// All rules of this file.
pub(super) fn check(root: &Path, sources: &[Source]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let table = fs::read_to_string(root.join("daemon/ARCHITECTURE.md"))?;
    for entry in fs::read_dir(root.join("daemon"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_crate = entry.path().join("Cargo.toml").is_file();
        if is_crate && !table.contains(&format!("| `daemon/{name}` |")) {
            let advice = format!("daemon/{name} needs a row in the table of crates");
            findings.push(finding("daemon/ARCHITECTURE.md", 1, advice));
        }
    }
    let manifest = fs::read_to_string(root.join("daemon/api/Cargo.toml"));
    findings.extend(api(&manifest.context("daemon/api/Cargo.toml")?));
    findings.extend(verbs(sources));
    Ok(findings)
}

fn finding(path: &str, line: usize, advice: String) -> Finding {
    Finding {
        path: path.to_owned(),
        line,
        rule: "ladder",
        advice,
        number: None,
    }
}

/// What the manifest of the wire types depends on beside what it may.
fn api(manifest: &str) -> Vec<Finding> {
    let mut is_inside = false;
    let mut findings = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            is_inside = line == "[dependencies]";
            continue;
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or("");
        if is_inside && !name.is_empty() && !API_KNOWS.contains(&name) {
            let advice = format!("the wire types know {API_KNOWS:?} only, not {name}");
            findings.push(finding("daemon/api/Cargo.toml", index + 1, advice));
        }
    }
    findings
}

/// Verbs that name the crate of the node.
fn verbs(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own = sources
        .iter()
        .filter(|source| source.path.starts_with("cli/src/") && source.path != KNOWS_THE_NODE);
    for source in own {
        for (index, line) in source.lines.iter().enumerate() {
            if line.contains("towlined::") {
                let advice =
                    format!("only {KNOWS_THE_NODE} knows the node: ask through towline_api");
                findings.push(finding(&source.path, index + 1, advice));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_types_know_little() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\nserde.workspace = true\n\
                        tokio = \"1\"\n\n[dev-dependencies]\nserde_json = \"1\"\n";
        let found = api(manifest);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 5);
    }

    #[test]
    fn only_one_verb_knows_the_node() {
        let source = |path: &str| Source {
            path: path.to_owned(),
            lines: vec!["use towlined::run;".to_owned()],
        };
        let sources = ["cli/src/up.rs", "cli/src/pull.rs", "daemon/src/main.rs"].map(source);
        let found = verbs(&sources);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "cli/src/pull.rs");
    }
}
