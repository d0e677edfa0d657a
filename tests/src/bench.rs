//! `towline bench` as tests run it: its words, its report, its figures; medians of ratios.
//!
//! Invariant: a figure that the report lacks is an error with the whole report in it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::paths::program;
use crate::process::{Finished, command, run};

/// Longest command.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The program under test.
///
/// # Errors
/// When it was not built.
pub fn towline() -> Result<String> {
    Ok(program("towline")?.to_string_lossy().into_owned())
}

/// `towline bench` with these words.
///
/// # Errors
/// When it was not built, cannot be started or hangs.
pub fn bench(words: &[&str]) -> Result<Finished> {
    let words = [&["bench"], words].concat();
    run(command(towline()?, &words), LIMIT)
}

/// The JSON that a program printed.
///
/// # Errors
/// When it printed something else; what it said is in the error.
pub fn parsed(finished: &Finished) -> Result<Value> {
    let text = String::from_utf8_lossy(&finished.output);
    serde_json::from_str(&text).with_context(|| format!("{}{text}", finished.errors))
}

/// The JSON of a command.
///
/// # Errors
/// As [`parsed`].
pub fn told(command: Command) -> Result<Value> {
    parsed(&run(command, LIMIT)?)
}

/// A figure of a report, in base units.
///
/// # Errors
/// When the report has none of that name.
pub fn figure(report: &Value, name: &str) -> Result<f64> {
    let figures = report["figures"].as_array().context("no figures")?;
    let found = figures.iter().find(|figure| figure["name"] == name);
    let value = found.and_then(|figure| figure["value"].as_f64());
    value.with_context(|| format!("no figure {name}: {report:#}"))
}

/// Requires that the median of ratios is one, but for `tolerance`. Ratios are of two measurements
/// made one after the other, so that the machine's drift meets both.
///
/// # Errors
/// With all ratios.
pub fn agree(what: &str, ratios: &[f64], tolerance: f64) -> Result<()> {
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    ensure!(
        (median - 1.0).abs() <= tolerance,
        "{what}: {ratios:.3?}, median further from 1 than {tolerance}"
    );
    Ok(())
}
