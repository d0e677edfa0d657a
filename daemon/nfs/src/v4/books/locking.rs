//! Locks in the books: LOCK, LOCKT, LOCKU (RFC 8881 sections 18.10 to 18.12), and what stands in
//! their way.
//!
//! An owner has one stateid for all its locks of a file. Invariant: what a client whose lease has
//! run out has of a file gives way in the very call that it stands in the way of. Not promised:
//! anything about locks that programs on this host take by themselves, or clients of version 3.

use std::sync::Arc;

use towline_volume::FileHandle;

use super::{Books, File, Holding};
use crate::v4::Status;
use crate::v4::session::Client;
use crate::v4::state::ranges::{Lock, Span};
use crate::v4::state::stateid::{Kind, Other, StateId};

/// Most clients that give way to one LOCK: each is a lease that has run out.
const WAYS_MAX: usize = 64;

/// Who has locks of a file.
#[derive(Clone, Debug)]
pub(super) struct Locker {
    pub(super) client: u64,
    pub(super) owner: Box<[u8]>,
    /// What names its locks.
    pub(super) other: Other,
    /// The open that it came by.
    pub(super) open: Other,
    pub(super) seqid: u32,
}

/// A lock that stands in the way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Clash {
    /// Where.
    pub span: Span,
    /// Whether it is for writing.
    pub is_write: bool,
    /// Whose.
    pub client: u64,
    /// Its owner there.
    pub owner: Box<[u8]>,
}

/// Who wants a lock.
#[derive(Clone, Copy, Debug)]
pub enum Asking<'a> {
    /// An owner by its name, by way of an open.
    Owner(&'a Arc<Holding>, &'a [u8]),
    /// An owner by its locks.
    Locks(&'a Arc<Holding>),
}

impl Books {
    /// Locks a range.
    ///
    /// # Errors
    /// What stands in the way, or a status.
    pub fn lock(
        &self,
        asking: &Asking<'_>,
        (span, is_write): (Span, bool),
    ) -> Result<StateId, Result<Clash, Status>> {
        let (via, owner) = match asking {
            Asking::Owner(open, owner) => {
                self.has_room(&open.client).map_err(Err)?;
                (*open, Some(*owner))
            }
            Asking::Locks(locks) => (*locks, None),
        };
        for _ in 0..WAYS_MAX {
            let tried = self.with_file(&via.handle, |file| {
                let known = match owner {
                    Some(owner) => file.locker(via.client.id, owner).map(|locker| locker.other),
                    None => Some(via.other),
                };
                if let Some(clash) = file.clash(known.as_ref(), span, is_write) {
                    return Err(Ok(clash));
                }
                let other = match known {
                    Some(other) => other,
                    None => self.new_locker(file, via, owner.unwrap_or(&[])),
                };
                let lock = Lock {
                    owner: other,
                    span,
                    is_write,
                };
                match file.ranges.lock(lock) {
                    true => {
                        file.has_what_it_waited_for(&other);
                        self.step(file, &other).ok_or(Err(Status::BadStateId))
                    }
                    false => Err(Err(Status::Delay)),
                }
            });
            match tried.unwrap_or(Err(Err(Status::Delay))) {
                Err(Ok(clash)) if self.give_way(clash.client, &via.handle) => {}
                other => return other,
            }
        }
        Err(Err(Status::Delay))
    }

    fn new_locker(&self, file: &mut File, open: &Arc<Holding>, owner: &[u8]) -> Other {
        let other = self.new_other(Kind::Lock);
        file.lockers.push(Locker {
            client: open.client.id,
            owner: owner.into(),
            other,
            open: open.other,
            seqid: 0,
        });
        let place = (open.handle, open.who);
        let holding = Holding::new(
            (Kind::Lock, other),
            open.client.clone(),
            place,
            Some(open.clone()),
            0,
        );
        self.list(holding);
        other
    }

    /// An owner's locks have changed.
    fn step(&self, file: &mut File, other: &Other) -> Option<StateId> {
        let mut lockers = file.lockers.iter_mut();
        let locker = lockers.find(|locker| locker.other == *other)?;
        locker.seqid = StateId::next_seqid(locker.seqid);
        if let Some(holding) = self.holdings.get(other) {
            holding.set(locker.seqid, 0);
        }
        Some(StateId {
            seqid: locker.seqid,
            other: *other,
        })
    }

