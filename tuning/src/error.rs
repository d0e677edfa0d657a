//! Why the tool could not do what it was asked.
//!
//! Sorted by culprit: the caller (usage), the system, the peer. A check that fails is no error.

use std::io;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The caller asked for something that is not there or not allowed.
    #[error("{0}")]
    Usage(String),
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// The peer did not answer, or not as a towline node does.
    #[error("{0}")]
    Peer(String),
    /// Something was changed, did not hold, and was taken back.
    #[error("{0}")]
    TakenBack(String),
}

impl TuneError {
    /// A refusal of the system.
    pub fn system(what: impl Into<String>, error: io::Error) -> Self {
        Self::System {
            what: what.into(),
            error,
        }
    }

    /// A fault of the caller.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }
}
