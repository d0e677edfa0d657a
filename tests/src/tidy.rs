//! The style rules of the sources that a program can check.
//!
//! Every finding is reported at once as `path:line: rule-id: what to do`. Invariant: a rule is a
//! pure function from sources to findings, so each is tested on text. Not promised: understanding
//! Rust; the rules read lines and rely on rustfmt's layout.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

mod citations;
mod ladder;
mod lines;
mod ratchet;
mod structure;

pub use ratchet::Ratchet;

/// One departure from a rule.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Finding {
    /// Path from the workspace's root.
    pub path: String,
    /// Line, counted from one.
    pub line: usize,
    /// Name of the rule.
    pub rule: &'static str,
    /// What to do.
    pub advice: String,
    /// The number that is too large, where the rule counts something: the ratchet may allow it.
    pub number: Option<usize>,
}

impl Finding {
    /// Whether it is only a warning.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        self.rule == lines::FILE_LENGTH_WARNING
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}: {}: {}",
            self.path, self.line, self.rule, self.advice
        )
    }
}

/// One Rust source file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path from the workspace's root, with `/`.
    pub path: String,
    /// All lines.
    pub lines: Vec<String>,
}

impl Source {
    /// A source from text.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// The lines before the inline test module.
    #[must_use]
    pub fn production(&self) -> &[String] {
        let is_start = |pair: &[String]| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        };
        let end = self
            .lines
            .windows(2)
            .position(is_start)
            .unwrap_or(self.lines.len());
        &self.lines[..end]
    }

    /// Whether all of it is test code: integration tests and modules kept for tests.
    #[must_use]
    pub fn is_test(&self) -> bool {
        let path = format!("/{}", self.path);
        path.contains("/tests/tests/")
            || path.ends_with("/tests.rs")
            || (path.contains("/tests/") && !path.starts_with("/tests/src/"))
    }

    fn finding(&self, line: usize, rule: &'static str, advice: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            rule,
            advice: advice.into(),
            number: None,
        }
    }
}

/// Reads every Rust source below `root`, build outputs and hidden directories left out.
///
/// # Errors
/// Fails when a file cannot be read as text.
pub fn read_sources(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" || name == "corpus" {
                continue;
            }
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else if name.ends_with(".rs") {
                let path = entry.path();
                let text = fs::read_to_string(&path).context(path.display().to_string())?;
                let relative = path.strip_prefix(root)?.to_string_lossy().into_owned();
                sources.push(Source::new(&relative, &text));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// Every finding in `sources`, and in the manifests and corpus below `root`.
///
/// # Errors
/// Fails when a manifest cannot be read.
pub fn check(root: &Path, sources: &[Source]) -> Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = sources.iter().flat_map(lines::check).collect();
    findings.extend(structure::check(root, sources)?);
    findings.extend(citations::check(root, sources));
    findings.extend(ladder::check(root, sources)?);
    findings.sort();
    Ok(findings)
}
