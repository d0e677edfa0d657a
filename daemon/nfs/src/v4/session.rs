//! Clients and their sessions, as all workers share them.
//!
//! A session's calls arrive on every connection and core, so its slots have a lock each, which no
//! two calls want at the same time, and the lease is one atomic number. Invariant: a [`Claim`] that
//! is dropped without a reply leaves its slot as it was. Not promised: sessions over a restart of
//! the node.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::args::{Channel, SequenceArgs};
use super::state::back::Back;
use super::state::slots::{Slot, Verdict};
use super::state::stateid::Other;
use crate::line::Line;

/// Bytes of a session id (RFC 8881 section 3.1, `NFS4_SESSIONID_SIZE`).
pub const SESSION_BYTES: usize = 16;

/// `SEQ4_STATUS_EXPIRED_SOME_STATE_REVOKED` (RFC 8881 section 18.46.3).
pub const EXPIRED_SOME: u32 = 0x10;

/// `SEQ4_STATUS_RECALLABLE_STATE_REVOKED` (RFC 8881 section 18.46.3).
pub const RECALLABLE_REVOKED: u32 = 0x40;

/// `SEQ4_STATUS_CB_PATH_DOWN` (RFC 8881 section 18.46.3).
pub const PATH_DOWN: u32 = 0x1;

/// `SEQ4_STATUS_CB_PATH_DOWN_SESSION` (RFC 8881 section 18.46.3).
const PATH_DOWN_SESSION: u32 = 0x200;

/// What workers share of a client.
#[derive(Debug)]
pub struct Client {
    /// Its id.
    pub id: u64,
    /// Its name, for the ledger.
    pub owner: Box<[u8]>,
    /// Where it was seen first.
    pub address: IpAddr,
    /// Milliseconds since the node's start at its last sign of life.
    renewed: AtomicU64,
    /// `SEQ4_STATUS_*` that every SEQUENCE tells it.
    pub flags: AtomicU32,
    /// Whether it has said that it reclaims no more.
    pub is_complete: AtomicBool,
    /// Whether its id is gone: what is under way finds nothing any more.
    is_gone: AtomicBool,
    held: Mutex<HashSet<Other>>,
    back: Mutex<Back<Line>>,
    /// Whether callbacks reach it, as far as is known.
    is_proved: AtomicBool,
}

impl Client {
    /// A client that was heard of just now.
    #[must_use]
    pub fn new(id: u64, owner: Box<[u8]>, address: IpAddr, now_ms: u64) -> Self {
        Self {
            id,
            owner,
            address,
            renewed: AtomicU64::new(now_ms),
            flags: AtomicU32::new(0),
            is_complete: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            held: Mutex::default(),
            back: Mutex::default(),
            is_proved: AtomicBool::new(false),
        }
    }

    /// Does something with its back channel, and takes note of how that stands then.
    pub fn with_back<T>(&self, act: impl FnOnce(&mut Back<Line>) -> T) -> T {
        let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut back);
        match back.is_down() {
            true => self.flags.fetch_or(PATH_DOWN, Ordering::AcqRel),
            false => self.flags.fetch_and(!PATH_DOWN, Ordering::AcqRel),
        };
        self.is_proved.store(back.is_proved(), Ordering::Release);
        result
    }

    /// Whether it has answered a callback over a connection that is still there.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.is_proved.load(Ordering::Acquire)
    }

    /// It was heard of. One store at most, and none within the same tick.
    #[inline]
    pub fn renew(&self, now_ms: u64) {
        /// Within so many milliseconds the cache line is left alone.
        const TICK_MS: u64 = 64;
        if now_ms.saturating_sub(self.renewed.load(Ordering::Relaxed)) >= TICK_MS {
            self.renewed.store(now_ms, Ordering::Relaxed);
        }
    }

    /// For how long it was not heard of, in milliseconds.
    #[must_use]
    pub fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.renewed.load(Ordering::Relaxed))
    }

    /// Notes what it holds.
    pub fn hold(&self, other: Other) {
        self.held().insert(other);
    }

    /// It holds that no more.
    pub fn let_go(&self, other: &Other) {
        self.held().remove(other);
    }

    /// How many pieces of state it holds.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.held().len()
    }

    /// Everything that it holds.
    #[must_use]
    pub fn everything(&self) -> Vec<Other> {
        self.held().iter().copied().collect()
    }

    /// Its id is gone.
    pub fn end(&self) {
        self.is_gone.store(true, Ordering::Release);
    }

    /// Whether its id is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    fn held(&self) -> MutexGuard<'_, HashSet<Other>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub id: [u8; SESSION_BYTES],
    /// Whose.
    pub client: Arc<Client>,
    /// What was granted.
    pub fore: Channel,
    slots: Box<[Mutex<Slot>]>,
    has_back: bool,
    is_gone: AtomicBool,
    /// Whether its callbacks have lost their connection.
    is_back_lost: AtomicBool,
}

