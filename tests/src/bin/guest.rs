//! `towline-guest`: runs a shell script in the test guest, by hand.
//!
//! The script's output goes to standard output, and its exit code becomes this program's. Not
//! promised: a terminal; write a script.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use towline_tests::guest::{Job, run};

#[derive(Parser)]
#[command(about = "Runs a shell script in a guest with the kernel's NFS client")]
struct Arguments {
    /// The script; the host's loopback is 10.0.2.2 for it
    script: PathBuf,
    /// Files to lay beside the script
    #[arg(long)]
    file: Vec<PathBuf>,
    /// Programs to lay into the guest's /usr/bin, with their libraries
    #[arg(long)]
    program: Vec<PathBuf>,
    /// Memory of the guest in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(256..=65536))]
    memory: u32,
    /// Seconds until the guest is killed, at most an hour
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    limit: u64,
    /// Arguments of the script
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[expect(clippy::print_stderr, reason = "the one place where failures are told")]
fn main() -> ExitCode {
    match boot(&Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("towline-guest: {error:#}");
            ExitCode::from(125)
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the job's output is this program's output"
)]
fn boot(arguments: &Arguments) -> Result<u8> {
    let script = std::fs::read_to_string(&arguments.script).context("script")?;
    let mut job = Job::new(&script, Duration::from_secs(arguments.limit));
    if !arguments.arguments.is_empty() {
        let quote = |word: &String| format!(" '{}'", word.replace('\'', "'\\''"));
        let words: String = arguments.arguments.iter().map(quote).collect();
        job.script = format!("set --{words}\n{script}");
    }
    job.memory_mib = arguments.memory;
    job.programs.clone_from(&arguments.program);
    for file in &arguments.file {
        let name = file
            .file_name()
            .context("file without a name")?
            .to_string_lossy();
        job.files.push((file.clone(), name.into_owned()));
    }
    let result = run(&job)?;
    print!("{}", result.output);
    Ok(u8::try_from(result.exit_code).unwrap_or(u8::MAX))
}
