//! `towline up`: a node in the foreground.
//!
//! Prints, once everything is served, what, where, to whom, and the commands that mount it.

use towline_api::Status;
use towline_config::LogFormat;

use crate::failure::Failure;
use crate::mounting::{self, Facts, System};
use crate::options::NodeOptions;
use crate::{output, status};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline up                                        three volumes for this host
  towline up --data /srv/towline                    in another folder
  towline up --listen 0.0.0.0 --allow 10.0.0.0/24   for a network
  towline up --config towline.toml --http-port 0    from a file, HTTP on any free port

Exit codes: 0 stopped cleanly, 64 usage or configuration, 69 a port cannot be had,
71 the system refused something, 74 a file of the node cannot be used.";

pub(crate) fn run(options: &NodeOptions) -> Result<(), Failure> {
    let effective = options.load()?;
    let as_json = effective.log.format.value == LogFormat::Json;
    towlined::trace::start(effective.log.level.value, as_json);
    let mut printed = Ok(());
    let run = towlined::run(&effective, |status| {
        printed = output::print(&banner(status));
    });
    run.map_err(|error| Failure::Node {
        text: error.to_string(),
        code: error.exit_code(),
    })?;
    printed
}

/// What a person wants to know once the node is ready.
fn banner(status: &Status) -> String {
    let facts = Facts::of(status, None);
    let mut text = status::describe(status);
    for system in System::ALL {
        text.push('\n');
        text.push_str(&mounting::help(&facts, system));
    }
    text.push_str("\nReady. Ctrl-C stops the node.\n");
    text
}
