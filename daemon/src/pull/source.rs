//! Where a pull brings a model from, as its user writes it.
//!
//! `hf://org/model@rev`, `hf://datasets/org/name`, `http(s)://host/folder/` or a file,
//! `s3://bucket/prefix` (and `gs://`, `az://`), or a folder of the node's machine. Invariant: what
//! is parsed has a host or a path; nothing of it is used as a path of the store.

use std::path::PathBuf;

use towline_store::RepoName;

use super::PullError;

/// The hub that `hf://` means when nobody names another.
const HUB: &str = "https://huggingface.co";

/// A source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// A repository of a hub.
    Hub {
        /// URL of the hub without a slash at its end.
        endpoint: String,
        /// The name, with `datasets/` or `spaces/` in front of one that is no model.
        repo: String,
        /// Branch, tag or commit; `None`: what the hub shows first.
        rev: Option<String>,
    },
    /// A file, or a listing whose URL ends in a slash.
    Web(String),
    /// A bucket with a prefix.
    Objects(String),
    /// A folder.
    Directory(PathBuf),
}

impl Source {
    /// Reads a source; `endpoint` is the hub that `hf://` means.
    pub(crate) fn parse(text: &str, endpoint: Option<&str>) -> Result<Self, PullError> {
        let usage = |why: String| Err(PullError::Usage(why));
        let Some((scheme, rest)) = text.split_once("://") else {
            let path = PathBuf::from(text);
            if !path.is_absolute() {
                return usage(format!("{text}: a folder must be named from the root"));
            }
            return Ok(Self::Directory(path));
        };
        match scheme {
            "hf" => {
                let (repo, rev) = match rest.split_once('@') {
                    Some((repo, rev)) => (repo, Some(rev.to_owned())),
                    None => (rest, None),
                };
                let endpoint = endpoint.unwrap_or(HUB).trim_end_matches('/');
                if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
                    return usage(format!("{endpoint}: the hub's URL begins with https://"));
                }
                if repo.parse::<RepoName>().is_err() || rev.as_deref() == Some("") {
                    return usage(format!(
                        "{text}: write hf://ORG/MODEL, hf://MODEL or hf://datasets/ORG/NAME, with \
                         @REV behind it or not"
                    ));
                }
                Ok(Self::Hub {
                    endpoint: endpoint.to_owned(),
                    repo: repo.to_owned(),
                    rev,
                })
            }
            "http" | "https" if !rest.is_empty() => Ok(Self::Web(text.to_owned())),
            "s3" | "gs" | "az" if !rest.is_empty() => Ok(Self::Objects(text.to_owned())),
            _ => usage(format!(
                "{text}: sources are hf://ORG/MODEL@REV, http(s)://HOST/FOLDER/, \
                 s3://BUCKET/PREFIX, gs://, az://, or a folder"
            )),
        }
    }

    /// The name that it has at its source.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Hub { repo, .. } => Some(repo),
            Self::Web(_) | Self::Objects(_) | Self::Directory(_) => None,
        }
    }

    /// The tag that it has at its source.
    pub(crate) fn tag(&self) -> Option<&str> {
        match self {
            Self::Hub { rev, .. } => rev.as_deref(),
            Self::Web(_) | Self::Objects(_) | Self::Directory(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_by_their_scheme() {
        let hub = |text: &str| Source::parse(text, Some("http://n:1/hf/"));
        let Ok(Source::Hub {
            endpoint,
            repo,
            rev,
        }) = hub("hf://a/b@v1")
        else {
            panic!("a hub");
        };
        assert_eq!(
            (endpoint.as_str(), repo.as_str(), rev.as_deref()),
            ("http://n:1/hf", "a/b", Some("v1"))
        );
        assert!(matches!(
            Source::parse("http://h/x/", None),
            Ok(Source::Web(_))
        ));
        assert!(matches!(
            Source::parse("s3://b/p", None),
            Ok(Source::Objects(_))
        ));
        assert!(matches!(
            Source::parse("/m", None),
            Ok(Source::Directory(_))
        ));
        for right in [
            "hf://gpt2",
            "hf://datasets/a/b@feature/x",
            "hf://datasets/squad",
        ] {
            assert!(matches!(hub(right), Ok(Source::Hub { .. })), "{right}");
        }
        for wrong in [
            "hf://",
            "hf://a/b@",
            "hf://a/b/c",
            "hf://datasets",
            "ftp://x/y",
            "m",
            "http://",
        ] {
            assert!(Source::parse(wrong, None).is_err(), "{wrong}");
        }
    }
}
