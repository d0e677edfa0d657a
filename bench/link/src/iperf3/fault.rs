//! Why a test ended early, sorted by who can do something about it.
//!
//! Invariant: `Peer` means that the other end broke the protocol and no later byte can be trusted;
//! the rest are orderly ends that the protocol itself has.

use super::code::Code;
use super::state::State;

/// One of the two ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The one that asked for the test.
    Client,
    /// The one that answers.
    Server,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Why no more actions come.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The peer sent a state that does not belong here.
    #[error("the peer sent {state:?} while {phase}")]
    Unexpected {
        /// What came.
        state: State,
        /// What was under way.
        phase: &'static str,
    },
    /// The peer sent an octet that is no state.
    #[error("the peer sent the octet {byte}, which is no state of iperf3, while {phase}")]
    Unknown {
        /// What came.
        byte: u8,
        /// What was under way.
        phase: &'static str,
    },
    /// A frame is empty or claims more than is allowed.
    #[error("a frame of {bytes} bytes, where 1 to {bytes_max} are allowed")]
    FrameLength {
        /// What it claims.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// A frame does not say what it should.
    #[error("{what}: {why}")]
    Frame {
        /// Which message.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The parameters were refused; the code goes to the peer.
    #[error("refused: {code}")]
    Refused {
        /// Why.
        code: Code,
    },
    /// The other end runs another test, or does not want us.
    #[error("the server is busy with another test, or does not admit this address")]
    Busy,
    /// The server said why it cannot.
    #[error("the server says: {code}{}", os_words(*.errno))]
    ServerError {
        /// Its reason.
        code: Code,
        /// Its system's error number, 0 if none.
        errno: i32,
    },
    /// The other end was told to stop.
    #[error("the {} has terminated", .whose.name())]
    Terminated {
        /// The other end's role.
        whose: Role,
    },
    /// This end was told to stop. The words are those of the C program.
    #[error("interrupt - the {} has terminated", .whose.name())]
    Interrupted {
        /// This end's role.
        whose: Role,
    },
    /// The other end gave up without a reason.
    #[error("the other end gave up")]
    GaveUp,
    /// The control connection ended.
    #[error("the control connection ended while {phase}")]
    Ended {
        /// What was under way.
        phase: &'static str,
    },
}

fn os_words(errno: i32) -> String {
    if errno == 0 {
        return String::new();
    }
    format!(" ({})", std::io::Error::from_raw_os_error(errno))
}

impl Fault {
    /// The code that a server sends for this fault; `None` where nothing is to be sent.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code } => Some(*code),
            Self::Unexpected { .. } | Self::Unknown { .. } => Some(Code::MESSAGE),
            Self::FrameLength { .. } => Some(Code::PARAMETERS),
            Self::Frame { what, .. } if *what == "results" => Some(Code::RESULTS),
            Self::Frame { .. } => Some(Code::PARAMETERS),
            Self::Busy
            | Self::ServerError { .. }
            | Self::Terminated { .. }
            | Self::Interrupted { .. }
            | Self::GaveUp
            | Self::Ended { .. } => None,
        }
    }
}
