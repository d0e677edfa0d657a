//! `towline bench mesh HOSTS...`: the links from this host to several others, as one table.
//!
//! A host is measured both ways, one after the other, so that no test disturbs another. That is
//! one row of the mesh; for all pairs the other hosts measure theirs, asked through a remote shell
//! (`--via ssh`), or by hand: `--json` on each host, then `--merge`. Nodes do not measure each
//! other for whoever asks: nobody should be able to make them load a network.

mod via;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use serde_json::json;
use towline_bench::html;
use towline_bench::mesh::{self, Link, Matrix, Row};
use towline_link::iperf3::{Direction, Parameters};
use towline_link::link::client::{self, Zerocopy};
use towline_link::link::session::Receive;
use towline_link::link::{Way, report};
use towline_link::result::Unit;

use super::outcome::{Form, FormOptions, event};
use super::stopping;
use crate::failure::Failure;
use crate::{output, table};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench mesh 10.0.0.2 10.0.0.3 10.0.0.4          from here to each, and back
  towline bench mesh 10.0.0.2 10.0.0.3 --via ssh         all pairs: each measures its own too
  towline bench mesh 10.0.0.2 10.0.0.3 --json > a.json   or by hand on each host, then
  towline bench mesh --merge a.json b.json c.json        all pairs as one table
  towline bench mesh --merge a.json b.json --html m.html and as a page with a heat map

Every host runs 'towline bench serve --allow ...', 'iperf3 -s', or a node that answers iperf3.

Exit codes: 0 all were measured, 2 one or more could not be.";

/// Largest file that is merged, in bytes: a thousand hosts need 300 KiB.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Options of `mesh`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The other ends.
    #[arg(value_name = "HOST", required_unless_present = "merge")]
    hosts: Vec<String>,
    /// Their port.
    #[arg(long, short, value_name = "N", default_value_t = towline_link::iperf3::PORT)]
    port: u16,
    /// Seconds for each direction.
    #[arg(long, short = 't', value_name = "S", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3600))]
    time: u32,
    /// Streams at the same time.
    #[arg(long, short = 'P', value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=128))]
    parallel: u32,
    /// What this host is called in the table [default: its host name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Let every host measure its links too, all pairs: a command that runs words on the host which
    /// is its next word, such as ssh. towline must be on the PATH there.
    #[arg(long, value_name = "COMMAND", conflicts_with = "merge")]
    via: Option<String>,
    /// Show rows that were made before instead of measuring; any number of files.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "hosts")]
    merge: Vec<PathBuf>,
    #[command(flatten)]
    form: FormOptions,
}

