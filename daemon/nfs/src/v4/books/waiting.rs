//! Who waits for a lock of a file: told by CB_NOTIFY_LOCK when it has gone (RFC 8881 section
//! 20.11).
//!
//! A waiter is a hint: the client asks again by itself now and then, and must ask again when it is
//! told. Invariant: what waits is bounded and forgotten after [`WAIT_MS_MAX`]; a waiter is told at
//! most once, and only when nothing stands in its way at that moment. Not promised: an order, or
//! that nobody else is faster.

use std::sync::Arc;

use towline_volume::FileHandle;

use super::{Books, File};
use crate::v4::callback::Callback;
use crate::v4::session::Client;
use crate::v4::state::ranges::Span;

/// Most waiters of one file, as a count; the others ask again by themselves.
const WAITERS_MAX: usize = 256;

/// How long a waiter is remembered, in milliseconds: Linux asks again after 30 s at the latest,
/// and is remembered anew then.
const WAIT_MS_MAX: u64 = 60_000;

/// Who waits.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    client: Arc<Client>,
    owner: Box<[u8]>,
    span: Span,
    is_write: bool,
    since_ms: u64,
}

impl Books {
    /// Remembers who was refused a lock and waits for it. Call when it was refused: a lock that
    /// went meanwhile is told of at once.
    pub fn await_lock(
        &self,
        client: &Arc<Client>,
        (handle, owner): (&FileHandle, &[u8]),
        (span, is_write): (Span, bool),
    ) {
        if !client.is_proved() {
            return;
        }
        let now = self.now_ms();
        self.with_file(handle, |file| {
            file.waiters.retain(|waiter| {
                let is_same = waiter.client.id == client.id && *waiter.owner == *owner;
                let is_old = now.saturating_sub(waiter.since_ms) > WAIT_MS_MAX;
                !is_same && !is_old && !waiter.client.is_gone()
            });
            if file.waiters.len() < WAITERS_MAX {
                file.waiters.push(Waiter {
                    client: client.clone(),
                    owner: owner.into(),
                    span,
                    is_write,
                    since_ms: now,
                });
            }
        });
        self.wake(handle);
    }

    /// Something of a file was unlocked: tells those in whose way nothing stands any more.
    pub(super) fn wake(&self, handle: &FileHandle) {
        let is_awaited = {
            let part = self.files.part(handle);
            part.is_some_and(|part| part.get(handle).is_some_and(|file| file.has_waiters()))
        };
        if !is_awaited {
            return;
        }
        let now = self.now_ms();
        let free = self.with_file(handle, |file| file.take_free(now));
        for waiter in free.into_iter().flatten() {
            // Where too much waits already, the client asks by itself.
            self.call_back(&waiter.client, Callback::NotifyLock(*handle, waiter.owner));
        }
    }
}

impl File {
    fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Takes out those in whose way nothing stands.
    fn take_free(&mut self, now_ms: u64) -> Vec<Waiter> {
        let waiters = std::mem::take(&mut self.waiters);
        let (mut free, mut held) = (Vec::new(), Vec::new());
        for waiter in waiters {
            if now_ms.saturating_sub(waiter.since_ms) > WAIT_MS_MAX || waiter.client.is_gone() {
                continue;
            }
            let known = self.locker(waiter.client.id, &waiter.owner);
            let known = known.map(|locker| locker.other);
            match self.clash(known.as_ref(), waiter.span, waiter.is_write) {
                Some(_) => held.push(waiter),
                None => free.push(waiter),
            }
        }
        self.waiters = held;
        free
    }

    /// An owner has what it waited for.
    pub(super) fn forget_waiter(&mut self, client: u64, owner: &[u8]) {
        self.waiters
            .retain(|waiter| waiter.client.id != client || *waiter.owner != *owner);
    }
}
