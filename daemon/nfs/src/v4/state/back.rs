//! The back channel of one client: which callback goes out next, over which connection, and what
//! is made of the answer (RFC 8881 sections 2.10.3.1 and 2.10.6).
//!
//! Each session that asked for it has a channel of one slot; what waits is sent over whichever is
//! free. A callback whose connection has gone, or that is not answered in time, is sent again with
//! the same number over the next one that is bound. Invariant: a slot has one callback under way,
//! what waits is bounded, and nothing is sent over a connection that was not bound. Not promised:
//! that a callback is answered; whoever depends on it keeps a time of its own.

use std::collections::VecDeque;

use crate::v4::args::session::Security;
use crate::v4::callback::{Answer, Callback};
use crate::v4::session::SESSION_BYTES;

/// Most callbacks of a client that wait, as a count: one for each file that is recalled at once.
pub const WAITING_MAX: usize = 4096;

/// Most connections of a session that callbacks may use, as a count: clients bind one.
const LINES_MAX: usize = 4;

/// How often one callback is sent at most; then it is given up, and recalls end by revocation.
const TRIES_MAX: u32 = 8;

/// How long an answer may take, in milliseconds, before the connection counts as gone.
pub const ANSWER_MS_MAX: u64 = 10_000;

/// Time until what a client has put off is sent again, in milliseconds; it doubles.
const AGAIN_MS: u64 = 50;

/// NFS4ERR_DELAY (RFC 8881 section 15.1).
const DELAY: u32 = 10_008;
/// NFS4ERR_SEQ_MISORDERED (RFC 8881 section 15.1).
const SEQ_MISORDERED: u32 = 10_063;
/// NFS4ERR_BADHANDLE and NFS4ERR_BAD_STATEID (RFC 8881 section 15.1): the client may not have seen
/// the reply yet that gave it what is asked back.
const NOT_YET_KNOWN: [u32; 2] = [10_001, 10_025];

/// A callback that waits.
#[derive(Clone, Debug)]
struct Waiting {
    callback: Callback,
    tries: u32,
    not_before_ms: u64,
}

/// A callback in the slot.
#[derive(Clone, Debug)]
struct UnderWay {
    waiting: Waiting,
    /// The number of the call; 0 while it must be sent again.
    xid: u32,
    sent_ms: u64,
}

/// The channel of one session; `L` names a connection.
#[derive(Debug)]
struct Channel<L> {
    session: [u8; SESSION_BYTES],
    minor: u32,
    program: u32,
    security: Security,
    /// The number of the last call in the slot.
    sequence: u32,
    lines: Vec<L>,
    under_way: Option<UnderWay>,
    /// Whether it has answered since its connection was bound.
    is_proved: bool,
}

/// All channels of a client.
#[derive(Debug)]
pub struct Back<L> {
    channels: Vec<Channel<L>>,
    waiting: VecDeque<Waiting>,
}

/// A callback to be sent now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order<L> {
    /// Over which connection.
    pub line: L,
    /// What.
    pub callback: Callback,
    /// The call's number.
    pub xid: u32,
    /// The session's program.
    pub program: u32,
    /// The session's credential.
    pub security: Security,
    /// The session.
    pub session: [u8; SESSION_BYTES],
    /// Its number in the slot.
    pub sequence: u32,
    /// The session's minor version.
    pub minor: u32,
}

impl<L> Default for Back<L> {
    fn default() -> Self {
        Self {
            channels: Vec::new(),
            waiting: VecDeque::new(),
        }
    }
}

impl<L: Clone + PartialEq> Back<L> {
    /// A session with a back channel was made, or its terms have changed.
    pub fn open(
        &mut self,
        (session, minor): ([u8; SESSION_BYTES], u32),
        (program, security): (u32, Security),
    ) {
        if let Some(channel) = self.channel(&session) {
            (channel.program, channel.security) = (program, security);
            return;
        }
        self.channels.push(Channel {
            session,
            minor,
            program,
            security,
            sequence: 0,
            lines: Vec::new(),
            under_way: None,
            is_proved: false,
        });
    }

