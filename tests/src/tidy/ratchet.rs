//! Old offenders with their present number: it may only fall.
//!
//! A line is `path rule number`. Invariant: a finding is forgiven only while its number is at most
//! the recorded one; an entry whose number could be lower, or which is no longer needed, is a
//! finding itself. Not promised: telling two functions of one file apart; the largest counts.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::Finding;

/// The parsed ratchet file.
#[derive(Clone, Debug, Default)]
pub struct Ratchet {
    entries: BTreeMap<(String, String), usize>,
}

impl Ratchet {
    /// Reads the file's text; lines that begin with `#` are comments.
    ///
    /// # Errors
    /// Fails when a line is not `path rule number`.
    pub fn parse(text: &str) -> Result<Self> {
        let mut entries = BTreeMap::new();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let mut words = line.split_whitespace();
            let mut word = || {
                words
                    .next()
                    .with_context(|| format!("not `path rule number`: {line}"))
            };
            let (path, rule, number) = (word()?, word()?, word()?);
            entries.insert((path.to_owned(), rule.to_owned()), number.parse()?);
        }
        Ok(Self { entries })
    }

    /// Takes out what is forgiven and adds what the ratchet itself demands.
    #[must_use]
    pub fn apply(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let mut largest: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut left = Vec::new();
        for finding in findings {
            let key = (finding.path.clone(), finding.rule.to_owned());
            let number = finding.number.unwrap_or(usize::MAX);
            if self
                .entries
                .get(&key)
                .is_some_and(|allowed| number <= *allowed)
            {
                let entry = largest.entry(key).or_default();
                *entry = (*entry).max(number);
            } else {
                left.push(finding);
            }
        }
        for ((path, rule), allowed) in &self.entries {
            let present = largest.get(&(path.clone(), rule.clone())).copied();
            let advice = match present {
                Some(number) if number == *allowed => continue,
                Some(number) => format!("lower {path} {rule} to {number}"),
                None => format!("remove {path} {rule}: the limit is met"),
            };
            let path = "tests/tidy.ratchet".to_owned();
            left.push(Finding {
                path,
                line: 1,
                rule: "ratchet",
                advice,
                number: None,
            });
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(number: usize) -> Finding {
        let (path, advice) = ("a.rs".to_owned(), String::new());
        Finding {
            path,
            line: 1,
            rule: "file-length",
            advice,
            number: Some(number),
        }
    }

    #[test]
    fn a_number_may_stay_but_not_grow_and_must_be_lowered_when_it_fell() {
        let ratchet = Ratchet::parse("# old\na.rs file-length 600\n").unwrap();
        assert!(ratchet.apply(vec![finding(600)]).is_empty());
        assert_eq!(ratchet.apply(vec![finding(601)]).len(), 2);
        assert_eq!(ratchet.apply(vec![finding(590)])[0].rule, "ratchet");
        assert_eq!(ratchet.apply(Vec::new())[0].rule, "ratchet");
    }
}
