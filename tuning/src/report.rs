//! The result of all rules over one host, for people, programs and the daemon.
//!
//! Invariant: every check of the catalogue appears, with its state; `unknown` and `skip` are
//! counted apart and never as passed.

use serde::Serialize;

use crate::case::{Case, Profile};
use crate::catalogue::{Catalogue, Entry};
use crate::change::Fix;
use crate::rules::{self, Rule};
use crate::verdict::{Judged, Severity, State};

/// The form of the report; raised when a field changes its meaning.
pub const FORMAT: u32 = 1;

/// One check of one subject.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The id of the catalogue.
    pub id: String,
    /// The heading.
    pub group: String,
    /// Interface, mount or `host`.
    pub subject: String,
    /// How bad a failure is.
    pub severity: Severity,
    /// How it ended, with the reason where nobody can tell.
    #[serde(flatten)]
    pub state: State,
    /// What was read.
    pub read: String,
    /// Where it was read.
    pub from: String,
    /// What it should be.
    pub want: String,
    /// Why it matters.
    pub why: String,
    /// What to do, and what `apply` would do.
    pub fixes: Vec<Fix>,
    /// What else a person should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How many checks ended how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Summary {
    /// Passed.
    pub ok: u32,
    /// Failed with severity error.
    pub errors: u32,
    /// Failed with severity warning.
    pub warnings: u32,
    /// Failed with severity information.
    pub notes: u32,
    /// Left out for want of a permission.
    pub skipped: u32,
    /// Not told by the machine, or not fitting it.
    pub unknown: u32,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// See [`FORMAT`].
    pub format: u32,
    /// The host's name.
    pub host: String,
    /// When the facts were read: seconds since 1970-01-01 UTC.
    pub taken_at_s: u64,
    /// What it was judged for.
    pub profile: Profile,
    /// The links in question.
    pub links: Vec<String>,
    /// How many ended how.
    pub summary: Summary,
    /// All checks, in the order of the catalogue.
    pub checks: Vec<Finding>,
}

impl Summary {
    fn of(checks: &[Finding]) -> Self {
        let mut summary = Self::default();
        for check in checks {
            let count = match (&check.state, check.severity) {
                (State::Ok, _) => &mut summary.ok,
                (State::Fail, Severity::Error) => &mut summary.errors,
                (State::Fail, Severity::Warning) => &mut summary.warnings,
                (State::Fail, Severity::Information) => &mut summary.notes,
                (State::Skip(_), _) => &mut summary.skipped,
                (State::Unknown(_), _) => &mut summary.unknown,
            };
            *count += 1;
        }
        summary
    }
}

impl Report {
    /// Judges the case by every rule.
    #[must_use]
    pub fn of(case: &Case<'_>, catalogue: &Catalogue) -> Self {
        let rules = rules::all();
        let mut checks = Vec::new();
        for entry in &catalogue.0 {
            let found = rules.iter().find(|(id, _)| *id == entry.id);
            if let Some((_, rule)) = found {
                judge(case, entry, *rule, &mut checks);
            }
        }
        let links = case.subjects.iter().map(|link| link.name.clone());
        Self {
            format: FORMAT,
            host: case.facts.host.clone(),
            taken_at_s: case.facts.taken_at_s,
            profile: case.profile,
            links: links.collect(),
            summary: Summary::of(&checks),
            checks,
        }
    }

    /// A report of verdicts that were reached elsewhere: a sheet of another system.
    pub(crate) fn from_judged<'a>(
        host: &str,
        profile: Profile,
        judged: impl Iterator<Item = (&'a Entry, String, Judged)>,
    ) -> Self {
        let checks: Vec<Finding> = judged
            .map(|(entry, subject, judged)| finding(entry, &subject, judged))
            .collect();
        let mut links: Vec<String> = checks.iter().map(|check| check.subject.clone()).collect();
        links.dedup();
        Self {
            format: FORMAT,
            host: host.to_owned(),
            taken_at_s: towline_base::clock::since_epoch().as_secs(),
            profile,
            links,
            summary: Summary::of(&checks),
            checks,
        }
    }

    /// Whether something was found that costs speed, stability or data.
    #[must_use]
    pub const fn has_findings(&self) -> bool {
        self.summary.errors + self.summary.warnings > 0
    }

    /// The failed checks.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.checks
            .iter()
            .filter(|check| check.state == State::Fail)
    }
}

fn judge(case: &Case<'_>, entry: &Entry, rule: Rule, checks: &mut Vec<Finding>) {
    let mut put = |subject: &str, judged: Judged| {
        checks.push(finding(entry, subject, judged));
    };
    match rule {
        Rule::Host(rule) => put("host", rule(case)),
        Rule::Link(rule) => {
            for link in case.subjects {
                put(&link.name, rule(case, link));
            }
        }
        Rule::Mount(rule) => {
            for mount in &case.facts.mounts {
                put(&mount.path, rule(case, mount));
            }
        }
        Rule::Peer(rule) => match case.peer {
            Some(peer) => put(&peer.address, rule(case, peer)),
            None => put(
                "peer",
                Err(State::Skip("needs a peer: --peer HOST".to_owned())),
            ),
        },
    }
}

fn finding(entry: &Entry, subject: &str, judged: Judged) -> Finding {
    let base = Finding {
        id: entry.id.clone(),
        group: entry.group.clone(),
        subject: subject.to_owned(),
        severity: entry.severity,
        state: State::Ok,
        read: String::new(),
        from: entry.from.clone(),
        want: String::new(),
        why: entry.why.clone(),
        fixes: Vec::new(),
        note: None,
    };
    match judged {
        Ok(verdict) => Finding {
            severity: verdict.severity.unwrap_or(entry.severity),
            state: if verdict.passed {
                State::Ok
            } else {
                State::Fail
            },
            read: verdict.read,
            want: verdict.want,
            fixes: verdict.fixes,
            note: verdict.note,
            ..base
        },
        Err(state) => Finding { state, ..base },
    }
}
