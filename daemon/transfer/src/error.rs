//! Why bytes do not come, by whose fault.
//!
//! Invariant: [`TransferError::Network`] alone may pass when the same is asked again. Not promised:
//! a status or a word for clients; whoever answers them has those.

use towline_store::StoreError;

/// Why a transfer fails.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The request makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The source refuses, or lacks what was asked for; trying again does not help.
    #[error("{0}")]
    Refused(String),
    /// The source cannot be reached, or broke off; it may work later.
    #[error("{0}")]
    Network(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody stopped it.
    #[error("stopped; what has arrived is kept, and the same pull goes on from there")]
    Stopped,
}
