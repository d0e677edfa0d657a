//! What limited a measurement, and how that is known.
//!
//! Invariant: a verdict carries the numbers that it was made from, so that a reader can disagree.
//! `Unknown` is an honest answer: the evidence says why nothing better can be said.

use serde::{Deserialize, Serialize};

/// What limited.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The sending program or its send buffer.
    Sender,
    /// The receiving program or its receive buffer.
    Receiver,
    /// The way: a queue, a shaper, loss.
    Path,
    /// A core of one side.
    Cpu,
    /// The line rate of the card.
    Nic,
    /// The rate that was asked for.
    Asked,
    /// The server of a share.
    Server,
    /// A disk.
    Disk,
    /// The evidence does not single one out.
    Unknown,
}

impl Limit {
    /// One word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sender => "sender-limited",
            Self::Receiver => "receiver-limited",
            Self::Path => "path-limited",
            Self::Cpu => "cpu-limited",
            Self::Nic => "nic-limited",
            Self::Asked => "as fast as asked",
            Self::Server => "server-limited",
            Self::Disk => "disk-limited",
            Self::Unknown => "no single cause",
        }
    }
}

/// One number that a verdict rests on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Evidence {
    /// What was seen, a short name such as `rwnd_limited`.
    pub name: String,
    /// In words, with the number.
    pub says: String,
    /// The number.
    pub value: f64,
}

/// What limited, why, and what to do.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Verdict {
    /// What limited.
    pub limit: Limit,
    /// The cause in one sentence.
    pub cause: String,
    /// What to do about it.
    pub advice: String,
    /// What it rests on, the strongest first.
    pub evidence: Vec<Evidence>,
}

impl Verdict {
    /// The line that people read: `receiver-limited: ...`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}: {}", self.limit.word(), self.cause)
    }
}
