//! What a rule says about a fact: passed, failed, or why nobody can tell.
//!
//! Invariant: `Skip` and `Unknown` are results of their own and never count as passed.

use serde::{Deserialize, Serialize};

use crate::change::Fix;

/// How a check ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
pub enum State {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Fail,
    /// Not judged, because something is missing that the operator can add.
    Skip(String),
    /// Not judged, because the machine does not tell or the check does not fit it.
    Unknown(String),
}

/// How bad a failure is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; does not make `check` fail.
    Information,
    /// Costs speed or stability.
    Warning,
    /// The link cannot reach its goal, or data is at risk.
    Error,
}

impl Severity {
    /// One word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Information => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a rule found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// Whether the fact is as it should be.
    pub passed: bool,
    /// What was read.
    pub read: String,
    /// What it should be.
    pub want: String,
    /// Worse or milder than the catalogue says, where the amount decides.
    pub severity: Option<Severity>,
    /// What to do, best first.
    pub fixes: Vec<Fix>,
    /// What else a person should know, such as a trap of common guides.
    pub note: Option<String>,
}

impl Verdict {
    /// A verdict without fix.
    pub fn new(passed: bool, read: impl Into<String>, want: impl Into<String>) -> Self {
        Self {
            passed,
            read: read.into(),
            want: want.into(),
            severity: None,
            fixes: Vec::new(),
            note: None,
        }
    }

    /// Reported, and right whatever it is.
    pub fn report(read: impl Into<String>) -> Self {
        Self::new(true, read, "reported only")
    }

    /// Adds what to do, kept only when the verdict is a failure.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        if !self.passed {
            self.fixes.push(fix);
        }
        self
    }

    /// Adds a remark.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Sets how bad it is.
    #[must_use]
    pub const fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }
}

/// The result of a rule: a verdict, or the state in which it had to stop.
pub type Judged = Result<Verdict, State>;

/// The state of a check that does not fit this host.
#[must_use]
pub fn not_here(why: impl Into<String>) -> State {
    State::Unknown(why.into())
}
