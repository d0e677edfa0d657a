//! A tuning report for people: what failed first within each group, with cause and fix.
//!
//! Invariant: what could not be answered is never shown as passed, and is counted apart.

use std::fmt::Write;

use towline_tuning::Report;
use towline_tuning::report::{Finding, Summary};
use towline_tuning::verdict::State;

use super::wrap;

/// Changes of one finding that are shown; a host with 128 processors has as many governors.
const FIXES_SHOWN: usize = 4;

/// The report in words. What passed and what nobody can answer is shown if `verbose`.
pub(super) fn report(report: &Report, verbose: bool) -> String {
    let mut text = format!("host {}, links {}\n", report.host, report.links.join(", "));
    let mut groups: Vec<&str> = Vec::new();
    for check in &report.checks {
        if !groups.contains(&check.group.as_str()) {
            groups.push(&check.group);
        }
    }
    for group in groups {
        let members = report.checks.iter().filter(|check| check.group == group);
        let shown: Vec<&Finding> = members
            .filter(|check| verbose || check.state == State::Fail)
            .collect();
        if shown.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{group}");
        for check in shown {
            finding(&mut text, check, verbose);
        }
    }
    summary(&mut text, report, verbose);
    text
}

fn finding(text: &mut String, check: &Finding, verbose: bool) {
    let Finding { id, subject, .. } = check;
    match &check.state {
        State::Ok => {
            let _ = writeln!(text, "  ok       {id} ({subject}): {}", check.read);
        }
        State::Skip(reason) => {
            let _ = writeln!(text, "  skipped  {id} ({subject}): {reason}");
        }
        State::Unknown(reason) => {
            let _ = writeln!(text, "  unknown  {id} ({subject}): {reason}");
        }
        State::Fail => failure(text, check),
    }
    if let (true, Some(note)) = (verbose || check.state == State::Fail, &check.note) {
        wrap::put(text, "           note: ", note);
    }
}

fn failure(text: &mut String, check: &Finding) {
    let Finding {
        id, subject, read, ..
    } = check;
    let word = check.severity.word();
    wrap::put(
        text,
        &format!("  {word:<7}  "),
        &format!("{id} ({subject}): {read}"),
    );
    wrap::put(text, "           want: ", &check.want);
    wrap::put(text, "           why:  ", &check.why);
    wrap::put(text, "           from: ", &check.from);
    for fix in check.fixes.iter().take(FIXES_SHOWN) {
        let _ = writeln!(text, "           fix:  {}", fix.text);
    }
    if check.fixes.len() > FIXES_SHOWN {
        let more = check.fixes.len() - FIXES_SHOWN;
        let _ = writeln!(text, "           and {more} more of the kind");
    }
}

fn summary(text: &mut String, report: &Report, verbose: bool) {
    let Summary {
        ok,
        errors,
        warnings,
        notes,
        skipped,
        unknown,
    } = report.summary;
    let _ = writeln!(
        text,
        "\n{errors} errors, {warnings} warnings, {notes} notes; {ok} passed, {skipped} skipped, \
         {unknown} not answerable here"
    );
    let refused = report.checks.iter().filter_map(|check| match &check.state {
        State::Skip(reason) if reason.starts_with("no permission") => Some(check.id.as_str()),
        State::Skip(_) | State::Ok | State::Fail | State::Unknown(_) => None,
    });
    let mut refused: Vec<&str> = refused.collect();
    refused.dedup();
    if !refused.is_empty() {
        wrap::put(text, "as root also: ", &refused.join(", "));
    }
    if !verbose && ok + skipped + unknown > 0 {
        text.push_str("--verbose shows the rest\n");
    }
}
