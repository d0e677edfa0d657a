//! The way from any thread to one connection: what is sent to a client unasked goes along it.
//!
//! Invariant: a line keeps nothing open and nobody waits on it; two lines are equal if they lead
//! to one connection. Not promised: that a word arrives; the connection may be gone by then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::connection::Done;

/// What takes a word to its connection; whether there was room for it.
type Tell = dyn Fn(Done) -> bool + Send + Sync;

/// The way to one connection.
#[derive(Clone)]
pub struct Line {
    number: u64,
    tell: Arc<Tell>,
}

impl Line {
    /// A line that `tell` takes words along.
    #[must_use]
    pub fn new(tell: impl Fn(Done) -> bool + Send + Sync + 'static) -> Self {
        static GIVEN: AtomicU64 = AtomicU64::new(1);
        Self {
            number: GIVEN.fetch_add(1, Ordering::Relaxed),
            tell: Arc::new(tell),
        }
    }

    /// Sends a word; whether there was room for it.
    pub(crate) fn tell(&self, word: Done) -> bool {
        (self.tell)(word)
    }
}

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({})", self.number)
    }
}
