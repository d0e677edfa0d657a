//! The duplicate-request cache: a call that changed something is answered once (RFC 1813
//! section 4.5, "duplicate request cache").
//!
//! A client that lost a reply sends the same call again, perhaps over a new connection. REMOVE
//! done twice would say "no such file" about a file that it removed, so the first reply is kept
//! and sent again. Key: the client's address (not its port), xid, program, procedure, the caller's
//! ids and a hash over the arguments, so that a reused xid is not taken for a retransmission. The
//! stamp of AUTH_SYS is not part of it: clients change it when they send again. A call that is
//! still being carried out is waited for; the waiter sits on a pool thread, so waiters are few.
//!
//! Invariant: a shard holds at most [`ENTRIES_PER_SHARD_MAX`] entries and each stored reply at
//! most [`REPLY_BYTES_MAX`] bytes: 16 shards, 16,384 entries, about 8 MB in all. A client's calls
//! all lie in one shard, so a noisy client displaces few others. Not promised: that a reply is
//! still there after a restart, or after [`AGE_MAX`].

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::caller::Caller;
use crate::rpc::{Call, Credential};

/// Shards, each with its own lock. Only changes take one, on pool threads.
const SHARDS: usize = 16;

/// Most calls kept in one shard: more than the 65,536 / 64 that one Linux client can have under
/// way on each of 64 connections is not needed, and 1,024 outlive its retransmission timeout.
pub const ENTRIES_PER_SHARD_MAX: usize = 1024;

/// Longest reply kept, in bytes. Replies to changes have at most about 500 (two `wcc_data` and
/// a handle); what were longer is not kept and would be carried out again.
pub const REPLY_BYTES_MAX: usize = 1024;

/// How long a reply is kept: twice the 60 s after which Linux sends a call again over TCP.
pub const AGE_MAX: Duration = Duration::from_secs(120);

/// Most retransmissions that wait for their first call at the same time: each holds a thread of
/// the pool. Others get no answer and are sent again by the client.
pub const WAITERS_MAX: usize = 4;

/// How long a retransmission waits: less than the 60 s after which Linux sends a call once more,
/// so that waits do not pile up. Then it gets no answer, and the client sends it again.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// What makes two calls the same.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Key {
    client: IpAddr,
    xid: u32,
    program: u32,
    procedure: u32,
    credential: Credential,
    hash: [u8; 16],
}

impl Key {
    /// The key of a call of this client.
    pub(crate) fn new(caller: &Caller, call: &Call<'_>) -> Self {
        let mut hash = [0; 16];
        let arguments = blake3::hash(call.arguments.rest());
        for (to, from) in hash.iter_mut().zip(arguments.as_bytes()) {
            *to = *from;
        }
        Self {
            client: caller.address.to_canonical(),
            credential: caller.credential,
            xid: call.xid,
            program: call.program,
            procedure: call.procedure,
            hash,
        }
    }
}

/// What to do with a call.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is new: carry it out, then [`Ticket::keep`] the reply.
    New(Ticket),
    /// It was answered before: send this.
    Replay(Arc<[u8]>),
    /// It is being carried out and the wait was too long or too crowded: send nothing.
    Silence,
}

/// The cache of a node.
#[derive(Debug, Default)]
pub(crate) struct ReplyCache {
    shards: [Shard; SHARDS],
    waiters: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    calls: Mutex<Calls>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct Calls {
    by_key: HashMap<Key, State>,
    /// Keys in the order of their coming, the oldest first.
    order: VecDeque<(Key, Instant)>,
}

#[derive(Clone, Debug)]
enum State {
    Running,
    Answered(Arc<[u8]>),
}

/// The right to carry out a call. Dropped without a reply, the call may come again.
#[derive(Debug)]
pub(crate) struct Ticket {
    cache: Arc<ReplyCache>,
    key: Key,
    kept: bool,
}

impl ReplyCache {
    /// Decides about a call, waiting for its first sending if that is still running. Blocks.
    pub(crate) fn begin(self: &Arc<Self>, key: Key) -> Verdict {
        let shard = self.shard(&key);
        let now = towline_base::clock::now();
        let mut calls = lock(&shard.calls);
        calls.forget_old(now);
        match calls.by_key.get(&key) {
            None => {
                calls.make_room();
                calls.by_key.insert(key, State::Running);
                calls.order.push_back((key, now));
                let (cache, kept) = (self.clone(), false);
                Verdict::New(Ticket { cache, key, kept })
            }
            Some(State::Answered(reply)) => Verdict::Replay(reply.clone()),
            Some(State::Running) => self.wait(shard, calls, &key),
        }
    }

    fn wait(&self, shard: &Shard, calls: MutexGuard<'_, Calls>, key: &Key) -> Verdict {
        if self.waiters.fetch_add(1, Ordering::AcqRel) >= WAITERS_MAX {
            self.waiters.fetch_sub(1, Ordering::AcqRel);
            return Verdict::Silence;
        }
        let running = |calls: &mut Calls| matches!(calls.by_key.get(key), Some(State::Running));
        let (calls, _) = shard
            .answered
            .wait_timeout_while(calls, WAIT_MAX, running)
            .unwrap_or_else(PoisonError::into_inner);
        self.waiters.fetch_sub(1, Ordering::AcqRel);
        match calls.by_key.get(key) {
            Some(State::Answered(reply)) => Verdict::Replay(reply.clone()),
            Some(State::Running) | None => Verdict::Silence,
        }
    }

