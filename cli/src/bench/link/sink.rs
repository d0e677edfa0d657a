//! Where a link test tells what it finds, and how it tells that it could not.
//!
//! Invariant: with `--json` exactly one document is written whatever happens, and with
//! `--json-stream` an `end` comes last, as programs that read `iperf3` expect.

use towline_bench::link::document;

use crate::bench::outcome::Form;
use crate::failure::Failure;
use crate::output;

/// Standard output.
#[derive(Debug, Default)]
pub(super) struct Sink;

impl Sink {
    /// Writes a result.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        output::print(text)
    }

    /// Writes a failure for programs; people read it on standard error.
    pub(super) fn tell(&self, form: Form, failure: &Failure) {
        // Where that cannot be written either, the exit code still tells.
        let _ = self.print(&failure_in(form, &failure.to_string()));
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
