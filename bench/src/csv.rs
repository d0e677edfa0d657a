//! A report as comma-separated values (RFC 4180): a row per figure, then a row per sample.
//!
//! Invariant: every row has the columns of the head; numbers are in base units with a point, so a
//! spreadsheet of any language can be told how to read them.

use std::fmt::Write;

use towline_link::result::{Report, Series, Unit};

/// The head of both tables.
const HEAD: &str = "kind,subject,started_s,name,start_s,end_s,value,unit,omitted";

/// The whole file.
#[must_use]
pub fn of(report: &Report) -> String {
    let mut text = format!("{HEAD}\r\n");
    let kind = name_of(&report.kind);
    let prefix = format!("{kind},{},{}", quoted(&report.subject), report.started_s);
    for figure in &report.figures {
        let (name, unit) = (quoted(&figure.name), unit_name(figure.unit));
        // Writing to a String cannot fail.
        let _ = write!(text, "{prefix},{name},,,{},{unit},\r\n", figure.value);
    }
    for series in &report.series {
        put_series(&mut text, &prefix, series);
    }
    text
}

/// The name of a unit in JSON.
pub(crate) fn unit_name(unit: Unit) -> String {
    name_of(&unit)
}

fn name_of(word: &impl serde::Serialize) -> String {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(_) | Err(_) => String::new(),
    }
}

fn put_series(text: &mut String, prefix: &str, series: &Series) {
    for sample in &series.samples {
        let (start, end, omitted) = (sample.start_s, sample.end_s, sample.omitted);
        let rows = [
            ("bits_per_second", Some(sample.bits_per_second())),
            ("count", sample.retransmits.map(|count| count as f64)),
            ("seconds", sample.rtt_us.map(|micros| micros as f64 / 1e6)),
            ("percent", sample.busiest_core_percent),
        ];
        let names = ["rate", "retransmits", "rtt", "busiest_core"];
        for ((unit, value), name) in rows.into_iter().zip(names) {
            let Some(value) = value else { continue };
            let name = quoted(&format!("{} {name}", series.name));
            let _ = write!(
                text,
                "{prefix},{name},{start:.3},{end:.3},{value},{unit},{omitted}\r\n"
            );
        }
    }
}

/// A field that cannot be taken for several (RFC 4180 section 2).
pub(crate) fn quoted(text: &str) -> String {
    match text.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_link::result::{Better, Kind, Sample};

    #[test]
    fn every_row_has_the_columns_of_the_head() {
        let mut report = Report::new(Kind::Link, "a,\"b\"", 7);
        report.put("link", 1.5, Unit::BitsPerSecond, Better::Higher);
        report.series.push(Series {
            name: "sent".to_owned(),
            samples: vec![Sample::default()],
        });
        let text = of(&report);
        assert!(
            text.contains("link,\"a,\"\"b\"\"\",7,link,,,1.5,bits_per_second,\r\n"),
            "{text}"
        );
        for line in text.lines() {
            let line = line.replace("\"a,\"\"b\"\"\"", "x");
            assert_eq!(line.matches(',').count(), 8, "{line}");
        }
    }
}
