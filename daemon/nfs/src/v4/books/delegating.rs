//! Delegations in the books: given, asked back before a change, given back or revoked (RFC 8881
//! section 10.4).
//!
//! Invariant: a file is barred before it is asked for, under one lock with the giving, so that no
//! promise slips in between. Whoever waits for a file waits at most [`PATIENCE_MS`], because what
//! is not given back by then is revoked. Not promised: anything about what programs of this host
//! change themselves in the folders of published models.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use towline_volume::{FileHandle, Identity};

use super::{Books, Holding};
use crate::v4::Status;
use crate::v4::callback::Callback;
use crate::v4::session::{Client, RECALLABLE_REVOKED};
use crate::v4::state::delegations::{Delegations, Place, Refusal};
use crate::v4::state::opens;
use crate::v4::state::stateid::{Kind, Other, StateId};

/// How long a change waits for clients that were promised that there is none, in milliseconds. They
/// answer within 15 ms; RFC 8881 section 10.4.5 would give them a lease, but a change waits inside
/// the store, where everybody else waits behind it, and who loses a promise only asks again.
const PATIENCE_MS: u64 = 1_000;

/// How long one wait for what is given back lasts, before the clock is looked at again.
const WAIT: Duration = Duration::from_millis(50);

impl Books {
    /// Promises a client that a file does not change.
    ///
    /// # Errors
    /// Why nothing is promised.
    pub fn delegate(
        &self,
        client: &Arc<Client>,
        (handle, who): (FileHandle, Identity),
        place: Place,
    ) -> Result<StateId, Refusal> {
        let (made, oldest) = {
            let mut all = self.delegations();
            all.may_give(place, client.id, self.now_ms())?;
            self.has_room(client).map_err(|_| Refusal::Full)?;
            let oldest = all.to_make_room(client.id);
            let other = self.new_other(Kind::Delegation);
            all.give(place, client.id, other);
            let name = (Kind::Delegation, other);
            let holding = Holding::new(name, client.clone(), (handle, who), None, opens::READ);
            (self.list(holding), oldest)
        };
        if let Some(oldest) = oldest
            && self.delegations().recall(&oldest, self.now_ms())
        {
            self.ask_back(&oldest);
        }
        Ok(made.stateid())
    }

    /// Files are about to change: asks back what was promised about them, and waits until it is
    /// given back; who does not give it back within [`PATIENCE_MS`] loses it. Call it before the
    /// change, on a thread that may wait.
    pub fn recall(&self, places: &[Place]) {
        let asked = self.delegations().bar(places, self.now_ms());
        asked.iter().for_each(|other| self.ask_back(other));
        let until = self.now_ms().saturating_add(PATIENCE_MS);
        loop {
            let all = self.delegations();
            if !all.has(places) || self.now_ms() >= until {
                break;
            }
            let waited = self.given_back.wait_timeout(all, WAIT);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        let late = self.delegations().about(places);
        self.revoke_late(&late);
        // The change follows now.
        self.delegations().bar(places, self.now_ms());
    }

    /// Asks a client for a delegation; one that is silent for longer than its lease loses it.
    fn ask_back(&self, other: &Other) {
        let Some(holding) = self.holdings.get(other) else {
            return;
        };
        let client = &holding.client;
        let recall = Callback::Recall(holding.stateid(), holding.handle);
        if self.has_expired(client) || !self.call_back(client, recall) {
            self.revoke_delegation(&holding);
        }
    }

    /// Takes away what was asked back a lease ago.
    pub(super) fn revoke_overdue(&self) {
        let lease_ms = u64::from(self.lease_seconds) * 1000;
        let late = self.delegations().overdue(self.now_ms(), lease_ms);
        self.revoke_late(&late);
    }

    fn revoke_late(&self, late: &[Other]) {
        for holding in late.iter().filter_map(|other| self.holdings.get(other)) {
            tracing::warn!(
                peer = %holding.client.address,
                "an NFS client did not give a delegation back in time, so it was revoked"
            );
            self.revoke_delegation(&holding);
        }
    }

    fn revoke_delegation(&self, holding: &Holding) {
        holding.revoke(Status::DelegRevoked);
        let flags = &holding.client.flags;
        flags.fetch_or(RECALLABLE_REVOKED, Ordering::AcqRel);
        self.revoked.fetch_add(1, Ordering::Relaxed);
        self.release(&holding.other);
    }

    /// A delegation is held no more.
    pub(super) fn release(&self, other: &Other) {
        self.delegations().take(other);
        self.given_back.notify_all();
    }

    /// Delegations revoked since the start.
    #[must_use]
    pub fn revoked(&self) -> u64 {
        self.revoked.load(Ordering::Relaxed)
    }

    fn delegations(&self) -> MutexGuard<'_, Delegations> {
        let all = self.delegations.lock();
        all.unwrap_or_else(PoisonError::into_inner)
    }
}