    /// A session has ended: what was under way there goes over another one.
    pub fn close(&mut self, session: &[u8; SESSION_BYTES]) {
        let Some(place) = self.channels.iter().position(|one| one.session == *session) else {
            return;
        };
        let channel = self.channels.swap_remove(place);
        if let Some(under_way) = channel.under_way {
            self.waiting.push_front(under_way.waiting);
        }
    }

    /// A connection may be used for a session's callbacks; whether the session has any. The path
    /// is tried at once.
    pub fn bind(&mut self, session: &[u8; SESSION_BYTES], line: L) -> bool {
        let Some(channel) = self.channel(session) else {
            return false;
        };
        channel.lines.retain(|other| *other != line);
        if channel.lines.len() >= LINES_MAX {
            channel.lines.remove(0);
        }
        channel.lines.push(line);
        self.check(session);
        true
    }

    /// Tries the path of a session.
    pub fn check(&mut self, session: &[u8; SESSION_BYTES]) {
        let Some(channel) = self.channel(session) else {
            return;
        };
        channel.is_proved = false;
        let is_checked = |one: &Waiting| one.callback == Callback::Check;
        let is_on_its_way = channel
            .under_way
            .as_ref()
            .is_some_and(|under_way| is_checked(&under_way.waiting));
        if !is_on_its_way && !self.waiting.iter().any(is_checked) {
            self.waiting.push_front(Waiting {
                callback: Callback::Check,
                tries: 0,
                not_before_ms: 0,
            });
        }
    }

    /// A connection is gone.
    pub fn cut(&mut self, line: &L) {
        for channel in &mut self.channels {
            if channel.lines.contains(line) {
                channel.lose(line);
            }
        }
    }

    /// Puts a callback in; whether there was room.
    pub fn push(&mut self, callback: Callback) -> bool {
        let has_room = self.waiting.len() < WAITING_MAX;
        if has_room {
            self.waiting.push_back(Waiting {
                callback,
                tries: 0,
                not_before_ms: 0,
            });
        }
        has_room
    }

    /// The next callback that can be sent now; `xid` makes a number for its call.
    pub fn next(&mut self, now_ms: u64, xid: impl FnOnce() -> u32) -> Option<Order<L>> {
        let has_line = |channel: &Channel<L>| !channel.lines.is_empty();
        let again = |channel: &Channel<L>| {
            let under_way = channel.under_way.as_ref();
            has_line(channel) && under_way.is_some_and(|under_way| under_way.xid == 0)
        };
        let is_free = |channel: &Channel<L>| has_line(channel) && channel.under_way.is_none();
        let mut channels = self.channels.iter();
        let place = channels.position(again);
        let place = place.or_else(|| self.channels.iter().position(is_free))?;
        let channel = self.channels.get_mut(place)?;
        if channel.under_way.is_none() {
            let mut waiting = self.waiting.iter();
            let place = waiting.position(|one| one.not_before_ms <= now_ms)?;
            channel.under_way = Some(UnderWay {
                waiting: self.waiting.remove(place)?,
                xid: 0,
                sent_ms: 0,
            });
        }
        let line = channel.lines.last()?.clone();
        let under_way = channel.under_way.as_mut()?;
        under_way.xid = xid();
        under_way.sent_ms = now_ms;
        under_way.waiting.tries += 1;
        Some(Order {
            line,
            callback: under_way.waiting.callback.clone(),
            xid: under_way.xid,
            program: channel.program,
            security: channel.security.clone(),
            session: channel.session,
            sequence: channel.sequence.wrapping_add(1),
            minor: channel.minor,
        })
    }