    fn shard(&self, key: &Key) -> &Shard {
        let mut hasher = DefaultHasher::new();
        key.client.hash(&mut hasher);
        let [first, rest @ ..] = &self.shards;
        let index = hasher.finish() as usize % SHARDS;
        match index {
            0 => first,
            _ => rest.get(index - 1).unwrap_or(first),
        }
    }
}

impl Calls {
    fn forget_old(&mut self, now: Instant) {
        while let Some((key, begun)) = self.order.front()
            && now.saturating_duration_since(*begun) > AGE_MAX
        {
            self.by_key.remove(key);
            self.order.pop_front();
        }
    }

    fn make_room(&mut self) {
        if self.order.len() >= ENTRIES_PER_SHARD_MAX
            && let Some((oldest, _)) = self.order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
    }
}

impl Ticket {
    /// Keeps the reply (without its record mark) for retransmissions and wakes those that wait.
    pub(crate) fn keep(mut self, reply: &[u8]) {
        if reply.len() <= REPLY_BYTES_MAX {
            let shard = self.cache.shard(&self.key);
            // An entry that was displaced meanwhile is not brought back.
            if let Some(state) = lock(&shard.calls).by_key.get_mut(&self.key) {
                *state = State::Answered(reply.into());
            }
            self.kept = true;
            shard.answered.notify_all();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.kept {
            let shard = self.cache.shard(&self.key);
            let mut calls = lock(&shard.calls);
            calls.by_key.remove(&self.key);
            calls.order.retain(|(key, _)| *key != self.key);
            drop(calls);
            shard.answered.notify_all();
        }
    }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    // A panic elsewhere leaves the map whole: every change of it is one insert or remove.
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(xid: u32) -> Key {
        Key {
            client: IpAddr::from([10, 0, 0, 1]),
            xid,
            program: 100_003,
            procedure: 12,
            credential: Credential::Nobody,
            hash: [0; 16],
        }
    }

    fn begin_new(cache: &Arc<ReplyCache>, xid: u32) -> Ticket {
        match cache.begin(key(xid)) {
            Verdict::New(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_retransmission_gets_the_stored_reply() {
        let cache = Arc::new(ReplyCache::default());
        begin_new(&cache, 1).keep(b"removed");
        assert!(matches!(cache.begin(key(1)), Verdict::Replay(reply) if &*reply == b"removed"));
        let other_call = Key {
            hash: [1; 16],
            ..key(1)
        };
        assert!(matches!(cache.begin(other_call), Verdict::New(_)));
    }

    #[test]
    fn a_retransmission_waits_for_the_call_that_is_running() {
        let cache = Arc::new(ReplyCache::default());
        let ticket = begin_new(&cache, 1);
        let waiter = std::thread::spawn({
            let cache = cache.clone();
            move || cache.begin(key(1))
        });
        while cache.waiters.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        ticket.keep(b"done");
        let verdict = waiter.join().unwrap();
        assert!(matches!(verdict, Verdict::Replay(reply) if &*reply == b"done"));
    }

    #[test]
    fn one_waiter_too_many_is_not_answered() {
        let cache = Arc::new(ReplyCache::default());
        let ticket = begin_new(&cache, 1);
        std::thread::scope(|scope| {
            for _ in 0..WAITERS_MAX {
                scope.spawn(|| assert!(matches!(cache.begin(key(1)), Verdict::Replay(_))));
            }
            while cache.waiters.load(Ordering::Acquire) < WAITERS_MAX {
                std::thread::yield_now();
            }
            assert!(matches!(cache.begin(key(1)), Verdict::Silence));
            ticket.keep(b"done");
        });
    }

    #[test]
    fn a_call_that_was_given_up_may_come_again() {
        let cache = Arc::new(ReplyCache::default());
        drop(begin_new(&cache, 1));
        begin_new(&cache, 1).keep(&[0; REPLY_BYTES_MAX + 1]);
        begin_new(&cache, 1).keep(&[0; REPLY_BYTES_MAX]);
        assert!(matches!(cache.begin(key(1)), Verdict::Replay(_)));
    }

    #[test]
    fn a_client_fills_its_shard_and_no_more() {
        let cache = Arc::new(ReplyCache::default());
        let calls = u32::try_from(ENTRIES_PER_SHARD_MAX).unwrap() + 1;
        for xid in 0..calls {
            begin_new(&cache, xid).keep(b"done");
        }
        let kept = lock(&cache.shard(&key(0)).calls).by_key.len();
        assert_eq!(kept, ENTRIES_PER_SHARD_MAX);
        assert!(matches!(cache.begin(key(1)), Verdict::Replay(_)));
        assert!(matches!(cache.begin(key(0)), Verdict::New(_)));
    }

    #[test]
    fn old_replies_are_forgotten() {
        let mut calls = Calls::default();
        let now = towline_base::clock::now();
        calls.by_key.insert(key(1), State::Running);
        calls.order.push_back((key(1), now));
        calls.forget_old(now + AGE_MAX);
        assert_eq!(calls.by_key.len(), 1);
        calls.forget_old(now + AGE_MAX + Duration::from_millis(1));
        assert!(calls.by_key.is_empty() && calls.order.is_empty());
    }
}
