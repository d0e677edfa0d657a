//! What pulls have done since the start.
//!
//! Invariant: every [`Kind`] of source has a counter of its own. Not promised: counts over a
//! restart.

use std::sync::atomic::AtomicU64;

use crate::origin::Kind;

/// Counters of all pulls of a node.
#[derive(Debug, Default)]
pub struct Tally {
    /// Pulls that were begun.
    pub begun: AtomicU64,
    /// Of those the ones that failed or were stopped.
    pub failed: AtomicU64,
    /// Requests to sources that were tried again.
    pub retries: AtomicU64,
    /// Bytes by kind of source, in the order of [`Kind::ALL`].
    fetched: [AtomicU64; Kind::ALL.len()],
}

impl Tally {
    /// Bytes that came from sources of this kind.
    #[must_use]
    pub fn fetched(&self, kind: Kind) -> &AtomicU64 {
        let [hub, web, objects, folder] = &self.fetched;
        match kind {
            Kind::Hub => hub,
            Kind::Web => web,
            Kind::Objects => objects,
            Kind::Folder => folder,
        }
    }
}
