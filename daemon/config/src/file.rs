//! The file as it is written: TOML with places, every unknown key refused.
//!
//! Governed by TOML 1.0. Values are taken in here with their place in the text and judged in
//! [`crate::check`]; what serde itself refuses becomes a [`Problem`] here. Invariant: every
//! problem has a line and a column.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::error::{Place, Problem};
use crate::nearest::nearest;

/// Largest file that is read, in bytes: a node with 256 volumes needs 100 KiB.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

pub(crate) type At<T> = Option<Spanned<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default)]
    pub(crate) node: Node,
    #[serde(default)]
    pub(crate) listen: Listen,
    #[serde(default)]
    pub(crate) io: Io,
    #[serde(default)]
    pub(crate) limits: Limits,
    pub(crate) tls: At<Tls>,
    #[serde(default)]
    pub(crate) log: Log,
    #[serde(default)]
    pub(crate) nfs: Nfs,
    #[serde(default)]
    pub(crate) tune: Tune,
    #[serde(default)]
    pub(crate) bench: Bench,
    #[serde(default)]
    pub(crate) s3: S3,
    #[serde(default)]
    pub(crate) models: Models,
    pub(crate) volumes: Option<BTreeMap<Spanned<String>, Volume>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    pub(crate) name: At<String>,
    pub(crate) data: At<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) addresses: At<Vec<Spanned<String>>>,
    pub(crate) http_port: At<i64>,
    pub(crate) nfs_port: At<i64>,
    pub(crate) s3_port: At<i64>,
    pub(crate) hub_port: At<i64>,
    pub(crate) portmap: At<String>,
    pub(crate) names: At<Vec<Spanned<String>>>,
    pub(crate) origins: At<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Io {
    pub(crate) engine: At<String>,
    pub(crate) workers: At<toml::Value>,
    pub(crate) congestion_control: At<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) connections: At<i64>,
    pub(crate) connections_per_address: At<i64>,
    pub(crate) receive_budget: At<toml::Value>,
    pub(crate) pool_threads: At<i64>,
    pub(crate) head_timeout: At<String>,
    pub(crate) idle_timeout: At<String>,
    pub(crate) nfs_idle_timeout: At<String>,
    pub(crate) stall_timeout: At<String>,
    pub(crate) progress_per_s: At<toml::Value>,
    pub(crate) upload_size: At<toml::Value>,
    pub(crate) upload_part: At<toml::Value>,
    pub(crate) upload_age: At<String>,
    pub(crate) drain_timeout: At<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) certificate: At<PathBuf>,
    pub(crate) key: At<PathBuf>,
    pub(crate) port: At<i64>,
    pub(crate) more: Option<Vec<Spanned<TlsPair>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsPair {
    pub(crate) certificate: At<PathBuf>,
    pub(crate) key: At<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) format: At<String>,
    pub(crate) level: At<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nfs {
    pub(crate) local_ports: At<String>,
    pub(crate) v4: At<bool>,
    pub(crate) lease: At<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tune {
    pub(crate) answer: At<bool>,
    pub(crate) port: At<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bench {
    pub(crate) iperf3: At<bool>,
    pub(crate) port: At<i64>,
    pub(crate) allow: At<Vec<Spanned<String>>>,
    pub(crate) time_max: At<String>,
    pub(crate) rate_max_mbit: At<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Models {
    pub(crate) require_signature: At<bool>,
    pub(crate) trusted_keys: At<Vec<Spanned<String>>>,
    pub(crate) signing_key: At<PathBuf>,
    pub(crate) tokens: Option<Vec<Spanned<ModelToken>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelToken {
    pub(crate) token: At<String>,
    pub(crate) prefix: At<String>,
    pub(crate) rights: At<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3 {
    pub(crate) keys: Option<Vec<Spanned<S3Key>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3Key {
    pub(crate) id: At<String>,
    pub(crate) secret: At<String>,
    pub(crate) prefixes: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Volume {
    pub(crate) kind: At<String>,
    pub(crate) path: At<PathBuf>,
    pub(crate) require_mount: At<bool>,
    pub(crate) read_only: At<bool>,
    pub(crate) allow: At<Vec<Spanned<String>>>,
    pub(crate) allow_write: At<Vec<Spanned<String>>>,
    pub(crate) squash: At<String>,
    pub(crate) anonymous_uid: At<i64>,
    pub(crate) anonymous_gid: At<i64>,
    pub(crate) tokens: At<Vec<Spanned<String>>>,
    pub(crate) tokens_file: At<PathBuf>,
    pub(crate) size_max: At<toml::Value>,
    pub(crate) age_max: At<String>,
}

/// The text of a file with its path: turns places in the text into lines and columns.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Text {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, Problem> {
        let problem = |what: String, instead: &str| Problem {
            place: Place::File {
                path: path.to_owned(),
                at: None,
            },
            key: String::new(),
            what,
            instead: instead.to_owned(),
        };
        let size = std::fs::metadata(path).map(|data| data.len());
        if size.is_ok_and(|size| size > FILE_BYTES_MAX) {
            let what = "the file is larger than 1 MiB".to_owned();
            return Err(problem(what, "name a configuration file"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| {
            problem(
                format!("cannot read the file: {error}"),
                "name a readable TOML file with --config",
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }

    /// Line and column from 1 of a place in bytes.
    pub(crate) fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        (line, column)
    }

    /// A place for a problem.
    pub(crate) fn place(&self, offset: usize) -> Place {
        Place::File {
            path: self.path.clone(),
            at: Some(self.line_column(offset)),
        }
    }

    /// What serde or the parser could not take, in the words of a problem.
    pub(crate) fn refused(&self, error: &toml::de::Error) -> Problem {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().trim_end();
        let (key, what, instead) = match message.strip_prefix("unknown field `") {
            Some(rest) => self.unknown(&span, rest),
            None => self.misread(&span, message),
        };
        Problem {
            place: self.place(span.start),
            key,
            what,
            instead,
        }
    }

    /// What serde or the parser could not read. Their message may quote the value, and a secret
    /// must not be quoted.
    fn misread(&self, span: &Range<usize>, message: &str) -> (String, String, String) {
        let key = self.key_at(span.start);
        if key.ends_with("tokens") {
            let what = "tokens are a list of texts".to_owned();
            return (key, what, "write tokens = [\"...\"]".to_owned());
        }
        if key.ends_with("secret") || key.ends_with("tokens.token") {
            let what = "a secret is a text".to_owned();
            return (key, what, "write secret = \"...\"".to_owned());
        }
        let instead = "see 'towline config show' for every key with its present value";
        (key, plain(message), instead.to_owned())
    }

    /// Reads serde's message about an unknown field for the words that it would have known.
    fn unknown(&self, span: &Range<usize>, rest: &str) -> (String, String, String) {
        let (word, expected) = rest.split_once('`').unwrap_or((rest, ""));
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let table = self.table_at(span.start);
        let key = if table.is_empty() {
            word.to_owned()
        } else {
            format!("{table}.{word}")
        };
        let instead = match nearest(word, &known) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("known here: {}", known.join(", ")),
        };
        (key, "unknown key".to_owned(), instead)
    }

    /// The dotted key whose line holds this place.
    fn key_at(&self, offset: usize) -> String {
        let line = self.line_to(offset);
        let key = line.split_once('=').map_or("", |(key, _)| key).trim();
        let table = self.table_at(offset);
        match (table.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => table,
            (false, false) => format!("{table}.{key}"),
        }
    }

    /// The table that this place lies in, or whose header it is: without its last word then.
    fn table_at(&self, offset: usize) -> String {
        let header = |line: &str| {
            let inner = line.trim_start().strip_prefix('[')?.split(']').next()?;
            Some(inner.trim_start_matches('[').trim().to_owned())
        };
        let line = self.line_to(offset);
        if let Some(own) = header(line) {
            return own
                .rsplit_once('.')
                .map_or(String::new(), |(above, _)| above.to_owned());
        }
        let before = self.text.get(..offset).unwrap_or("");
        before
            .lines()
            .rev()
            .skip(usize::from(!before.ends_with('\n')))
            .find_map(header)
            .unwrap_or_default()
    }

    fn line_to(&self, offset: usize) -> &str {
        let before = self.text.get(..offset).unwrap_or("");
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.text
            .get(start..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or("")
    }
}

/// Serde's message without the names of its types, which mean nothing to whoever wrote the file.
fn plain(message: &str) -> String {
    let told = message
        .strip_prefix("invalid type: ")
        .and_then(|rest| rest.split_once(", expected "));
    let Some((found, expected)) = told else {
        return message.replace('\n', " ");
    };
    let found = match found.split(' ').next().unwrap_or("") {
        "string" => "a text",
        "integer" => "a whole number",
        "floating" => "a number with a fraction",
        "boolean" => "true or false",
        "sequence" => "a list",
        "map" | "table" => "a table",
        _ => "a date",
    };
    let expected = match expected.split(' ').next().unwrap_or("") {
        "i64" | "u64" | "integer" => "a whole number",
        "f64" => "a number",
        "path" => "a path in quotes",
        "struct" | "map" => "a table, under a [name] of its own",
        _ if expected.contains("boolean") => "true or false",
        _ if expected.contains("sequence") => "a list, in [ and ]",
        _ if expected.contains("string") => "a text in quotes",
        _ if expected.contains("map") => "a table, under a [name] of its own",
        _ => "something else",
    };
    format!("that is {found}, and {expected} belongs there")
}
