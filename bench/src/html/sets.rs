//! Saved runs and their comparison: each figure with every run as a dot and its median as a line.
//!
//! Invariant: dots of both sets stand on one scale, which the words beside the plot give meaning;
//! what became worse is told in words, not in colour alone.

use std::fmt::Write;

use super::plot::strip;
use super::{document, escaped, words};
use crate::history::{Change, Set, median_and_mad};

/// The page of one set.
#[must_use]
pub fn set_page(set: &Set) -> String {
    let mut rows = String::new();
    let first = set.runs.first();
    for figure in first.map_or(&[][..], |report| &report.figures) {
        let values = set.values(&figure.name);
        let (median, mad) = median_and_mad(&values);
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            rows,
            "<tr><td>{}</td><td class=\"dots\">{}</td><td>{}</td><td>±{}</td></tr>",
            escaped(&words(&figure.name)),
            strip(&[&values]),
            escaped(&figure.unit.show(median)),
            escaped(&figure.unit.show(mad))
        );
    }
    let title = format!("{} runs of {}", set.runs.len(), set.name);
    let body = format!(
        "{}<section><h2>Every run</h2><p class=\"hint\">A dot for each run, from the smallest to \
         the largest value; the line is the median.</p><table class=\"sets\"><tr><th>figure</th>\
         <th class=\"dots\">runs</th><th>median</th><th>deviation</th></tr>{rows}</table>\
         </section>\n",
        head("Saved runs", &title, set)
    );
    document(&title, &body)
}

/// The page of two sets.
#[must_use]
pub fn comparison_page(saved: &Set, now: &Set, changes: &[Change]) -> String {
    let title = format!("{} against {}", now.name, saved.name);
    let worse: Vec<&Change> = changes.iter().filter(|one| one.is_regression).collect();
    let mut rows = String::new();
    for change in changes {
        let (word, class) = match (change.is_regression, change.worse_percent) {
            (true, _) => ("worse", "missed"),
            (false, percent) if percent < 0.0 => ("better or same", "met"),
            (false, _) => ("within noise", ""),
        };
        let _ = write!(
            rows,
            "<tr><td>{}</td><td class=\"dots\">{}</td><td>{}</td><td>{}</td><td>{:+.1} %</td>\
             <td class=\"{class}\">{word}</td></tr>",
            escaped(&words(&change.name)),
            strip(&[&saved.values(&change.name), &now.values(&change.name)]),
            escaped(&change.unit.show(change.saved)),
            escaped(&change.unit.show(change.now)),
            change.worse_percent
        );
    }
    let verdict = match worse.len() {
        0 => "Nothing is worse beyond threshold and noise".to_owned(),
        count => format!("{count} worse"),
    };
    let names = worse.iter().map(|one| words(&one.name));
    let names = names.collect::<Vec<_>>().join(", ");
    let body = format!(
        "{}<section class=\"verdict\"><h2>{verdict}</h2><p>{}</p></section>\n\
         <section><h2>Every run</h2><p class=\"hint\">A dot for each run, saved ones above, new \
         ones below, on one scale; lines are medians.</p><table class=\"sets\"><tr><th>figure</th>\
         <th class=\"dots\">runs</th><th>saved</th><th>now</th><th>worse by</th><th></th></tr>\
         {rows}</table></section>\n",
        head("Comparison", &title, saved),
        escaped(&names)
    );
    document(&title, &body)
}

fn head(kind: &str, title: &str, set: &Set) -> String {
    format!(
        "<header><p class=\"kind\">{kind}</p><h1>{}</h1><p class=\"when\">{}</p></header>\n",
        escaped(title),
        escaped(&set.words.join(" "))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::compare;
    use towline_link::result::{Better, Kind, Report, Unit};

    fn set(name: &str, values: [f64; 5]) -> Set {
        let mut set = Set::new(name).unwrap();
        set.words = vec!["link".to_owned(), "<host>".to_owned()];
        for value in values {
            let mut report = Report::new(Kind::Link, "host", 0);
            report.put("link", value, Unit::BitsPerSecond, Better::Higher);
            set.runs.push(report);
        }
        set
    }

    #[test]
    fn every_run_is_a_dot_and_what_is_worse_is_told_in_words() {
        let (old, new) = (set("a", [9e9; 5]), set("b", [5e9, 5e9, 5.1e9, 4.9e9, 5e9]));
        let text = set_page(&old);
        assert_eq!(text.matches("<circle").count(), 5);
        assert!(text.contains("&lt;host&gt;") && !text.contains("<host>"));
        let changes = compare(&old, &new, 0.05).unwrap();
        let text = comparison_page(&old, &new, &changes);
        assert_eq!(text.matches("<circle").count(), 10);
        assert!(
            text.contains("1 worse") && text.contains(">worse</td>"),
            "{text}"
        );
    }
}
