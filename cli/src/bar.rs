//! A line of progress on standard error: how much, how fast, how long still.
//!
//! Drawn only where a person looks (a terminal). Invariant: what is drawn is gone from the line
//! when the bar is dropped, so messages behind it stand alone.

use std::io::{IsTerminal, Write};

/// Cells of the bar itself.
const CELLS: usize = 24;

/// A progress line.
pub(crate) struct Bar {
    is_shown: bool,
    what: String,
}

impl Bar {
    /// A bar that says `what` is being done.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            is_shown: std::io::stderr().is_terminal(),
            what: what.into(),
        }
    }

    /// Draws how far it is.
    pub(crate) fn draw(&self, done: u64, total: u64, elapsed_s: f64) {
        if self.is_shown {
            let line = line(&self.what, done, total, elapsed_s);
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, total: u64, elapsed_s: f64) -> String {
    let share = if total == 0 {
        0.0
    } else {
        done as f64 / total as f64
    };
    let filled = ((share * CELLS as f64) as usize).min(CELLS);
    let rate = if elapsed_s > 0.0 {
        done as f64 / elapsed_s
    } else {
        0.0
    };
    let left = if rate > 0.0 {
        let seconds = (total.saturating_sub(done) as f64 / rate).ceil() as u64;
        format!("{}:{:02} left", seconds / 60, seconds % 60)
    } else {
        String::new()
    };
    format!(
        "{what} [{}{}] {} of {}  {}/s  {left}",
        "#".repeat(filled),
        "-".repeat(CELLS - filled),
        size(done),
        size(total),
        size(rate as u64),
    )
}

/// A size for people, in binary units.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_amount_rate_and_rest() {
        let line = line("push a/b", 256 << 20, 1 << 30, 1.0);
        assert_eq!(
            line,
            "push a/b [######------------------] 256.0 MiB of 1.0 GiB  256.0 MiB/s  0:03 left"
        );
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 40), "5.0 TiB");
    }
}
