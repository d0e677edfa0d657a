//! `towline tune import`: judges the JSON that a script for another system printed.
//!
//! Invariant: the file is read up to a limit, shown and judged, and never run.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use towline_tuning::import::{SHEET_BYTES_MAX, Sheet};
use towline_tuning::{Catalogue, TuneError, Values};

use super::{code_of, show};
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune import sheet.json
  towline tune import sheet.json --json

Exit codes: 0 clean, 1 something that costs speed or data, 2 it is no sheet.";

/// Options of `import`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What the script printed.
    file: PathBuf,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
    /// Show the checks that passed too, and those that nobody can answer.
    #[arg(long, short)]
    verbose: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let failed = |error| TuneError::system(options.file.display().to_string(), error);
    let mut text = String::new();
    let file = File::open(&options.file).map_err(failed)?;
    file.take(SHEET_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let report = Sheet::parse(&text)?.judge(&Catalogue::load()?, &Values::load()?)?;
    if options.json {
        output::json(&report)?;
    } else {
        output::print(&show::report(&report, options.verbose))?;
    }
    Ok(code_of(&report))
}
