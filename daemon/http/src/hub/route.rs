//! What a request to the hub is about: its path cut into a repository, a revision and a file.
//!
//! Governed by the routes that huggingface_hub 0.36 to 2.4, hf-hub, transformers, exo and
//! llama.cpp send. Segments are decoded after they are cut, because a revision or a path may
//! come as one segment with `%2F` in it. An id has one or two segments, so the literal behind it
//! decides. Invariant: a repository, revision or path that is no valid name stays text that
//! finds nothing; it never reaches a file system.

use crate::head::Method;
use crate::path::decode;

/// Longest text of one decoded part, in bytes: what a path in a revision may have.
const PART_BYTES_MAX: usize = 1024;

/// A request to the hub.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    /// `GET /api/models/{repo}` and `.../revision/{rev}`.
    Repo { repo: String, rev: Option<String> },
    /// `GET /api/models/{repo}/tree/{rev}/{path}`; an empty path is the root.
    Tree {
        repo: String,
        rev: String,
        path: String,
    },
    /// `POST /api/models/{repo}/paths-info/{rev}`.
    PathsInfo { repo: String, rev: String },
    /// `GET /api/models/{repo}/refs`.
    Refs { repo: String },
    /// `GET /api/models/{repo}/commits/{rev}`.
    Commits { repo: String, rev: String },
    /// `GET /api/models/{repo}/discussions`.
    Discussions { repo: String },
    /// `GET /api/models`.
    List,
    /// `GET /api/whoami-v2`.
    WhoAmI,
    /// `HEAD /api/telemetry/...`.
    Telemetry,
    /// `GET /{repo}/resolve/{rev}/{path}`; `is_raw`: the pointer of an LFS file (`/raw/`).
    File {
        repo: String,
        rev: String,
        path: String,
        is_raw: bool,
    },
    /// A repository that is no model: there are none here.
    OtherKind,
    /// Something that changes the hub: the control plane does it.
    Change,
    /// No such route.
    Unknown,
}

impl Route {
    /// Reads a path behind the hub's prefix; it begins with `/`.
    pub(crate) fn parse(method: Method, path: &[u8]) -> Self {
        let Some(parts) = parts(path) else {
            return Self::Unknown;
        };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let reads = matches!(method, Method::Get | Method::Head);
        match parts.as_slice() {
            ["api", "whoami-v2"] if reads => Self::WhoAmI,
            ["api", "telemetry", ..] => Self::Telemetry,
            ["api", "models"] if reads => Self::List,
            ["api", "models", rest @ ..] => api(method, rest),
            ["api", "repos" | "validate-yaml", ..] if !reads => Self::Change,
            ["api", "datasets" | "spaces" | "kernels", _, ..] => Self::OtherKind,
            ["api", ..] => Self::Unknown,
            ["datasets" | "spaces", _, _, "resolve" | "raw", ..] => Self::OtherKind,
            rest if reads => file(rest),
            _ => Self::Change,
        }
    }
}

/// The decoded segments; `None` if one is broken or too long.
fn parts(path: &[u8]) -> Option<Vec<String>> {
    let below = path.strip_prefix(b"/")?;
    let below = below.strip_suffix(b"/").unwrap_or(below);
    let decoded = below.split(|byte| *byte == b'/').map(|segment| {
        let text = String::from_utf8(decode(segment).ok()?).ok()?;
        (text.len() <= PART_BYTES_MAX).then_some(text)
    });
    decoded.collect()
}

/// Words behind the id of a repository in the API.
const WORDS: [&str; 9] = [
    "revision",
    "tree",
    "paths-info",
    "refs",
    "commits",
    "discussions",
    "preupload",
    "commit",
    "branch",
];

