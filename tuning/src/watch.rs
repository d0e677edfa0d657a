//! The report of this host for a long-running program: made when somebody asks, kept for a while.
//!
//! Invariant: at most one reading at a time, and none within [`FRESH`] of the last; between two
//! questions nothing runs. [`Watch::refresh`] blocks for about a second, so it belongs on a thread
//! that may block. Not promised: that a finding is younger than [`FRESH`].

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use towline_base::clock;

use crate::case::{Case, Profile};
use crate::catalogue::Catalogue;
use crate::error::TuneError;
use crate::read::ToldSpeeds;
use crate::report::Report;
use crate::root::Root;
use crate::values::Values;
use crate::{choose, read};

/// How long a report counts as fresh, in seconds: settings change rarely, and a reading costs tens
/// of milliseconds of one processor.
pub const FRESH: Duration = Duration::from_secs(60);

/// Between the two samples of the counters.
const WINDOW: Duration = Duration::from_secs(1);

/// The table of the metrics: name, kind, tier, help.
pub const METRICS: [(&str, &str, &str, &str); 3] = [
    (
        "towline_tuning_findings",
        "gauge",
        "experimental",
        "Failed checks of `towline tune` by severity.",
    ),
    (
        "towline_tuning_failed",
        "gauge",
        "experimental",
        "1 for each failed check with its subject.",
    ),
    (
        "towline_tuning_age_seconds",
        "gauge",
        "experimental",
        "Age of the report behind these.",
    ),
];

/// Keeps the last report.
#[derive(Debug, Default)]
pub struct Watch {
    last: Mutex<Option<(Instant, Arc<Report>)>>,
    reading: AtomicBool,
}

impl Watch {
    /// The last report and when it was made.
    #[must_use]
    pub fn last(&self) -> Option<(Instant, Arc<Report>)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// Whether a new report is due and nobody is making it: then the caller has to call
    /// [`Self::refresh`].
    #[must_use]
    pub fn is_due(&self) -> bool {
        let old = self.last().is_none_or(|(made, _)| made.elapsed() > FRESH);
        old && !self.reading.load(Ordering::Relaxed)
    }

    /// The fresh report: the last one, or a new one. Blocks for about a second.
    ///
    /// # Errors
    /// When the host cannot be read, or somebody else is just making the first report.
    pub fn refresh(&self) -> Result<Arc<Report>, TuneError> {
        if let Some((made, report)) = self.last()
            && made.elapsed() <= FRESH
        {
            return Ok(report);
        }
        if self.reading.swap(true, Ordering::Acquire) {
            let busy = || TuneError::usage("the report is just being made: ask again in 2 s");
            return self.last().map(|(_, report)| report).ok_or_else(busy);
        }
        let made = make();
        self.reading.store(false, Ordering::Release);
        let report = Arc::new(made?);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((clock::now(), report.clone()));
        Ok(report)
    }

    /// The rows of [`METRICS`] in the Prometheus text format; nothing before the first report.
    #[must_use]
    pub fn metrics(&self) -> String {
        let Some((made, report)) = self.last() else {
            return String::new();
        };
        let mut page = String::new();
        let [findings, failed, age] = METRICS;
        head(&mut page, findings);
        let summary = report.summary;
        for (severity, count) in [
            ("error", summary.errors),
            ("warning", summary.warnings),
            ("information", summary.notes),
        ] {
            let _ = writeln!(page, "{}{{severity=\"{severity}\"}} {count}", findings.0);
        }
        head(&mut page, failed);
        for check in report.failures() {
            // Ids and names of interfaces; a mount's path may hold anything.
            let subject = check.subject.replace(['\\', '"', '\n'], "_");
            let _ = writeln!(
                page,
                "{}{{id=\"{}\",subject=\"{subject}\"}} 1",
                failed.0, check.id
            );
        }
        head(&mut page, age);
        let _ = writeln!(page, "{} {}", age.0, made.elapsed().as_secs());
        page
    }
}

fn head(page: &mut String, (name, kind, tier, help): (&str, &str, &str, &str)) {
    let _ = writeln!(page, "# HELP {name} {help} ({tier})\n# TYPE {name} {kind}");
}

fn make() -> Result<Report, TuneError> {
    let facts = read::host(&Root::default(), &ToldSpeeds::of_environment()?, WINDOW)?;
    let values = Values::load()?;
    let subjects = choose::usual(&facts);
    let case = Case {
        facts: &facts,
        values: &values,
        profile: Profile::Lan,
        subjects: &subjects,
        peer: None,
        preset: None,
    };
    Ok(Report::of(&case, &Catalogue::load()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_question_makes_a_report_and_the_second_gets_the_same() {
        let watch = Watch::default();
        assert!(watch.is_due() && watch.metrics().is_empty());
        let first = watch.refresh().unwrap();
        let second = watch.refresh().unwrap();
        assert!(Arc::ptr_eq(&first, &second) && !watch.is_due());
        let page = watch.metrics();
        for (name, ..) in METRICS {
            assert!(page.contains(&format!("# TYPE {name} gauge")), "{page}");
        }
        assert!(
            page.contains("towline_tuning_findings{severity=\"error\"}"),
            "{page}"
        );
    }
}
