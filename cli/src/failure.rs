//! Why a verb failed, and the exit code that says so to scripts.
//!
//! Codes are those of sysexits(3). The message says what happened and what to do.

use towline_api::Fault;

/// A verb that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Wrong usage or configuration.
    #[error("{0}")]
    Usage(String),
    /// The node refused the request: a wrong name, a missing right, something in use.
    #[error("{0}")]
    Refused(String),
    /// The node's storage failed, or there is no room.
    #[error("{0}")]
    Storage(String),
    /// Something other than the node failed or is busy for now: a source, a limit.
    #[error("{0}")]
    Temporary(String),
    /// The node does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// Nothing failed: the help of a verb inside of another was asked for.
    #[error("{0}")]
    Help(String),
    /// Whoever started it wants it to end.
    #[error("{0}")]
    Interrupted(String),
    /// A fault of this program, or of the node that it asked.
    #[error("{0}")]
    Internal(String),
    /// The terminal or pipe cannot be written to.
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
    /// A check or change of the tuning could not run at all.
    #[error("{0}")]
    Tune(#[from] towline_tuning::TuneError),
    /// A measurement could not be made.
    #[error("{0}")]
    Bench(#[from] towline_link::link::LinkError),
    /// A share, disk or model could not be measured.
    #[error("{0}")]
    Source(#[from] towline_bench::source::SourceError),
    /// A measurement ended before its end.
    #[error("{0}")]
    Measurement(String),
    /// Saved measurements cannot be used.
    #[error("{0}")]
    History(#[from] towline_bench::history::HistoryFault),
    /// The node did not start or did not stop well.
    #[error("{text}")]
    Node {
        /// What happened and what to do.
        text: String,
        /// The exit code of the node.
        code: u8,
    },
}

impl Failure {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// A fault that the node told.
    pub(crate) fn of(fault: &Fault) -> Self {
        let text = fault.error.clone();
        match fault.culprit.as_str() {
            "usage" => Self::Refused(text),
            "storage" => Self::Storage(text),
            _ => Self::Temporary(text),
        }
    }

    /// See the exit codes in the help of `towline`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Unreachable(_) => 69,
            Self::Refused(_) => 65,
            Self::Storage(_) => 74,
            Self::Temporary(_) => 75,
            Self::Internal(_) => 70,
            Self::Help(_) => 0,
            Self::Interrupted(_) => 130,
            Self::Output(_) => 74,
            Self::Tune(_) | Self::Bench(_) | Self::Source(_) => 2,
            Self::Measurement(_) | Self::History(_) => 2,
            Self::Node { code, .. } => *code,
        }
    }
}
