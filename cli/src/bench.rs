//! `towline bench`: how fast links, shares, models and disks are, and what limits them. One verb
//! below it, one file.
//!
//! Exit codes: 0 done and every goal met, 1 a goal missed, 2 could not run, 3 slower than what was
//! saved; 64 wrong usage, as everywhere.

mod amount;
mod compare;
mod disk;
mod goals;
mod link;
mod measured;
mod mesh;
mod model;
mod outcome;
mod repeat;
mod rr;
mod save;
mod serve;
mod share;
mod stopping;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;

/// The verbs of `towline bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchVerb {
    /// Measure the link to a host that runs `towline bench serve`, a node, or `iperf3 -s`.
    #[command(after_help = link::EXAMPLES)]
    Link(Box<link::Options>),
    /// Answer `towline bench link` and `iperf3 -c` until Ctrl-C.
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::Options),
    /// Measure the round trips of small messages to a host that runs `towline bench serve`.
    #[command(after_help = rr::EXAMPLES)]
    Rr(measured::Options<rr::What>),
    /// Measure from this host to several others and show all as a table.
    #[command(after_help = mesh::EXAMPLES)]
    Mesh(Box<mesh::Options>),
    /// Measure a share as its clients read it: a path, NFS or HTTP.
    #[command(after_help = share::EXAMPLES)]
    Share(Box<measured::Options<share::What>>),
    /// Measure what a disk gives: the ceiling of the shares on it.
    #[command(after_help = disk::EXAMPLES)]
    Disk(Box<measured::Options<disk::What>>),
    /// Measure how long a model takes to load: safetensors or GGUF, by path, NFS or HTTP.
    #[command(after_help = model::EXAMPLES)]
    Model(Box<measured::Options<model::What>>),
    /// Run a measurement several times and keep the results under a name.
    #[command(after_help = save::EXAMPLES)]
    Save(Box<save::Options>),
    /// Run it again and say what became slower.
    #[command(after_help = compare::EXAMPLES)]
    Compare(Box<compare::Options>),
}

/// A goal was missed: the code that scripts look for.
pub(crate) const TARGET_MISSED: u8 = 1;
/// It could not run, or not to its end.
pub(crate) const COULD_NOT_RUN: u8 = 2;
/// Slower than what was saved.
pub(crate) const REGRESSION: u8 = 3;

pub(crate) fn run(verb: &BenchVerb) -> Result<ExitCode, Failure> {
    match verb {
        BenchVerb::Link(options) => link::run(options),
        BenchVerb::Serve(options) => serve::run(options),
        BenchVerb::Rr(options) => measured::run(options),
        BenchVerb::Mesh(options) => mesh::run(options),
        BenchVerb::Share(options) => measured::run(options),
        BenchVerb::Disk(options) => measured::run(options),
        BenchVerb::Model(options) => measured::run(options),
        BenchVerb::Save(options) => save::run(options),
        BenchVerb::Compare(options) => compare::run(options),
    }
}

/// JSON for people.
pub(crate) fn pretty<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::Internal(error.to_string()))
}