fn api(method: Method, parts: &[&str]) -> Route {
    let word = |at: usize| parts.get(at).is_some_and(|part| WORDS.contains(part));
    let cut = if word(2) {
        2
    } else if word(1) && parts.len() > 2 {
        1
    } else {
        parts.len()
    };
    let (id, rest) = parts.split_at(cut.min(parts.len()));
    if id.len() > 2 {
        return Route::Unknown;
    }
    let repo = id.join("/");
    let reads = matches!(method, Method::Get | Method::Head);
    match rest {
        [] if reads => Route::Repo { repo, rev: None },
        ["revision", rev] if reads => Route::Repo {
            repo,
            rev: Some((*rev).to_owned()),
        },
        ["tree", rev, path @ ..] if reads => Route::Tree {
            repo,
            rev: (*rev).to_owned(),
            path: path.join("/"),
        },
        ["paths-info", rev] if method == Method::Post => Route::PathsInfo {
            repo,
            rev: (*rev).to_owned(),
        },
        ["refs"] if reads => Route::Refs { repo },
        ["commits", rev] if reads => Route::Commits {
            repo,
            rev: (*rev).to_owned(),
        },
        ["discussions", ..] if reads => Route::Discussions { repo },
        ["preupload" | "commit" | "branch", ..] if !reads => Route::Change,
        _ => Route::Unknown,
    }
}

fn file(parts: &[&str]) -> Route {
    let word = |at: usize| matches!(parts.get(at), Some(&"resolve" | &"raw"));
    let cut = if word(2) {
        2
    } else if word(1) {
        1
    } else {
        return Route::Unknown;
    };
    let (id, rest) = parts.split_at(cut.min(parts.len()));
    match rest {
        [word, rev, path @ ..] if !path.is_empty() => Route::File {
            repo: id.join("/"),
            rev: (*rev).to_owned(),
            path: path.join("/"),
            is_raw: *word == "raw",
        },
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Route {
        Route::parse(Method::Get, path.as_bytes())
    }

    #[test]
    fn segments_are_decoded_after_they_are_cut() {
        let route = get("/org/name/resolve/feature%2Fx/sub%20dir/a%2Bb.txt");
        let expected = Route::File {
            repo: "org/name".into(),
            rev: "feature/x".into(),
            path: "sub dir/a+b.txt".into(),
            is_raw: false,
        };
        assert_eq!(route, expected);
        let route = get("/api/models/org/name/tree/main/sub%2Fdeep");
        let expected = Route::Tree {
            repo: "org/name".into(),
            rev: "main".into(),
            path: "sub/deep".into(),
        };
        assert_eq!(route, expected);
    }

    #[test]
    fn an_id_has_one_or_two_segments() {
        let repo = |repo: &str, rev: Option<&str>| Route::Repo {
            repo: repo.into(),
            rev: rev.map(Into::into),
        };
        assert_eq!(get("/api/models/gpt2"), repo("gpt2", None));
        assert_eq!(get("/api/models/org/tree"), repo("org/tree", None));
        assert_eq!(
            get("/api/models/gpt2/revision/main"),
            repo("gpt2", Some("main"))
        );
        assert_eq!(get("/api/models/a/b/c"), Route::Unknown);
        assert_eq!(get("/api/datasets/a/b"), Route::OtherKind);
    }

    #[test]
    fn what_changes_the_hub_is_told_apart_from_what_reads_it() {
        let post = |path: &str| Route::parse(Method::Post, path.as_bytes());
        assert_eq!(post("/api/repos/create"), Route::Change);
        assert_eq!(post("/api/models/a/b/commit/main"), Route::Change);
        assert_eq!(post("/a/b.git/info/lfs/objects/batch"), Route::Change);
        assert!(matches!(
            post("/api/models/a/b/paths-info/main"),
            Route::PathsInfo { .. }
        ));
        assert_eq!(get("/api/models/a/b/xet-read-token/main"), Route::Unknown);
        assert_eq!(get("/api/anything"), Route::Unknown);
        assert_eq!(get("/a/%zz/resolve/main/x"), Route::Unknown);
    }
}
