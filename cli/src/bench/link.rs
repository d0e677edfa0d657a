//! `towline bench link HOST`: measures the link to a host and says what limits it.
//!
//! The other end is `towline bench serve`, a node, or any `iperf3 -s`; the options that both have
//! carry the names of `iperf3`.

mod asked;
mod dscp;
mod sink;
mod way;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use serde_json::Value;
use towline_bench::csv;
use towline_link::link::client;
use towline_link::link::client::Event;
use towline_link::link::{LinkError, LinkRun, document, report, text};
use towline_link::result::{Kind, Report};

use super::outcome::{Form, OutcomeOptions, code_of, event as event_line};
use super::stopping;
use crate::failure::Failure;
use crate::output;
use sink::Sink;

pub(crate) use asked::{ReceiveName, TestOptions};
pub(super) use sink::failure_in;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench link 10.0.0.2                     10 s of TCP to that host
  towline bench link 10.0.0.2 -P 4 -R             4 streams, from there to here
  towline bench link 10.0.0.2 --bidir -t 30       both ways at once
  towline bench link 10.0.0.2 -u -b 1G            datagrams at 1 Gbit/s: loss and jitter
  towline bench link 10.0.0.2 --target link=9.4Gbps,rtt=0.5ms
  towline bench link 10.0.0.2 --json | jq .end.sum_received.bits_per_second

  towline bench link 10.0.0.2 -t 0 -i 10          until Ctrl-C, a line every 10 s
  towline bench link 10.0.0.2 -n 1G -i 0          1 GiB, only the sum
  towline bench link gpu-7 -4 -B 10.0.0.1%eth1    over IPv4, from that address and device
  towline bench link gpu-7 --bind-dev eth1 --cport 6000 --connect-timeout 500
  towline bench link 10.0.0.2 --dscp af41         marked for a class of traffic
  towline bench link 10.0.0.2 --json --logfile link.json

The other end: 'towline bench serve' or 'iperf3 -s' there, or a node with [bench] iperf3 = true.

Ctrl-C (and SIGTERM) ends the test: what was measured is shown, the other end is told; a second
one ends the program at once. A failure with --json is a document with 'error', as 'iperf3 -J'.

Exit codes: 0 done and every goal met, 1 a goal missed, 2 could not run or not to its end,
130 interrupted, 64 wrong usage.";

/// Options of `link`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) test: TestOptions,
    #[command(flatten)]
    outcome: OutcomeOptions,
    /// Write to the end of this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    logfile: Option<PathBuf>,
}

impl Options {
    /// How results are told.
    pub(super) fn form(&self) -> Form {
        self.outcome.form()
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let form = options.form();
    let sink = Sink::open(options.logfile.as_deref())
        .inspect_err(|failure| Sink::default().tell(form, failure))?;
    run_and_tell(options, &sink).inspect_err(|failure| sink.tell(form, failure))
}

fn run_and_tell(options: &Options, sink: &Sink) -> Result<ExitCode, Failure> {
    let test = options.test.build()?;
    let outcome = options.outcome.check(Kind::Link)?;
    let stop = stopping::flag()?;
    let form = outcome.form();
    if form == Form::Text {
        let asked = text::asked(&test.parameters);
        sink.print(&format!("{} port {}: {asked}\n", test.host, test.port))?;
    }
    let mut failed = None;
    let mut beginning = None;
    let run = client::run(&test, &stop, |event| {
        if let Event::Connected(run) = event {
            beginning = Some(run.clone());
        }
        if let Err(failure) = show(sink, form, &event, beginning.as_ref()) {
            failed = Some(failure);
            stop.store(true, Ordering::Relaxed);
        }
    });
    if let Some(failure) = failed {
        return Err(failure);
    }
    let is_stopped = stop.load(Ordering::Relaxed);
    let run = run.map_err(|error| interrupted_or(is_stopped, error))?;
    let mut report = report::of(&run);
    outcome.judge(&mut report)?;
    let text = match form {
        Form::Text => closing_text(&run, &report),
        Form::Json => format!("{:#}\n", document::whole(&run, &report)),
        Form::JsonStream => {
            let lines = document::closing_events(&run, &report);
            lines.iter().map(|line| format!("{line}\n")).collect()
        }
        Form::Csv => csv::of(&report),
    };
    sink.print(&text)?;
    Ok(match &run.fault {
        Some(fault) => {
            // The document of '--json' has it, too; a table may be far up by now.
            output::complain(&format!("{}: {fault}", run.host));
            ExitCode::from(match is_stopped {
                true => super::INTERRUPTED,
                false => super::COULD_NOT_RUN,
            })
        }
        None => code_of(&report),
    })
}

impl TestOptions {
    /// Measures without a word; a test that ended early is an error.
    pub(super) fn measure(&self, stop: &AtomicBool) -> Result<Report, Failure> {
        let run = client::run(&self.build()?, stop, |_| {});
        let is_stopped = stop.load(Ordering::Relaxed);
        let run = run.map_err(|error| interrupted_or(is_stopped, error))?;
        match &run.fault {
            Some(fault) if is_stopped => Err(Failure::Interrupted(fault.clone())),
            Some(fault) => Err(Failure::Measurement(format!("it ended early: {fault}"))),
            None => Ok(report::of(&run)),
        }
    }
}

/// What ended a test before it began: the user, or something else.
fn interrupted_or(is_stopped: bool, error: LinkError) -> Failure {
    match is_stopped {
        true => Failure::Interrupted(error.to_string()),
        false => error.into(),
    }
}

fn show(
    sink: &Sink,
    form: Form,
    event: &Event<'_>,
    beginning: Option<&LinkRun>,
) -> Result<(), Failure> {
    let line = |name: &str, data: Value| sink.print(&event_line(name, &data));
    match (form, event) {
        (Form::JsonStream, Event::Connected(run)) => line("start", document::start(run)),
        (Form::JsonStream, Event::Interval(interval)) => match beginning {
            Some(run) => line("interval", document::interval(run, interval)),
            None => Ok(()),
        },
        (Form::Text, Event::Connected(_)) => sink.print(text::HEAD),
        (Form::Text, Event::Interval(interval)) => sink.print(&text::interval(interval)),
        _ => Ok(()),
    }
}

fn closing_text(run: &LinkRun, report: &Report) -> String {
    let mut text = text::summary(run);
    text.push_str(&text::judgement(report));
    if let Some(output) = run
        .peer
        .as_ref()
        .and_then(|peer| peer.server_output.as_ref())
    {
        let output = output
            .as_str()
            .map_or_else(|| format!("{output:#}"), str::to_owned);
        text.push_str(&format!(
            "\nthe server's own report:\n{}\n",
            output.trim_end()
        ));
    }
    text
}
