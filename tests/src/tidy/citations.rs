//! What a comment cites must be in the repository: rows of `daemon/THREATS.md`.
//!
//! Invariant: every "threat N7" in a source names a row of the page, and every row that names
//! `corpus/N7` has files there. Not promised: that a row says the truth.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Finding, Source};

/// Where the rows are.
const PAGE: &str = "daemon/THREATS.md";

/// Words of texts that are not in the repository.
const ELSEWHERE: [&str; 5] = [
    "threats reference",
    "data-path reference",
    "mounting reference",
    "style page",
    "(catalogue, ",
];

/// All rules of this file.
pub(super) fn check(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let page = fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    let mut findings = cited(&rows(&page), sources);
    findings.extend(corpus(root, &page));
    findings
}

/// The ids of the page's rows.
fn rows(page: &str) -> BTreeSet<&str> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| "));
    let ids = cells.filter_map(|cells| cells.split(' ').next());
    ids.filter(|id| is_id(id)).collect()
}

/// A letter and a number: `N7`.
fn is_id(word: &str) -> bool {
    let mut letters = word.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_uppercase())
        && !letters.as_str().is_empty()
        && letters.all(|letter| letter.is_ascii_digit())
}

fn cited(rows: &BTreeSet<&str>, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        if source.path.starts_with("tests/src/tidy/") {
            continue;
        }
        for (index, line) in source.lines.iter().enumerate() {
            let unknown = ids(line).filter(|id| !rows.contains(id));
            findings.extend(unknown.map(|id| {
                source.finding(index + 1, "citation", format!("{id} is no row of {PAGE}"))
            }));
            let text = ELSEWHERE.iter().find(|text| line.contains(**text));
            findings.extend(text.map(|text| {
                let advice = format!("`{text}` is not in the repository: say what it says");
                source.finding(index + 1, "citation", advice)
            }));
        }
    }
    findings
}

/// The ids behind the word "threat" or "threats" of a line.
fn ids(line: &str) -> impl Iterator<Item = &str> {
    let behind = line.split_once("threat").map_or("", |(_, behind)| behind);
    let words = behind.trim_start_matches('s').split_whitespace();
    let words = words.map(|word| word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric()));
    words
        .take_while(|word| is_id(word) || *word == "and")
        .filter(|word| is_id(word))
}

fn corpus(root: &Path, page: &str) -> Vec<Finding> {
    let directory = root.join("tests/corpus");
    let has_files = |id: &str| {
        let files = fs::read_dir(directory.join(id));
        files.is_ok_and(|mut files| files.next().is_some())
    };
    let named = page.split("`corpus/").skip(1);
    let named = named.filter_map(|rest| rest.split('`').next());
    let missing = named.filter(|id| !has_files(id));
    missing
        .map(|id| {
            let advice = format!("{PAGE} names corpus/{id}: no file is there");
            Source::new("tests/corpus", "").finding(1, "corpus", advice)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_of_the_page_may_be_cited() {
        let page = "| id | attack |\n|---|---|\n| N4 | lengths |\n| N5 | sizes |\n";
        let text = "// as threats N4 and N5 say\n// (threat N6)\n// a threat of rain, N7\n";
        let found = cited(&rows(page), &[Source::new("a.rs", text)]);
        let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [2]);
    }

    #[test]
    fn texts_from_elsewhere_are_found() {
        let found = cited(
            &BTreeSet::new(),
            &[Source::new("a.rs", "//! (catalogue, 3.4)")],
        );
        assert_eq!(found.len(), 1);
    }
}
