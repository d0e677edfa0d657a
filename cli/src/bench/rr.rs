//! `towline bench rr HOST`: how long a small request and its reply take, programs included.
//!
//! The other end must be towline: `towline bench serve`, or a node with `[bench] iperf3 = true`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use towline_bench::csv;
use towline_bench::result::figure::seconds;
use towline_bench::result::{Report, Target, Unit};
use towline_bench::rr::{self, MESSAGE_BYTES_MAX};

use super::outcome::PageOption;
use super::stopping;
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench rr 10.0.0.2                              one byte each way for 10 s
  towline bench rr 10.0.0.2 --request 128 --reply 4096   as reading a small block
  towline bench rr 10.0.0.2 --target rr=0.1ms,rr_p99=1ms

The other end must be towline ('towline bench serve' there); an iperf3 server answers no requests.

Exit codes: 0 done and every goal met, 1 a goal missed, 2 could not run.";

/// Options of `rr`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The other end: a name or an address.
    host: String,
    /// Its port.
    #[arg(long, short, value_name = "N", default_value_t = towline_bench::iperf3::PORT)]
    port: u16,
    /// Seconds.
    #[arg(long, short = 't', value_name = "S", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    time: u32,
    /// Bytes of a request.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MESSAGE_BYTES_MAX as i64))]
    request: u32,
    /// Bytes of a reply.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MESSAGE_BYTES_MAX as i64))]
    reply: u32,
    /// Goals such as rr=0.1ms,rr_p99=1ms.
    #[arg(long, value_name = "GOALS")]
    target: Option<String>,
    /// Print the report as JSON.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print figures and samples as CSV.
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    page: PageOption,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let goals = match &options.target {
        Some(text) => Target::parse_list(text)
            .map_err(|fault| Failure::usage(format!("--target: {fault}")))?,
        None => Vec::new(),
    };
    let stop = stopping::flag()?;
    let asked = rr::Options {
        host: options.host.clone(),
        port: options.port,
        time: Duration::from_secs(options.time.into()),
        request_bytes: options.request,
        reply_bytes: options.reply,
    };
    let quiet = options.json || options.csv;
    let mut report = rr::run(&asked, &stop, |sample| {
        let rate = sample.operations.unwrap_or(0) as f64 / sample.seconds();
        let line = format!(
            "{:>6.1} s  {:>12}\n",
            sample.end_s,
            Unit::PerSecond.show(rate)
        );
        if !quiet {
            // Where the terminal is gone the end of the test says so.
            let _ = output::print(&line);
        }
    })?;
    report.judge(&goals);
    let text = match (options.json, options.csv) {
        (true, _) => format!("{}\n", super::pretty(&report)?),
        (_, true) => csv::of(&report),
        _ => describe(&report),
    };
    output::print(&text)?;
    options.page.write(std::slice::from_ref(&report))?;
    Ok(match report.misses_a_target() {
        true => ExitCode::from(super::TARGET_MISSED),
        false => ExitCode::SUCCESS,
    })
}

fn describe(report: &Report) -> String {
    let mut text = String::new();
    for latency in &report.latencies {
        let beyond = match latency.supports(0.999) {
            true => format!(", p99.9 {}", seconds(latency.p999_s)),
            false => String::new(),
        };
        text.push_str(&format!(
            "round trip   p50 {}, p99 {}{beyond}, most {} ({} requests)\n",
            seconds(latency.p50_s),
            seconds(latency.p99_s),
            seconds(latency.max_s),
            latency.count
        ));
    }
    for target in &report.targets {
        text.push_str(&format!("{}\n", target.line()));
    }
    text
}
