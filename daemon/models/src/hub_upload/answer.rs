//! What the hub answers to those who publish: a status, JSON, and a code that clients understand.
//!
//! Invariant: whoever was slower is told in the words that clients look for. Not promised: codes
//! for faults that no client tells apart.

use hyper::StatusCode;
use serde_json::{Value, json};
use towline_store::{ClientFault, StorageFault, StoreError};

/// What clients are told when somebody else was faster.
pub(super) const MOVED: &str = "A commit has happened since. Please refresh and try again.";

/// A reply: status, body, and what says why not.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// JSON.
    pub body: Value,
    /// For `X-Error-Code`.
    pub code: Option<&'static str>,
    /// For `ETag`: of a part that was uploaded.
    pub etag: Option<String>,
}

pub(super) type Outcome = Result<Answer, Answer>;

pub(super) fn good(body: Value) -> Answer {
    let status = StatusCode::OK;
    Answer {
        status,
        body,
        code: None,
        etag: None,
    }
}

pub(super) fn bad(status: StatusCode, why: impl Into<String>) -> Answer {
    Answer {
        status,
        body: json!({ "error": why.into() }),
        code: None,
        etag: None,
    }
}

pub(super) fn missing(code: &'static str, why: &str) -> Answer {
    Answer {
        code: Some(code),
        ..bad(StatusCode::NOT_FOUND, why)
    }
}

pub(super) fn failed(error: &StoreError) -> Answer {
    let status = match error {
        StoreError::Client(ClientFault::HeadMoved { .. }) => {
            return bad(StatusCode::PRECONDITION_FAILED, MOVED);
        }
        StoreError::Client(
            ClientFault::NoSigner(_) | ClientFault::Untrusted { .. } | ClientFault::Unsigned { .. },
        ) => StatusCode::FORBIDDEN,
        StoreError::Client(ClientFault::Quota { .. }) | StoreError::Storage(StorageFault::Full) => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        StoreError::Client(_) => StatusCode::BAD_REQUEST,
        StoreError::Peer(_) => StatusCode::BAD_GATEWAY,
        StoreError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
        StoreError::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    bad(status, error.to_string())
}
