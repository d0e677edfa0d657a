//! Bringing a model from elsewhere.
//!
//! Invariant: the source's token travels to the node and is never shown: [`Token`] prints stars.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `POST /v1/models/pull`: bring a model from elsewhere.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pull {
    /// `hf://org/model@rev`, a URL, `s3://bucket/prefix`, or a folder.
    pub source: String,
    /// The hub that `hf://` means.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The source's token. Kept for this pull only, never logged: it shows itself as `***`.
    #[serde(default)]
    pub token: Option<Token>,
    /// `org/model`; the source's own name if left out.
    #[serde(default)]
    pub name: Option<String>,
    /// The tag to move.
    #[serde(default)]
    pub tag: Option<String>,
}

/// A token on its way to the node; `Debug` shows `***`.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
