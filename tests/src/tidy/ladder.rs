//! Rules of the ladder: which crate may know which, where Cargo alone does not say it.
//!
//! Invariant: every crate below `daemon/` stands in ARCHITECTURE's table and knows only those below
//! it, the wire types know serde and the base alone, and of the command line's verbs only `up`
//! knows the node. Not promised: what a crate re-exports.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Finding, Source};

/// What `daemon/api` may depend on.
const API_KNOWS: [&str; 2] = ["serde", "towline-base"];

/// The crates below `daemon/`, lowest first: one may depend on those before it.
const LADDER: [&str; 12] = [
    "base", "api", "sys", "config", "io", "store", "volume", "nfs", "http", "tls", "transfer",
    "models",
];

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
        if is_crate {
            let path = format!("daemon/{name}/Cargo.toml");
            let manifest = fs::read_to_string(root.join(&path)).context(path)?;
            findings.extend(rungs(&name, &manifest));
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

/// The dependencies of a manifest, those of tests left out, each with its line.
fn dependencies(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_inside = false;
    let lines = manifest.lines().enumerate();
    lines.filter_map(move |(index, line)| {
        if line.starts_with('[') {
            is_inside = line == "[dependencies]";
            return None;
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or("");
        let is_named = is_inside && !name.is_empty() && !name.starts_with('#');
        is_named.then_some((index + 1, name))
    })
}

/// What the manifest of the wire types depends on beside what it may.
fn api(manifest: &str) -> Vec<Finding> {
    let unknown = dependencies(manifest).filter(|(_, name)| !API_KNOWS.contains(name));
    let findings = unknown.map(|(line, name)| {
        let advice = format!("the wire types know {API_KNOWS:?} only, not {name}");
        finding("daemon/api/Cargo.toml", line, advice)
    });
    findings.collect()
}

/// What a crate of the ladder depends on that does not stand below it.
fn rungs(name: &str, manifest: &str) -> Vec<Finding> {
    let path = format!("daemon/{name}/Cargo.toml");
    let Some(own) = LADDER.iter().position(|rung| *rung == name) else {
        return vec![finding(
            &path,
            1,
            format!("daemon/{name} has no place in the ladder"),
        )];
    };
    let below = LADDER.get(..own).unwrap_or(&[]);
    let own_crates = dependencies(manifest)
        .filter_map(|(line, name)| Some((line, name.strip_prefix("towline-")?)));
    let above = own_crates.filter(|(_, other)| !below.contains(other));
    let findings = above.map(|(line, other)| {
        let advice = format!("daemon/{name} may know {below:?} only, not {other}");
        finding(&path, line, advice)
    });
    findings.collect()
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
    fn a_crate_knows_only_those_below_it() {
        let manifest = "[dependencies]\nbytes = \"1\"\ntowline-http.workspace = true\n\
                        towline-models.workspace = true\n[dev-dependencies]\n\
                        towline-models.workspace = true\n";
        let found = rungs("transfer", manifest);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 4);
        assert_eq!(rungs("models", manifest).len(), 1, "itself");
        assert_eq!(rungs("volume", manifest).len(), 2);
        assert_eq!(rungs("new", "").len(), 1);
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
