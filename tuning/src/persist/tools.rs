//! The programs of this host that own its configuration: nmcli, netplan, tuned-adm.
//!
//! Invariant: a program gets no input, ends within [`RUN_TIME_MAX`] or is ended, and is never run
//! through a shell, so no name of a link or profile is read as a command. Tests put a record in
//! the place of [`Installed`].

use std::fmt::Debug;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use towline_base::clock;

/// Longest run of a program: tuned-adm waits for all of a profile to be applied.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);

/// Between two looks at a running program.
const STEP: Duration = Duration::from_millis(10);

/// Runs programs of this host.
pub trait Tools: Debug {
    /// What the program printed.
    ///
    /// # Errors
    /// What it complained of, or why it could not run; one line.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String>;
}

/// The programs that are installed here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Installed;

impl Tools for Installed {
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let told = |error: std::io::Error| format!("{program} cannot be run: {error}");
        let mut child = Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(told)?;
        let until = clock::now() + RUN_TIME_MAX;
        while child.try_wait().map_err(told)?.is_none() {
            if clock::now() > until {
                child.kill().map_err(told)?;
            }
            thread::sleep(STEP);
        }
        let output = child.wait_with_output().map_err(told)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complaint = [output.stderr, output.stdout].concat();
        let complaint = String::from_utf8_lossy(&complaint).into_owned();
        Err(format!("{program}: {}", one_line(&complaint)))
    }
}

/// The first words of a complaint: nmcli lists every property that it knows.
fn one_line(complaint: &str) -> String {
    /// Characters of a complaint that are told: two lines of a terminal.
    const CHARACTERS_MAX: usize = 200;
    let words: Vec<&str> = complaint.split_whitespace().collect();
    let line = words.join(" ");
    if line.is_empty() {
        return "failed without a word".to_owned();
    }
    line.chars().take(CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_answers_complains_or_is_not_there() {
        assert_eq!(Installed.run("echo", &["a b"]), Ok("a b\n".to_owned()));
        let failed = Installed.run("ls", &["/no/such/place"]).unwrap_err();
        assert!(
            failed.starts_with("ls: ") && !failed.contains('\n'),
            "{failed}"
        );
        let absent = Installed.run("no-such-program-here", &[]).unwrap_err();
        assert!(absent.contains("cannot be run"), "{absent}");
    }
}
