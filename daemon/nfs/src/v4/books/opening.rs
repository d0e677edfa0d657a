//! Opens in the books: OPEN, OPEN_DOWNGRADE, CLOSE, and what stands in their way.
//!
//! Invariant: the open of a client whose lease has run out gives way in the very call that it
//! stands in the way of (courtesy, RFC 8881 section 8.4.2.3), and its stateid then says so. Not
//! promised: that two clients which both wait are served in turn.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use towline_volume::{FileHandle, Identity};

use super::{Books, Entry, File, Holding};
use crate::v4::Status;
use crate::v4::session::{Client, EXPIRED_SOME};
use crate::v4::state::opens::{Open, Wanted};
use crate::v4::state::stateid::{Kind, Other, StateId};

/// Most clients that give way to one OPEN: each is a lease that has run out.
const WAYS_MAX: usize = 64;

/// What is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The file.
    pub handle: FileHandle,
    /// As whom.
    pub who: Identity,
    /// The owner, as the client calls it.
    pub owner: &'a [u8],
    /// 1 to 3.
    pub access: u32,
    /// 0 to 3.
    pub deny: u32,
}

impl Books {
    /// Opens a file for a client.
    ///
    /// # Errors
    /// SHARE_DENIED, or DELAY where nothing more can be held.
    pub fn open(&self, client: &Arc<Client>, opening: &Opening<'_>) -> Result<StateId, Status> {
        self.has_room(client)?;
        let wanted = Wanted {
            client: client.id,
            owner: opening.owner,
            access: opening.access,
            deny: opening.deny,
        };
        for _ in 0..WAYS_MAX {
            let tried = self.with_file(&opening.handle, |file| {
                if let Some(other) = file.opens.conflict(&wanted) {
                    return Err(other);
                }
                Ok(self.enter(file, client, opening, &wanted))
            });
            match tried {
                Some(Ok(stateid)) => return Ok(stateid),
                Some(Err(other)) if self.give_way(other, &opening.handle) => {}
                Some(Err(_)) => return Err(Status::ShareDenied),
                None => break,
            }
        }
        Err(Status::Delay)
    }

    fn enter(
        &self,
        file: &mut File,
        client: &Arc<Client>,
        opening: &Opening<'_>,
        wanted: &Wanted<'_>,
    ) -> StateId {
        let new = || self.new_other(Kind::Open);
        let (stateid, is_new) = file.opens.open(wanted, new);
        let access = file
            .opens
            .find(&stateid.other)
            .map_or(0, |open| open.access);
        if is_new {
            let place = (opening.handle, opening.who);
            let name = (Kind::Open, stateid.other);
            self.list(Holding::new(name, client.clone(), place, None, access));
        } else if let Some(holding) = self.holdings.get(&stateid.other) {
            holding.set(stateid.seqid, access);
        }
        stateid
    }

    /// Takes away what a client has of a file, if its lease has run out; whether it had.
    pub(super) fn give_way(&self, id: u64, handle: &FileHandle) -> bool {
        let Some(client) = self.client(id) else {
            // It is on its way out.
            return self.forget_opens(id, handle);
        };
        if !self.has_expired(&client) {
            return false;
        }
        // On the disk first: after a restart it must not reclaim what others were given.
        if self.ledger.note(Entry::Gone(&client.owner)).is_err() {
            return false;
        }
        self.forget_opens(id, handle)
    }

    fn forget_opens(&self, id: u64, handle: &FileHandle) -> bool {
        let gone = self.with_file(handle, |file| {
            let opens = file.opens.close_all(id).into_iter().map(|open| open.other);
            opens.chain(file.drop_lockers(id)).collect::<Vec<Other>>()
        });
        for other in gone.into_iter().flatten() {
            if let Some(holding) = self.holdings.get(&other) {
                holding.revoke(Status::Expired);
                holding
                    .client
                    .flags
                    .fetch_or(EXPIRED_SOME, Ordering::AcqRel);
            }
        }
        self.wake(handle);
        true
    }

    /// Gives part of an open back.
    ///
    /// # Errors
    /// INVAL if that part was never opened.
    pub fn downgrade(&self, holding: &Holding, access: u32, deny: u32) -> Result<StateId, Status> {
        let down = self.with_file(&holding.handle, |file| {
            let stateid = file.opens.downgrade(&holding.other, access, deny)?;
            holding.set(stateid.seqid, access);
            Some(stateid)
        });
        down.flatten().ok_or(Status::Inval)
    }

    /// Ends an open.
    ///
    /// # Errors
    /// BAD_STATEID if it is gone already, LOCKS_HELD while something is locked by it.
    pub fn close(&self, holding: &Holding) -> Result<Open, Status> {
        let other = &holding.other;
        let closed = self.with_file(&holding.handle, |file| {
            let (lockers, has_locks) = file.lockers_of(other);
            if has_locks {
                return Err(Status::LocksHeld);
            }
            lockers.iter().for_each(|locker| file.drop_locker(locker));
            let open = file.opens.close(other).ok_or(Status::BadStateId)?;
            Ok((open, lockers))
        });
        let (open, lockers) = closed.unwrap_or(Err(Status::BadStateId))?;
        for other in lockers.iter().chain([other]) {
            self.unlist(other);
        }
        Ok(open)
    }

    /// Whether somebody's open denies this access to a caller without an open of its own. Opens
    /// whose lease has run out give way.
    #[must_use]
    pub fn denies(&self, handle: &FileHandle, access: u32) -> bool {
        for _ in 0..WAYS_MAX {
            let denied = {
                let Some(part) = self.files.part(handle) else {
                    return false;
                };
                part.get(handle).and_then(|file| file.opens.denies(access))
            };
            match denied {
                None => return false,
                Some(other) if self.give_way(other, handle) => {}
                Some(_) => return true,
            }
        }
        true
    }
}
