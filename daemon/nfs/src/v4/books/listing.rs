//! What the books show to an operator: clients and locks, and taking everything from one
//! client (RFC 8881 section 8.4.3 says what that costs it).
//!
//! Invariant: a picture is bounded, and made part by part, so that calls go on meanwhile. Not
//! promised: that it is of one moment.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use towline_volume::FileHandle;

use super::Books;
use crate::v4::state::ranges::Span;

/// Most locks of one picture, as a count.
const LOCKS_SHOWN_MAX: usize = 10_000;

/// A client, as an operator sees it.
#[derive(Clone, Debug)]
pub struct ClientSeen {
    /// Its id.
    pub id: u64,
    /// What it calls itself.
    pub owner: Box<[u8]>,
    /// Where it was seen first.
    pub address: IpAddr,
    /// Milliseconds since it was heard of.
    pub silent_ms: u64,
    /// Whether that is longer than its lease.
    pub has_expired: bool,
    /// Whether it has answered a callback.
    pub is_proved: bool,
    /// Its sessions.
    pub sessions: usize,
    /// Opens, lock owners and delegations together.
    pub holds: usize,
}

/// A lock, as an operator sees it.
#[derive(Clone, Debug)]
pub struct LockSeen {
    /// Whose.
    pub client: u64,
    /// The file.
    pub handle: FileHandle,
    /// Where.
    pub span: Span,
    /// Whether it is for writing.
    pub is_write: bool,
}

impl Books {
    /// All clients, in the order of their ids.
    #[must_use]
    pub fn clients_seen(&self) -> Vec<ClientSeen> {
        let now = self.now_ms();
        let present: Vec<_> = self.present().values().cloned().collect();
        let mut seen: Vec<ClientSeen> = present
            .into_iter()
            .map(|client| ClientSeen {
                id: client.id,
                owner: client.owner.clone(),
                address: client.address,
                silent_ms: client.silent_ms(now),
                has_expired: self.has_expired(&client),
                is_proved: client.is_proved(),
                sessions: self.sessions_of(client.id).len(),
                holds: client.holds(),
            })
            .collect();
        seen.sort_unstable_by_key(|client| client.id);
        seen
    }

    /// Locked ranges, bounded, and whether there are more.
    #[must_use]
    pub fn locks_seen(&self) -> (Vec<LockSeen>, bool) {
        let mut seen = Vec::new();
        for part in &self.files.parts {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            for (handle, file) in part.iter() {
                for lock in file.ranges.all() {
                    if seen.len() >= LOCKS_SHOWN_MAX {
                        return (seen, true);
                    }
                    let mut lockers = file.lockers.iter();
                    let locker = lockers.find(|locker| locker.other == lock.owner);
                    seen.push(LockSeen {
                        client: locker.map_or(0, |locker| locker.client),
                        handle: *handle,
                        span: lock.span,
                        is_write: lock.is_write,
                    });
                }
            }
        }
        seen.sort_unstable_by_key(|lock| (lock.client, lock.span.first));
        (seen, false)
    }

    /// Takes everything from a client, its id included; what it held. Blocks.
    pub fn revoke(&self, id: u64) -> Option<ClientSeen> {
        let seen = self.clients_seen();
        let seen = seen.into_iter().find(|client| client.id == id)?;
        self.expel(id);
        self.expelled.fetch_add(1, Ordering::Relaxed);
        Some(seen)
    }

    /// Clients that an operator has sent away since the start.
    #[must_use]
    pub fn expelled(&self) -> u64 {
        self.expelled.load(Ordering::Relaxed)
    }
}
