//! Where the workspace, Cargo's target directory and the built programs are.
//!
//! Invariant: nothing here creates a file. Not promised: that a program is up to date; Cargo or
//! `tests/run` builds it before the tests start.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// The workspace's root directory.
#[must_use]
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// Cargo's target directory.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The release build of `name`, or what the environment variable `TOWLINE_PROGRAM` names when
/// `name` is `towline`.
///
/// # Errors
/// Fails when it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let chosen = std::env::var_os("TOWLINE_PROGRAM").filter(|_| name == "towline");
    let path = chosen.map_or_else(|| target().join("release").join(name), PathBuf::from);
    ensure!(
        path.is_file(),
        "{} is missing: run cargo build --release",
        path.display()
    );
    Ok(path)
}
