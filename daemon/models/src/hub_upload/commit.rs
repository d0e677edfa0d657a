//! A commit as hub clients send it: lines of JSON that say what becomes of which path.
//!
//! Governed by what huggingface_hub 0.36 to 2.4 sends to `/api/models/{repo}/commit/{rev}`.
//! Invariant: a path that came out cannot leave its revision, an unknown key or operation refuses
//! the whole commit, and nothing has been changed when it is refused. No I/O happens here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use towline_store::{RepoPath, RevisionId};

use crate::uploads::Operation;

/// Longest body, in bytes: regular files come in base64, and are 10 MiB at most each.
pub(super) const BODY_BYTES_MAX: usize = 256 << 20;

/// Most operations of one commit; clients split folders after some hundred.
const OPERATIONS_MAX: usize = 25_000;

/// A commit that was read.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Commit {
    pub(super) summary: String,
    pub(super) parent: Option<RevisionId>,
    pub(super) operations: Vec<Operation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Header {
    summary: String,
    #[serde(default)]
    description: String,
    parent_commit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    content: String,
    encoding: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Large {
    path: String,
    algo: String,
    oid: String,
    #[serde(rename = "size")]
    _size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deleted {
    path: String,
}

/// Reads a commit.
///
/// # Errors
/// What is wrong with it, for the client.
pub(super) fn parse(body: &[u8]) -> Result<Commit, String> {
    let mut commit = Commit::default();
    let lines = body.split(|byte| *byte == b'\n');
    for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
        let Line { key, value } = read(line)?;
        match key.as_str() {
            "header" => {
                let header: Header = from(value)?;
                commit.summary = match header.description.as_str() {
                    "" => header.summary,
                    description => format!("{}\n\n{description}", header.summary),
                };
                let parent = header.parent_commit.map(|parent| parent.parse());
                commit.parent = parent
                    .transpose()
                    .map_err(|fault: towline_store::NameFault| fault.to_string())?;
                continue;
            }
            "file" => {
                let File {
                    path: at,
                    content,
                    encoding,
                } = from(value)?;
                if encoding != "base64" {
                    return Err(format!("{at}: the encoding must be base64"));
                }
                let bytes = STANDARD.decode(content);
                let bytes = bytes.map_err(|error| format!("{at}: {error}"))?;
                commit.operations.push(Operation::File(path(&at)?, bytes));
            }
            "lfsFile" => {
                let large: Large = from(value)?;
                if large.algo != "sha256" {
                    return Err(format!("{}: the hash must be sha256", large.path));
                }
                let oid = large.oid.parse();
                let oid = oid.map_err(|fault: towline_store::NameFault| fault.to_string())?;
                let operation = Operation::Large(path(&large.path)?, oid);
                commit.operations.push(operation);
            }
            "deletedFile" => {
                let Deleted { path: at } = from(value)?;
                commit.operations.push(Operation::Deleted(path(&at)?));
            }
            "deletedFolder" => {
                let Deleted { path: at } = from(value)?;
                let at = path(at.trim_end_matches('/'))?;
                commit.operations.push(Operation::DeletedFolder(at));
            }
            _ => return Err("an operation that is not known here".to_owned()),
        }
        if commit.operations.len() > OPERATIONS_MAX {
            return Err(format!(
                "more than {OPERATIONS_MAX} operations: commit in parts"
            ));
        }
    }
    Ok(commit)
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| format!("a line cannot be read: {error}"))
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("a line cannot be read: {error}"))
}

fn path(text: &str) -> Result<RepoPath, String> {
    text.parse()
        .map_err(|fault: towline_store::NameFault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_read() {
        let oid = "a".repeat(64);
        let body = format!(
            "{{\"key\":\"header\",\"value\":{{\"summary\":\"s\",\"description\":\"\"}}}}\n\
             {{\"key\":\"file\",\"value\":{{\"path\":\"a b\",\"content\":\"aGk=\",\
             \"encoding\":\"base64\"}}}}\n\
             {{\"key\":\"lfsFile\",\"value\":{{\"path\":\"w\",\"algo\":\"sha256\",\
             \"oid\":\"{oid}\",\"size\":3}}}}\n\
             {{\"key\":\"deletedFile\",\"value\":{{\"path\":\"x\"}}}}\n\
             {{\"key\":\"deletedFolder\",\"value\":{{\"path\":\"y/\"}}}}\n"
        );
        let commit = parse(body.as_bytes()).unwrap();
        assert_eq!(commit.summary, "s");
        let path = |text: &str| text.parse().unwrap();
        let expected = [
            Operation::File(path("a b"), b"hi".to_vec()),
            Operation::Large(path("w"), oid.parse().unwrap()),
            Operation::Deleted(path("x")),
            Operation::DeletedFolder(path("y")),
        ];
        assert_eq!(commit.operations, expected);
    }

    #[test]
    fn what_leads_elsewhere_or_is_not_known_is_refused() {
        for line in [
            r#"{"key":"file","value":{"path":"../x","content":"","encoding":"base64"}}"#,
            r#"{"key":"file","value":{"path":"/x","content":"","encoding":"base64"}}"#,
            r#"{"key":"file","value":{"path":"x","content":"","encoding":"utf-8"}}"#,
            r#"{"key":"file","value":{"path":"x","content":"!","encoding":"base64"}}"#,
            r#"{"key":"file","value":{"path":"x","content":"","encoding":"base64","mode":1}}"#,
            r#"{"key":"lfsFile","value":{"path":"x","algo":"sha256","oid":"zz"}}"#,
            r#"{"key":"header","value":{"summary":"","parentCommit":"main"}}"#,
            r#"{"key":"copy","value":{}}"#,
            "x",
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
