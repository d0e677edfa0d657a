//! `towline tune diff`: what differs between two hosts: MTU, speed, offloads, sysctls.
//!
//! Invariant: files are read up to a limit, and only what both hosts told is compared.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use towline_tuning::facts::LinkFacts;
use towline_tuning::{HostFacts, TuneError, diff, pair};

use super::FINDINGS;
use crate::failure::Failure;
use crate::{output, table};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune check --interface eth0 --json > a.json    on each host
  towline tune diff a.json b.json

Exit codes: 0 the same, 1 they differ, 2 a file cannot be read.";

/// Largest report in bytes: that of a host with a thousand interfaces.
const REPORT_BYTES_MAX: u64 = 64 << 20;

/// Options of `diff`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What `check --json` printed on the first host.
    first: PathBuf,
    /// What it printed on the second.
    second: PathBuf,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

/// What differs, for programs.
#[derive(serde::Serialize)]
struct Answer<'a> {
    hosts: [&'a str; 2],
    links: [&'a str; 2],
    differences: &'a [diff::Row],
    mtu: Option<String>,
}

/// The part of a report that is compared.
#[derive(serde::Deserialize)]
struct Sheet {
    links: Vec<String>,
    facts: HostFacts,
}

impl Sheet {
    fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |error| TuneError::system(path.display().to_string(), error);
        let mut text = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(REPORT_BYTES_MAX)
            .read_to_end(&mut text)
            .map_err(failed)?;
        serde_json::from_slice(&text).map_err(|error| {
            let path = path.display();
            TuneError::usage(format!(
                "{path} is no report of `towline tune check --json`: {error}"
            ))
            .into()
        })
    }

    /// The link in question: the first.
    fn link(&self) -> Result<&LinkFacts, Failure> {
        let named = self.links.first().and_then(|name| self.facts.link(name));
        named.ok_or_else(|| TuneError::usage(format!("{}: no link", self.facts.host)).into())
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let (first, second) = (Sheet::read(&options.first)?, Sheet::read(&options.second)?);
    let (left, right) = (first.link()?, second.link()?);
    let found = diff::rows((&first.facts, left), (&second.facts, right));
    let code = if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FINDINGS)
    };
    let hosts = [first.facts.host.as_str(), second.facts.host.as_str()];
    let mtu = pair::unequal((hosts[0], left), (hosts[1], right));
    if options.json {
        output::json(&Answer {
            hosts,
            links: [&left.name, &right.name],
            differences: &found,
            mtu,
        })?;
        return Ok(code);
    }
    if found.is_empty() {
        output::print("no difference that matters\n")?;
        return Ok(code);
    }
    let rows: Vec<Vec<String>> = found
        .into_iter()
        .map(|row| vec![row.what, row.left, row.right])
        .collect();
    let title = |facts: &HostFacts, link: &LinkFacts| format!("{} {}", facts.host, link.name);
    let (one, other) = (title(&first.facts, left), title(&second.facts, right));
    output::print(&table::layout(&["", &one, &other], &rows))?;
    if let Some(order) = mtu {
        output::print(&format!("\nmtu: {order}\n"))?;
    }
    Ok(code)
}
