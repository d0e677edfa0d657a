//! Where a model comes from, as its user writes it and as its revision has it recorded.
//!
//! `hf://org/model@rev`, `hf://datasets/org/name`, `http(s)://host/folder/` or a file,
//! `s3://bucket/prefix` (and `gs://`, `az://`), or a folder of the node's machine. What a hub has
//! given is recorded as the URL below which its files lie. Invariant: what is parsed has a host or
//! a path; nothing of it is used as a path of the store; nobody else looks at the text.

use std::path::PathBuf;

use towline_store::RepoName;

use crate::error::TransferError;

/// The hub that `hf://` means when nobody names another.
const HUB: &str = "https://huggingface.co";

/// Where a model comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
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
    Folder(PathBuf),
}

/// The kinds of origins, as they are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A repository of a hub.
    Hub,
    /// A web server.
    Web,
    /// An object store.
    Objects,
    /// A folder of this machine.
    Folder,
}

impl Kind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Hub, Self::Web, Self::Objects, Self::Folder];

    /// As the label of a metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Hub => "source=\"hub\"",
            Self::Web => "source=\"web\"",
            Self::Objects => "source=\"objects\"",
            Self::Folder => "source=\"folder\"",
        }
    }
}

impl Origin {
    /// Reads an origin; `endpoint` is the hub that `hf://` means.
    ///
    /// # Errors
    /// [`TransferError::Usage`], with the ways in which one is written.
    pub fn parse(text: &str, endpoint: Option<&str>) -> Result<Self, TransferError> {
        let usage = |why: String| Err(TransferError::Usage(why));
        let Some((scheme, rest)) = text.split_once("://") else {
            let path = PathBuf::from(text);
            if !path.is_absolute() {
                return usage(format!("{text}: a folder must be named from the root"));
            }
            return Ok(Self::Folder(path));
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

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hub { .. } => Kind::Hub,
            Self::Web(_) => Kind::Web,
            Self::Objects(_) => Kind::Objects,
            Self::Folder(_) => Kind::Folder,
        }
    }

    /// The name that it has there.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Hub { repo, .. } => Some(repo),
            Self::Web(_) | Self::Objects(_) | Self::Folder(_) => None,
        }
    }

    /// The tag that it has there.
    pub(crate) fn tag(&self) -> Option<&str> {
        match self {
            Self::Hub { rev, .. } => rev.as_deref(),
            Self::Web(_) | Self::Objects(_) | Self::Folder(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_by_their_scheme() {
        let hub = |text: &str| Origin::parse(text, Some("http://n:1/hf/"));
        let Ok(Origin::Hub {
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
            Origin::parse("http://h/x/", None),
            Ok(Origin::Web(_))
        ));
        assert!(matches!(
            Origin::parse("s3://b/p", None),
            Ok(Origin::Objects(_))
        ));
        assert!(matches!(Origin::parse("/m", None), Ok(Origin::Folder(_))));
        for right in [
            "hf://gpt2",
            "hf://datasets/a/b@feature/x",
            "hf://datasets/squad",
        ] {
            assert!(matches!(hub(right), Ok(Origin::Hub { .. })), "{right}");
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
            assert!(Origin::parse(wrong, None).is_err(), "{wrong}");
        }
    }
}
