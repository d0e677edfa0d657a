//! Files before their commit: how each is to come, and where the large ones go.
//!
//! Governed by `preupload` of the Hub and by the batch API of Git LFS. Invariant: what the
//! `.gitignore` of a commit, or else of its branch, leaves out is told to be left out, as on the
//! Hub, so a file that was to stay at home stays there. Known and without effect on what is
//! published: `sample` and `gitAttributes`, by which the Hub guesses which files are large.

use std::path::Path;

use hyper::StatusCode;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde_json::{Map, Value, json};
use towline_store::{CatalogRevision, RepoName, RepoPath, Sha256, layout};

use super::UploadDesk;
use super::answer::{Answer, Outcome, bad, good};
use super::asked::{Asked, object, text};
use crate::uploads::Plan;

/// Longest `.gitignore` that is followed, in bytes; a longer one refuses the call.
const IGNORE_BYTES_MAX: u64 = 64 << 10;

/// Most lines of one that are followed.
const IGNORE_LINES_MAX: usize = 2_000;

/// Most parts that one answer has places for, so that it stays below 4 MiB; files behind them come
/// in one piece.
const ANSWERED_PARTS_MAX: u32 = 16_384;

fn wrong(why: impl Into<String>) -> Answer {
    bad(StatusCode::BAD_REQUEST, why)
}

impl UploadDesk {
    pub(super) fn preupload(
        &self,
        asked: &Asked,
        (repo, rev): (&RepoName, &str),
        body: &[u8],
    ) -> Outcome {
        let body = object(body, &["files", "gitIgnore", "gitAttributes"])?;
        self.check_here(asked, repo)?;
        let head = self.head(asked, repo, rev);
        let ignore = match (text(&body, "gitIgnore"), &head) {
            (Some(text), _) => Some(rules(text)?),
            (None, Some(head)) => self.own_rules(head)?,
            (None, None) => None,
        };
        let files = body.get("files").and_then(Value::as_array);
        let mut answers = Vec::new();
        for file in files.into_iter().flatten() {
            let keys = file.as_object().into_iter().flat_map(|file| file.keys());
            let mut keys = keys.map(String::as_str);
            if keys.any(|key| !matches!(key, "path" | "size" | "sample")) {
                return Err(wrong(
                    "a file has 'path', 'size' and 'sample', and nothing else",
                ));
            }
            let path = file.get("path").and_then(Value::as_str).unwrap_or("");
            let size = file.get("size").and_then(Value::as_u64).unwrap_or(0);
            let path: RepoPath = path
                .parse()
                .map_err(|fault: towline_store::NameFault| wrong(fault.to_string()))?;
            let is_large = towline_store::git::is_lfs(&path, size);
            let known = head.as_ref().and_then(|revision| revision.file(&path));
            let is_ignored = ignore.as_ref().is_some_and(|rules| {
                let found = rules.matched_path_or_any_parents(Path::new(path.as_str()), false);
                found.is_ignore()
            });
            answers.push(json!({
                "path": path.as_str(),
                "uploadMode": if is_large { "lfs" } else { "regular" },
                "shouldIgnore": is_ignored,
                "oid": known.map(|file| file.git_oid.to_string()),
            }));
        }
        Ok(good(json!({ "files": answers })))
    }

    /// What the `.gitignore` that is here leaves out. Blocks.
    fn own_rules(&self, head: &CatalogRevision) -> Result<Option<Gitignore>, Answer> {
        let path: Option<RepoPath> = ".gitignore".parse().ok();
        let Some(file) = path.and_then(|path| head.file(&path)) else {
            return Ok(None);
        };
        if file.size > IGNORE_BYTES_MAX {
            return Err(too_long());
        }
        let place = self.uploads.models().root().join(layout::data(&file.id));
        let bytes = std::fs::read(place);
        let bytes = bytes.map_err(|error| {
            let why = format!("the .gitignore of the branch cannot be read: {error}");
            bad(StatusCode::INTERNAL_SERVER_ERROR, why)
        })?;
        rules(&String::from_utf8_lossy(&bytes)).map(Some)
    }

