//! A verb that measures one thing: its own options, and those of what is made of the report.
//!
//! Invariant: every such verb runs alike, and `save` and `compare` measure by the same function.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use clap::Args;
use towline_link::result::{Kind, Report};

use super::outcome::{Form, OutcomeOptions};
use super::stopping;
use crate::failure::Failure;

/// Something that can be measured.
pub(super) trait Measure {
    /// What its report is about.
    const KIND: Kind;

    /// Measures, and tells in this form what happens meanwhile.
    fn measure(&self, stop: &AtomicBool, form: Form) -> Result<Report, Failure>;
}

/// Options of a verb that measures.
#[derive(Args, Debug)]
pub(crate) struct Options<W: Args> {
    #[command(flatten)]
    what: W,
    #[command(flatten)]
    outcome: OutcomeOptions,
}

impl<W: Args> Options<W> {
    pub(super) fn form(&self) -> Form {
        self.outcome.form()
    }
}

pub(super) fn run<W: Args + Measure>(options: &Options<W>) -> Result<ExitCode, Failure> {
    let outcome = options.outcome.check(W::KIND)?;
    let stop = stopping::flag()?;
    let report = options.what.measure(&stop, outcome.form())?;
    outcome.finish(report)
}
