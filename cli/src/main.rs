//! `towline`: the command line of a node. One verb, one file.
//!
//! Exit codes (sysexits(3)): 0 done; 64 wrong usage or configuration, before anything is opened;
//! 65 the node refused the request; 69 a port cannot be had, or the node does not answer; 70 a
//! fault of this program; 71 the system refused something; 74 a file cannot be read or written;
//! 75 something else failed for now, try again; 130 interrupted while a task goes on. `tune` has
//! two of its own: 1 it found something, 2 it could not run; so has `bench`: 1 a goal was missed,
//! 2 it could not run, 3 slower than what was saved; and `verify` has 1 for damage that stays.

#![forbid(unsafe_code)]

mod bar;
mod bench;
mod client;
mod config;
mod failure;
mod gc;
mod models;
mod mount_help;
mod mounting;
mod nfs;
mod options;
mod output;
mod pull;
mod push;
mod status;
mod table;
mod task;
mod tune;
mod up;
mod verify;

use std::ffi::OsStr;
use std::process::ExitCode;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::Failure;
use crate::options::{NodeOptions, NodeUrl};

const AFTER: &str = "\
Exit codes: 0 done, 64 usage or configuration, 65 the node refused it, 69 port taken or
node unreachable, 70 internal, 71 the system refused something, 74 a file cannot be read
or written, 75 something else failed for now, 130 interrupted by Ctrl-C.
'tune' has two of its own: 1 it found something, 2 it could not run; so has
'bench': 1 a goal was missed, 2 it could not run, 3 slower than what was saved;
'verify' has 1 for damage that stays.

Examples:
  towline up                                      serve ~/.local/share/towline to this host
  towline up --listen 0.0.0.0 --allow 10.0.0.0/24 serve it to a network
  towline pull hf://Qwen/Qwen3-8B                 bring a model from the hub
  towline push ./tiny-llama acme/tiny-llama       publish a folder as a model
  towline mount-help windows                      what to type on a Windows machine
  towline status --node http://10.0.0.1:8420      ask another node";

/// Feeds GPUs: serves model, project and cache volumes over NFS and HTTP.
#[derive(Debug, Parser)]
#[command(name = "towline", version, after_help = AFTER)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a node in the foreground; Ctrl-C drains and stops it.
    #[command(after_help = up::EXAMPLES)]
    Up(NodeOptions),
    /// Show what a running node serves, where and to whom.
    #[command(after_help = status::EXAMPLES)]
    Status {
        #[command(flatten)]
        node: NodeUrl,
        /// Print what the node said as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Publish a folder as a revision of a model.
    #[command(after_help = push::EXAMPLES)]
    Push(push::Push),
    /// Bring a model from a hub, a web server, an object store or a folder.
    #[command(after_help = pull::EXAMPLES)]
    Pull(pull::Pull),
    /// Read and hash models; heal or set aside what is wrong.
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Verify),
    /// Free what no tag, pin or lease holds any more.
    #[command(after_help = gc::EXAMPLES)]
    Gc(gc::Gc),
    /// List, show, tag, pin and remove models.
    #[command(after_help = models::EXAMPLES)]
    Models(models::Models),
    /// Show clients of NFSv4 and their locks, and take them from one.
    #[command(subcommand)]
    Nfs(nfs::NfsVerb),
    /// Print the commands that mount the volumes on a client.
    #[command(after_help = mount_help::EXAMPLES)]
    MountHelp {
        #[command(flatten)]
        node: NodeUrl,
        /// The client's system; all of them if left out.
        system: Option<mounting::System>,
    },
    /// Check the network card and the host, fix them, and take fixes back.
    #[command(subcommand)]
    Tune(tune::TuneVerb),
    /// Measure links, and answer the measurements of others; speaks iperf3.
    #[command(subcommand)]
    Bench(bench::BenchVerb),
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(ConfigVerb),
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Check a file; every mistake is told with its place and what to write instead.
    #[command(after_help = config::CHECK_EXAMPLES)]
    Check {
        /// The file.
        file: std::path::PathBuf,
    },
    /// Show every setting in force with the place that it came from.
    #[command(after_help = config::SHOW_EXAMPLES)]
    Show(NodeOptions),
}

/// What was asked for. A variable of the environment that is set to nothing says nothing.
fn arguments() -> Result<Arguments, clap::Error> {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = without_variables(Arguments::command(), &is_empty);
    Arguments::from_arg_matches(&command.try_get_matches()?)
}

/// The same command, deaf for some variables.
fn without_variables(command: Command, is_deaf: &dyn Fn(&OsStr) -> bool) -> Command {
    let command = command.mut_args(|argument| match argument.get_env().is_some_and(is_deaf) {
        true => argument.env(None::<&str>),
        false => argument,
    });
    command.mut_subcommands(|verb| without_variables(verb, is_deaf))
}

fn main() -> ExitCode {
    let done = match arguments() {
        Ok(arguments) => run(arguments.verb),
        Err(error) if error.use_stderr() => {
            let text = error.render().to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let words: Vec<String> = std::env::args_os()
                .skip(1)
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            bench::tell_wrong_usage(&words, text.trim_end());
            Err(Failure::usage(text.trim_end()))
        }
        Err(help) => output::print(&format!("{}\n", help.render().to_string().trim_end()))
            .map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(Failure::Help(text)) => match output::print(&format!("{}\n", text.trim_end())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => ExitCode::from(failure.exit_code()),
        },
        Err(failure) => {
            output::complain(&failure.to_string());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode, Failure> {
    let done = match verb {
        Verb::Tune(verb) => return tune::run(&verb),
        Verb::Bench(verb) => return bench::run(&verb),
        Verb::Up(options) => up::run(&options),
        Verb::Status { node, json } => status::run(&node, json),
        Verb::Verify(verify) => return verify::run(&verify),
        Verb::Push(push) => push::run(&push),
        Verb::Pull(pull) => pull::run(&pull),
        Verb::Gc(gc) => gc::run(&gc),
        Verb::Models(models) => models::run(&models),
        Verb::Nfs(verb) => nfs::run(&verb),
        Verb::MountHelp { node, system } => mount_help::run(&node, system),
        Verb::Config(ConfigVerb::Check { file }) => config::check(file),
        Verb::Config(ConfigVerb::Show(options)) => config::show(&options),
    };
    done.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_declared_soundly() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn variables_that_say_nothing_are_not_heard_at_any_depth() {
        fn heard(command: &Command) -> usize {
            let own = command
                .get_arguments()
                .filter(|one| one.get_env().is_some());
            own.count() + command.get_subcommands().map(heard).sum::<usize>()
        }
        let all = heard(&Arguments::command());
        assert!(all > 10, "{all}");
        let deaf = |wanted: &'static str| {
            let command = without_variables(Arguments::command(), &|name| name == wanted);
            all - heard(&command)
        };
        assert!(deaf("TOWLINE_URL") > 3 && deaf("TOWLINE_TOKEN") > 1);
        assert_eq!(deaf("TOWLINE"), 0);
        assert_eq!(
            heard(&without_variables(Arguments::command(), &|_| true)),
            0
        );
    }
}
