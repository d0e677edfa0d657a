//! Arguments of LOCK, LOCKT and LOCKU (RFC 8881 sections 18.10 to 18.12).
//!
//! Invariant: an owner keeps the protocol's bound. Not promised: that a range can be locked; the
//! operation judges it.

use super::OWNER_BYTES_MAX;
use crate::v4::state::stateid::StateId;
use crate::xdr::{Malformed, Reader};

/// A range as it came: `length` of 2^64-1 is "to the end".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// Who locks (`locker4`).
#[derive(Clone, Copy, Debug)]
pub enum LockOwner<'a> {
    /// A new owner, by way of an open.
    New {
        /// The open.
        open: StateId,
        /// The owner.
        owner: &'a [u8],
    },
    /// One that has locks of this file already.
    Known {
        /// Its locks.
        lock: StateId,
    },
}

/// LOCK.
#[derive(Clone, Copy, Debug)]
pub struct LockArgs<'a> {
    /// READ_LT 1, WRITE_LT 2, READW_LT 3, WRITEW_LT 4.
    pub kind: u32,
    /// Whether it was held before the restart.
    pub is_reclaim: bool,
    /// What.
    pub range: Range,
    /// Who.
    pub owner: LockOwner<'a>,
}

/// LOCKT.
#[derive(Clone, Copy, Debug)]
pub struct LockTest<'a> {
    /// As in [`LockArgs`].
    pub kind: u32,
    /// What.
    pub range: Range,
    /// Who.
    pub owner: &'a [u8],
}

/// LOCKU.
#[derive(Clone, Copy, Debug)]
pub struct Unlock {
    /// As in [`LockArgs`]; nothing depends on it.
    pub kind: u32,
    /// The owner's locks.
    pub lock: StateId,
    /// What.
    pub range: Range,
}

impl Range {
    fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            offset: from.u64()?,
            length: from.u64()?,
        })
    }
}

/// `lock_owner4`: the client id in it means nothing in a session.
fn owner<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let _ignored_client = from.u64()?;
    from.opaque(OWNER_BYTES_MAX)
}

fn kind(from: &mut Reader<'_>) -> Result<u32, Malformed> {
    match from.u32()? {
        kind @ 1..=4 => Ok(kind),
        _ => Err(Malformed),
    }
}

impl<'a> LockArgs<'a> {
    pub(super) fn parse(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let kind = kind(from)?;
        let is_reclaim = from.flag()?;
        let range = Range::parse(from)?;
        let owner = match from.flag()? {
            true => {
                let _open_seqid = from.u32()?;
                let open = StateId::parse(from)?;
                let _lock_seqid = from.u32()?;
                let owner = owner(from)?;
                LockOwner::New { open, owner }
            }
            false => {
                let lock = StateId::parse(from)?;
                let _lock_seqid = from.u32()?;
                LockOwner::Known { lock }
            }
        };
        Ok(Self {
            kind,
            is_reclaim,
            range,
            owner,
        })
    }
}

impl<'a> LockTest<'a> {
    pub(super) fn parse(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            kind: kind(from)?,
            range: Range::parse(from)?,
            owner: owner(from)?,
        })
    }
}

impl Unlock {
    pub(super) fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = kind(from)?;
        let _seqid = from.u32()?;
        Ok(Self {
            kind,
            lock: StateId::parse(from)?,
            range: Range::parse(from)?,
        })
    }
}
