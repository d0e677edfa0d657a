//! What the control plane answers about models: a status and JSON, and whose fault a failure is.
//!
//! Invariant: a failure says by its culprit whether asking again may help. Not promised: a status
//! for every fault; the words say more.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use towline_store::{ClientFault, RepoName, StorageFault, StoreError, TagName};

use towline_api::Fault;
use towline_transfer::TransferError;

/// An answer: a status code and JSON.
pub type Answer = (u16, Value);

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|error| {
        refuse(
            400,
            "usage",
            &format!("the request cannot be read: {error}"),
        )
    })
}

pub(super) fn repo(text: &str) -> Result<RepoName, Answer> {
    text.parse()
        .map_err(|fault: towline_store::NameFault| refuse(400, "usage", &fault.to_string()))
}

pub(super) fn tag(text: &str) -> Result<TagName, Answer> {
    text.parse()
        .map_err(|fault: towline_store::NameFault| refuse(400, "usage", &fault.to_string()))
}

pub(super) fn required<'a>(value: Option<&'a str>, key: &str) -> Result<&'a str, Answer> {
    value.ok_or_else(|| refuse(400, "usage", &format!("the request lacks '{key}'")))
}

pub(super) fn done<T>(result: towline_store::Result<T>) -> Result<Answer, Answer> {
    match result {
        Ok(_) => Ok(json(&())),
        Err(error) => Err(failed(&error)),
    }
}

pub(super) fn value(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

pub(super) fn json(answer: &impl Serialize) -> Answer {
    (200, value(answer))
}

pub(super) fn refuse(code: u16, culprit: &str, error: &str) -> Answer {
    (code, value(&Fault::new(culprit, error)))
}

/// What a failure of the store is called.
pub(super) fn fault(error: &StoreError) -> Fault {
    let culprit = match error {
        StoreError::Client(_) => "usage",
        StoreError::Peer(_) => "peer",
        StoreError::Storage(_) => "storage",
        StoreError::Busy(_) => "busy",
    };
    Fault::new(culprit, error.to_string())
}

/// What a failure of a pull is called.
pub(super) fn transfer_fault(error: &TransferError) -> Fault {
    match error {
        TransferError::Store(error) => fault(error),
        // A source that says no says it again.
        TransferError::Usage(_) | TransferError::Refused(_) => {
            Fault::new("usage", error.to_string())
        }
        TransferError::Network(_) => Fault::new("peer", error.to_string()),
        TransferError::Stopped => Fault::new("busy", error.to_string()),
    }
}

pub(super) fn failed(error: &StoreError) -> Answer {
    let code = match error {
        StoreError::Client(ClientFault::Quota { .. }) | StoreError::Storage(StorageFault::Full) => {
            507
        }
        StoreError::Client(_) => 400,
        StoreError::Peer(_) => 502,
        StoreError::Storage(_) => 500,
        StoreError::Busy(_) => 503,
    };
    (code, value(&fault(error)))
}
