//! What a call that changes something asks for: its query and its body, read to the last key.
//!
//! Invariant: whatever is not known here refuses the call, so nothing that a client asks for is
//! silently not done: what would be private on the Hub is never public here because a key was
//! passed over. Not promised: that a value which is known is good; whoever knows the call judges
//! that.

use hyper::{Method, StatusCode};
use serde_json::{Map, Value};
use towline_http::Sight;
use towline_store::RepoName;

use super::answer::{Answer, bad};

/// Most pairs of a query: no client sends more than two.
const PAIRS_MAX: usize = 64;

/// What a client is told that wants a pull request.
const NO_PULL_REQUESTS: &str = "this node has no pull requests, so the commit would move the \
    branch itself: leave create_pr out to commit to it, or create a branch and commit to that";

/// A call, without its body.
pub(super) struct Asked {
    pub(super) method: Method,
    /// The decoded segments of its path behind the hub's prefix.
    pub(super) parts: Vec<String>,
    /// The decoded pairs of its query.
    query: Vec<(String, String)>,
    /// What the token may see and publish.
    pub(super) sight: Sight,
    /// The URL before the paths of this client.
    pub(super) base: String,
    /// How the repository of an answer is shown.
    pub(super) shown: Shown,
}

/// How clients need to be shown where a repository is.
#[derive(Clone, Debug)]
pub(super) enum Shown {
    /// By its name alone: the client takes the path of its endpoint for a kind of repository.
    Name,
    /// By a URL that begins like this. Such a client reads no name without an organisation.
    Url(String),
    /// The same, and it reads every name.
    PlainUrl(String),
}

impl Shown {
    pub(super) fn of(&self, repo: &RepoName) -> String {
        match self {
            Self::Name => repo.to_string(),
            Self::Url(base) => format!("{base}/{}", repo.marked()),
            Self::PlainUrl(base) => format!("{base}/{repo}"),
        }
    }
}

impl Asked {
    pub(super) fn new(
        (method, path, query): (Method, &str, &str),
        sight: Sight,
        (base, shown): (String, Shown),
    ) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.take(PAIRS_MAX).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self {
            method,
            parts: path.split('/').skip(1).map(decoded).collect(),
            query: pairs.collect(),
            sight,
            base,
            shown,
        }
    }

    /// Refuses what the query asks for and this call does not do. A pull request is never made.
    pub(super) fn check_query(&self) -> Result<(), Answer> {
        for (name, value) in &self.query {
            match (name.as_str(), value.as_str()) {
                ("create_pr", "" | "0" | "false" | "False") => {}
                ("create_pr", _) => return Err(bad(StatusCode::BAD_REQUEST, NO_PULL_REQUESTS)),
                (name, _) => return Err(unknown(name)),
            }
        }
        Ok(())
    }
}

/// A segment of a path; one that cannot be decoded names nothing.
fn decoded(segment: &str) -> String {
    let bytes = towline_http::path::decode(segment.as_bytes()).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// The refusal of a key that is not known.
fn unknown(name: &str) -> Answer {
    let name: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    let why = format!(
        "this node does not know '{name}' of this call and would not do what it asks for: leave \
         it out"
    );
    bad(StatusCode::BAD_REQUEST, why)
}

/// Keys that the Hub takes and this node refuses, with what to do instead.
const REFUSED: [(&str, &str); 12] = [
    (
        "resourceGroupId",
        "this node has no resource groups: see [[models.tokens]] for who may read",
    ),
    (
        "region",
        "what is published here stays on this node: leave the region out",
    ),
    (
        "license",
        "write the license into the card at the start of README.md",
    ),
    ("files", "commit the files once the repository is there"),
    (
        "template",
        "this node keeps spaces and does not run them: leave the template out",
    ),
    (
        "hardware",
        "this node keeps spaces and does not run them: leave the hardware out",
    ),
    (
        "storageTier",
        "this node keeps spaces and does not run them: leave the storage out",
    ),
    (
        "sleepTimeSeconds",
        "this node keeps spaces and does not run them: leave the time out",
    ),
    (
        "secrets",
        "this node keeps spaces and does not run them: leave the secrets out",
    ),
    (
        "variables",
        "this node keeps spaces and does not run them: leave the variables out",
    ),
    (
        "volumes",
        "this node keeps spaces and does not run them: leave the volumes out",
    ),
    (
        "emptyBranch",
        "a branch begins at a revision here: name it, or leave emptyBranch out",
    ),
];

/// The body of a call: an object with none but these keys. Nothing counts as an empty one.
pub(super) fn object(body: &[u8], known: &[&str]) -> Result<Map<String, Value>, Answer> {
    let wrong = |why: String| bad(StatusCode::BAD_REQUEST, why);
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let value = serde_json::from_slice(body);
    let object = match value {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(wrong("the body is no JSON object".to_owned())),
        Err(error) => return Err(wrong(format!("the body cannot be read: {error}"))),
    };
    for (key, value) in &object {
        if known.contains(&key.as_str()) || value.is_null() {
            continue;
        }
        let refused = REFUSED.iter().find(|(name, _)| name == key);
        return Err(match refused {
            Some((_, why)) => bad(StatusCode::BAD_REQUEST, *why),
            None => unknown(key),
        });
    }
    Ok(object)
}

/// A text of an object, if it is there.
pub(super) fn text<'o>(object: &'o Map<String, Value>, key: &str) -> Option<&'o str> {
    object.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_known_refuses_the_call_and_null_asks_for_nothing() {
        let body = br#"{"name":"x","region":null}"#;
        assert!(object(body, &["name"]).is_ok());
        for body in [
            &br#"{"name":"x","other":1}"#[..],
            br#"{"secrets":[]}"#,
            b"[]",
            b"{",
        ] {
            assert!(object(body, &["name"]).is_err());
        }
        assert!(object(b" ", &[]).is_ok_and(|object| object.is_empty()));
    }
}
