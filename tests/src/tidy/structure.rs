//! Rules that look at the tree: names, modules, crates, promises, corpus and dependencies.
//!
//! Invariant: rules read the tree and change nothing. Not promised: modules with `#[path]` or made
//! by macros; the workspace has none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Finding, Source};

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "common", "misc", "manager", "lib2"];
/// Most crates in the ladder below `daemon/`.
const DAEMON_CRATES_MAX: usize = 14;
/// Promises of `daemon/THREATS.md` that the present code can keep or break. Each is
/// the name of a test in `tests/tests`.
const PROMISES: [&str; 7] = [
    "acked_means_durable",
    "never_wrong_bytes",
    "bounded_memory",
    "no_escape",
    "honest_clients_keep_service",
    "io_uring_is_optional",
    "no_silent_configuration",
];
/// All rules of this file.
pub(super) fn check(root: &Path, sources: &[Source]) -> Result<Vec<Finding>> {
    let mut findings = names(sources);
    findings.extend(dead_files(sources));
    findings.extend(promises(sources));
    findings.extend(dependencies(root)?);
    findings.extend(crate_count(root)?);
    Ok(findings)
}

fn at(path: &str, rule: &'static str, advice: String) -> Finding {
    Finding {
        path: path.to_owned(),
        line: 1,
        rule,
        advice,
        number: None,
    }
}

fn names(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let mut parts = source.path.split('/');
        let stem = |part: &str| part.trim_end_matches(".rs").to_owned();
        if parts.any(|part| EMPTY_NAMES.contains(&stem(part).as_str())) {
            findings.push(at(
                &source.path,
                "names",
                "name it after its subject".into(),
            ));
        }
        if source.path.ends_with("/mod.rs") && !source.path.contains("tests/") {
            findings.push(at(
                &source.path,
                "no-mod-rs",
                "use foo.rs beside foo/".into(),
            ));
        }
    }
    findings
}

fn is_crate_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let parent = parts
        .len()
        .checked_sub(2)
        .and_then(|index| parts.get(index))
        .copied();
    path.ends_with("src/lib.rs")
        || path.ends_with("/main.rs")
        || path.ends_with("build.rs")
        || matches!(
            parent,
            Some("bin" | "tests" | "benches" | "examples" | "fuzz_targets")
        )
}

fn dead_files(sources: &[Source]) -> Vec<Finding> {
    let known: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut waiting: Vec<String> = known
        .iter()
        .filter(|path| is_crate_root(path))
        .map(|path| (*path).to_owned())
        .collect();
    while let Some(path) = waiting.pop() {
        if !reached.insert(path.clone()) {
            continue;
        }
        let Some(source) = sources.iter().find(|source| source.path == path) else {
            continue;
        };
        let (directory, file) = path.rsplit_once('/').unwrap_or(("", &path));
        let stem = file.trim_end_matches(".rs");
        let base = match is_crate_root(&path) || stem == "mod" {
            true => directory.to_owned(),
            false => format!("{directory}/{stem}"),
        };
        for name in source.lines.iter().filter_map(|line| module_name(line)) {
            let places = [format!("{base}/{name}.rs"), format!("{base}/{name}/mod.rs")];
            waiting.extend(
                places
                    .into_iter()
                    .filter(|place| known.contains(place.as_str())),
            );
        }
    }
    let dead = known.iter().filter(|path| !reached.contains(**path));
    dead.map(|path| {
        at(
            path,
            "dead-file",
            "no crate root reaches it: remove it".into(),
        )
    })
    .collect()
}

fn module_name(line: &str) -> Option<&str> {
    let name = line.trim_start().strip_suffix(';')?;
    let words: Vec<&str> = name.split_whitespace().collect();
    match words.as_slice() {
        ["mod", name] | [_, "mod", name] => Some(name),
        _ => None,
    }
}

fn promises(sources: &[Source]) -> Vec<Finding> {
    let tests: Vec<&Source> = sources
        .iter()
        .filter(|source| source.path.starts_with("tests/tests/"))
        .collect();
    let has = |promise: &str| {
        let text = format!("fn {promise}(");
        tests
            .iter()
            .any(|source| source.lines.iter().any(|line| line.contains(&text)))
    };
    let missing = PROMISES.iter().filter(|promise| !has(promise));
    missing
        .map(|promise| at("tests/tests", "promise", format!("no test fn {promise}")))
        .collect()
}

/// Every dependency of a manifest has a line in `daemon/ARCHITECTURE.md`.
fn dependencies(root: &Path) -> Result<Vec<Finding>> {
    let page = "daemon/ARCHITECTURE.md";
    let Ok(text) = fs::read_to_string(root.join(page)) else {
        return Ok(vec![at(
            page,
            "dependency",
            "write it: dependencies with their reasons".into(),
        )]);
    };
    let mut findings = Vec::new();
    for manifest in manifests(root)? {
        let content = fs::read_to_string(root.join(&manifest)).context(manifest.clone())?;
        let mut section = "";
        for (index, line) in content.lines().enumerate() {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            let foreign =
                !name.is_empty() && !name.starts_with('#') && !name.starts_with("towline");
            if section.contains("dependencies") && foreign && !text.contains(&format!("`{name}`")) {
                let advice = format!("`{name}` has no line in {page}");
                let finding = at(&manifest, "dependency", advice);
                findings.push(Finding {
                    line: index + 1,
                    ..finding
                });
            }
        }
    }
    Ok(findings)
}

fn crate_count(root: &Path) -> Result<Vec<Finding>> {
    let all = manifests(root)?;
    let count = all
        .iter()
        .filter(|path| path.starts_with("daemon/") && path.matches('/').count() == 2);
    let count = count.count();
    if count <= DAEMON_CRATES_MAX {
        return Ok(Vec::new());
    }
    Ok(vec![at(
        "daemon",
        "crate-count",
        format!("{count} crates: at most {DAEMON_CRATES_MAX}"),
    )])
}

fn manifests(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for directory in ["", "daemon", "cli", "bench", "tests", "tuning"] {
        let base = root.join(directory);
        if base.join("Cargo.toml").is_file() {
            found.push(
                base.join("Cargo.toml")
                    .strip_prefix(root)?
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        if directory == "daemon" {
            for entry in fs::read_dir(&base)?.flatten() {
                let manifest = entry.path().join("Cargo.toml");
                if manifest.is_file() {
                    found.push(manifest.strip_prefix(root)?.to_string_lossy().into_owned());
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_no_root_reaches_is_dead() {
        let sources = [
            Source::new("a/src/lib.rs", "mod b;\npub mod c;"),
            Source::new("a/src/b.rs", "pub(crate) mod inner;"),
            Source::new("a/src/b/inner.rs", ""),
            Source::new("a/src/c.rs", ""),
            Source::new("a/src/d.rs", ""),
        ];
        let findings = dead_files(&sources);
        let paths: Vec<&str> = findings
            .iter()
            .map(|finding| finding.path.as_str())
            .collect();
        assert_eq!(paths, ["a/src/d.rs"]);
    }

    #[test]
    fn names_without_a_subject_are_found() {
        let sources = [
            Source::new("a/src/util.rs", ""),
            Source::new("a/src/b/mod.rs", ""),
        ];
        let rules: Vec<&str> = names(&sources).iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["names", "no-mod-rs"]);
    }
}
