//! Everything that version 4 keeps of its clients, shared by all workers of a node.
//!
//! Client ids lie behind one lock, which only calls take that may wait; sessions, stateids and
//! files behind [`SHARDS`] each. A lock of a file is never taken while one of a stateid is held.
//! Invariant: what a client holds is bounded ([`HELD_PER_CLIENT_MAX`], [`HELD_MAX`]), and every
//! piece of it is listed at its client, under its stateid and at its file, or nowhere. Not
//! promised: that a client which is silent for longer than a lease keeps what it has, once
//! somebody else wants it (courtesy, RFC 8881 section 8.4.2.3).

mod calling;
mod delegating;
mod locking;
mod opening;
mod waiting;

pub use locking::{Asking, Clash};
pub use opening::Opening;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use towline_base::clock;
use towline_volume::FileHandle;

use super::COURTESY_SECONDS_MAX;
use super::Status;
use super::callback::Callback;
use super::holding::Holding;
use super::ledger::{Before, Entry, Ledger};
use super::session::{Client, EXPIRED_SOME, RECALLABLE_REVOKED, SESSION_BYTES, Session};
use super::state::clients::Clients;
use super::state::delegations::Delegations;
use super::state::grace::Grace;
use super::state::opens::Opens;
use super::state::ranges::Ranges;
use super::state::stateid::{Kind, Meaning, Other, StateId, other};

/// Locks of each kind. More would only cost memory: two calls that meet on one wait for less
/// than a microsecond.
const SHARDS: usize = 64;

/// Most opens, locks and delegations of one client together.
pub const HELD_PER_CLIENT_MAX: usize = 65_536;

/// Most of all clients together; at about 400 bytes each, 400 MB.
pub const HELD_MAX: usize = 1_000_000;

/// Most sessions of one client id: a client needs one, and makes a second before it gives up a
/// first that it has lost.
pub const SESSIONS_PER_CLIENT_MAX: usize = 8;

/// State of one file.
#[derive(Debug, Default)]
pub struct File {
    /// Who has it open.
    opens: Opens,
    /// What is locked.
    ranges: Ranges,
    /// By whom, and who has locked before.
    lockers: Vec<locking::Locker>,
    /// Who wants to be told when a lock goes.
    waiters: Vec<waiting::Waiter>,
}

impl File {
    fn is_empty(&self) -> bool {
        self.opens.is_empty() && self.lockers.is_empty()
    }
}

/// A map cut into parts with a lock each.
#[derive(Debug)]
struct Shards<K, V> {
    parts: Box<[Mutex<HashMap<K, V>>]>,
    hasher: RandomState,
}

impl<K: Eq + Hash, V> Shards<K, V> {
    fn new() -> Self {
        Self {
            parts: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    fn part(&self, key: &K) -> Option<MutexGuard<'_, HashMap<K, V>>> {
        let place = self.hasher.hash_one(key) as usize % SHARDS;
        let part = self.parts.get(place)?;
        Some(part.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        self.part(key)?.get(key).cloned()
    }

    fn insert(&self, key: K, value: V) {
        if let Some(mut part) = self.part(&key) {
            part.insert(key, value);
        }
    }

    fn remove(&self, key: &K) -> Option<V> {
        self.part(key)?.remove(key)
    }
}

/// The books of a node.
#[derive(Debug)]
pub struct Books {
    /// Differs between any two starts of the node.
    epoch: u32,
    /// What makes this node's sessions tellable from another's (`so_major_id`, scope).
    pub identity: [u8; 16],
    started: Instant,
    /// The lease, in seconds.
    pub lease_seconds: u32,
    clients: Mutex<Clients>,
    /// Confirmed clients by id.
    present: Mutex<HashMap<u64, Arc<Client>>>,
    sessions: Shards<[u8; SESSION_BYTES], Arc<Session>>,
    holdings: Shards<Other, Arc<Holding>>,
    files: Shards<FileHandle, File>,
    given: AtomicU64,
    sessions_open: AtomicUsize,
    ledger: Ledger,
    grace: Mutex<Grace>,
    grace_is_noted: AtomicBool,
    /// By kind: opens, lock owners, delegations.
    held: [AtomicUsize; 3],
    delegations: Mutex<Delegations>,
    /// Rings when a delegation is held no more.
    given_back: Condvar,
    /// Delegations revoked since the start.
    revoked: AtomicU64,
    /// Numbers of callbacks.
    xids: AtomicU32,
    /// Callbacks sent, in the order of [`Callback::LABELS`].
    calls: [AtomicU64; Callback::LABELS.len()],
    /// Clients for which callbacks wait or are under way.
    called: Mutex<HashSet<u64>>,
    /// When what is late was looked at last.
    ticked_ms: AtomicU64,
}

/// How much there is at the moment, for metrics and status.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Census {
    /// Client ids.
    pub clients: u64,
    /// Sessions.
    pub sessions: u64,
    /// Opens.
    pub opens: u64,
    /// Owners that have locks of a file.
    pub lock_owners: u64,
    /// Delegations.
    pub delegations: u64,
}

impl Books {
    /// Empty books for a start of the node, after what an earlier one has left.
    #[must_use]
    pub fn new((ledger, before): (Ledger, Before), lease_seconds: u32) -> Self {
        let Before {
            epoch,
            identity,
            reclaimers,
        } = before;
        let grace = Grace::new(reclaimers, u64::from(lease_seconds) * 1000);
        Self {
            epoch,
            identity,
            started: clock::now(),
            lease_seconds,
            clients: Mutex::new(Clients::new(epoch)),
            present: Mutex::default(),
            sessions: Shards::new(),
            holdings: Shards::new(),
            files: Shards::new(),
            given: AtomicU64::new(1),
            sessions_open: AtomicUsize::new(0),
            ledger,
            grace: Mutex::new(grace),
            grace_is_noted: AtomicBool::new(false),
            held: std::array::from_fn(|_| AtomicUsize::new(0)),
            delegations: Mutex::default(),
            given_back: Condvar::new(),
            revoked: AtomicU64::new(0),
            xids: AtomicU32::new(1),
            calls: std::array::from_fn(|_| AtomicU64::new(0)),
            called: Mutex::default(),
            ticked_ms: AtomicU64::new(0),
        }
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        clock::now()
            .saturating_duration_since(self.started)
            .as_millis() as u64
    }

