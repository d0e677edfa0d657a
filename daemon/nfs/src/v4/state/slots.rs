//! One slot of a session: each call is carried out once (RFC 8881 section 2.10.6).
//!
//! A slot remembers the number of its last call, whether that still runs, and its reply if the
//! client asked for that to be kept. Invariant: of calls with one number, one is carried out. A
//! call that was given up before it did anything leaves the slot as it was. Not promised: kept
//! replies over a restart; the session is gone then.

use std::sync::Arc;

/// One slot.
#[derive(Debug, Default)]
pub struct Slot {
    /// Number of the last call; 0 before the first.
    sequence: u32,
    is_running: bool,
    /// Its reply without record mark, if it was to be kept.
    kept: Option<Arc<[u8]>>,
    /// Tells two calls of one number apart, if its reply was to be kept.
    print: u64,
}

/// What to do with a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is new: carry it out, then [`Slot::finish`] or [`Slot::abandon`].
    New,
    /// It was answered before: send this.
    Replay(Arc<[u8]>),
    /// It was answered before and its reply was not kept.
    Uncached,
    /// It is still being carried out: DELAY.
    Running,
    /// SEQ_MISORDERED.
    Misordered,
    /// SEQ_FALSE_RETRY: another call under the last one's number.
    FalseRetry,
}

impl Slot {
    /// Decides about the call with this number. `print` is a hash of what it asks for; it is
    /// computed only where it is needed.
    pub fn begin(&mut self, sequence: u32, print: impl FnOnce() -> u64) -> Verdict {
        if sequence == self.sequence.wrapping_add(1) {
            if self.is_running {
                // The client may not go on before it has the reply (section 2.10.6.1).
                return Verdict::Misordered;
            }
            self.sequence = sequence;
            self.is_running = true;
            return Verdict::New;
        }
        if sequence != self.sequence || sequence == 0 {
            return Verdict::Misordered;
        }
        match (&self.kept, self.is_running) {
            (_, true) => Verdict::Running,
            (Some(_), false) if print() != self.print => Verdict::FalseRetry,
            (Some(kept), false) => Verdict::Replay(kept.clone()),
            (None, false) => Verdict::Uncached,
        }
    }

    /// The call that ran has this reply; `None`: it is not to be kept.
    pub fn finish(&mut self, kept: Option<(Arc<[u8]>, u64)>) {
        self.is_running = false;
        (self.kept, self.print) = match kept {
            Some((reply, print)) => (Some(reply), print),
            None => (None, 0),
        };
    }

    /// The call that ran has done nothing and has no reply: it may come again.
    pub fn abandon(&mut self) {
        self.is_running = false;
        self.sequence = self.sequence.wrapping_sub(1);
        self.kept = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn a_number_is_carried_out_once() {
        let mut slot = Slot::default();
        assert_eq!(slot.begin(0, || 0), Verdict::Misordered);
        assert_eq!(slot.begin(2, || 0), Verdict::Misordered);
        assert_eq!(slot.begin(1, || 0), Verdict::New);
        assert_eq!(slot.begin(1, || 0), Verdict::Running);
        assert_eq!(slot.begin(2, || 0), Verdict::Misordered);
        slot.finish(None);
        assert_eq!(slot.begin(1, || 0), Verdict::Uncached);
        assert_eq!(slot.begin(2, || 0), Verdict::New);
        slot.finish(Some((reply("two"), 7)));
        assert_eq!(slot.begin(2, || 7), Verdict::Replay(reply("two")));
        assert_eq!(slot.begin(2, || 8), Verdict::FalseRetry);
        assert_eq!(slot.begin(1, || 7), Verdict::Misordered);
        assert_eq!(slot.begin(3, || 0), Verdict::New);
        slot.finish(None);
        assert_eq!(slot.begin(2, || 7), Verdict::Misordered);
    }

    #[test]
    fn what_was_given_up_may_come_again() {
        let mut slot = Slot::default();
        assert_eq!(slot.begin(1, || 0), Verdict::New);
        slot.abandon();
        assert_eq!(slot.begin(1, || 0), Verdict::New);
    }

    #[test]
    fn numbers_go_round() {
        let mut slot = Slot {
            sequence: u32::MAX - 1,
            ..Slot::default()
        };
        assert_eq!(slot.begin(u32::MAX, || 0), Verdict::New);
        slot.finish(None);
        assert_eq!(slot.begin(0, || 0), Verdict::New);
    }

    /// Every interleaving of new call, retransmission and end against a simple account.
    #[test]
    fn every_short_history_agrees_with_an_account() {
        for history in 0_u32..4_u32.pow(7) {
            let (mut slot, mut last, mut running, mut done) = (Slot::default(), 0, false, 0);
            for step in 0..7 {
                match history / 4_u32.pow(step) % 4 {
                    0 => {
                        let verdict = slot.begin(last + 1, || 0);
                        assert_eq!(verdict == Verdict::New, !running);
                        if !running {
                            (last, running) = (last + 1, true);
                        }
                    }
                    1 => {
                        let verdict = slot.begin(last, || u64::from(last));
                        assert_ne!(verdict, Verdict::New);
                        assert_eq!(verdict == Verdict::Running, running && last > 0);
                    }
                    2 if running => {
                        slot.finish(Some((reply("x"), u64::from(last))));
                        (running, done) = (false, done + 1);
                    }
                    3 if running => {
                        slot.abandon();
                        (running, last) = (false, last - 1);
                    }
                    _ => {}
                }
            }
            assert!(done <= 7);
        }
    }
}
