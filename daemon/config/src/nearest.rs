//! The known word nearest to one that was mistyped.
//!
//! Distance is the number of single-character edits, a swap of neighbours counting as one. Not
//! promised: a suggestion; a word that resembles nothing gets none.

/// The nearest of `known`, if it is near enough to be a slip: at most a third of the word, and
/// at least one edit is always forgiven.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let forgiven = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= forgiven)
        .min()
        .map(|(_, candidate)| candidate)
}

fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut above: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    let mut previous = None;
    for (place, character) in one.chars().enumerate() {
        let mut next = vec![place + 1];
        let mut left = place + 1;
        for (column, candidate) in other.iter().enumerate() {
            let get = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX);
            let replaced = get(&row, column) + usize::from(character != *candidate);
            let mut best = replaced.min(left + 1).min(get(&row, column + 1) + 1);
            let swapped = column > 0
                && previous == Some(*candidate)
                && other.get(column - 1) == Some(&character);
            if swapped {
                best = best.min(get(&above, column - 1) + 1);
            }
            next.push(best);
            left = best;
        }
        previous = Some(character);
        above = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_none() {
        let known = ["allow", "allow_write", "path", "kind", "http_port"];
        for (word, found) in [
            ("alow", Some("allow")),
            ("allow-write", Some("allow_write")),
            ("ptah", Some("path")),
            ("htp_port", Some("http_port")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, &known), found, "{word}");
        }
    }
}
