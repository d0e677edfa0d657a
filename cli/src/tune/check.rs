//! `towline tune check`: every check of the catalogue that this host can answer.
//!
//! Changes nothing and needs no root; what root would add is said at the end of the report.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use towline_tuning::peer::{PeerFacts, ask};
use towline_tuning::read::{SPEEDS_VARIABLE, ToldSpeeds};
use towline_tuning::{
    Case, Catalogue, HostFacts, Report, Root, TuneError, Values, choose, facts, read,
};

use super::{ProfileName, code_of, show};
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune check                         the links that are up
  towline tune check --interface enp3s0      one link with all below it
  towline tune check --peer 10.0.0.2         the way to a host that runs `towline tune answer`
  towline tune check --link-speed tap0=10G   a link whose driver does not know its speed
  towline tune check --json | jq '.checks[] | select(.state == \"fail\") | .id'

Exit codes: 0 clean, 1 something that costs speed or data, 2 could not run.";

/// Between the two samples of the counters: short enough that a check ends within 2 s.
pub(crate) const WINDOW: Duration = Duration::from_millis(1000);

/// Options of `check`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    question: Question,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
    /// Show the checks that passed too, and those that nobody can answer.
    #[arg(long, short)]
    verbose: bool,
}

/// What is asked about, and by which measure.
#[derive(Args, Debug)]
pub(crate) struct Question {
    /// The interface to look at; all that are up if left out.
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// An NFS mount: looks at the interface towards its server.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["interface", "peer"])]
    mount: Option<String>,
    /// What the host is tuned for.
    #[arg(long, value_enum, default_value_t)]
    profile: ProfileName,
    /// Goals by name, such as dual-10g: two PCs and one 10GbE cable.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// A host that answers (`towline tune answer`, or a node): HOST or HOST:PORT.
    #[arg(long, value_name = "HOST")]
    peer: Option<String>,
    /// Speeds of links whose driver has none, such as those of virtual machines and tunnels: 10G
    /// for all of them, or LINK=SPEED, separated by commas.
    #[arg(long, value_name = "SPEEDS", env = SPEEDS_VARIABLE, value_parser = speeds,
          default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    link_speed: ToldSpeeds,
    /// With a peer: paths and round trips only, no transfers.
    #[arg(long, requires = "peer")]
    quick: bool,
}

/// Reads what is told of speeds.
fn speeds(text: &str) -> Result<ToldSpeeds, String> {
    ToldSpeeds::parse(text).map_err(|error| error.to_string())
}

impl Question {
    /// Reads this host.
    pub(crate) fn read(&self, window: Duration) -> Result<HostFacts, Failure> {
        let facts = read::host(&Root::default(), &self.link_speed, window);
        facts.map_err(Failure::from)
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let facts = options.question.read(WINDOW)?;
    let Judgement { report, peer } = judge(&options.question, &facts)?;
    if options.json {
        let sheet = Sheet {
            report: &report,
            facts: &facts,
            peer: peer.as_ref(),
        };
        output::json(&sheet)?;
    } else {
        output::print(&show::report(&report, options.verbose))?;
    }
    Ok(code_of(&report))
}

/// A report with the facts that it was made from: what `diff` compares.
#[derive(serde::Serialize)]
struct Sheet<'a> {
    #[serde(flatten)]
    report: &'a Report,
    facts: &'a HostFacts,
    /// What was measured with the peer, and its own facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a PeerFacts>,
}

/// A report, and what was measured with the peer for it.
pub(crate) struct Judgement {
    pub(crate) report: Report,
    pub(crate) peer: Option<PeerFacts>,
}

/// All rules over the facts.
pub(crate) fn judge(question: &Question, facts: &HostFacts) -> Result<Judgement, Failure> {
    let catalogue = Catalogue::load()?;
    let values = Values::load()?;
    let peer = match &question.peer {
        None => None,
        Some(name) => Some(ask::measure(facts, ask::resolve(name)?, !question.quick)?),
    };
    let towards = match &question.mount {
        Some(path) => Some(choose::towards_server(facts, path)?.name.as_str()),
        None => peer.as_ref().and_then(|peer| peer.own_link.as_deref()),
    };
    let subjects: Vec<&facts::LinkFacts> = match question.interface.as_deref().or(towards) {
        Some(name) => choose::named(facts, name)?,
        None => choose::usual(facts),
    };
    if subjects.is_empty() {
        let why = "no interface is up and has an address: name one with --interface";
        return Err(TuneError::usage(why).into());
    }
    let preset = match &question.preset {
        None => None,
        Some(name) => Some(values.preset.get(name).ok_or_else(|| {
            let known: Vec<&str> = values.preset.keys().map(String::as_str).collect();
            Failure::usage(format!("no preset {name}; there are: {}", known.join(", ")))
        })?),
    };
    let case = Case {
        facts,
        values: &values,
        profile: question.profile.into(),
        subjects: &subjects,
        peer: peer.as_ref(),
        preset,
    };
    let report = Report::of(&case, &catalogue);
    Ok(Judgement { report, peer })
}