    /// What would stand in the way of a lock.
    #[must_use]
    pub fn test(
        &self,
        client: &Client,
        (handle, owner): (&FileHandle, &[u8]),
        (span, is_write): (Span, bool),
    ) -> Option<Clash> {
        for _ in 0..WAYS_MAX {
            let found = self.with_file(handle, |file| {
                let known = file.locker(client.id, owner).map(|locker| locker.other);
                file.clash(known.as_ref(), span, is_write)
            });
            let clash = found.flatten()?;
            if !self.give_way(clash.client, handle) {
                return Some(clash);
            }
        }
        None
    }

    /// Unlocks a range.
    ///
    /// # Errors
    /// BAD_STATEID if the locks are gone meanwhile; DELAY if that splits into too many ranges.
    pub fn unlock(&self, locks: &Holding, span: Span) -> Result<StateId, Status> {
        let done = self.with_file(&locks.handle, |file| {
            match file.ranges.unlock(&locks.other, span) {
                true => self.step(file, &locks.other).ok_or(Status::BadStateId),
                false => Err(Status::Delay),
            }
        });
        self.wake(&locks.handle);
        done.unwrap_or(Err(Status::BadStateId))
    }

    /// What an owner of locks is called by its client.
    #[must_use]
    pub fn locker_name(&self, locks: &Holding) -> Option<Box<[u8]>> {
        let name = self.with_file(&locks.handle, |file| {
            let mut lockers = file.lockers.iter();
            let locker = lockers.find(|locker| locker.other == locks.other)?;
            Some(locker.owner.clone())
        });
        name.flatten()
    }

    /// Whether an owner still has locks of its file.
    #[must_use]
    pub fn has_locks(&self, locks: &Holding) -> bool {
        let has = self.with_file(&locks.handle, |file| file.ranges.has(&locks.other));
        has.unwrap_or(false)
    }
}

impl File {
    pub(super) fn locker(&self, client: u64, owner: &[u8]) -> Option<&Locker> {
        let mut lockers = self.lockers.iter();
        lockers.find(|locker| locker.client == client && *locker.owner == *owner)
    }

    pub(super) fn clash(&self, known: Option<&Other>, span: Span, is_write: bool) -> Option<Clash> {
        let lock = self.ranges.conflict(known, span, is_write)?;
        let whose = self
            .lockers
            .iter()
            .find(|locker| locker.other == lock.owner);
        Some(Clash {
            span: lock.span,
            is_write: lock.is_write,
            client: whose.map_or(0, |locker| locker.client),
            owner: whose.map_or_else(Box::default, |locker| locker.owner.clone()),
        })
    }

    fn has_what_it_waited_for(&mut self, other: &Other) {
        let mut lockers = self.lockers.iter();
        let locker = lockers.find(|locker| locker.other == *other).cloned();
        if let Some(locker) = locker {
            self.forget_waiter(locker.client, &locker.owner);
        }
    }

    /// Takes away the locks under one stateid.
    pub(super) fn drop_locker(&mut self, other: &Other) {
        self.ranges.forget(other);
        self.lockers.retain(|locker| locker.other != *other);
    }

    /// Takes away all that a client has locked; returns the names of its locks.
    pub(super) fn drop_lockers(&mut self, client: u64) -> Vec<Other> {
        let is_gone = |locker: &&Locker| locker.client == client;
        let gone: Vec<Other> = self
            .lockers
            .iter()
            .filter(is_gone)
            .map(|locker| locker.other)
            .collect();
        gone.iter().for_each(|other| self.drop_locker(other));
        gone
    }

    /// The owners that came by an open, and whether one of them has locks.
    pub(super) fn lockers_of(&self, open: &Other) -> (Vec<Other>, bool) {
        let by_open = self.lockers.iter().filter(|locker| locker.open == *open);
        let found: Vec<Other> = by_open.map(|locker| locker.other).collect();
        let has_locks = found.iter().any(|other| self.ranges.has(other));
        (found, has_locks)
    }
}
