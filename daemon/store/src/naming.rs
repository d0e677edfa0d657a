//! Which names may stand beside each other: of repositories, and of the tags of one.
//!
//! Hubs find names whatever their capital letters are, and a model without an organisation lies
//! where the folder of an organisation of that name would. Invariant: no repository joins the store
//! that a client could take for another, and no folder is a repository and an organisation at once.
//! What was here before these rules stays. Not promised: that a name which is free now is free when
//! its files have come; it is asked again then.

use crate::error::{ClientFault, Result};
use crate::name::{RepoName, TagName};
use crate::store::State;

impl State {
    /// Whether anything of a repository is here.
    pub(crate) fn has(&self, repo: &RepoName) -> bool {
        self.books.revisions().any(|row| row.repo == *repo)
    }

    /// Whether a repository may join, or is here already. `leaving`: one that goes at the same
    /// moment.
    pub(crate) fn check_name(&self, repo: &RepoName, leaving: Option<&RepoName>) -> Result<()> {
        let mut found = None;
        for row in self.books.revisions() {
            if row.repo == *repo {
                return Ok(());
            }
            if Some(&row.repo) != leaving && found.is_none() {
                found = conflict(repo, &row.repo).map(|reason| (row.repo.clone(), reason));
            }
        }
        let Some((other, reason)) = found else {
            return Ok(());
        };
        let repo = repo.clone();
        Err(ClientFault::NameTaken {
            repo,
            other,
            reason,
        }
        .into())
    }

    /// Whether a repository may have a tag of that name.
    pub(crate) fn check_tag(&self, repo: &RepoName, tag: &TagName) -> Result<()> {
        let others = self.books.references();
        let mut others = others.filter(|row| row.reference.repo == *repo);
        let (one, mut found) = (tag.as_str(), None);
        if let Some(row) = others.find(|row| {
            let other = row.reference.tag.as_str();
            is_folder(one, other) || is_folder(other, one)
        }) {
            found = Some(row.reference.tag.clone());
        }
        match found {
            None => Ok(()),
            Some(other) => Err(ClientFault::TagTaken {
                repo: repo.clone(),
                tag: tag.clone(),
                other,
            }
            .into()),
        }
    }
}

/// Why two names may not stand beside each other, if they may not.
fn conflict(one: &RepoName, other: &RepoName) -> Option<&'static str> {
    if one.is_alike(other) {
        return Some("the names differ in capital letters only, which clients of the hub overlook");
    }
    let lower = |name: &RepoName| name.as_str().to_ascii_lowercase();
    let (one, other) = (lower(one), lower(other));
    (is_folder(&one, &other) || is_folder(&other, &one))
        .then_some("the folder of one lies in that of the other")
}

/// Whether `one` is a folder above `other`.
fn is_folder(one: &str, other: &str) -> bool {
    other
        .strip_prefix(one)
        .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_clients_would_confuse_are_told() {
        let conflict = |one: &str, other: &str| {
            conflict(&one.parse().unwrap(), &other.parse().unwrap()).is_some()
        };
        assert!(conflict("acme/x", "Acme/X"));
        assert!(conflict("gpt2", "gpt2/x") && conflict("GPT2/x", "gpt2"));
        assert!(conflict("datasets/acme", "datasets/acme/ds"));
        for (one, other) in [
            ("acme/x", "acme/y"),
            ("acme/x", "acme/x2"),
            ("gpt2", "gpt2-xl"),
            ("acme/x", "datasets/acme/x"),
            ("datasets/acme/x", "spaces/acme/x"),
        ] {
            assert!(!conflict(one, other), "{one} {other}");
        }
    }
}
