//! Judges single values: each is taken with its origin, or refused with what to write instead.
//!
//! Invariant: a refused value leaves the default in its place, so that checking goes on and all
//! problems are told at once; whoever finds a problem recorded never uses the settings.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use towline_base::ByteCount;

use crate::effective::{Origin, Setting};
use crate::error::{Place, Problem};
use crate::file::{At, Text};
use crate::nearest::nearest;
use crate::period;

/// Takes values out of one file.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    text: Option<&'a Text>,
    /// What `~` stands for.
    home: Option<PathBuf>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notes: Vec<String>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(text: Option<&'a Text>, home: Option<PathBuf>) -> Self {
        Self {
            text,
            home,
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Records a problem at a place of the file.
    pub(crate) fn refuse(
        &mut self,
        offset: usize,
        key: &str,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        let place = self.text.map_or(Place::Default, |text| text.place(offset));
        self.problems.push(Problem {
            place,
            key: key.to_owned(),
            what: what.into(),
            instead: instead.into(),
        });
    }

    /// Records a problem of the command line.
    pub(crate) fn refuse_option(
        &mut self,
        option: &str,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.problems.push(Problem {
            place: Place::CommandLine,
            key: option.to_owned(),
            what: what.into(),
            instead: instead.into(),
        });
    }

    /// The value with its line.
    pub(crate) fn here<S, T>(&self, at: &Spanned<S>, value: T) -> Setting<T> {
        let line = self
            .text
            .map_or(0, |text| text.line_column(at.span().start).0);
        Setting {
            value,
            origin: Origin::File(line),
        }
    }

    /// Whatever is written, or the default.
    pub(crate) fn any<T: Clone>(&self, at: &At<T>, default: T) -> Setting<T> {
        match at {
            None => Setting::default_of(default),
            Some(at) => self.here(at, at.get_ref().clone()),
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        at: &At<String>,
        key: &str,
        default: T,
        words: &[(&str, T)],
    ) -> Setting<T> {
        let Some(at) = at else {
            return Setting::default_of(default);
        };
        let written = at.get_ref();
        if let Some((_, value)) = words.iter().find(|(word, _)| word == written) {
            return self.here(at, *value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let instead = match nearest(written, &known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write \"{}\"", known.join("\" or \"")),
        };
        self.refuse(
            at.span().start,
            key,
            format!("\"{}\" is not known here", written.escape_debug()),
            instead,
        );
        Setting::default_of(default)
    }

    /// A whole number in a range.
    pub(crate) fn number<T>(
        &mut self,
        at: &At<i64>,
        key: &str,
        default: T,
        range: RangeInclusive<T>,
    ) -> Setting<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let Some(at) = at else {
            return Setting::default_of(default);
        };
        let written = *at.get_ref();
        match T::try_from(written) {
            Ok(value) if range.contains(&value) => self.here(at, value),
            Ok(_) | Err(_) => {
                let (low, high) = (range.start(), range.end());
                self.refuse(
                    at.span().start,
                    key,
                    format!("{written} is out of range"),
                    format!("write a number from {low} to {high}"),
                );
                Setting::default_of(default)
            }
        }
    }

    /// A size: `"512MiB"`, or a number of bytes.
    pub(crate) fn bytes(
        &mut self,
        at: &At<toml::Value>,
        key: &str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Setting<u64> {
        let Some(at) = at else {
            return Setting::default_of(default);
        };
        let bytes = match at.get_ref() {
            toml::Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            toml::Value::String(text) => text.parse().ok().map(|ByteCount(bytes)| bytes),
            toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_) => None,
        };
        if let Some(bytes) = bytes.filter(|bytes| range.contains(bytes)) {
            return self.here(at, bytes);
        }
        let (low, high) = (ByteCount(*range.start()), ByteCount(*range.end()));
        self.refuse(
            at.span().start,
            key,
            format!("{} is not a size that is possible here", at.get_ref()),
            format!("write a number and a unit like \"512MiB\", from {low} to {high}"),
        );
        Setting::default_of(default)
    }

    /// A length of time: `"30s"`.
    pub(crate) fn period(
        &mut self,
        at: &At<String>,
        key: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Setting<Duration> {
        let Some(at) = at else {
            return Setting::default_of(default);
        };
        let written = at.get_ref();
        if let Some(value) = period::parse(written).filter(|value| range.contains(value)) {
            return self.here(at, value);
        }
        let (low, high) = (period::format(*range.start()), period::format(*range.end()));
        self.refuse(
            at.span().start,
            key,
            format!(
                "\"{}\" is not a time that is possible here",
                written.escape_debug()
            ),
            format!("write a number and a unit like \"30s\" or \"7d\", from {low} to {high}"),
        );
        Setting::default_of(default)
    }

    /// Addresses and ranges of addresses.
    pub(crate) fn networks(
        &mut self,
        at: &At<Vec<Spanned<String>>>,
        key: &str,
    ) -> Setting<Vec<IpNet>> {
        let Some(at) = at else {
            return Setting::default_of(loopback());
        };
        let mut list = Vec::new();
        for written in at.get_ref() {
            match networks(written.get_ref()) {
                Ok(mut found) => list.append(&mut found),
                Err(instead) => {
                    let shown = written.get_ref().escape_debug();
                    let what = format!("\"{shown}\" is not an address or range of addresses");
                    self.refuse(written.span().start, key, what, instead);
                }
            }
        }
        self.here(at, list)
    }

    /// A path: `~` is the home of whoever runs the node, relative ones lie below the folder of the
    /// file. Absolute then, so that messages and a change of folder mean the same place.
    pub(crate) fn path(&self, at: &Spanned<PathBuf>) -> Setting<PathBuf> {
        let written = at.get_ref();
        let path = match (written.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => {
                let folder = self.text.and_then(|text| text.path.parent());
                folder.unwrap_or(Path::new("")).join(written)
            }
        };
        let path = std::path::absolute(&path).unwrap_or(path);
        self.here(at, path)
    }
}

/// The addresses of this host alone.
pub(crate) fn loopback() -> Vec<IpNet> {
    ["127.0.0.0/8", "::1/128"]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// Reads `10.0.0.0/24`, `10.0.0.5`, `fd00::/8` or `any`; the error says what to write instead.
pub(crate) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    if text == "any" {
        let all = ["0.0.0.0/0", "::/0"];
        return Ok(all.iter().filter_map(|text| text.parse().ok()).collect());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(vec![IpNet::from(address)]);
    }
    let usual = "write an address (\"10.0.0.5\"), a range (\"10.0.0.0/24\") or \"any\"";
    let net: IpNet = text.parse().map_err(|_| usual.to_owned())?;
    if net.trunc() != net {
        return Err(format!(
            "write \"{}\" for the whole range or \"{}\" for the one address",
            net.trunc(),
            net.addr()
        ));
    }
    Ok(vec![net])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ranges_are_understood() {
        let shown = |text: &str| networks(text).map(|list| format!("{list:?}"));
        assert_eq!(shown("10.0.0.5"), Ok("[10.0.0.5/32]".to_owned()));
        assert_eq!(shown("fd00::/8"), Ok("[fd00::/8]".to_owned()));
        assert_eq!(shown("any"), Ok("[0.0.0.0/0, ::/0]".to_owned()));
        assert!(networks("10.0.0.0/33").is_err() && networks("lan").is_err());
        let sloppy = networks("10.0.0.5/24").unwrap_err();
        assert!(sloppy.contains("\"10.0.0.0/24\"") && sloppy.contains("\"10.0.0.5\""));
    }
}
