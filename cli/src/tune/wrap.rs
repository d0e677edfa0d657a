//! Sentences in lines that fit a terminal, each line below the first one's text.
//!
//! Invariant: words are not broken, so a long command or path may stand out of the edge and can
//! still be copied.

/// Columns of a line, as the tables have.
const COLUMNS: usize = 100;

/// Appends `text` behind `head`; further lines begin below the text.
pub(super) fn put(out: &mut String, head: &str, text: &str) {
    let indent = head.chars().count();
    let mut used = indent;
    out.push_str(head);
    for (word, place) in text.split_whitespace().zip(0..) {
        let width = word.chars().count();
        if place > 0 && used + 1 + width > COLUMNS {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            used = indent;
        } else if place > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += width;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::put;

    #[test]
    fn a_line_ends_at_the_edge_and_goes_on_below_its_text() {
        let mut out = String::new();
        let word = "w".repeat(46);
        put(
            &mut out,
            "why: ",
            &format!("{word} {word} next {}", "x".repeat(120)),
        );
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0].chars().count(), 98);
        assert_eq!(lines[1], "     next");
        assert!(lines[2].starts_with("     xxx") && lines.len() == 3);
    }
}
