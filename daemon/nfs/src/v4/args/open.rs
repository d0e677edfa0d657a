//! Arguments of OPEN (RFC 8881 section 18.16).
//!
//! Invariant: what the client claims is told apart before anything is believed. The seqid and the
//! client id of the owner mean nothing in a session (section 18.16.3) and are passed over.

use super::settings::Settings;
use super::{OWNER_BYTES_MAX, text};
use crate::v4::Status;
use crate::v4::state::stateid::StateId;
use crate::xdr::Reader;

/// How a file that is not there is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Create {
    /// Not at all.
    No,
    /// UNCHECKED4: takes one that is there; of its attributes only the size is set.
    Unchecked(Settings),
    /// GUARDED4: fails if it is there.
    Guarded(Settings),
    /// EXCLUSIVE4 and EXCLUSIVE4_1: fails unless the same verifier made it.
    Exclusive([u8; 8], Settings),
}

/// What is opened (`open_claim4`).
#[derive(Clone, Copy, Debug)]
pub enum Claim<'a> {
    /// CLAIM_NULL: a name in the current directory.
    Name(&'a [u8]),
    /// CLAIM_FH: the current filehandle.
    Handle,
    /// CLAIM_PREVIOUS: the current filehandle, open before the restart.
    Previous,
    /// CLAIM_DELEGATE_CUR: a name, under a delegation.
    DelegationName(StateId, &'a [u8]),
    /// CLAIM_DELEG_CUR_FH: the current filehandle, under a delegation.
    Delegation(StateId),
    /// CLAIM_DELEGATE_PREV and CLAIM_DELEG_PREV_FH: not done here.
    DelegationBefore,
}

/// OPEN.
#[derive(Clone, Copy, Debug)]
pub struct OpenArgs<'a> {
    /// `share_access` with its wants.
    pub access: u32,
    /// `share_deny`.
    pub deny: u32,
    /// The open owner.
    pub owner: &'a [u8],
    /// Whether and how it is made.
    pub create: Create,
    /// What.
    pub claim: Claim<'a>,
}

impl<'a> OpenArgs<'a> {
    pub(super) fn parse(from: &mut Reader<'a>) -> Result<Self, Status> {
        let _ignored_seqid = from.u32()?;
        let (access, deny) = (from.u32()?, from.u32()?);
        let _ignored_client = from.u64()?;
        let owner = from.opaque(OWNER_BYTES_MAX)?;
        let create = match from.u32()? {
            0 => Create::No,
            1 => how(from)?,
            _ => return Err(Status::BadXdr),
        };
        Ok(Self {
            access,
            deny,
            owner,
            create,
            claim: claim(from)?,
        })
    }
}

fn how(from: &mut Reader<'_>) -> Result<Create, Status> {
    Ok(match from.u32()? {
        0 => Create::Unchecked(Settings::parse(from)?),
        1 => Create::Guarded(Settings::parse(from)?),
        2 => Create::Exclusive(from.fixed()?, Settings::default()),
        3 => Create::Exclusive(from.fixed()?, Settings::parse(from)?),
        _ => return Err(Status::BadXdr),
    })
}

fn claim<'a>(from: &mut Reader<'a>) -> Result<Claim<'a>, Status> {
    Ok(match from.u32()? {
        0 => Claim::Name(text(from)?),
        1 => {
            let _delegation_type = from.u32()?;
            Claim::Previous
        }
        2 => Claim::DelegationName(StateId::parse(from)?, text(from)?),
        3 => {
            text(from)?;
            Claim::DelegationBefore
        }
        4 => Claim::Handle,
        5 => Claim::Delegation(StateId::parse(from)?),
        6 => Claim::DelegationBefore,
        _ => return Err(Status::BadXdr),
    })
}
