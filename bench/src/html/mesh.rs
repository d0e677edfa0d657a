//! The links between several hosts as a heat map: who sends (rows) to whom (columns).
//!
//! Invariant: each cell has its rate in words too, so nothing depends on colour alone.

use super::{document, escaped};
use crate::mesh::{Matrix, Row, errors};
use towline_link::result::Unit;

/// Share of the best link from which a cell is dark enough for light words.
const DARK_SHARE: f64 = 0.7;

/// The page of these rows.
#[must_use]
pub fn mesh_page(rows: &[Row]) -> String {
    let matrix = Matrix::of(rows);
    let title = format!("Links between {} hosts", matrix.hosts.len());
    let mut body = format!(
        "<header><p class=\"kind\">Mesh</p><h1>{title}</h1></header>\n\
         <section><h2>Throughput</h2><p class=\"hint\">From the host of the row to that of the \
         column; the fuller the colour, the nearer to the best link.</p>{}</section>\n",
        heat(&matrix)
    );
    body.push_str(&links(rows));
    body.push_str(&failures(rows));
    document(&title, &body)
}

fn heat(matrix: &Matrix<'_>) -> String {
    let hosts = &matrix.hosts;
    let head: String = hosts
        .iter()
        .map(|host| format!("<th scope=\"col\">{}</th>", escaped(host)))
        .collect();
    let row = |from: &&str| {
        let cells = hosts.iter().map(|to| cell(matrix, from, to));
        let cells: String = cells.collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", escaped(from))
    };
    let rows: String = hosts.iter().map(row).collect();
    format!(
        "<div class=\"wide\"><table class=\"heat\"><tr><th class=\"corner\">from \\ to</th>{head}\
         </tr>{rows}</table></div>"
    )
}

fn cell(matrix: &Matrix<'_>, from: &str, to: &str) -> String {
    let Some(rate) = matrix.rate(from, to).filter(|rate| rate.is_finite()) else {
        let word = if from == to { "" } else { "not measured" };
        return format!("<td class=\"none\">{word}</td>");
    };
    let share = (rate / matrix.best().max(1.0)).clamp(0.0, 1.0);
    let class = if share >= DARK_SHARE {
        " class=\"dark\""
    } else {
        ""
    };
    let percent = 100.0 * share;
    let shown = Unit::BitsPerSecond.show(rate);
    format!(
        "<td{class} style=\"--fill:{percent:.0}%\"><b>{}</b><span>{percent:.0} %</span></td>",
        escaped(&shown)
    )
}

fn links(rows: &[Row]) -> String {
    let all = rows.iter().flat_map(|row| {
        let named = |link| (row.from.as_str(), link);
        row.links.iter().map(named)
    });
    let rows: String = all
        .filter_map(|(from, link): (&str, &crate::mesh::Link)| {
            let verdict = link.verdict.as_deref()?;
            let rtt = link
                .rtt_s
                .map_or(String::new(), |rtt| Unit::Seconds.show(rtt));
            Some(format!(
                "<tr><td>{} → {}</td><td>{rtt}</td><td>{}</td></tr>",
                escaped(from),
                escaped(&link.to),
                escaped(verdict)
            ))
        })
        .collect();
    match rows.is_empty() {
        true => String::new(),
        false => format!(
            "<section><h2>What limits each link</h2><table class=\"list\"><tr><th>link</th>\
             <th>round trip</th><th>verdict</th></tr>{rows}</table></section>\n"
        ),
    }
}

fn failures(rows: &[Row]) -> String {
    let lines: String = errors(rows)
        .map(|(from, to, why)| {
            let (from, to, why) = (escaped(from), escaped(to), escaped(why));
            format!("<li class=\"missed\">{from} → {to}: {why}</li>")
        })
        .collect();
    match lines.is_empty() {
        true => String::new(),
        false => {
            format!("<section><h2>Not measured</h2><ul class=\"goals\">{lines}</ul></section>\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::Link;

    #[test]
    fn words_from_outside_are_no_markup() {
        let link = Link {
            to: "<b>".to_owned(),
            there_bits_per_second: Some(1e9),
            verdict: Some("<i>".to_owned()),
            error: Some("<script>".to_owned()),
            ..Link::default()
        };
        let row = Row {
            from: "a&b".to_owned(),
            links: vec![link],
        };
        let text = mesh_page(&[row]);
        assert!(!text.contains("<script") && !text.contains("<i>") && !text.contains("<b>&"));
        assert!(
            text.contains("a&amp;b") && text.contains("1.00 Gbit/s"),
            "{text}"
        );
        assert!(mesh_page(&[]).contains("0 hosts"));
    }
}
