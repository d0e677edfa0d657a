//! Reading a file past its mistakes, so that all of them are told at once.
//!
//! What serde refuses is taken out of the text, each byte replaced by a space so that places stay
//! what they are, and the rest is read again. Invariant: only what was told as a problem is taken
//! out, and at most [`PROBLEMS_MAX`] times. Not promised: anything behind a mistake in the grammar
//! of TOML itself; that one is told alone.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Problem;
use crate::file::{File, Text};

/// Most problems that are looked for: nobody reads more at once.
const PROBLEMS_MAX: usize = 100;

/// Reads the file and everything that is wrong with its keys and types.
pub(crate) fn parse(text: &Text) -> (File, Vec<Problem>) {
    let mut rest = text.text.clone();
    let mut problems = Vec::new();
    while problems.len() < PROBLEMS_MAX {
        let error = match toml::from_str(&rest) {
            Ok(file) => return (file, problems),
            Err(error) => error,
        };
        let place = error.span().unwrap_or(0..0);
        let Ok(table) = DeTable::parse(&rest) else {
            // The grammar itself; unless taking something out has broken it.
            if problems.is_empty() {
                problems.push(text.refused(&error));
            }
            break;
        };
        problems.push(text.refused(&error));
        let Some(wrong) = entry(table.get_ref(), place.start) else {
            break;
        };
        let wrong = match rest.get(wrong.clone()) {
            Some(found) if is_header(&rest, wrong.start) => table_of(&rest, wrong.start, found),
            _ => wrong,
        };
        rest = blank(&rest, wrong);
    }
    (File::default(), problems)
}

/// The innermost `key = value` that holds a place.
fn entry(table: &DeTable<'_>, at: usize) -> Option<Range<usize>> {
    table.iter().find_map(|(key, value)| {
        let inner = within(value, at);
        let (key, value) = (key.span(), value.span());
        let holds = key.contains(&at) || value.contains(&at);
        inner.or_else(|| holds.then(|| key.start..value.end.max(key.end)))
    })
}

fn within(value: &Spanned<DeValue<'_>>, at: usize) -> Option<Range<usize>> {
    match value.get_ref() {
        DeValue::Table(table) => entry(table, at),
        DeValue::Array(list) => list.iter().find_map(|one| within(one, at)),
        _ => None,
    }
}

/// Whether a place lies in the line of a `[table]`.
fn is_header(text: &str, at: usize) -> bool {
    let start = text.get(..at).and_then(|before| before.rfind('\n'));
    let line = text.get(start.map_or(0, |newline| newline + 1)..);
    line.is_some_and(|line| line.trim_start().starts_with('['))
}

/// A `[table]` from its header to the next one that is not below it.
fn table_of(text: &str, at: usize, name: &str) -> Range<usize> {
    let before = text.get(..at).unwrap_or("");
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let below = name.split(']').next().unwrap_or(name);
    let mut end = start;
    for (index, line) in text
        .get(start..)
        .unwrap_or("")
        .split_inclusive('\n')
        .enumerate()
    {
        let header = line.trim_start().strip_prefix('[');
        let name = header.map(|rest| rest.trim_start_matches('['));
        let is_below = name.is_none_or(|name| {
            name.strip_prefix(below)
                .is_some_and(|rest| rest.starts_with('.'))
        });
        if index > 0 && !is_below {
            break;
        }
        end += line.len();
    }
    start..end
}

/// The text with spaces in place of a part of it.
fn blank(text: &str, part: Range<usize>) -> String {
    let mut blanked = String::with_capacity(text.len());
    for (at, one) in text.char_indices() {
        if part.contains(&at) && one != '\n' {
            blanked.extend(std::iter::repeat_n(' ', one.len_utf8()));
        } else {
            blanked.push(one);
        }
    }
    blanked
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let text = Text {
            path: PathBuf::from("t"),
            text: text.to_owned(),
        };
        let problems = parse(&text).1;
        problems.iter().map(|one| one.to_string()).collect()
    }

    #[test]
    fn every_mistake_is_told() {
        let all = problems(
            "[listen]\nhttp_prot = 1\nnfs_port = \"x\"\n[lissten]\na = 1\n[volumes.v]\nkind = 5\n\
             path = \"/tmp\"\nred_only = true\n[log]\nlevel = \"info\"\n",
        );
        assert_eq!(all.len(), 5, "{all:#?}");
        for (line, word) in [
            ("t:2:", "http_prot"),
            ("t:3:", "nfs_port"),
            ("t:4:", "lissten"),
            ("t:7:", "kind"),
            ("t:9:", "red_only"),
        ] {
            let told = all
                .iter()
                .any(|one| one.starts_with(line) && one.contains(word));
            assert!(told, "{line} {word}: {all:#?}");
        }
    }

    #[test]
    fn a_mistake_in_the_grammar_is_told_alone() {
        assert_eq!(problems("[listen\nhttp_prot = 1\n").len(), 1);
        assert_eq!(problems("").len(), 0);
    }
}
