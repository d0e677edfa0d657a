//! What a request to the hub is about: its path cut into a repository, a revision and a file.
//!
//! Governed by the routes that huggingface_hub 0.36 to 2.4, hf-hub, transformers, exo and
//! llama.cpp send. Segments are decoded after they are cut, because a revision or a path may
//! come as one segment with `%2F` in it. An id has one or two segments, so the literal behind it
//! decides. Invariant: a repository, revision or path that is no valid name stays text that
//! finds nothing; it never reaches a file system.

use towline_store::RepoKind;

use crate::head::Method;
use crate::path::decode;

/// Longest text of one decoded part, in bytes: what a path in a revision may have.
const PART_BYTES_MAX: usize = 1024;

/// A request to the hub. A repository is named as in the store: `datasets/` or `spaces/` stands
/// before one that is no model.
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
    /// `GET /api/models/{repo}/auth-check`, and `.../write`.
    AuthCheck { repo: String, writes: bool },
    /// `GET /api/models`.
    List(RepoKind),
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
    /// A repository of a kind that is not kept here.
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
            ["api", "repos" | "validate-yaml", ..] if !reads => Self::Change,
            ["api", "kernels", _, ..] => Self::OtherKind,
            ["api", word, rest @ ..] => match kind(word) {
                Some(kind) if rest.is_empty() && reads => Self::List(kind),
                Some(kind) => api(method, kind, rest),
                None => Self::Unknown,
            },
            ["api"] => Self::Unknown,
            rest if reads => file(rest),
            _ => Self::Change,
        }
    }
}

/// The kind that a word of an address means.
fn kind(word: &str) -> Option<RepoKind> {
    let mut kinds = RepoKind::ALL.into_iter();
    kinds.find(|kind| kind.plural() == word)
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

/// Words behind the id of a repository in the API, after which something must follow, where
/// `true`; else the id of one segment would be taken for an organisation.
const WORDS: [(&str, bool); 14] = [
    ("revision", true),
    ("tree", true),
    ("paths-info", true),
    ("refs", false),
    ("commits", true),
    ("discussions", false),
    ("preupload", true),
    ("commit", true),
    ("branch", true),
    ("tag", true),
    ("super-squash", true),
    ("settings", false),
    ("auth-check", false),
    ("resolve", true),
];

/// Cuts the segments behind the word for a kind into the id of a repository and the rest.
#[must_use]
pub fn cut<'p, 't>(parts: &'p [&'t str]) -> (String, &'p [&'t str]) {
    let is_word = |at: usize| {
        let found = parts.get(at).and_then(|part| {
            let mut words = WORDS.iter();
            words.find(|(word, _)| word == part)
        });
        // `tree` may be the name of a model, `org/tree`.
        found.is_some_and(|(_, goes_on)| at == 2 || !goes_on || parts.len() > at + 1)
    };
    let end = [2, 1].into_iter().find(|at| is_word(*at));
    let (id, rest) = parts.split_at(end.unwrap_or(parts.len()).min(parts.len()));
    (id.join("/"), rest)
}

fn api(method: Method, kind: RepoKind, parts: &[&str]) -> Route {
    let (bare, rest) = cut(parts);
    if bare.split('/').count() > 2 {
        return Route::Unknown;
    }
    let repo = format!("{}{bare}", kind.prefix());
    let reads = matches!(method, Method::Get | Method::Head);
    match rest {
        [] if reads => Route::Repo { repo, rev: None },
        ["revision", rev @ ..] if reads && !rev.is_empty() => Route::Repo {
            repo,
            rev: Some(rev.join("/")),
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
        ["commits", rev @ ..] if reads && !rev.is_empty() => Route::Commits {
            repo,
            rev: rev.join("/"),
        },
        ["discussions"] if reads => Route::Discussions { repo },
        ["auth-check"] if reads => Route::AuthCheck {
            repo,
            writes: false,
        },
        ["auth-check", "write"] if reads => Route::AuthCheck { repo, writes: true },
        _ if !reads => Route::Change,
        _ => Route::Unknown,
    }
}

fn file(parts: &[&str]) -> Route {
    let (kind, parts) = match parts {
        ["datasets", rest @ ..] => (RepoKind::Dataset, rest),
        ["spaces", rest @ ..] => (RepoKind::Space, rest),
        other => (RepoKind::Model, other),
    };
    let word = |at: usize| matches!(parts.get(at), Some(&"resolve" | &"raw"));
    let Some(end) = [2, 1].into_iter().find(|at| word(*at)) else {
        return Route::Unknown;
    };
    let (id, rest) = parts.split_at(end.min(parts.len()));
    match rest {
        [word, rev, path @ ..] if !path.is_empty() => Route::File {
            repo: format!("{}{}", kind.prefix(), id.join("/")),
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
        assert_eq!(get("/api/models/gpt2/tree"), repo("gpt2/tree", None));
        assert_eq!(get("/api/datasets/a/b"), repo("datasets/a/b", None));
        assert_eq!(get("/api/datasets/squad"), repo("datasets/squad", None));
        assert_eq!(get("/api/spaces"), Route::List(RepoKind::Space));
        assert_eq!(get("/api/kernels/a/b"), Route::OtherKind);
        for (path, name) in [
            ("/datasets/a/b/resolve/main/x", "datasets/a/b"),
            ("/datasets/squad/resolve/main/x", "datasets/squad"),
            ("/gpt2/resolve/main/x", "gpt2"),
        ] {
            let Route::File { repo, .. } = get(path) else {
                panic!("{path}");
            };
            assert_eq!(repo, name);
        }
        let refs = "spaces/a/b".to_owned();
        assert_eq!(get("/api/spaces/a/b/refs"), Route::Refs { repo: refs });
        let (repo, writes) = ("gpt2".to_owned(), true);
        let check = Route::AuthCheck { repo, writes };
        assert_eq!(get("/api/models/gpt2/auth-check/write"), check);
    }

    #[test]
    fn what_changes_the_hub_is_told_apart_from_what_reads_it() {
        let post = |path: &str| Route::parse(Method::Post, path.as_bytes());
        assert_eq!(post("/api/repos/create"), Route::Change);
        assert_eq!(post("/api/models/a/b/commit/main"), Route::Change);
        assert_eq!(post("/a/b.git/info/lfs/objects/batch"), Route::Change);
        assert_eq!(post("/api/datasets/a/b/tag/main"), Route::Change);
        let delete = |path: &str| Route::parse(Method::Delete, path.as_bytes());
        assert_eq!(delete("/api/repos/delete"), Route::Change);
        assert_eq!(delete("/api/models/gpt2/branch/feature%2Fx"), Route::Change);
        assert!(matches!(
            post("/api/models/a/b/paths-info/main"),
            Route::PathsInfo { .. }
        ));
        assert_eq!(get("/api/models/a/b/xet-read-token/main"), Route::Unknown);
        assert_eq!(get("/api/anything"), Route::Unknown);
        assert_eq!(get("/a/%zz/resolve/main/x"), Route::Unknown);
    }
}
