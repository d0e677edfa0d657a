//! Child processes that cannot outlive the test, and commands that must succeed in time.
//!
//! Invariant: a [`Running`] process is killed by its own pid and reaped when it is dropped; no
//! process is ever found by name. Not promised: that its own children die with it.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How often a child's end is looked for: waitpid has no time limit of its own.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A child process, killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts `command`.
    ///
    /// # Errors
    /// Fails when the program does not exist.
    pub fn start(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal; a process that is gone already is no error.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _gone_already = kill_process(pid, signal);
        }
    }

    /// The exit status if the process has ended.
    ///
    /// # Errors
    /// Passes on what waitpid reports.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Fails when the process still runs after `limit`; it is killed then.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        while started.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.kill();
        bail!("{} still ran after {limit:?}", self.name)
    }

    /// SIGKILL, and reaps.
    pub fn kill(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a finished command left.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub output: Vec<u8>,
    /// Its standard error.
    pub errors: String,
}

/// Runs `command` to its end, whatever its status. Output goes through files, so a command that
/// writes much cannot block.
///
/// # Errors
/// Fails when it cannot be started or takes longer than `limit`.
pub fn run(mut command: Command, limit: Duration) -> Result<Finished> {
    let directory = tempfile::tempdir()?;
    let (output, errors) = (directory.path().join("out"), directory.path().join("err"));
    command.stdin(Stdio::null());
    command
        .stdout(std::fs::File::create(&output)?)
        .stderr(std::fs::File::create(&errors)?);
    let status = Running::start(command)?.wait(limit)?;
    let errors = String::from_utf8_lossy(&std::fs::read(&errors)?).into_owned();
    Ok(Finished {
        status,
        output: std::fs::read(&output)?,
        errors,
    })
}

/// Runs `command` to its end and returns its standard output.
///
/// # Errors
/// Fails when it fails, and shows what it said.
pub fn must_run(command: Command, limit: Duration) -> Result<Vec<u8>> {
    let text = format!("{command:?}");
    let finished = run(command, limit)?;
    let output = String::from_utf8_lossy(&finished.output).into_owned();
    ensure!(
        finished.status.success(),
        "{text}: {}\n{}{output}",
        finished.status,
        finished.errors
    );
    Ok(finished.output)
}

/// A command from words.
#[must_use]
pub fn command<S: AsRef<std::ffi::OsStr>>(program: S, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
