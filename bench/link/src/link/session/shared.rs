//! What the threads of a test share with its owner: the phase, the budget, rates and the goal.
//!
//! Invariant: the phase only goes forward: waiting, running, draining, over. Counters are relaxed
//! atomics; nothing is ordered by them but themselves.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::link::budget::Budget;
use crate::link::wake::Wake;

/// What a receiver does with what it receives.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Receive {
    /// The kernel throws it away.
    #[default]
    Discard,
    /// It is copied into memory, as `iperf3` does.
    Copy,
}

impl Receive {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Discard => "discard",
            Self::Copy => "copy",
        }
    }
}

pub(super) const WAITING: u8 = 0;
pub(super) const RUNNING: u8 = 1;
pub(super) const DRAINING: u8 = 2;
pub(super) const OVER: u8 = 3;

/// What the threads of a test share with its owner.
#[derive(Debug)]
pub struct Shared {
    pub(super) phase: AtomicU8,
    /// How much may still be sent.
    pub budget: Budget,
    /// Bits per second of each sender, 0: no limit.
    pub rate: u64,
    /// Blocks per burst.
    pub burst: u32,
    /// Bits per second that each receiver takes, 0: no limit.
    pub receive_rate: u64,
    /// What receivers do.
    pub receive: Receive,
    /// Rung when a thread ends or a goal is reached.
    pub wake: Wake,
    pub(super) counts_late: bool,
    pub(super) goal: u64,
    pub(super) goal_open: AtomicBool,
    pub(super) received: AtomicU64,
}

impl Shared {
    /// Whether senders may send.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == RUNNING
    }

    /// Whether all is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == OVER
    }

    /// Whether what arrives now counts. In tests of a given amount the last bytes may arrive after
    /// the word that all were sent.
    #[must_use]
    pub fn counts_received(&self) -> bool {
        self.is_running() || self.counts_late
    }

    /// Notes what arrived, and wakes the owner when the goal is reached.
    pub fn received(&self, bytes: u64) {
        if self.goal == 0 || !self.goal_open.load(Ordering::Relaxed) {
            return;
        }
        let before = self.received.fetch_add(bytes, Ordering::Relaxed);
        if before < self.goal && before + bytes >= self.goal {
            self.wake.ring();
        }
    }

    pub(super) fn goal_reached(&self) -> bool {
        self.goal > 0 && self.received.load(Ordering::Relaxed) >= self.goal
    }
}
