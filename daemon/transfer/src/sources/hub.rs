//! A repository of a hub: its commit, its tree with hashes, and its files by range.
//!
//! Governed by the Hub's API as its own clients use it: `revision`, `tree?recursive=true` with
//! pages, `resolve`. Invariant: files are asked for by commit, so a branch that moves meanwhile
//! does not mix revisions; what the tree promises (SHA-256 for LFS, git id for the rest) is
//! checked by the store. The token goes to the hub's own origin only, never behind a redirect.

use std::io::Read;
use std::ops::Range;

use serde::Deserialize;
use towline_store::{ArrivalFile, GitId, RepoName, RepoPath, RevisionId, Sha256};

use super::web::{Agent, ask_range, encode_path};
use crate::error::TransferError;
use crate::source::{Listing, Source};

/// Most pages of a tree: ten million entries.
const PAGES_MAX: usize = 10_000;

/// Longest answer of the API that is read, in bytes: ten thousand entries take 3 MB.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A repository of a hub.
pub(super) struct Hub {
    endpoint: String,
    repo: String,
    rev: Option<String>,
    agent: Agent,
    /// Once the listing is known.
    commit: String,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
    #[serde(rename = "lastModified")]
    last_modified: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    oid: String,
    #[serde(default)]
    size: u64,
    path: String,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
}

impl Hub {
    pub(super) fn new(endpoint: &str, repo: &str, rev: Option<&str>, token: Option<&str>) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            repo: repo.to_owned(),
            rev: rev.map(str::to_owned),
            agent: Agent::new(token),
            commit: String::new(),
        }
    }

    fn revision(&self) -> Result<Revision, TransferError> {
        let api = self.api();
        let url = match &self.rev {
            None => api,
            Some(rev) => {
                let rev = encode_path(rev).replace('/', "%2F");
                format!("{api}/revision/{rev}")
            }
        };
        self.agent
            .json(&url, ANSWER_BYTES_MAX)
            .map(|(revision, _)| revision)
    }

    /// Where the API tells of the repository: by its kind, and by its name without that.
    fn api(&self) -> String {
        let Self { endpoint, repo, .. } = self;
        match repo.parse::<RepoName>() {
            Ok(name) => format!("{endpoint}/api/{}/{}", name.kind().plural(), name.bare()),
            Err(_) => format!("{endpoint}/api/models/{repo}"),
        }
    }

    fn tree(&self, commit: &str) -> Result<Vec<Entry>, TransferError> {
        let (endpoint, api) = (&self.endpoint, self.api());
        let mut url = format!("{api}/tree/{commit}?recursive=true&expand=false");
        let mut entries = Vec::new();
        for _ in 0..PAGES_MAX {
            let (page, next): (Vec<Entry>, _) = self.agent.json(&url, ANSWER_BYTES_MAX)?;
            entries.extend(page);
            match next {
                // A page elsewhere would take the token there.
                Some(next) if next.starts_with(endpoint.as_str()) => url = next,
                Some(next) => {
                    let why = format!("{endpoint} continues its tree at {next}, another place");
                    return Err(TransferError::Refused(why));
                }
                None => return Ok(entries),
            }
        }
        Err(TransferError::Refused(format!(
            "{endpoint}: the tree has no end"
        )))
    }
}

impl Source for Hub {
    fn list(&mut self) -> Result<Listing, TransferError> {
        let revision = self.revision()?;
        let broken = |what: &str| {
            TransferError::Refused(format!(
                "{} answers with {what} that is none",
                self.endpoint
            ))
        };
        let rev: RevisionId = revision.sha.parse().map_err(|_| broken("a commit"))?;
        let mut files = Vec::new();
        for entry in self.tree(&revision.sha)? {
            if entry.kind != "file" {
                continue;
            }
            let path: RepoPath =
                entry
                    .path
                    .parse()
                    .map_err(|fault: towline_store::NameFault| {
                        TransferError::Refused(format!("{}: {fault}", self.endpoint))
                    })?;
            let sha256 = match &entry.lfs {
                Some(lfs) => Some(lfs.oid.parse::<Sha256>().map_err(|_| broken("a SHA-256"))?),
                None => None,
            };
            files.push(ArrivalFile {
                path,
                size: entry.size,
                sha256,
                git_oid: Some(entry.oid.parse::<GitId>().map_err(|_| broken("a git id"))?),
            });
        }
        let created = revision.last_modified.as_deref().and_then(seconds);
        let origin = format!("{}/{}/resolve/{}/", self.endpoint, self.repo, revision.sha);
        self.commit = revision.sha;
        Ok(Listing {
            rev: Some(rev),
            created,
            origin,
            files,
        })
    }

    fn open(
        &self,
        path: &RepoPath,
        range: &Range<u64>,
    ) -> Result<Box<dyn Read + Send>, TransferError> {
        let path = encode_path(path.as_str());
        let url = format!(
            "{}/{}/resolve/{}/{path}",
            self.endpoint, self.repo, self.commit
        );
        ask_range(&self.agent, &url, range, None)
    }
}

/// Seconds since 1970 of `2026-01-01T00:00:00.000Z`.
fn seconds(text: &str) -> Option<u64> {
    let (days, rest) = (text.get(..10)?, text.get(11..19)?);
    let numbers = |text: &str, by: char| -> Option<[i64; 3]> {
        let mut parts = text.split(by).map(|part| part.parse::<i64>().ok());
        Some([parts.next()??, parts.next()??, parts.next()??])
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(days, '-')?, numbers(rest, ':')?);
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970-01-01 in the proleptic Gregorian calendar, with years that begin in March.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days - 719_468;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_date_of_the_hub_becomes_seconds() {
        let seconds = super::seconds;
        assert_eq!(seconds("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(seconds("2026-01-01T00:00:00.000Z"), Some(1_767_225_600));
        assert_eq!(seconds("2024-02-29T12:34:56Z"), Some(1_709_210_096));
        for wrong in ["", "2026", "2026-13-01T00:00:00Z", "x026-01-01T00:00:00Z"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
