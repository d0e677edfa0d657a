//! Directories that clients see and no row stands for: what a removal did not finish.
//!
//! Invariant: only what is made of links to the store's own files is removed; whatever somebody
//! else has put there is named in the log and left. Not promised: that a folder of a repository
//! that is gone is known for one when no revision is left in it.

use std::collections::BTreeSet;

use crate::error::{Result, io};
use crate::layout;
use crate::name::{RepoName, RevisionId, TagName};
use crate::store::{Inner, State};
use crate::visible;

/// How deep repositories lie: the word for a kind, an organisation, a name.
const DEPTH_MAX: usize = 3;

/// What there is to be seen.
struct Expected {
    /// Places of revisions and tags.
    places: BTreeSet<String>,
    /// Repositories of which there are rows.
    repos: BTreeSet<String>,
}

/// Removes directories that no row stands for.
pub(crate) fn hide(inner: &Inner, state: &State) -> Result<()> {
    let mut expected = Expected {
        places: BTreeSet::new(),
        repos: BTreeSet::new(),
    };
    for (repo, rev) in state.shown.keys() {
        expected.places.insert(layout::revision(repo, rev));
    }
    for row in state.books.references() {
        let at = &row.reference;
        if state.shown.contains_key(&(at.repo.clone(), at.rev)) {
            expected.places.insert(layout::tag(&at.repo, &at.tag));
        }
    }
    for row in state.books.revisions() {
        expected.repos.insert(row.repo.to_string());
    }
    walk(inner, &expected, "", DEPTH_MAX)
}

/// Looks for repositories below a directory.
fn walk(inner: &Inner, expected: &Expected, directory: &str, depth: usize) -> Result<()> {
    let backend = &inner.disk.backend;
    let entries = backend.list(directory).map_err(io("list", directory))?;
    for entry in entries {
        if !entry.is_directory || entry.name.starts_with('.') {
            continue;
        }
        let path = match directory {
            "" => entry.name,
            above => format!("{above}/{}", entry.name),
        };
        match path.parse::<RepoName>() {
            Ok(repo) if is_repository(inner, expected, &path)? => tidy(inner, expected, &repo)?,
            Ok(_) | Err(_) if depth > 1 => walk(inner, expected, &path, depth - 1)?,
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Whether a folder is that of a repository: one that is known, or one with a revision in it.
fn is_repository(inner: &Inner, expected: &Expected, path: &str) -> Result<bool> {
    if expected.repos.contains(path) {
        return Ok(true);
    }
    let entries = inner.disk.backend.list(path).map_err(io("list", path))?;
    let mut names = entries.iter().filter(|entry| entry.is_directory);
    Ok(names.any(|entry| entry.name.parse::<RevisionId>().is_ok()))
}

/// Removes what a repository's folder should not have.
fn tidy(inner: &Inner, expected: &Expected, repo: &RepoName) -> Result<()> {
    let disk = &inner.disk;
    let entries = disk.backend.list(repo.as_str());
    let mut entries = entries.map_err(io("list", repo.as_str()))?;
    // Revisions last: as long as one is there the folder is known for a repository's.
    entries.sort_by_key(|entry| entry.name.parse::<RevisionId>().is_ok());
    for entry in entries {
        let place = format!("{repo}/{}", entry.name);
        if expected.places.contains(&place) {
            continue;
        }
        if !disk.is_only_links(&place) {
            tracing::warn!(node = place, "a folder that the store did not make is left");
            continue;
        }
        if let Ok(rev) = entry.name.parse() {
            visible::hide_revision(disk, repo, &rev)?;
        } else if let Ok(tag) = TagName::of_directory(&entry.name) {
            visible::hide_tag(disk, repo, &tag)?;
        }
    }
    Ok(())
}
