//! Where a link test tells what it finds, and how it tells that it could not.
//!
//! Invariant: with `--json` exactly one document is written whatever happens, and with
//! `--json-stream` an `end` comes last, as programs that read `iperf3` expect. A log file is only
//! ever added to (iperf3(1), `--logfile`).

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use towline_link::link::document;

use crate::bench::outcome::Form;
use crate::failure::Failure;
use crate::output;

/// Standard output, or a file.
#[derive(Debug, Default)]
pub(super) struct Sink {
    file: Option<(PathBuf, File)>,
}

impl Sink {
    /// The file of this name, or standard output.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let file = File::options().append(true).create(true).open(path);
        let file = file.map_err(|error| {
            let path = path.display();
            Failure::usage(format!(
                "--logfile {path}: {error}; name a file that can be written"
            ))
        })?;
        let file = Some((path.to_owned(), file));
        Ok(Self { file })
    }

    /// Writes a result.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        let Some((path, file)) = &self.file else {
            return output::print(text);
        };
        let mut file = file;
        file.write_all(text.as_bytes())
            .map_err(|error| Failure::Storage(format!("--logfile {}: {error}", path.display())))
    }

    /// Writes a failure for programs; people read it on standard error, and in the log file.
    pub(super) fn tell(&self, form: Form, failure: &Failure) {
        let text = match (form, &self.file) {
            (Form::Text, Some(_)) => format!("towline: {failure}\n"),
            _ => failure_in(form, &failure.to_string()),
        };
        // Where that cannot be written either, the exit code still tells.
        let _ = self.print(&text);
    }
}

/// A failure in this form, as `iperf3` prints it; empty where only standard error tells it.
pub(in crate::bench) fn failure_in(form: Form, text: &str) -> String {
    match form {
        Form::Json => format!("{:#}\n", document::failure(text)),
        Form::JsonStream => {
            let lines = document::failure_events(text);
            lines.iter().map(|line| format!("{line}\n")).collect()
        }
        Form::Text | Form::Csv => String::new(),
    }
}
