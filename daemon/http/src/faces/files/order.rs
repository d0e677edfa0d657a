//! The order of entries on a page for people: folders first, then as people count.
//!
//! Numbers in names compare as numbers (`file2` before `file10`) and letters without their case.
//! Invariant: an order is total, so the same folder always looks the same. Not promised: the order
//! of other alphabets; names are bytes.

use std::cmp::Ordering;

use towline_volume::FileKind;

use crate::faces::files::entries::Entry;

/// What a page is sorted by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Column {
    #[default]
    Name,
    Size,
    Modified,
}

impl Column {
    /// Every column: its word in a query, and its head.
    pub(crate) const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Name, "name", "Name"),
        (Self::Size, "size", "Size"),
        (Self::Modified, "modified", "Modified (UTC)"),
    ];
}

/// A column and a direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Order {
    pub(crate) column: Column,
    pub(crate) is_down: bool,
}

impl Order {
    /// Reads `size`, or `-size` for the largest first. What is not known is the name.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let text = text.unwrap_or("");
        let (word, is_down) = match text.strip_prefix('-') {
            Some(word) => (word, true),
            None => (text, false),
        };
        let known = Column::ALL.iter().find(|(_, own, _)| *own == word);
        known.map_or(Self::default(), |(column, ..)| Self {
            column: *column,
            is_down,
        })
    }

    /// What a click on a column asks for: the other direction where it is sorted by that already.
    pub(crate) fn after_click(self, column: Column, word: &str) -> String {
        let turns = self.column == column && !self.is_down;
        format!("{}{word}", if turns { "-" } else { "" })
    }

    pub(crate) fn compare(self, one: &Entry, other: &Entry) -> Ordering {
        let is_file = |entry: &Entry| entry.kind != FileKind::Directory;
        let by_name = || natural(one.name.as_bytes(), other.name.as_bytes());
        let ordering = match self.column {
            Column::Name => by_name(),
            Column::Size => one.size.cmp(&other.size),
            Column::Modified => one.modified.cmp(&other.modified),
        };
        let ordering = if self.is_down {
            ordering.reverse()
        } else {
            ordering
        };
        is_file(one)
            .cmp(&is_file(other))
            .then(ordering)
            .then_with(by_name)
    }
}

/// Compares names as people do.
fn natural(one: &[u8], other: &[u8]) -> Ordering {
    let (mut left, mut right) = (one, other);
    loop {
        match (number(&mut left), number(&mut right)) {
            (Some(a), Some(b)) => {
                // Without leading zeros the longer number is the larger one.
                let ordering = a.len().cmp(&b.len()).then_with(|| a.cmp(b));
                if ordering.is_ne() {
                    return ordering;
                }
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => match (left.split_first(), right.split_first()) {
                (None, None) => return one.cmp(other),
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
                (Some((a, rest)), Some((b, others))) => {
                    let ordering = a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase());
                    if ordering.is_ne() {
                        return ordering;
                    }
                    (left, right) = (rest, others);
                }
            },
        }
    }
}

/// Takes a number off the front, without its leading zeros.
fn number<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
    if digits.is_empty() {
        return None;
    }
    *text = rest;
    let zeros = digits.iter().position(|byte| *byte != b'0');
    digits.get(zeros.unwrap_or(digits.len())..)
}

#[cfg(test)]
mod tests {
    use towline_volume::Name;

    use super::*;

    fn entry(name: &str, kind: FileKind, size: u64) -> Entry {
        Entry {
            name: Name::new(name.as_bytes()).unwrap(),
            kind,
            size,
            modified: 0,
        }
    }

    #[test]
    fn numbers_count_and_case_does_not() {
        let mut names = [
            "b", "file10", "File9", "file2", "file02", "1", "A", "10", "9",
        ];
        names.sort_by(|one, other| natural(one.as_bytes(), other.as_bytes()));
        let expected = [
            "1", "9", "10", "A", "b", "file02", "file2", "File9", "file10",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn folders_come_first_whatever_is_sorted_by() {
        let mut list = [
            entry("small", FileKind::Regular, 1),
            entry("large", FileKind::Regular, 9),
            entry("z", FileKind::Directory, 4096),
        ];
        for (text, expected) in [
            (None, ["z", "large", "small"]),
            (Some("size"), ["z", "small", "large"]),
            (Some("-size"), ["z", "large", "small"]),
            (Some("-name"), ["z", "small", "large"]),
            (Some("nonsense"), ["z", "large", "small"]),
        ] {
            let order = Order::parse(text);
            list.sort_by(|one, other| order.compare(one, other));
            let names = list.iter().map(|it| it.name.as_bytes());
            assert!(names.eq(expected.map(str::as_bytes)), "{text:?}");
        }
        let order = Order::parse(Some("size"));
        assert_eq!(order.after_click(Column::Size, "size"), "-size");
        assert_eq!(order.after_click(Column::Name, "name"), "name");
    }
}
