//! What every verb that measures does with its report: goals, text, JSON, CSV, a page, exit code.
//!
//! Invariant: one report becomes all of them, so they agree; the exit code is that of the goals.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use towline_bench::share::Event;
use towline_bench::workload::Measured;
use towline_bench::{csv, html};
use towline_link::result::{Kind, Report, Unit};

use super::goals::{GoalOptions, Goals};
use crate::failure::Failure;
use crate::{output, table};

/// How a result is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct FormOptions {
    /// Print everything as JSON; of a link, a superset of 'iperf3 -J'.
    #[arg(long, short = 'J', conflicts_with_all = ["json_stream", "csv"])]
    json: bool,
    /// Print a line of JSON per event, as 'iperf3 --json-stream'.
    #[arg(long, conflicts_with = "csv")]
    json_stream: bool,
    /// Print figures and samples as CSV.
    #[arg(long)]
    csv: bool,
    /// Write a page with plots too: one file, which needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// One of the forms of [`FormOptions`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    Text,
    Json,
    JsonStream,
    Csv,
}

impl FormOptions {
    pub(super) fn form(&self) -> Form {
        match (self.json, self.json_stream, self.csv) {
            (true, _, _) => Form::Json,
            (_, true, _) => Form::JsonStream,
            (_, _, true) => Form::Csv,
            _ => Form::Text,
        }
    }

    /// Whether the page can be written, before anything is measured.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Some(path) = &self.html else {
            return Ok(());
        };
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        match folder.is_none_or(Path::is_dir) && !path.is_dir() {
            true => Ok(()),
            false => {
                let path = path.display();
                let text = format!("--html {path}: name a file in a folder that is there");
                Err(Failure::usage(text))
            }
        }
    }

    /// Writes the page where one was asked for.
    pub(super) fn write_page(&self, page: impl FnOnce() -> String) -> Result<(), Failure> {
        let Some(path) = &self.html else {
            return Ok(());
        };
        std::fs::write(path, page())
            .map_err(|error| Failure::Measurement(format!("--html {}: {error}", path.display())))
    }
}

/// Options of every verb that ends in one report.
#[derive(Args, Debug)]
pub(crate) struct OutcomeOptions {
    #[command(flatten)]
    goals: GoalOptions,
    #[command(flatten)]
    form: FormOptions,
}

/// The same once they were looked at: a slip of the pen shows before anything is measured.
pub(crate) struct Outcome<'a> {
    goals: Goals,
    form: &'a FormOptions,
}

impl OutcomeOptions {
    pub(super) fn form(&self) -> Form {
        self.form.form()
    }

    pub(super) fn check(&self, kind: Kind) -> Result<Outcome<'_>, Failure> {
        self.form.check()?;
        Ok(Outcome {
            goals: self.goals.read(kind)?,
            form: &self.form,
        })
    }
}

impl Outcome<'_> {
    pub(super) fn form(&self) -> Form {
        self.form.form()
    }

    /// Judges the report and writes the page.
    pub(super) fn judge(&self, report: &mut Report) -> Result<(), Failure> {
        self.goals.judge(report);
        self.form
            .write_page(|| html::page(std::slice::from_ref(report)))
    }

    /// Judges, prints and writes.
    pub(super) fn finish(&self, mut report: Report) -> Result<ExitCode, Failure> {
        self.judge(&mut report)?;
        let text = match self.form() {
            Form::Json => format!("{}\n", super::pretty(&report)?),
            Form::JsonStream => event("end", &json!(report)),
            Form::Csv => csv::of(&report),
            Form::Text => describe(&report),
        };
        output::print(&text)?;
        Ok(code_of(&report))
    }
}

/// 1 when a goal was missed.
pub(super) fn code_of(report: &Report) -> ExitCode {
    match report.misses_a_target() {
        true => ExitCode::from(super::TARGET_MISSED),
        false => ExitCode::SUCCESS,
    }
}

/// A failure for programs that read this form; empty where only standard error tells it.
pub(super) fn failure_in(form: Form, text: &str) -> String {
    match form {
        Form::Json => format!("{:#}\n", json!({ "error": text })),
        Form::JsonStream => event("error", &json!(text)),
        Form::Text | Form::Csv => String::new(),
    }
}

/// A line of `--json-stream`.
pub(super) fn event(name: &str, data: &Value) -> String {
    format!("{}\n", json!({"event": name, "data": data}))
}

/// A line for each thing that begins or ends.
pub(super) fn tell(happened: Event<'_>, form: Form) {
    let line = match (form, happened) {
        (Form::Text, Event::Begins(name)) => format!("{name} ...\n"),
        (Form::Text, Event::Ended(name, measured)) => format!("  {}\n", summary(name, measured)),
        (Form::JsonStream, Event::Begins(name)) => event("start", &json!({ "name": name })),
        (Form::JsonStream, Event::Ended(name, measured)) => {
            let data = json!({
                "name": name,
                "seconds": measured.seconds,
                "bytes": measured.bytes,
                "operations": measured.operations,
                "bits_per_second": measured.bits_per_second(),
                "samples": measured.series.samples,
                "latency": measured.latency,
            });
            event("interval", &data)
        }
        (Form::Json | Form::Csv, _) => return,
    };
    // Where the terminal is gone the end says so.
    let _ = output::print(&line);
}

fn summary(name: &str, measured: &Measured) -> String {
    let latency = measured.latency.as_ref();
    let p50 = latency.map_or(String::new(), |found| Unit::Seconds.show(found.p50_s));
    let rate = match measured.bytes {
        0 => String::new(),
        _ => Unit::BitsPerSecond.show(measured.bits_per_second()),
    };
    let calls = Unit::PerSecond.show(measured.per_second());
    format!("{name:<28} {rate:>13} {calls:>11}   p50 {p50}")
}

/// The report for people.
fn describe(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .figures
        .iter()
        .filter(|figure| !figure.name.ends_with("_p99"))
        .map(|figure| {
            let beyond = report.figure(&format!("{}_p99", figure.name));
            let beyond = beyond.map(|found| found.show()).unwrap_or_default();
            vec![figure.name.clone(), figure.show(), beyond]
        })
        .collect();
    let mut text = format!("\n{}", table::layout(&["FIGURE", "VALUE", "P99"], &rows));
    if let Some(verdict) = &report.verdict {
        text.push_str(&format!("\nverdict: {}\n", verdict.line()));
        text.push_str(&format!("         {}\n", verdict.advice));
        for evidence in &verdict.evidence {
            text.push_str(&format!("  - {}\n", evidence.says));
        }
    }
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    for target in &report.targets {
        text.push_str(&format!("{}\n", target.line()));
    }
    text
}
