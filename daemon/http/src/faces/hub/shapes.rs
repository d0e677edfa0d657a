//! The JSON that hub clients read: repository objects, trees, refs, commits.
//!
//! Keys and types are those of the Hub's API as huggingface_hub 0.36 to 2.4, hf-hub, exo and
//! llama.cpp use them. Invariant: entries are sorted by path bytes; a file's `oid` is its git
//! blob id (of the pointer, for LFS), as git would say. Not promised: keys that no client reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use towline_store::{CatalogFile, CatalogRepo, CatalogRevision, RepoKind, RevisionId};

use crate::date;
use crate::keyring::Sight;
use crate::models::card::Card;

/// Date and time as the Hub writes them: milliseconds and `Z`.
fn time(seconds: u64) -> String {
    let text = date::format_rfc3339(i64::try_from(seconds).unwrap_or(i64::MAX));
    text.replace('Z', ".000Z")
}

/// A repository at one of its revisions; with `blobs`, sizes and hashes of its files.
pub(super) fn repo(
    at: (&CatalogRepo, &CatalogRevision),
    card: &Card,
    (blobs, sight): (bool, &Sight),
) -> Value {
    let mut object = summary(at, card, sight);
    object.insert("siblings".into(), siblings(at.1, blobs));
    Value::Object(object)
}

/// The files of a revision, as objects of repositories have them.
pub(super) fn siblings(revision: &CatalogRevision, blobs: bool) -> Value {
    let siblings = revision.files.iter();
    siblings.map(|file| sibling(file, blobs)).collect()
}

/// The same without its files, as lists show it.
pub(super) fn summary(
    (repo, revision): (&CatalogRepo, &CatalogRevision),
    card: &Card,
    sight: &Sight,
) -> Map<String, Value> {
    let created = repo.revisions.values().map(|known| known.created).min();
    let name = revision.repo.bare();
    let organisation = revision.repo.organisation();
    let object = json!({
        "_id": "000000000000000000000000",
        "id": name,
        "author": (!organisation.is_empty()).then_some(organisation),
        "sha": revision.rev.to_string(),
        "lastModified": time(revision.created),
        "createdAt": time(created.unwrap_or(revision.created)),
        "private": sight.is_private(&revision.repo),
        "gated": false,
        "disabled": false,
        "tags": card.tags,
        "downloads": 0,
        "likes": 0,
    });
    let mut object = match object {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    let mut add = |key: &str, value: Value| object.insert(key.to_owned(), value);
    if !card.data.is_empty() {
        add("cardData", Value::Object(card.data.clone()));
    }
    match revision.repo.kind() {
        RepoKind::Model => {
            add("modelId", name.into());
            if let Some(library) = &card.library_name {
                add("library_name", library.as_str().into());
            }
            if let Some(task) = &card.pipeline_tag {
                add("pipeline_tag", task.as_str().into());
            }
            if let Some(config) = &card.config {
                add("config", config.clone());
            }
            if !card.parameters.is_empty() {
                let (parameters, total) = (&card.parameters, card.total());
                let weights = json!({ "parameters": parameters, "total": total });
                add("safetensors", weights);
            }
        }
        RepoKind::Dataset => {}
        RepoKind::Space => {
            if let Some(sdk) = card.data.get("sdk") {
                add("sdk", sdk.clone());
            }
        }
    }
    object
}

fn sibling(file: &CatalogFile, blobs: bool) -> Value {
    let mut sibling = json!({ "rfilename": file.path.as_str() });
    if let (true, Some(object)) = (blobs, sibling.as_object_mut()) {
        object.insert("size".into(), file.size.into());
        object.insert("blobId".into(), file.git_oid.to_string().into());
        if let Some(mut lfs) = lfs(file, "sha256") {
            lfs.insert("size".into(), file.size.into());
            object.insert("lfs".into(), lfs.into());
        }
    }
    sibling
}

/// What stands for an LFS file's content; the tree calls its hash `oid`, siblings `sha256`.
fn lfs(file: &CatalogFile, hash: &str) -> Option<Map<String, Value>> {
    let sha256 = file.sha256.filter(|_| file.lfs)?;
    let mut object = Map::new();
    object.insert(hash.to_owned(), sha256.to_string().into());
    object.insert("size".into(), file.size.into());
    let pointer = towline_store::git::pointer(&sha256, file.size);
    object.insert("pointerSize".into(), pointer.len().into());
    Some(object)
}

/// An entry of a tree.
fn file_entry(revision: &CatalogRevision, file: &CatalogFile, expand: bool) -> Value {
    let mut entry = json!({
        "type": "file",
        "oid": file.git_oid.to_string(),
        "size": file.size,
        "path": file.path.as_str(),
    });
    if let Some(object) = entry.as_object_mut() {
        if let Some(lfs) = lfs(file, "oid") {
            object.insert("lfs".into(), lfs.into());
        }
        if expand {
            object.insert("lastCommit".into(), last_commit(revision));
        }
    }
    entry
}

fn directory_entry(revision: &CatalogRevision, path: &str, expand: bool) -> Option<Value> {
    let oid = revision.directories.get(path)?.to_string();
    let mut entry = json!({ "type": "directory", "oid": oid, "size": 0, "path": path });
    if let (true, Some(object)) = (expand, entry.as_object_mut()) {
        object.insert("lastCommit".into(), last_commit(revision));
    }
    Some(entry)
}

fn last_commit(revision: &CatalogRevision) -> Value {
    json!({
        "id": revision.rev.to_string(),
        "title": revision.message,
        "date": time(revision.created),
    })
}

/// How a tree is to be listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listing {
    /// With everything below.
    pub(super) recursive: bool,
    /// With the last commit of each entry.
    pub(super) expand: bool,
    /// How many entries to leave out at the start.
    pub(super) from: usize,
    /// Most entries.
    pub(super) limit: usize,
}

