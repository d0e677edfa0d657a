//! Style as a test: every rule a program can check, over every Rust source of the workspace; and no
//! file is kept that a test has left behind.
//!
//! The rules are in `towline_tests::tidy`. Invariant: all findings are shown at once. Not promised:
//! that tidy code is good code.

use std::time::Duration;

use anyhow::Result;
use towline_tests::paths::workspace;
use towline_tests::process::{command, run};
use towline_tests::skip::impossible;
use towline_tests::tidy::{Finding, Ratchet, check, read_sources};

#[test]
fn the_source_is_tidy() -> Result<()> {
    let root = workspace();
    let sources = read_sources(&root)?;
    assert!(sources.len() > 20, "the walk lost the sources");
    let ratchet = Ratchet::parse(&std::fs::read_to_string(root.join("tests/tidy.ratchet"))?)?;
    let findings = ratchet.apply(check(&root, &sources)?);
    let (warnings, findings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(Finding::is_warning);
    for warning in warnings {
        println!("warning: {warning}");
    }
    let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(
        text.is_empty(),
        "{} findings:\n{}",
        text.len(),
        text.join("\n")
    );
    Ok(())
}

/// Largest file that is kept, in bytes: what tests leave behind is larger, or lies in a temporary
/// folder.
const KEPT_BYTES_MAX: u64 = 512 << 10;

#[test]
fn nothing_that_a_test_left_behind_is_kept() -> Result<()> {
    let root = workspace();
    let listed = run(
        command("git", &["-C", &root.to_string_lossy(), "ls-files", "-z"]),
        Duration::from_secs(20),
    )?;
    if !listed.status.success() {
        return impossible("what is kept is known in a git checkout only");
    }
    let names = String::from_utf8(listed.output)?;
    let names: Vec<&str> = names.split('\0').filter(|name| !name.is_empty()).collect();
    assert!(names.len() > 20, "the list lost the files");
    let is_stray = |name: &&&str| {
        let length = std::fs::symlink_metadata(root.join(name)).map_or(0, |data| data.len());
        length > KEPT_BYTES_MAX || name.split('/').any(|part| part.starts_with(".tmp"))
    };
    let stray: Vec<_> = names.iter().filter(is_stray).collect();
    assert!(stray.is_empty(), "remove from the index: {stray:?}");
    Ok(())
}
