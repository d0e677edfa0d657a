//! Grace: after a restart, what was held before it is given back first (RFC 8881 section 8.4.2).
//!
//! Who may reclaim is whoever had completed its reclaims in the start before (or was still
//! waiting to reclaim when that start ended within its own grace). Grace ends at once if that is
//! nobody, when all of them are complete, and else after one lease; whoever is in the middle of it
//! then may finish, for one lease more at most. Invariant: once it has ended
//! nothing is reclaimed any more, so that nothing given to others meanwhile is given twice (both
//! edge conditions of section 8.4.3). Not promised: grace for what no client can lose by it: reads,
//! writes and opens that deny nothing go on.

use std::collections::HashSet;

/// By how much each reclaim near the end of grace puts that off, in milliseconds: the next one of
/// the same client is there by then.
const STEP_MS: u64 = 1_000;

/// The grace of one start.
#[derive(Clone, Debug, Default)]
pub struct Grace {
    waiting: HashSet<Box<[u8]>>,
    /// When it ends at the latest, in milliseconds since the start.
    until_ms: u64,
    /// When it ends whatever is still going on.
    last_ms: u64,
    has_ended: bool,
}

impl Grace {
    /// Grace for these clients.
    #[must_use]
    pub fn new(waiting: HashSet<Box<[u8]>>, lease_ms: u64) -> Self {
        let has_ended = waiting.is_empty();
        Self {
            waiting,
            until_ms: lease_ms,
            last_ms: lease_ms.saturating_mul(2),
            has_ended,
        }
    }

    /// Whether it lasts.
    pub fn is_on(&mut self, now_ms: u64) -> bool {
        self.has_ended |= self.waiting.is_empty() || now_ms >= self.until_ms;
        !self.has_ended
    }

    /// Whether a client may reclaim now.
    pub fn may_reclaim(&mut self, owner: &[u8], now_ms: u64) -> bool {
        let may = self.is_on(now_ms) && self.waiting.contains(owner);
        if may {
            let put_off = now_ms.saturating_add(STEP_MS).min(self.last_ms);
            self.until_ms = self.until_ms.max(put_off);
        }
        may
    }

    /// A client reclaims no more.
    pub fn complete(&mut self, owner: &[u8]) {
        self.waiting.remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grace(owners: &[&[u8]]) -> Grace {
        Grace::new(owners.iter().map(|owner| (*owner).into()).collect(), 60_000)
    }

    #[test]
    fn without_anybody_to_wait_for_there_is_none() {
        assert!(!grace(&[]).is_on(0));
    }

    #[test]
    fn it_ends_with_the_last_client_or_with_the_lease() {
        let mut both = grace(&[b"a", b"b"]);
        assert!(both.is_on(0) && both.may_reclaim(b"a", 0));
        assert!(!both.may_reclaim(b"c", 0));
        both.complete(b"a");
        assert!(both.is_on(0) && !both.may_reclaim(b"a", 0));
        both.complete(b"b");
        assert!(!both.is_on(0));
        let mut late = grace(&[b"a"]);
        assert!(late.is_on(59_999));
        assert!(!late.is_on(60_000));
        assert!(!late.may_reclaim(b"a", 0), "it does not come back");
    }

    #[test]
    fn who_is_reclaiming_may_finish_but_not_for_ever() {
        let mut slow = grace(&[b"a"]);
        for now in (59_500..119_500).step_by(500) {
            assert!(slow.may_reclaim(b"a", now), "at {now}");
        }
        assert!(!slow.is_on(120_000));
        let mut idle = grace(&[b"a"]);
        assert!(idle.may_reclaim(b"a", 59_500));
        assert!(!idle.is_on(60_500));
    }
}
