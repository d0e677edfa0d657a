//! Style as a test: every rule a program can check, over every Rust source of the workspace.
//!
//! The rules are in `towline_tests::tidy`. Invariant: all findings are shown at once. Not promised:
//! that tidy code is good code.

use anyhow::Result;
use towline_tests::paths::workspace;
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
