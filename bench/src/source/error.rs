//! Why a share, disk or model could not be measured, told by whose fault it is.
//!
//! Invariant: each message says what failed, on what, and what to do where that is known.

use std::io;

/// A measurement that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// What was named makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers.
    #[error("{what} does not answer: {error}. Is it running, and may this host reach its port?")]
    Unreachable {
        /// Host and port.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// The server answered with an error, or broke its protocol.
    #[error("{what}: {why}")]
    Server {
        /// What was asked.
        what: String,
        /// What came.
        why: String,
    },
    /// Bytes differ from what was written or read before.
    #[error(
        "WRONG CONTENT at byte {offset} of {what}: it differs from what was {before} there. \
         Nothing else counts until that is found"
    )]
    Content {
        /// Which file.
        what: String,
        /// Where the block begins.
        offset: u64,
        /// `written` or `read`.
        before: &'static str,
    },
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// Ctrl-C.
    #[error("stopped")]
    Stopped,
}

impl SourceError {
    /// A refusal of the system.
    pub fn system(what: impl Into<String>, error: impl Into<io::Error>) -> Self {
        Self::System {
            what: what.into(),
            error: error.into(),
        }
    }

    /// A fault of the server.
    pub fn server(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Server {
            what: what.into(),
            why: why.into(),
        }
    }
}
