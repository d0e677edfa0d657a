//! What the hub answers when it says no: status, code and words that its clients understand.
//!
//! huggingface_hub decides by `X-Error-Code` and shows `X-Error-Message`; exo gives up at once on
//! a 404 only if it carries an ETag and a body. Invariant: words are constants or checked names,
//! so no peer's byte splits a reply.

use serde_json::json;
use towline_store::RevisionId;

use crate::faces::files::entries::JSON;
use crate::reply::{ReplyHead, Tone};
use crate::status::{Refusal, Status};

/// Why a request to the hub fails.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum HubFault {
    /// The repository is not here, or hidden from this client: the two look the same.
    NoRepo,
    /// The repository has no such branch, tag or commit.
    NoRevision,
    /// The revision has no such file.
    NoEntry(RevisionId),
    /// The volume needs a token, and this is none of its.
    BadToken,
    /// It is here without the signature that the node demands.
    Unsigned,
    /// The token reads here and does not publish.
    ReadOnly,
    /// No such route.
    NoRoute,
    /// A list by something that this node does not know.
    BadFilter(&'static str),
    /// A body that cannot be read.
    BadBody,
    /// A body longer than any client sends.
    LongBody,
}

impl HubFault {
    fn status(&self) -> Status {
        match self {
            Self::NoRepo | Self::NoRevision | Self::NoEntry(_) | Self::NoRoute => Status::NOT_FOUND,
            Self::BadToken => Status::UNAUTHORIZED,
            Self::Unsigned | Self::ReadOnly => Status::FORBIDDEN,
            Self::BadBody | Self::BadFilter(_) => Status::BAD_REQUEST,
            Self::LongBody => Status::TOO_LARGE,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::NoRepo => Some("RepoNotFound"),
            Self::NoRevision => Some("RevisionNotFound"),
            Self::NoEntry(_) => Some("EntryNotFound"),
            Self::BadToken
            | Self::Unsigned
            | Self::ReadOnly
            | Self::NoRoute
            | Self::BadFilter(_)
            | Self::BadBody
            | Self::LongBody => None,
        }
    }

    fn why(&self) -> &'static str {
        match self {
            Self::NoRepo => {
                "this node has no such model, dataset or space: see towline models on it, and \
                 bring it with towline pull or towline push"
            }
            Self::NoRevision => {
                "there is no such branch, tag or commit here: see towline models show"
            }
            Self::NoEntry(_) => "the revision has no such file",
            // Clients look for exactly this.
            Self::BadToken => "Invalid credentials in Authorization header",
            Self::Unsigned => Refusal::UNSIGNED.why,
            Self::ReadOnly => {
                "this needs a token that may publish here: see prefix and rights in \
                 [[models.tokens]] on the node"
            }
            Self::NoRoute => "this node does not know that route of the hub",
            Self::BadFilter(why) => why,
            Self::BadBody => "the body is neither a form nor JSON with 'paths'",
            Self::LongBody => "the body is longer than 256 KiB: ask for fewer paths at once",
        }
    }

    /// Writes the whole reply.
    pub(crate) fn write(&self, buffer: &mut Vec<u8>, date: &[u8; 29], tone: Tone) -> Status {
        let status = self.status();
        let body = json!({ "error": self.why() }).to_string();
        let mut head = ReplyHead::begin(buffer, status, date, tone);
        head.text("X-Error-Message", self.why().as_bytes());
        if let Some(code) = self.code() {
            head.text("X-Error-Code", code.as_bytes());
        }
        if let Self::NoEntry(rev) = self {
            head.text("X-Repo-Commit", rev.to_string().as_bytes());
        }
        if status == Status::NOT_FOUND {
            head.text("ETag", b"\"0\"");
        }
        head.text("Content-Type", JSON.as_bytes());
        head.number("Content-Length", body.len() as u64);
        head.end();
        if !tone.is_head {
            buffer.extend_from_slice(body.as_bytes());
        }
        status
    }
}