impl Session {
    /// A session with as many slots as `fore` grants; `has_back`: with a back channel.
    #[must_use]
    pub fn new(
        id: [u8; SESSION_BYTES],
        client: Arc<Client>,
        fore: Channel,
        has_back: bool,
    ) -> Self {
        let slots = (0..fore.slots).map(|_| Mutex::default()).collect();
        Self {
            id,
            client,
            fore,
            slots,
            has_back,
            is_gone: AtomicBool::new(false),
            is_back_lost: AtomicBool::new(false),
        }
    }

    /// Whether it has a back channel.
    #[must_use]
    pub fn has_back(&self) -> bool {
        self.has_back
    }

    /// Takes note of whether its callbacks have a connection.
    pub fn set_back_lost(&self, is_lost: bool) {
        self.is_back_lost.store(is_lost, Ordering::Release);
    }

    /// `SEQ4_STATUS_*` that its client is told with each SEQUENCE.
    #[must_use]
    pub fn flags(&self) -> u32 {
        let flags = self.client.flags.load(Ordering::Acquire);
        match self.is_back_lost.load(Ordering::Acquire) {
            true => flags | PATH_DOWN_SESSION,
            false => flags,
        }
    }

    /// It was destroyed; connections that still remember it look no further.
    pub fn end(&self) {
        self.is_gone.store(true, Ordering::Release);
    }

    /// Whether it was destroyed.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire) || self.client.is_gone()
    }

    /// The highest slot.
    #[must_use]
    pub fn highest_slot(&self) -> u32 {
        self.fore.slots.saturating_sub(1)
    }

    /// Decides about a call; `None`: there is no such slot.
    #[must_use]
    pub fn begin(&self, args: &SequenceArgs, print: impl FnOnce() -> u64) -> Option<Verdict> {
        let slot = self.slots.get(args.slot as usize)?;
        Some(lock(slot).begin(args.sequence, print))
    }

    fn with(&self, slot: u32, act: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots.get(slot as usize) {
            act(&mut lock(slot));
        }
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call that occupies its slot.
#[derive(Debug)]
pub struct Claim {
    /// The session.
    pub session: Arc<Session>,
    /// What the call said.
    pub args: SequenceArgs,
    /// A hash of it, if its reply is to be kept.
    print: u64,
    is_settled: bool,
}

impl Claim {
    /// After [`Verdict::New`].
    #[must_use]
    pub fn new(session: Arc<Session>, args: SequenceArgs, print: u64) -> Self {
        Self {
            session,
            args,
            print,
            is_settled: false,
        }
    }

    /// The call has this reply, without record mark.
    pub fn settle(&mut self, reply: &[u8]) {
        self.is_settled = true;
        let print = self.print;
        let kept = self.args.is_kept.then(|| (Arc::from(reply), print));
        self.session.with(self.args.slot, |slot| slot.finish(kept));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_settled {
            self.session.with(self.args.slot, Slot::abandon);
        }
    }
}