    /// The client ids.
    pub fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A confirmed client.
    #[must_use]
    pub fn client(&self, id: u64) -> Option<Arc<Client>> {
        self.present().get(&id).cloned()
    }

    fn present(&self) -> MutexGuard<'_, HashMap<u64, Arc<Client>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client was confirmed.
    pub fn admit(&self, client: Arc<Client>) {
        self.present().insert(client.id, client);
    }

    /// Whether a client holds state under a lease that runs.
    #[must_use]
    pub fn is_in_use(&self, id: u64) -> bool {
        let client = self.client(id);
        client.is_some_and(|client| client.holds() > 0 && !self.has_expired(&client))
    }

    /// Whether a client was silent for longer than its lease.
    #[must_use]
    pub fn has_expired(&self, client: &Client) -> bool {
        client.silent_ms(self.now_ms()) > u64::from(self.lease_seconds) * 1000
    }

    /// Takes everything away that a client has: sessions, opens, locks, and its id.
    pub fn expel(&self, id: u64) {
        let client = self.present().remove(&id);
        self.clients().remove(id);
        let Some(client) = client else {
            return;
        };
        client.end();
        if client.is_complete.load(Ordering::Acquire) {
            // A failure was told of, and costs this client no more than a try to reclaim.
            let _ = self.ledger.note(Entry::Gone(&client.owner));
        }
        for session in self.sessions_of(id) {
            self.end_session(&session.id);
        }
        for other in client.everything() {
            self.drop_holding(&other);
        }
    }

    /// Clients that were silent for longer than courtesy lasts go. Called now and then.
    pub fn sweep(&self) {
        let now = self.now_ms();
        let limit = u64::from(COURTESY_SECONDS_MAX) * 1000;
        let present = self.present();
        let silent = present
            .values()
            .filter(|client| client.silent_ms(now) > limit);
        let gone: Vec<u64> = silent.map(|client| client.id).collect();
        drop(present);
        gone.into_iter().for_each(|id| self.expel(id));
    }

    /// A session.
    #[must_use]
    pub fn session(&self, id: &[u8; SESSION_BYTES]) -> Option<Arc<Session>> {
        self.sessions.get(id)
    }

    /// The sessions of a client.
    #[must_use]
    pub fn sessions_of(&self, id: u64) -> Vec<Arc<Session>> {
        let mut found = Vec::new();
        for part in &self.sessions.parts {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            let of_client = part.values().filter(|session| session.client.id == id);
            found.extend(of_client.cloned());
        }
        found
    }

    /// A session was made.
    pub fn add_session(&self, session: Arc<Session>) {
        self.sessions_open.fetch_add(1, Ordering::Relaxed);
        self.sessions.insert(session.id, session);
    }

    /// Ends a session; whether there was one.
    pub fn end_session(&self, id: &[u8; SESSION_BYTES]) -> bool {
        match self.sessions.remove(id) {
            Some(session) => {
                session.end();
                session.client.with_back(|back| back.close(id));
                self.pump(&session.client);
                self.sessions_open.fetch_sub(1, Ordering::Relaxed);
                true
            }
            None => false,
        }
    }

    /// The state that a client's stateid names.
    ///
    /// # Errors
    /// BAD_STATEID if it is none of this client's, else what [`Holding::judge`] says.
    pub fn holding(&self, stateid: StateId, client: &Client) -> Result<Arc<Holding>, Status> {
        let Meaning::Given(given) = stateid.meaning() else {
            return Err(Status::BadStateId);
        };
        let holding = self.holdings.get(&given.other).ok_or(Status::BadStateId)?;
        // Otherwise whoever learns a stateid could use it.
        if holding.client.id != client.id {
            return Err(Status::BadStateId);
        }
        holding.judge(given.seqid)?;
        Ok(holding)
    }