    /// The client has answered the call with this number. What comes back is through: with its
    /// status, or given up.
    pub fn answered(
        &mut self,
        xid: u32,
        answer: Answer,
        now_ms: u64,
    ) -> Option<(Callback, Option<u32>)> {
        let is_it = |channel: &&mut Channel<L>| {
            let under_way = channel.under_way.as_ref();
            under_way.is_some_and(|under_way| under_way.xid == xid && xid != 0)
        };
        let channel = self.channels.iter_mut().find(is_it)?;
        let UnderWay { mut waiting, .. } = channel.under_way.take()?;
        let is_check = waiting.callback == Callback::Check;
        match answer {
            Answer::Done(status) => {
                channel.is_proved = true;
                if !is_check {
                    channel.sequence = channel.sequence.wrapping_add(1);
                }
                let is_put_off = status == DELAY || NOT_YET_KNOWN.contains(&status);
                if !is_put_off {
                    return Some((waiting.callback, Some(status)));
                }
            }
            Answer::Slot(DELAY) => {}
            // A client that counts anew.
            Answer::Slot(SEQ_MISORDERED) if channel.sequence != 0 => channel.sequence = 0,
            Answer::Slot(_) | Answer::Refused => {
                channel.lines.clear();
                channel.is_proved = false;
                if is_check {
                    return Some((waiting.callback, None));
                }
            }
        }
        if waiting.tries >= TRIES_MAX {
            return Some((waiting.callback, None));
        }
        waiting.not_before_ms = now_ms.saturating_add(AGAIN_MS << waiting.tries);
        self.waiting.push_front(waiting);
        None
    }

    /// Connections that have not answered in time count as gone.
    pub fn tick(&mut self, now_ms: u64) {
        for channel in &mut self.channels {
            let is_late = channel.under_way.as_ref().is_some_and(|under_way| {
                under_way.xid != 0 && now_ms.saturating_sub(under_way.sent_ms) > ANSWER_MS_MAX
            });
            if is_late && let Some(line) = channel.lines.last().cloned() {
                channel.lose(&line);
            }
        }
    }

    /// Whether nothing waits and nothing is under way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.channels.iter().all(|one| one.under_way.is_none())
    }

    /// Whether the client has answered over a connection that is still there.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        let mut channels = self.channels.iter();
        channels.any(|channel| channel.is_proved && !channel.lines.is_empty())
    }

    /// Whether there are channels, and none of them has a connection.
    #[must_use]
    pub fn is_down(&self) -> bool {
        let has_line = |channel: &Channel<L>| !channel.lines.is_empty();
        !self.channels.is_empty() && !self.channels.iter().any(has_line)
    }

    /// The sessions whose channel has no connection.
    #[must_use]
    pub fn sessions_down(&self) -> Vec<[u8; SESSION_BYTES]> {
        let down = self.channels.iter().filter(|one| one.lines.is_empty());
        down.map(|channel| channel.session).collect()
    }

    /// The sessions whose channel has a connection.
    #[must_use]
    pub fn sessions_up(&self) -> Vec<[u8; SESSION_BYTES]> {
        let up = self.channels.iter().filter(|one| !one.lines.is_empty());
        up.map(|channel| channel.session).collect()
    }

    fn channel(&mut self, session: &[u8; SESSION_BYTES]) -> Option<&mut Channel<L>> {
        let mut channels = self.channels.iter_mut();
        channels.find(|channel| channel.session == *session)
    }
}

