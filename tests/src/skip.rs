//! Skipping a test, visibly.
//!
//! Invariant: every skip is written to the file that the environment variable `TOWLINE_SKIPS`
//! names, so `tests/run` counts it. In CI a skip for want of something that could be installed is a
//! failure. Not promised: that the test runner itself shows a skip; it sees a test that passed.

use std::fs::File;
use std::io::Write;

use anyhow::{Result, bail};

/// Tells that the calling test ends here because this machine cannot do `what`, whatever one
/// installs: no root, no second core.
///
/// # Errors
/// Fails when the skip cannot be written down.
pub fn impossible(what: &str) -> Result<()> {
    let Some(path) = std::env::var_os("TOWLINE_SKIPS") else {
        return Ok(());
    };
    let mut file = File::options().create(true).append(true).open(path)?;
    Ok(writeln!(file, "{what}")?)
}

/// Whether `program` is there. Where it is not, tells that the calling test ends here.
///
/// # Errors
/// Fails in CI (`CI=true`), where everything that can be installed must be.
pub fn unless_installed(program: &str, package: &str) -> Result<bool> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(program).is_file()) {
        return Ok(true);
    }
    if std::env::var("CI").is_ok_and(|value| value == "true") {
        bail!("{program} is missing: apt-get install {package}");
    }
    impossible(&format!("{program} is missing: apt-get install {package}"))?;
    Ok(false)
}
