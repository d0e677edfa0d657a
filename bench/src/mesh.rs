//! The links between several hosts: one row from each host that measured, all pairs together.
//!
//! Invariant: what a host measured itself stands before what another measured of the way back; what
//! nobody measured is absent. Not promised: that rows of different days belong together.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::csv::quoted;

/// The links of one host.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The host that measured.
    pub from: String,
    /// Its links.
    pub links: Vec<Link>,
}

/// One link, both ways; `error` where it could not be measured.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The other end.
    pub to: String,
    /// Payload towards it.
    pub there_bits_per_second: Option<f64>,
    /// Payload from it.
    pub back_bits_per_second: Option<f64>,
    /// Median round trip of the idle link in seconds.
    pub rtt_s: Option<f64>,
    /// What limited the way there.
    pub verdict: Option<String>,
    /// Why it could not be measured.
    pub error: Option<String>,
}

/// All pairs: who sends (rows) to whom (columns).
#[derive(Clone, Debug, Default)]
pub struct Matrix<'a> {
    /// The hosts in the order in which they were named.
    pub hosts: Vec<&'a str>,
    rates: BTreeMap<(&'a str, &'a str), f64>,
}

impl<'a> Matrix<'a> {
    /// Of these rows.
    #[must_use]
    pub fn of(rows: &'a [Row]) -> Self {
        let mut matrix = Self::default();
        for row in rows {
            for link in &row.links {
                for name in [row.from.as_str(), link.to.as_str()] {
                    if !matrix.hosts.contains(&name) {
                        matrix.hosts.push(name);
                    }
                }
                if let Some(rate) = link.there_bits_per_second {
                    matrix.rates.insert((&row.from, &link.to), rate);
                }
            }
        }
        for row in rows {
            for link in &row.links {
                if let Some(rate) = link.back_bits_per_second {
                    matrix.rates.entry((&link.to, &row.from)).or_insert(rate);
                }
            }
        }
        matrix
    }

    /// Payload bits per second from one host to another, where they are known.
    #[must_use]
    pub fn rate(&self, from: &str, to: &str) -> Option<f64> {
        self.rates.get(&(from, to)).copied()
    }

    /// The fastest link.
    #[must_use]
    pub fn best(&self) -> f64 {
        self.rates.values().copied().fold(0.0, f64::max)
    }
}

/// Links that could not be measured: from, to and why.
pub fn errors(rows: &[Row]) -> impl Iterator<Item = (&str, &str, &str)> {
    rows.iter().flat_map(|row| {
        let failed = |link| -> Option<(&str, &str, &str)> {
            let link: &Link = link;
            Some((&row.from, &link.to, link.error.as_deref()?))
        };
        row.links.iter().filter_map(failed)
    })
}

/// The links as comma-separated values (RFC 4180): a row per link and direction.
#[must_use]
pub fn csv(rows: &[Row]) -> String {
    let mut text = "from,to,bits_per_second,rtt_s,verdict,error\r\n".to_owned();
    for row in rows {
        for link in &row.links {
            let (here, there) = (quoted(&row.from), quoted(&link.to));
            let number =
                |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
            let rtt = number(link.rtt_s);
            let words = |text: &Option<String>| quoted(text.as_deref().unwrap_or(""));
            let (verdict, error) = (words(&link.verdict), words(&link.error));
            let (out, back) = (link.there_bits_per_second, link.back_bits_per_second);
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "{here},{there},{},{rtt},{verdict},{error}\r\n{there},{here},{},{rtt},,{error}\r\n",
                number(out),
                number(back)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(from: &str, to: &str, there: f64, back: f64) -> Row {
        Row {
            from: from.to_owned(),
            links: vec![Link {
                to: to.to_owned(),
                there_bits_per_second: Some(there),
                back_bits_per_second: Some(back),
                ..Link::default()
            }],
        }
    }

    #[test]
    fn all_pairs_come_from_one_row_each() {
        // b tells of the way from a what a knows better, whoever comes first.
        let rows = [row("b", "a", 4.0, 1.0), row("a", "b", 10.0, 5.0)];
        let matrix = Matrix::of(&rows);
        assert_eq!(matrix.hosts, ["b", "a"]);
        assert_eq!(matrix.rate("a", "b"), Some(10.0));
        assert_eq!(matrix.rate("b", "a"), Some(4.0));
        assert_eq!(matrix.rate("a", "a"), None);
        assert_eq!(matrix.best(), 10.0);
    }

    #[test]
    fn every_row_has_the_columns_of_the_head() {
        let mut rows = [row("a", "b", 1.0, 2.0)];
        rows[0].links[0].error = Some("no, \"never\"".to_owned());
        let text = csv(&rows);
        assert!(text.contains("b,a,2,,,\"no, \"\"never\"\"\"\r\n"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