impl<L: PartialEq> Channel<L> {
    /// A connection of it is gone; what was sent over it is sent again.
    fn lose(&mut self, line: &L) {
        self.lines.retain(|other| other != line);
        if self.lines.is_empty() {
            self.is_proved = false;
        }
        if let Some(under_way) = &mut self.under_way {
            under_way.xid = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v4::state::stateid::StateId;
    use towline_volume::FileHandle;

    const ONE: [u8; 16] = [1; 16];
    const TWO: [u8; 16] = [2; 16];

    fn recall(number: u8) -> Callback {
        let handle = FileHandle::from_bytes(&[number; 20]).unwrap();
        Callback::Recall(StateId::default(), handle)
    }

    fn back(sessions: &[[u8; 16]]) -> Back<u8> {
        let mut back = Back::default();
        for session in sessions {
            back.open((*session, 1), (7, Security::None));
        }
        back
    }

    /// A channel whose path was tried.
    fn proved() -> Back<u8> {
        let mut back = back(&[ONE]);
        assert!(back.bind(&ONE, 1));
        assert_eq!(
            back.next(0, || 1).map(|order| order.callback),
            Some(Callback::Check)
        );
        assert!(!back.is_proved());
        assert!(back.answered(1, Answer::Done(0), 0).is_some());
        assert!(back.is_proved());
        back
    }

    #[test]
    fn a_path_is_tried_before_it_counts_and_the_slot_has_one_call() {
        let mut back = proved();
        assert!(back.push(recall(1)) && back.push(recall(2)));
        let first = back.next(0, || 2).unwrap();
        assert_eq!((first.sequence, first.callback), (1, recall(1)));
        assert_eq!(back.next(0, || 3), None, "the slot is taken");
        assert_eq!(
            back.answered(9, Answer::Done(0), 0),
            None,
            "nobody's answer"
        );
        assert_eq!(
            back.answered(2, Answer::Done(0), 0),
            Some((recall(1), Some(0)))
        );
        let second = back.next(0, || 3).unwrap();
        assert_eq!((second.sequence, second.callback), (2, recall(2)));
    }

    #[test]
    fn a_cut_call_goes_out_again_with_its_number_over_the_next_connection() {
        let mut back = proved();
        back.push(recall(1));
        assert_eq!(back.next(0, || 2).unwrap().sequence, 1);
        back.cut(&1);
        assert!(back.is_down() && !back.is_proved());
        assert_eq!(back.sessions_down(), [ONE]);
        assert_eq!(back.next(0, || 3), None);
        assert_eq!(back.answered(2, Answer::Done(0), 0), None, "too late");
        back.bind(&ONE, 2);
        let again = back.next(0, || 4).unwrap();
        assert_eq!(
            (again.line, again.sequence, again.callback),
            (2, 1, recall(1))
        );
        assert!(!back.is_down());
    }

    #[test]
    fn what_a_client_puts_off_comes_again_later_and_not_for_ever() {
        let mut back = proved();
        back.push(recall(1));
        let mut now = 0;
        for number in 0..TRIES_MAX {
            let xid = 10 + number;
            let order = back.next(now, || xid).expect("the next try");
            assert_eq!(
                order.sequence,
                1 + number,
                "a slot that answered has moved on"
            );
            let through = back.answered(xid, Answer::Done(DELAY), now);
            assert_eq!(through.is_some(), number + 1 == TRIES_MAX);
            assert_eq!(back.next(now, || 99), None, "not at once");
            now += AGAIN_MS << (number + 1);
        }
        assert!(back.is_quiet());
    }

    #[test]
    fn a_failed_slot_stays_and_a_refusal_ends_the_path() {
        let mut back = proved();
        back.push(recall(1));
        back.next(0, || 2);
        assert_eq!(back.answered(2, Answer::Slot(DELAY), 0), None);
        assert_eq!(back.next(100, || 3).unwrap().sequence, 1);
        assert_eq!(back.answered(3, Answer::Refused, 100), None);
        assert!(back.is_down());
        back.bind(&ONE, 1);
        assert_eq!(back.next(100, || 4).unwrap().callback, Callback::Check);
        back.answered(4, Answer::Refused, 100);
        assert!(back.is_down() && !back.is_proved());
    }

    #[test]
    fn a_silent_connection_is_given_up_and_another_session_takes_over() {
        let mut back = back(&[ONE, TWO]);
        back.bind(&ONE, 1);
        back.next(0, || 1);
        back.tick(ANSWER_MS_MAX);
        assert!(!back.is_down());
        back.tick(ANSWER_MS_MAX + 1);
        assert!(back.is_down());
        back.bind(&TWO, 2);
        assert_eq!(back.sessions_down(), [ONE]);
        back.close(&ONE);
        assert_eq!(back.next(0, || 2).map(|order| order.session), Some(TWO));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut back = back(&[ONE]);
        for _ in 0..WAITING_MAX {
            assert!(back.push(recall(1)));
        }
        assert!(!back.push(recall(1)));
    }
}
