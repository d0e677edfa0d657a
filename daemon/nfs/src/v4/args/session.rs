//! Arguments of EXCHANGE_ID, CREATE_SESSION and SEQUENCE (RFC 8881 sections 18.35, 18.36, 18.46).
//!
//! Invariant: lists keep the bounds of the protocol. Not promised: SSV; what belongs to it is
//! told apart and not read.

use super::super::Status;
use crate::rpc::auth::{AUTH_BYTES_MAX, AUTH_NONE, AUTH_SYS};
use crate::v4::state::clients::OWNER_BYTES_MAX;
use crate::xdr::{Malformed, Reader};

/// Longest text of an implementation's name or domain, in bytes: bounds what is read of it
/// (RFC 8881 section 3.3.17, `NFS4_OPAQUE_LIMIT`).
const NAME_BYTES_MAX: usize = 1024;

/// Most callback credentials (`csa_sec_parms`) that are looked at: clients send one or two.
const SECURITIES_MAX: u32 = 8;

/// EXCHANGE_ID.
#[derive(Clone, Debug)]
pub struct ExchangeIdArgs<'a> {
    /// `co_verifier`.
    pub verifier: [u8; 8],
    /// `co_ownerid`.
    pub owner: &'a [u8],
    /// `EXCHGID4_FLAG_*`.
    pub flags: u32,
    /// `spa_how`: 0 none, 1 machine credentials, 2 SSV.
    pub protection: u32,
}

/// One channel's sizes (`channel_attrs4`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Channel {
    /// Longest request, in bytes, RPC head included.
    pub request_bytes_max: u32,
    /// Longest reply, in bytes, RPC head included.
    pub response_bytes_max: u32,
    /// Longest reply that is kept, in bytes.
    pub cached_bytes_max: u32,
    /// Most operations of a call.
    pub operations_max: u32,
    /// Slots.
    pub slots: u32,
}

/// How the client wants to be called back (`callback_sec_parms4`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Security {
    /// AUTH_NONE.
    None,
    /// AUTH_SYS with this body.
    Unix(Vec<u8>),
}

/// CREATE_SESSION.
#[derive(Clone, Debug)]
pub struct CreateSessionArgs {
    /// The client id.
    pub client: u64,
    /// Its number.
    pub sequence: u32,
    /// `CREATE_SESSION4_FLAG_*`.
    pub flags: u32,
    /// The client's calls.
    pub fore: Channel,
    /// Our calls.
    pub back: Channel,
    /// RPC program of the callbacks.
    pub program: u32,
    /// The first credential for callbacks that we can use.
    pub security: Option<Security>,
}

/// SEQUENCE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SequenceArgs {
    /// The session.
    pub session: [u8; 16],
    /// The call's number in its slot.
    pub sequence: u32,
    /// The slot.
    pub slot: u32,
    /// The highest slot that the client uses.
    pub highest_slot: u32,
    /// Whether the reply is to be kept.
    pub is_kept: bool,
}

impl<'a> ExchangeIdArgs<'a> {
    pub(super) fn parse(from: &mut Reader<'a>) -> Result<Self, Status> {
        let verifier = from.fixed()?;
        let owner = from.opaque(OWNER_BYTES_MAX)?;
        let flags = from.u32()?;
        let protection = from.u32()?;
        if protection != 0 {
            // What follows depends on it, and nothing of it is built here.
            let status = match protection {
                1 => Status::Inval,
                2 => Status::EncrAlgUnsupp,
                _ => Status::BadXdr,
            };
            return Err(status);
        }
        match from.u32()? {
            0 => {}
            1 => {
                from.opaque(NAME_BYTES_MAX)?;
                from.opaque(NAME_BYTES_MAX)?;
                from.u64()?;
                from.u32()?;
            }
            _ => return Err(Status::BadXdr),
        }
        Ok(Self {
            verifier,
            owner,
            flags,
            protection,
        })
    }
}

impl Channel {
    fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let _header_padding = from.u32()?;
        let channel = Self {
            request_bytes_max: from.u32()?,
            response_bytes_max: from.u32()?,
            cached_bytes_max: from.u32()?,
            operations_max: from.u32()?,
            slots: from.u32()?,
        };
        match from.u32()? {
            0 => Ok(channel),
            // `ca_rdma_ird`.
            1 => from.u32().map(|_| channel),
            _ => Err(Malformed),
        }
    }
}

impl CreateSessionArgs {
    pub(super) fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            client: from.u64()?,
            sequence: from.u32()?,
            flags: from.u32()?,
            fore: Channel::parse(from)?,
            back: Channel::parse(from)?,
            program: from.u32()?,
            security: security(from)?,
        })
    }
}

/// The first credential that we can use, of a list.
pub(super) fn security(from: &mut Reader<'_>) -> Result<Option<Security>, Malformed> {
    /// RPCSEC_GSS (RFC 2203 section 1).
    const GSS: u32 = 6;
    let count = from.u32()?;
    if count > SECURITIES_MAX {
        return Err(Malformed);
    }
    let mut found = None;
    for _ in 0..count {
        let one = match from.u32()? {
            AUTH_NONE => Some(Security::None),
            AUTH_SYS => Some(Security::Unix(unix_body(from)?)),
            GSS => {
                from.u32()?;
                from.opaque(AUTH_BYTES_MAX)?;
                from.opaque(AUTH_BYTES_MAX)?;
                None
            }
            _ => return Err(Malformed),
        };
        found = found.or(one);
    }
    Ok(found)
}

/// The body of an AUTH_SYS credential as it stands there (RFC 5531 appendix A).
fn unix_body(from: &mut Reader<'_>) -> Result<Vec<u8>, Malformed> {
    /// Longest machine name, in bytes: the RFC's `machinename<255>`.
    const MACHINE_BYTES_MAX: usize = 255;
    /// Most groups, a count: the RFC's `gids<16>`.
    const GROUPS_MAX: u32 = 16;
    let whole = from.rest();
    from.u32()?;
    from.opaque(MACHINE_BYTES_MAX)?;
    from.u64()?;
    let groups = from.u32()?;
    if groups > GROUPS_MAX {
        return Err(Malformed);
    }
    for _ in 0..groups {
        from.u32()?;
    }
    let length = whole.len() - from.rest().len();
    Ok(whole.get(..length).unwrap_or(&[]).to_vec())
}

impl SequenceArgs {
    pub(in crate::v4) fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            session: from.fixed()?,
            sequence: from.u32()?,
            slot: from.u32()?,
            highest_slot: from.u32()?,
            is_kept: from.flag()?,
        })
    }
}