    /// The same without a judgement, for operations on state that was revoked.
    #[must_use]
    pub fn holding_as_it_is(&self, stateid: StateId, client: &Client) -> Option<Arc<Holding>> {
        let holding = self.holdings.get(&stateid.other)?;
        (holding.client.id == client.id).then_some(holding)
    }

    fn new_other(&self, kind: Kind) -> Other {
        other(self.epoch, kind, self.given.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a client may hold one piece more.
    fn has_room(&self, client: &Client) -> Result<(), Status> {
        let is_full = client.holds() >= HELD_PER_CLIENT_MAX
            || self.held.iter().map(count).sum::<usize>() >= HELD_MAX;
        match is_full {
            true => Err(Status::Delay),
            false => Ok(()),
        }
    }

    fn counter(&self, kind: Kind) -> &AtomicUsize {
        let [opens, lock_owners, delegations] = &self.held;
        match kind {
            Kind::Open => opens,
            Kind::Lock => lock_owners,
            Kind::Delegation => delegations,
        }
    }

    fn list(&self, holding: Holding) -> Arc<Holding> {
        let holding = Arc::new(holding);
        holding.client.hold(holding.other);
        self.counter(holding.kind).fetch_add(1, Ordering::Relaxed);
        self.holdings.insert(holding.other, holding.clone());
        holding
    }

    fn unlist(&self, other: &Other) -> Option<Arc<Holding>> {
        let holding = self.holdings.remove(other)?;
        holding.client.let_go(other);
        self.counter(holding.kind).fetch_sub(1, Ordering::Relaxed);
        Some(holding)
    }

    /// Takes a piece of state away, wherever it is listed.
    pub fn drop_holding(&self, other: &Other) {
        let Some(holding) = self.unlist(other) else {
            return;
        };
        if holding.kind == Kind::Delegation {
            self.release(other);
            return;
        }
        self.with_file(&holding.handle, |file| {
            file.opens.close(other);
            file.drop_locker(other);
        });
        self.wake(&holding.handle);
    }

    /// Does something with a file's state; empty state is forgotten.
    fn with_file<T>(&self, handle: &FileHandle, act: impl FnOnce(&mut File) -> T) -> Option<T> {
        let mut part = self.files.part(handle)?;
        let file = part.entry(*handle).or_default();
        let result = act(file);
        if file.is_empty() {
            part.remove(handle);
        }
        Some(result)
    }

    /// Whether a client may reclaim what it held before the node was restarted.
    ///
    /// # Errors
    /// NO_GRACE.
    pub fn may_reclaim(&self, client: &Client) -> Result<(), Status> {
        let is_complete = client.is_complete.load(Ordering::Acquire);
        let may = self.grace().may_reclaim(&client.owner, self.now_ms());
        match may && !is_complete {
            true => Ok(()),
            false => Err(Status::NoGrace),
        }
    }

    /// Whether clients may still reclaim what others must not be given meanwhile.
    pub fn is_in_grace(&self) -> bool {
        let is_on = self.grace().is_on(self.now_ms());
        if !is_on && !self.grace_is_noted.swap(true, Ordering::AcqRel) {
            // Before anything is given that somebody could reclaim after the next restart.
            if self.ledger.note(Entry::GraceEnded).is_err() {
                self.grace_is_noted.store(false, Ordering::Release);
                return true;
            }
            tracing::info!("clients of NFSv4 have reclaimed what they held");
        }
        is_on
    }

    /// A client reclaims no more. Blocks until that is on the disk.
    ///
    /// # Errors
    /// COMPLETE_ALREADY; SERVERFAULT if the disk failed.
    pub fn complete(&self, client: &Client) -> Result<(), Status> {
        if client.is_complete.load(Ordering::Acquire) {
            return Err(Status::CompleteAlready);
        }
        let noted = self.ledger.note(Entry::Complete(&client.owner));
        noted.map_err(|_| Status::ServerFault)?;
        client.is_complete.store(true, Ordering::Release);
        self.grace().complete(&client.owner);
        Ok(())
    }

    fn grace(&self) -> MutexGuard<'_, Grace> {
        self.grace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a client no longer of what was revoked, once all of that is freed.
    pub fn freed(&self, client: &Client) {
        let all = client.everything();
        let found = all.iter().filter_map(|other| self.holdings.get(other));
        let (mut left, mut recallable) = (0, 0);
        for holding in found.filter(|holding| holding.is_revoked()) {
            match holding.kind {
                Kind::Open | Kind::Lock => left = EXPIRED_SOME,
                Kind::Delegation => recallable = RECALLABLE_REVOKED,
            }
        }
        let gone = (EXPIRED_SOME | RECALLABLE_REVOKED) & !(left | recallable);
        client.flags.fetch_and(!gone, Ordering::AcqRel);
    }

    /// How much there is.
    #[must_use]
    pub fn census(&self) -> Census {
        Census {
            clients: self.present().len() as u64,
            sessions: self.sessions_open.load(Ordering::Relaxed) as u64,
            opens: count(self.counter(Kind::Open)) as u64,
            lock_owners: count(self.counter(Kind::Lock)) as u64,
            delegations: count(self.counter(Kind::Delegation)) as u64,
        }
    }
}

fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}
