//! `towline tune bundle`: everything for a bug report in one file, addresses replaced.
//!
//! Nothing is sent anywhere. Not promised: that a name which somebody gave an interface is found.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use towline_tuning::{TuneError, bundle};

use super::check;
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune bundle                     to towline-tune.txt
  towline tune bundle --output - | less   look at it first
  towline tune bundle --raw               with addresses and names

Exit codes: 0 written, 2 it cannot be written.";

/// Options of `bundle`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    question: check::Question,
    /// The file; `-` is standard output.
    #[arg(long, value_name = "FILE", default_value = "towline-tune.txt")]
    output: PathBuf,
    /// Keep addresses and names.
    #[arg(long)]
    raw: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let facts = options.question.read(check::WINDOW)?;
    let report = check::judge(&options.question, &facts)?.report;
    let text = bundle::text(&facts, &report, options.raw);
    let path = &options.output;
    if path.as_os_str() == "-" {
        output::print(&text)?;
    } else {
        fs::write(path, text)
            .map_err(|error| TuneError::system(path.display().to_string(), error))?;
        output::print(&format!("written to {}\n", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
