//! Copies programs together with the shared libraries they load.
//!
//! Invariant: a library keeps its absolute path, so the copied loader finds it. Not promised:
//! libraries opened at run time by name (`dlopen`), which ldd(1) does not see.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::run;

/// Longest time for one ldd call.
const LDD_LIMIT: Duration = Duration::from_secs(20);

/// Copies `program` to `place` below `root`, and every library it needs to where it would be on
/// this machine. Libraries in `prefer` win over those installed.
///
/// # Errors
/// Fails when a library is found in neither place.
pub(super) fn copy_with_libraries(
    program: &Path,
    root: &Path,
    place: &Path,
    prefer: &[PathBuf],
) -> Result<()> {
    copy(program, &below(root, place))?;
    for library in libraries(program, prefer)? {
        let found = prefer
            .iter()
            .find(|directory| library.starts_with(directory));
        let name = library.file_name().context("library without a name")?;
        let to = match found {
            Some(_) => root.join("lib/x86_64-linux-gnu").join(name),
            None => below(root, &library),
        };
        copy(&library, &to)?;
    }
    Ok(())
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    Ok(())
}

fn libraries(program: &Path, prefer: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut ldd = Command::new("ldd");
    ldd.arg(program)
        .env("LD_LIBRARY_PATH", std::env::join_paths(prefer)?);
    let finished = run(ldd, LDD_LIMIT)?;
    // A static program is no error: ldd says so and fails.
    let text = String::from_utf8_lossy(&finished.output).into_owned();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.contains("not found") {
            bail!(
                "{} needs a library that is not installed: {}",
                program.display(),
                line.trim()
            );
        }
        let path = line.split_whitespace().find(|word| word.starts_with('/'));
        found.extend(path.map(PathBuf::from));
    }
    Ok(found)
}