/// The entries below a directory (`""` is the root), and whether there are more. `None`: there is
/// no such directory.
pub(super) fn tree(
    revision: &CatalogRevision,
    directory: &str,
    listing: &Listing,
) -> Option<(Vec<Value>, bool)> {
    if !directory.is_empty() && !revision.directories.contains_key(directory) {
        return None;
    }
    let below = |path: &str| -> bool {
        let rest = match directory {
            "" => Some(path),
            _ => path
                .strip_prefix(directory)
                .and_then(|rest| rest.strip_prefix('/')),
        };
        rest.is_some_and(|rest| !rest.is_empty() && (listing.recursive || !rest.contains('/')))
    };
    // Files and directories together, in the order of their paths.
    let mut entries: BTreeMap<&str, Option<&CatalogFile>> = BTreeMap::new();
    for path in revision.directories.keys().map(AsRef::as_ref) {
        if below(path) {
            entries.insert(path, None);
        }
    }
    for file in &revision.files {
        if below(file.path.as_str()) {
            entries.insert(file.path.as_str(), Some(file));
        }
    }
    let continues = entries.len() > listing.from.saturating_add(listing.limit);
    let page = entries.into_iter().skip(listing.from).take(listing.limit);
    let page = page.filter_map(|(path, file)| match file {
        Some(file) => Some(file_entry(revision, file, listing.expand)),
        None => directory_entry(revision, path, listing.expand),
    });
    Some((page.collect(), continues))
}

/// The entries of the paths that exist; the others are left out.
pub(super) fn paths(revision: &CatalogRevision, paths: &[String], expand: bool) -> Value {
    let entries = paths.iter().filter_map(|path| {
        let path = path.trim_matches('/');
        let file = path.parse().ok().and_then(|path| revision.file(&path));
        match file {
            Some(file) => Some(file_entry(revision, file, expand)),
            None => directory_entry(revision, path, expand),
        }
    });
    entries.collect()
}

/// What has been said of a repository: nothing, on any node.
pub(super) fn discussions() -> Value {
    json!({ "discussions": [], "count": 0, "start": 0, "numClosedDiscussions": 0 })
}

/// Branches and tags.
pub(super) fn refs(repo: &CatalogRepo, pull_requests: bool) -> Value {
    let entry = |name: &str, kind: &str, rev: &RevisionId| {
        json!({
            "name": name,
            "ref": format!("refs/{kind}/{name}"),
            "targetCommit": rev.to_string(),
        })
    };
    let (mut branches, mut tags) = (Vec::new(), Vec::new());
    for (name, tag) in &repo.tags {
        if tag.is_branch {
            branches.push(entry(name.as_str(), "heads", &tag.rev));
        } else {
            tags.push(entry(name.as_str(), "tags", &tag.rev));
        }
    }
    let mut object = json!({ "branches": branches, "converts": [], "tags": tags });
    if let (true, Some(object)) = (pull_requests, object.as_object_mut()) {
        object.insert("pullRequests".into(), Value::Array(Vec::new()));
    }
    object
}

/// The revision and those before it, newest first, `limit` of them behind the first `from`; and how
/// many there are.
pub(super) fn commits(
    repo: &CatalogRepo,
    revision: &CatalogRevision,
    (from, limit): (usize, usize),
) -> (Value, usize) {
    let (mut list, mut count) = (Vec::new(), 0);
    let mut next = Some(revision);
    // A history is no longer than there are revisions, whatever parents say.
    while let Some(commit) = next.filter(|_| count < repo.revisions.len()) {
        if (from..from.saturating_add(limit)).contains(&count) {
            let (title, message) = commit
                .message
                .split_once("\n\n")
                .unwrap_or((&commit.message, ""));
            list.push(json!({
                "id": commit.rev.to_string(),
                "title": title,
                "message": message,
                "authors": [{ "user": "towline" }],
                "date": time(commit.created),
            }));
        }
        count += 1;
        let parent = commit.parent;
        next = parent.and_then(|rev| repo.revisions.get(&rev).map(AsRef::as_ref));
    }
    (list.into(), count)
}

/// The revision that a client means when it names none: `main`, else the newest.
pub(super) fn default_revision(repo: &CatalogRepo) -> Option<&Arc<CatalogRevision>> {
    let main = repo.tags.iter().find(|(name, _)| name.is_main());
    let revision = main.and_then(|(_, tag)| repo.revisions.get(&tag.rev));
    let newest = || repo.revisions.values().max_by_key(|known| known.created);
    revision.or_else(newest)
}

/// Whom a token that reads stands for.
pub(super) fn user(publishes: bool) -> Value {
    let role = if publishes { "write" } else { "read" };
    json!({
        "type": "user",
        "name": "towline",
        "orgs": [],
        "auth": { "accessToken": { "role": role } },
    })
}
