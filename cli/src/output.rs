//! Writing to the terminal: results to standard output, failures to standard error.
//!
//! A reader that has seen enough (`towline status | head`) is no failure.

use std::io::{self, Write};

use crate::failure::Failure;

/// Writes a result.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes why it failed. Where even that cannot be written, the exit code still tells.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "towline: {text}");
}

/// Writes a result for programs.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Internal(error.to_string()))?;
    print(&format!("{text}\n"))
}
