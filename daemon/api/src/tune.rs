//! The report on card and host at `GET /v1/tune`, as a client reads it.
//!
//! The node makes it with `towline_tuning`, whose `format` it carries. Invariant: this reads every
//! report of that format. Not promised: all of it; what `apply` would do is for the program on the
//! host itself, and left out here.

use serde::{Deserialize, Serialize};

/// `GET /v1/tune`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The form of the report, 1; raised when a field changes its meaning.
    pub format: u32,
    /// The host's name.
    pub host: String,
    /// When the host was read, in seconds since 1970-01-01 UTC.
    pub taken_at_s: u64,
    /// What it was judged for: `lan`, `wan` or `latency`.
    pub profile: String,
    /// The links in question.
    pub links: Vec<String>,
    /// How many checks ended how.
    pub summary: Summary,
    /// All checks, in the order of the catalogue.
    pub checks: Vec<Check>,
}

/// How many checks ended how.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Summary {
    /// Passed.
    pub ok: u32,
    /// Failed, and the link cannot reach its goal.
    pub errors: u32,
    /// Failed, and it costs speed or stability.
    pub warnings: u32,
    /// Failed, and is worth knowing.
    pub notes: u32,
    /// Left out for want of a permission.
    pub skipped: u32,
    /// Not told by the machine, or not fitting it.
    pub unknown: u32,
}

/// One check of one subject.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Check {
    /// Its id, such as `link.mtu`; ids are never renamed.
    pub id: String,
    /// The heading.
    pub group: String,
    /// Interface, mount or `host`.
    pub subject: String,
    /// How bad a failure is: `error`, `warning` or `information`.
    pub severity: String,
    /// How it ended: `ok`, `fail`, `skip` or `unknown`.
    pub state: String,
    /// Why nobody can tell; with `skip` and `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was read.
    pub read: String,
    /// Where it was read.
    pub from: String,
    /// What it should be.
    pub want: String,
    /// Why it matters.
    pub why: String,
    /// What to do, best first.
    pub fixes: Vec<Fix>,
    /// What else a person should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What to do about a failed check.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fix {
    /// A command, or a sentence where hands are needed.
    pub text: String,
}
