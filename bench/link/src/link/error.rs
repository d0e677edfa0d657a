//! Why a measurement of a link could not be made.
//!
//! Invariant: each message says what failed, on what, and what to do.

use std::io;

use crate::iperf3::{Fault, Role};

/// A measurement that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The host has no address, or an option makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Nobody listens there.
    #[error(
        "{host} does not answer on port {port}: {error}. Start 'towline bench serve' or \
         'iperf3 -s' there, and let port {port} (TCP, and UDP for -u) through its firewall"
    )]
    Unreachable {
        /// As it was named.
        host: String,
        /// The port.
        port: u16,
        /// What the system said.
        error: io::Error,
    },
    /// The protocol ended the test.
    #[error("{peer}: {fault}")]
    Protocol {
        /// The other end.
        peer: String,
        /// Why.
        fault: Fault,
    },
    /// The peer does not do what is expected in time.
    #[error("{peer} did nothing for {seconds} s while {phase}; it may hang or be cut off")]
    Silent {
        /// The other end.
        peer: String,
        /// What was under way.
        phase: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        error: io::Error,
    },
}

impl LinkError {
    /// The user stopped the test before anything was measured.
    #[must_use]
    pub fn interrupted(peer: &str) -> Self {
        Self::Protocol {
            peer: peer.to_owned(),
            fault: Fault::Interrupted {
                whose: Role::Client,
            },
        }
    }

    /// A refusal of the system.
    pub fn system(what: impl Into<String>, error: impl Into<io::Error>) -> Self {
        Self::System {
            what: what.into(),
            error: error.into(),
        }
    }
}
