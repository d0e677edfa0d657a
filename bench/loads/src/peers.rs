//! The comparisons: which loads, against whom, with which marks.
//!
//! Invariant: rounds alternate between the two servers (A B A B ...), so drift of the machine
//! meets both. A mark is what was promised for a load; each
//! row says its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::figures::Outcome;
use crate::servers::TowlineChoice;
use crate::table::Row;

pub mod http;
pub mod https;
pub mod iperf3;
pub mod knfsd;
pub mod nfs;

/// How a comparison is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the served files are made and kept.
    pub data: PathBuf,
    /// Length of the hot file in bytes.
    pub hot_bytes: u64,
    /// What is measured against the peer.
    pub subject: Subject,
    /// Rounds per load; the median counts.
    pub rounds: usize,
    /// Counted time per round.
    pub measured: Duration,
    /// Only loads whose name contains this.
    pub only: Option<String>,
}

/// What is measured against the peer.
#[derive(Clone, Debug)]
pub enum Subject {
    /// towline.
    Towline(TowlineChoice),
    /// A second copy of the peer. Every ratio should be near one: this measures the noise.
    SamePeer,
    /// Nothing; the peer's own figures are printed.
    Nothing,
}

impl Subject {
    /// What the subject is called in the table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Towline(_) => "towline",
            Self::SamePeer => "peer again",
            Self::Nothing => "nothing",
        }
    }
}

impl Settings {
    /// Time not counted at the start of each round.
    #[must_use]
    pub fn warm_up(&self) -> Duration {
        self.measured / 5
    }

    /// Whether the load called `name` was asked for.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|part| name.contains(part.as_str()))
    }
}

/// One side of a comparison: runs one round and says what it counted.
pub type Side<'a> = &'a dyn Fn() -> Result<Outcome>;

/// Fills `row` with interleaved rounds of both sides.
///
/// # Errors
/// Passes on what a round reports.
pub fn interleave(row: &mut Row, rounds: usize, peer: Side, subject: Option<Side>) -> Result<()> {
    for round in 0..rounds {
        row.peer.push(peer()?);
        if let Some(subject) = subject {
            row.subject.push(subject()?);
        }
        progress(&format!(
            "{} against {}: round {}",
            row.load,
            row.peer_name,
            round + 1
        ));
    }
    Ok(())
}

/// The outcome under `label`, or an empty one when nothing of it was complete.
pub(crate) fn of(outcomes: &mut BTreeMap<&'static str, Outcome>, label: &str) -> Outcome {
    outcomes.remove(label).unwrap_or_default()
}

#[expect(
    clippy::print_stderr,
    reason = "a command line tool tells how far it is"
)]
fn progress(text: &str) {
    eprintln!("{text}");
}
