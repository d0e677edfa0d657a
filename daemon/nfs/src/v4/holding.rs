//! A piece of state that a client holds, found by its stateid without the lock of its file.
//!
//! Invariant: what a READ or WRITE needs to know (whose, of which file, for what) is here, kept in
//! step by [`super::books`] under the file's lock. Not promised: that it is still held a moment
//! later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use towline_volume::{FileHandle, Identity};

use super::Status;
use super::session::Client;
use super::state::stateid::{Kind, Other, StateId};

/// An open, the locks of an owner, or a delegation.
#[derive(Debug)]
pub struct Holding {
    /// What names it.
    pub other: Other,
    /// What it is.
    pub kind: Kind,
    /// Whose.
    pub client: Arc<Client>,
    /// Of which file.
    pub handle: FileHandle,
    /// As whom it was opened.
    pub who: Identity,
    /// The open that locks came by.
    pub open: Option<Arc<Holding>>,
    seqid: AtomicU32,
    access: AtomicU32,
    /// 0, or the status that tells why it is held no more.
    revoked: AtomicU32,
}

impl Holding {
    /// State with seqid 1.
    #[must_use]
    pub fn new(
        (kind, other): (Kind, Other),
        client: Arc<Client>,
        (handle, who): (FileHandle, Identity),
        open: Option<Arc<Self>>,
        access: u32,
    ) -> Self {
        Self {
            other,
            kind,
            client,
            handle,
            who,
            open,
            seqid: AtomicU32::new(1),
            access: AtomicU32::new(access),
            revoked: AtomicU32::new(0),
        }
    }

    /// It has changed.
    pub fn set(&self, seqid: u32, access: u32) {
        self.access.store(access, Ordering::Release);
        self.seqid.store(seqid, Ordering::Release);
    }

    /// Its stateid now.
    #[must_use]
    pub fn stateid(&self) -> StateId {
        StateId {
            seqid: self.seqid.load(Ordering::Acquire),
            other: self.other,
        }
    }

    /// What may be done by it: bits of read 1 and write 2.
    #[must_use]
    pub fn access(&self) -> u32 {
        match &self.open {
            Some(open) => open.access(),
            None => self.access.load(Ordering::Acquire),
        }
    }

    /// It is held no more, for this reason.
    pub fn revoke(&self, why: Status) {
        self.revoked.store(why.number(), Ordering::Release);
    }

    /// Whether it was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire) != 0
    }

    /// Judges a stateid that names it (RFC 8881 section 8.2.4).
    ///
    /// # Errors
    /// Why it is no good.
    pub fn judge(&self, seqid: u32) -> Result<(), Status> {
        let revoked = self.revoked.load(Ordering::Acquire);
        if revoked != 0 {
            let is_delegation = revoked == Status::DelegRevoked.number();
            return Err(match is_delegation {
                true => Status::DelegRevoked,
                false => Status::Expired,
            });
        }
        let now = self.seqid.load(Ordering::Acquire);
        match seqid {
            0 => Ok(()),
            given if given == now => Ok(()),
            // Seqids go round: what is within half a turn behind is old.
            given if now.wrapping_sub(given) < 1 << 31 => Err(Status::OldStateId),
            _ => Err(Status::BadStateId),
        }
    }
}
