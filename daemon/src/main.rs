//! `towlined`: one node for a service manager. `towline up` is the same node for a terminal.
//!
//! Exit codes (sysexits(3)): 0 stopped cleanly, 64 usage or configuration, 69 a port cannot be
//! had, 71 the system refused something, 74 a file of the node cannot be used.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use towline_config::{Effective, LogFormat, Overrides, Surroundings};

const USAGE: &str = "\
towlined: one towline node, for service managers

Usage: towlined [--config FILE]

  --config FILE   the configuration (TOML); without it everything has its default
  --version       print the version
  --help          print this

'towline up' runs the same node with options for people; 'towline config check FILE' checks a file.
";

fn main() -> ExitCode {
    match arguments(std::env::args_os().skip(1)) {
        Ok(Asked::Text(text)) => {
            let printed = std::io::stdout().write_all(text.as_bytes());
            ExitCode::from(u8::from(printed.is_err()))
        }
        Ok(Asked::Run(config)) => run(config),
        Err(error) => complain(&error, 64),
    }
}

enum Asked {
    Text(String),
    Run(Option<PathBuf>),
}

fn arguments(mut given: impl Iterator<Item = OsString>) -> Result<Asked, String> {
    let mut config = None;
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(Asked::Text(USAGE.to_owned())),
            Some("--version" | "-V") => {
                return Ok(Asked::Text(format!(
                    "towlined {}\n",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            Some("--config") => {
                let file = given
                    .next()
                    .ok_or("--config wants a file. See towlined --help")?;
                config = Some(PathBuf::from(file));
            }
            _ => {
                let shown = argument.to_string_lossy();
                return Err(format!("unknown argument '{shown}'. See towlined --help"));
            }
        }
    }
    Ok(Asked::Run(config))
}

fn run(config: Option<PathBuf>) -> ExitCode {
    let overrides = Overrides {
        config,
        ..Default::default()
    };
    let effective = match Effective::load(&overrides, &Surroundings::of_process()) {
        Ok(effective) => effective,
        Err(error) => return complain(&error.to_string(), 64),
    };
    let as_json = effective.log.format.value == LogFormat::Json;
    towlined::trace::start(effective.log.level.value, as_json);
    let ready = |status: &towline_api::Status| {
        for note in &status.notes {
            tracing::warn!("{note}");
        }
        for listener in &status.listeners {
            let address = listener.address;
            tracing::info!(conn = %address, proc = ?listener.protocol, "listening");
        }
        tracing::info!("ready");
    };
    match towlined::run(&effective, ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), error.exit_code()),
    }
}

fn complain(error: &str, code: u8) -> ExitCode {
    // Where even standard error is gone the exit code still tells.
    let _ = writeln!(std::io::stderr(), "towlined: {error}");
    ExitCode::from(code)
}