impl Options {
    /// How results are told.
    pub(super) fn form(&self) -> Form {
        self.form.form()
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    options.form.check()?;
    let rows = match options.merge.as_slice() {
        [] => measure_all(options)?,
        files => files.iter().map(read).collect::<Result<_, _>>()?,
    };
    options.form.write_page(|| html::mesh_page(&rows))?;
    let text = match (options.form.form(), rows.as_slice()) {
        (Form::Json, [row]) => format!("{}\n", super::pretty(row)?),
        (Form::Json, rows) => format!("{}\n", super::pretty(&rows)?),
        (Form::JsonStream, rows) => event("end", &json!(rows)),
        (Form::Csv, rows) => mesh::csv(rows),
        (Form::Text, rows) => show(rows),
    };
    output::print(&text)?;
    Ok(match mesh::errors(&rows).next() {
        Some(_) => ExitCode::from(super::COULD_NOT_RUN),
        None => ExitCode::SUCCESS,
    })
}

fn measure_all(options: &Options) -> Result<Vec<Row>, Failure> {
    if options.via.is_some() {
        via::check(options)?;
    }
    let stop = stopping::flag()?;
    let mut rows = vec![measure(options, &stop)?];
    if let Some(shell) = &options.via {
        for host in options.hosts.iter().filter(|_| options.hosts.len() > 1) {
            let row = via::row(options, shell, host, &stop);
            for link in &row.links {
                told(options, &format!("{host} to {}", link.to), link)?;
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

fn measure(options: &Options, stop: &Arc<AtomicBool>) -> Result<Row, Failure> {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let from = options
        .name
        .clone()
        .unwrap_or_else(|| own.trim().to_owned());
    let mut links = Vec::new();
    for host in &options.hosts {
        let mut link = Link {
            to: host.clone(),
            ..Link::default()
        };
        for direction in [Direction::Forward, Direction::Reverse] {
            if link.error.is_some() {
                continue;
            }
            match client::run(&test(options, host, direction), stop, |_| {}) {
                Ok(run) => {
                    let report = report::of(&run);
                    let rate = report.figure("link").map(|figure| figure.value);
                    match direction {
                        Direction::Forward | Direction::Both => {
                            link.there_bits_per_second = rate;
                            link.verdict = report.verdict.map(|verdict| verdict.line());
                            link.rtt_s = run.rtt_idle.as_ref().map(|latency| latency.p50_s);
                        }
                        Direction::Reverse => link.back_bits_per_second = rate,
                    }
                    link.error = run.fault;
                }
                Err(error) => link.error = Some(error.to_string()),
            }
        }
        told(options, host, &link)?;
        links.push(link);
    }
    Ok(Row { from, links })
}

/// Progress: a link that has been measured.
fn told(options: &Options, what: &str, link: &Link) -> Result<(), Failure> {
    match options.form.form() {
        Form::Text => {
            let line = link.error.as_ref().or(link.verdict.as_ref());
            output::print(&format!("{what}: {}\n", line.map_or("", String::as_str)))
        }
        Form::JsonStream => output::print(&event("link", &json!(link))),
        Form::Json | Form::Csv => Ok(()),
    }
}

fn test(options: &Options, host: &str, direction: Direction) -> client::Options {
    client::Options {
        host: host.to_owned(),
        port: options.port,
        parameters: Parameters {
            direction,
            time_s: options.time,
            parallel: options.parallel,
            client_version: Some(concat!("towline ", env!("CARGO_PKG_VERSION")).to_owned()),
            ..Parameters::default()
        },
        zerocopy: Zerocopy::Off,
        receive: Receive::Discard,
        interval: std::time::Duration::from_secs(1),
        way: Way::default(),
        probe: direction == Direction::Forward,
    }
}

fn read(path: &PathBuf) -> Result<Row, Failure> {
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if size.len() > FILE_BYTES_MAX {
        return Err(wrong("too large for a row of a mesh".to_owned()));
    }
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_slice(&text)
        .map_err(|error| wrong(format!("no output of 'towline bench mesh --json': {error}")))
}

/// A table of who sends (rows) to whom (columns), each cell shaded by its share of the best.
fn show(rows: &[Row]) -> String {
    let matrix = Matrix::of(rows);
    let cell = |from: &str, to: &str| match matrix.rate(from, to) {
        Some(rate) => {
            let shown = Unit::BitsPerSecond.show(rate);
            format!("{} {shown}", shade(rate, matrix.best()))
        }
        None if from == to => "-".to_owned(),
        None => "?".to_owned(),
    };
    let hosts = &matrix.hosts;
    let line = |from: &&str| {
        let rates = hosts.iter().map(|to| cell(from, to));
        std::iter::once((*from).to_owned()).chain(rates).collect()
    };
    let cells: Vec<Vec<String>> = hosts.iter().map(line).collect();
    let head: Vec<&str> = std::iter::once("FROM \\ TO")
        .chain(hosts.iter().copied())
        .collect();
    let mut text = table::layout(&head, &cells);
    text.push_str(&format!("{LEGEND}\n"));
    for (from, to, error) in mesh::errors(rows) {
        text.push_str(&format!("{from} to {to}: {error}\n"));
    }
    text
}

const LEGEND: &str = "share of the best link: \u{2588} 90 %, \u{2593} 70 %, \u{2592} 40 %, \
                      \u{2591} less; ? not measured";

fn shade(rate: f64, best: f64) -> char {
    match rate / best.max(1.0) {
        share if share >= 0.9 => '\u{2588}',
        share if share >= 0.7 => '\u{2593}',
        share if share >= 0.4 => '\u{2592}',
        _ => '\u{2591}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_shaded_by_its_share_of_the_best() {
        let links = vec![Link {
            to: "b".to_owned(),
            there_bits_per_second: Some(10e9),
            back_bits_per_second: Some(5e9),
            ..Link::default()
        }];
        let from = "a".to_owned();
        let text = show(&[Row { from, links }]);
        assert!(text.contains("\u{2588} 10.0 Gbit/s"), "{text}");
        assert!(text.contains("\u{2592} 5.00 Gbit/s"), "{text}");
    }
}