    /// Tells where the bytes of large files go; of files that are here, nowhere.
    pub(super) fn batch(&self, asked: &Asked, body: &[u8]) -> Outcome {
        let known = ["operation", "transfers", "objects", "hash_algo", "ref"];
        let body = object(body, &known)?;
        if text(&body, "operation") != Some("upload") {
            return Err(wrong("files are downloaded from /resolve/, not by LFS"));
        }
        // The specification's word, and that of the client for JavaScript.
        let is_known = |name: &str| matches!(name, "sha256" | "sha_256");
        if text(&body, "hash_algo").is_some_and(|name| !is_known(name)) {
            return Err(wrong("large files are named by their sha256"));
        }
        let transfers = body.get("transfers").and_then(Value::as_array);
        let mut transfers = transfers.into_iter().flatten();
        let mut parts_left = match transfers.any(|name| name == "multipart") {
            true => ANSWERED_PARTS_MAX,
            false => 0,
        };
        let objects = body.get("objects").and_then(Value::as_array);
        let mut answers = Vec::new();
        for object in objects.into_iter().flatten() {
            let oid = object.get("oid").and_then(Value::as_str).unwrap_or("");
            let oid: Sha256 = oid
                .parse()
                .map_err(|fault: towline_store::NameFault| wrong(fault.to_string()))?;
            let size = object.get("size").and_then(Value::as_u64).unwrap_or(0);
            let plan = self.uploads.plan(size);
            let plan = plan.filter(|plan| plan.count() <= parts_left);
            let mut answer = json!({ "oid": oid.to_string(), "size": size });
            if let Some((key, value)) = self.sent_to(asked, (&oid, size), plan.as_ref())
                && let Some(object) = answer.as_object_mut()
            {
                object.insert(key.to_owned(), value);
                parts_left -= plan.map_or(0, |plan| plan.count());
            }
            answers.push(answer);
        }
        let has_parts = |answer: &Value| answer.pointer("/actions/upload/header").is_some();
        let transfer = match answers.iter().any(has_parts) {
            true => "multipart",
            false => "basic",
        };
        Ok(good(json!({ "transfer": transfer, "objects": answers })))
    }

    /// What is said of one file: where it goes, why not, or nothing where it is here.
    fn sent_to(
        &self,
        asked: &Asked,
        (oid, size): (&Sha256, u64),
        plan: Option<&Plan>,
    ) -> Option<(&'static str, Value)> {
        let error = |code: u16, message: String| {
            Some(("error", json!({ "code": code, "message": message })))
        };
        if size > self.uploads.size_max() {
            return error(413, "larger than limits.upload_size of the node".to_owned());
        }
        if self.uploads.known(oid, &asked.sight).is_some() {
            return None;
        }
        if let Err(message) = self.uploads.judge_room((oid, size), plan, &asked.sight) {
            return error(507, message);
        }
        let Some(plan) = plan else {
            let (place, _) = self.uploads.place(oid, size, &asked.sight);
            let href = format!("{}{place}", asked.base);
            return Some(("actions", json!({ "upload": { "href": href } })));
        };
        let (parts, complete) = self.uploads.places(oid, plan, &asked.sight);
        let parts = (1..).zip(parts).map(|(number, place): (u32, String)| {
            let href = format!("{}{place}", asked.base);
            (format!("{number:05}"), Value::String(href))
        });
        let mut header: Map<String, Value> = parts.collect();
        // Clients read a text, as header fields are.
        let part_bytes = plan.part_bytes().to_string();
        header.insert("chunk_size".to_owned(), Value::String(part_bytes));
        let href = format!("{}{complete}", asked.base);
        let upload = json!({ "href": href, "header": header });
        Some(("actions", json!({ "upload": upload })))
    }
}

fn too_long() -> Answer {
    wrong(format!(
        "the .gitignore has more than {IGNORE_BYTES_MAX} bytes or {IGNORE_LINES_MAX} lines: \
         shorten it"
    ))
}

/// The rules of a `.gitignore`; a line that makes no sense is passed over, as git does.
fn rules(text: &str) -> Result<Gitignore, Answer> {
    if text.len() as u64 > IGNORE_BYTES_MAX || text.lines().count() > IGNORE_LINES_MAX {
        return Err(too_long());
    }
    let mut builder = GitignoreBuilder::new("");
    for line in text.lines() {
        let _senseless = builder.add_line(None, line);
    }
    let built = builder.build();
    built.map_err(|error| wrong(format!("the .gitignore cannot be followed: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_would_leave_out_is_left_out() {
        let rules = rules("# secrets\n.env\n*.key\n!open.key\nbuild/\n[z-a]\n/top.txt\n").unwrap();
        let ignored = |path: &str| {
            let found = rules.matched_path_or_any_parents(Path::new(path), false);
            found.is_ignore()
        };
        for path in [
            ".env",
            "a/.env",
            "x.key",
            "build/a/b",
            "a/build/c",
            "top.txt",
        ] {
            assert!(ignored(path), "{path}");
        }
        for path in ["open.key", "build.txt", "a/top.txt", "environment"] {
            assert!(!ignored(path), "{path}");
        }
    }

    #[test]
    fn a_gitignore_is_followed_up_to_its_limits_and_not_beyond() {
        let most = "a\n".repeat(IGNORE_LINES_MAX);
        assert!(rules(&most).is_ok());
        assert!(rules(&format!("{most}a\n")).is_err());
        let longest = "x".repeat(IGNORE_BYTES_MAX as usize);
        assert!(rules(&format!("{longest}x")).is_err());
    }
}
