//! `towline bench`: how fast links, shares, models and disks are, and what limits them. One verb
//! below it, one file.
//!
//! Exit codes: 0 done and every goal met, 1 a goal missed, 2 could not run, 3 slower than what was
//! saved; 64 wrong usage and 130 interrupted, as everywhere.

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
use crate::output;
use outcome::Form;

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
/// The user ended it: as a shell has it for SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
/// Slower than what was saved.
pub(crate) const REGRESSION: u8 = 3;

pub(crate) fn run(verb: &BenchVerb) -> Result<ExitCode, Failure> {
    let done = match verb {
        BenchVerb::Link(options) => return link::run(options),
        BenchVerb::Serve(options) => return serve::run(options),
        BenchVerb::Rr(options) => measured::run(options),
        BenchVerb::Mesh(options) => mesh::run(options),
        BenchVerb::Share(options) => measured::run(options),
        BenchVerb::Disk(options) => measured::run(options),
        BenchVerb::Model(options) => measured::run(options),
        BenchVerb::Save(options) => save::run(options),
        BenchVerb::Compare(options) => compare::run(options),
    };
    done.inspect_err(|failure| {
        let text = outcome::failure_in(verb.form(), &failure.to_string());
        // Where that cannot be written either, the exit code still tells.
        let _ = output::print(&text);
    })
}

impl BenchVerb {
    /// How its results are told; a server has its own way.
    fn form(&self) -> Form {
        match self {
            Self::Link(options) => options.form(),
            Self::Serve(_) => Form::Text,
            Self::Rr(options) => options.form(),
            Self::Mesh(options) => options.form(),
            Self::Share(options) => options.form(),
            Self::Disk(options) => options.form(),
            Self::Model(options) => options.form(),
            Self::Save(options) => options.form(),
            Self::Compare(options) => options.form(),
        }
    }
}

/// Wrong usage for programs: `words` are what the command line said, which could not be read, so
/// the form is looked for in them.
pub(crate) fn tell_wrong_usage(words: &[String], text: &str) {
    let mut words = words.iter().map(String::as_str);
    let (Some("bench"), verb) = (words.next(), words.next()) else {
        return;
    };
    let form = words.take_while(|word| *word != "--").find_map(form_named);
    let text = match (verb, form) {
        (_, None) => return,
        (Some("link"), Some(form)) => link::failure_in(form, text),
        (_, Some(form)) => outcome::failure_in(form, text),
    };
    let _ = output::print(&text);
}

/// The form that a word asks for: `--json`, `-J`, or a `J` behind other flags such as `-uJ`.
fn form_named(word: &str) -> Option<Form> {
    match word {
        "--json" => Some(Form::Json),
        "--json-stream" => Some(Form::JsonStream),
        word => {
            let flags = word.strip_prefix('-')?.strip_suffix('J')?;
            let no_value = |letter: char| "uRNJ46".contains(letter);
            flags.chars().all(no_value).then_some(Form::Json)
        }
    }
}

/// JSON for people.
pub(crate) fn pretty<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_found_in_words_that_cannot_be_read() {
        for (word, form) in [
            ("--json", Some(Form::Json)),
            ("-J", Some(Form::Json)),
            ("-uRJ", Some(Form::Json)),
            ("--json-stream", Some(Form::JsonStream)),
            ("-TxJ", None),
            ("--csv", None),
            ("J", None),
        ] {
            assert_eq!(form_named(word), form, "{word}");
        }
    }
}
