//! TEST_STATEID, FREE_STATEID and DELEGRETURN (RFC 8881 sections 18.6, 18.38 and 18.48).
//!
//! Invariant: what is freed was revoked, or holds nothing. Not promised: that a stateid which was
//! good a moment ago still is.

use super::Status;
use super::compound::{Outcome, Run};
use super::state::stateid::{Kind, Meaning, StateId};
use crate::xdr::{Reader, Writer};

/// TEST_STATEID.
pub(super) fn test(run: &mut Run<'_>, count: u32, mut list: Reader<'_>) -> Outcome {
    run.room_for(8 + 4 * count as usize)?;
    let client = run.client()?;
    let mut results = Vec::new();
    let mut out = Writer::new(&mut results);
    out.u32(count);
    for _ in 0..count {
        let stateid = StateId::parse(&mut list).map_err(Status::from)?;
        let status = match run.resolve(stateid).meaning() {
            Meaning::Given(given) => run.books.holding(given, &client).err(),
            Meaning::Anonymous | Meaning::Bypass | Meaning::Current | Meaning::Invalid => {
                Some(Status::BadStateId)
            }
        };
        out.u32(status.unwrap_or(Status::Ok).number());
    }
    run.out.extend_from_slice(&results);
    Ok(())
}

/// FREE_STATEID.
pub(super) fn free(run: &mut Run<'_>, stateid: StateId) -> Outcome {
    let client = run.client()?;
    let Meaning::Given(given) = run.resolve(stateid).meaning() else {
        return Err(Status::BadStateId.into());
    };
    let holding = run.books.holding_as_it_is(given, &client);
    let holding = holding.ok_or(Status::BadStateId)?;
    if !holding.is_revoked() {
        holding.judge(given.seqid)?;
        match holding.kind {
            Kind::Lock if !run.books.has_locks(&holding) => {}
            Kind::Open | Kind::Lock | Kind::Delegation => return Err(Status::LocksHeld.into()),
        }
    }
    run.books.drop_holding(&holding.other);
    run.books.freed(&client);
    Ok(())
}

/// DELEGRETURN (RFC 8881 section 18.6).
pub(super) fn give_back(run: &mut Run<'_>, stateid: StateId) -> Outcome {
    let handle = run.node()?.located.node.handle;
    let client = run.client()?;
    let holding = run.books.holding(run.resolve(stateid), &client)?;
    if holding.kind != Kind::Delegation || holding.handle != handle {
        return Err(Status::BadStateId.into());
    }
    run.books.drop_holding(&holding.other);
    Ok(())
}
