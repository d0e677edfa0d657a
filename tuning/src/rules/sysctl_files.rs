//! Rules of the sysctl files: what is configured against what is live.
//!
//! Invariant: pure functions of the facts; files are read, never edited, except our own by
//! `persist`.

use std::collections::BTreeMap;

use super::{Named, Rule};
use crate::case::Case;
use crate::change::Fix;
use crate::facts::SysctlLine;
use crate::verdict::{Judged, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("sys.obsolete_keys", Rule::Host(obsolete)),
    ("sys.conflicts", Rule::Host(conflicts)),
];

/// Keys of old guides that do nothing on today's kernels, or harm.
const OBSOLETE: [&str; 4] = [
    "net.ipv4.tcp_low_latency",
    "net.ipv4.tcp_tw_recycle",
    "net.ipv4.tcp_fack",
    "net.ipv4.tcp_frto_response",
];

fn obsolete(case: &Case<'_>) -> Judged {
    let found: Vec<String> = case
        .facts
        .sysctl_lines
        .iter()
        .filter(|line| OBSOLETE.contains(&line.key.as_str()))
        .map(|line| format!("{} in {}", line.key, line.file))
        .collect();
    let read = if found.is_empty() {
        "none".to_owned()
    } else {
        found.join(", ")
    };
    Ok(Verdict::new(found.is_empty(), read, "none").fix(Fix::hands("delete these lines")))
}

fn conflicts(case: &Case<'_>) -> Judged {
    let lines = &case.facts.sysctl_lines;
    if lines.is_empty() {
        return Err(not_here("no sysctl file sets anything"));
    }
    let mut last: BTreeMap<&str, &SysctlLine> = BTreeMap::new();
    let mut found = Vec::new();
    for line in lines {
        if let Some(earlier) = last.insert(&line.key, line)
            && earlier.value != line.value
        {
            found.push(format!(
                "{} is {} in {} and {} in {}",
                line.key, earlier.value, earlier.file, line.value, line.file
            ));
        }
    }
    for (key, line) in last {
        let live = case.facts.sysctl(key);
        if let Ok(live) = live
            && live != line.value
        {
            found.push(format!(
                "{key} is {live}, but {} says {}",
                line.file, line.value
            ));
        }
    }
    let read = if found.is_empty() {
        format!("{} lines agree", lines.len())
    } else {
        found.join("; ")
    };
    Ok(Verdict::new(
        found.is_empty(),
        read,
        "one value for each key, and that one live",
    )
    .fix(Fix::hands(
        "keep each key in one file of sysctl.d; then sysctl --system",
    )))
}
