//! LOCK, LOCKT and LOCKU (RFC 8881 sections 18.10 to 18.12).
//!
//! Locks are advisory: they hold between clients of version 4 and stop no READ or WRITE. A lock
//! that is held elsewhere is DENIED at once, to those that would wait too; they are told when it
//! has gone (CB_NOTIFY_LOCK), and ask again. Invariant: a lock for writing needs an open for
//! writing. Not promised: fairness.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Status;
use super::args::lock::Range;
use super::args::{LockArgs, LockOwner, LockTest, Unlock};
use super::books::{Asking, Clash};
use super::compound::{Halt, Outcome, Run};
use super::holding::Holding;
use super::read::check_regular;
use super::session::Client;
use super::state::opens;
use super::state::ranges::Span;
use super::state::stateid::{Kind, Meaning, StateId};
use crate::ground::Target;

/// `WRITE_LT` and `WRITEW_LT` (RFC 8881 section 18.10.1); the others are for reading.
const WRITE_KINDS: [u32; 2] = [2, 4];

/// `READW_LT` and `WRITEW_LT` (RFC 8881 section 18.10.1): whoever asks waits for it.
const WAITING_KINDS: [u32; 2] = [3, 4];

/// LOCK.
pub(super) fn lock(run: &mut Run<'_>, args: &LockArgs<'_>) -> Outcome {
    let target = file(run)?;
    let span = span(&args.range)?;
    let is_write = WRITE_KINDS.contains(&args.kind);
    let client = run.client()?;
    may_lock(run, &client, &target, args.is_reclaim)?;
    let held;
    let asking = match args.owner {
        LockOwner::New { open, owner } => {
            held = holding(run, &target, open, Kind::Open)?;
            Asking::Owner(&held, owner)
        }
        LockOwner::Known { lock } => {
            held = holding(run, &target, lock, Kind::Lock)?;
            Asking::Locks(&held)
        }
    };
    let needed = if is_write { opens::WRITE } else { opens::READ };
    if held.access() & needed == 0 {
        return Err(Status::OpenMode.into());
    }
    run.room_for(DENIED_BYTES_MAX)?;
    match run.books.lock(&asking, (span, is_write)) {
        Ok(stateid) => {
            stateid.write(&mut run.writer());
            run.compound.stateid = stateid;
            Ok(())
        }
        Err(Ok(clash)) => {
            write_denied(run, &clash);
            if WAITING_KINDS.contains(&args.kind) {
                remember(run, &client, &asking, (span, is_write));
            }
            Err(Halt::Told(Status::Denied))
        }
        Err(Err(status)) => Err(status.into()),
    }
}

/// Whoever waits is told when nothing stands in its way any more.
fn remember(run: &Run<'_>, client: &Arc<Client>, asking: &Asking<'_>, wanted: (Span, bool)) {
    let (held, name) = match asking {
        Asking::Owner(open, owner) => (*open, Some((*owner).into())),
        Asking::Locks(locks) => (*locks, run.books.locker_name(locks)),
    };
    if let Some(name) = name {
        run.books.await_lock(client, (&held.handle, &name), wanted);
    }
}

/// LOCKT.
pub(super) fn test(run: &mut Run<'_>, args: &LockTest<'_>) -> Outcome {
    let target = file(run)?;
    let span = span(&args.range)?;
    let is_write = WRITE_KINDS.contains(&args.kind);
    let client = run.client()?;
    may_lock(run, &client, &target, false)?;
    run.room_for(DENIED_BYTES_MAX)?;
    let handle = &target.located.node.handle;
    let place = (handle, args.owner);
    match run.books.test(&client, place, (span, is_write)) {
        None => Ok(()),
        Some(clash) => {
            write_denied(run, &clash);
            Err(Halt::Told(Status::Denied))
        }
    }
}

/// LOCKU.
pub(super) fn unlock(run: &mut Run<'_>, args: &Unlock) -> Outcome {
    let target = file(run)?;
    let span = span(&args.range)?;
    let held = holding(run, &target, args.lock, Kind::Lock)?;
    let stateid = run.books.unlock(&held, span)?;
    stateid.write(&mut run.writer());
    run.compound.stateid = stateid;
    Ok(())
}

/// Bytes of LOCK4denied with the longest owner.
const DENIED_BYTES_MAX: usize = 8 + 8 + 4 + 8 + 4 + super::args::OWNER_BYTES_MAX;

fn write_denied(run: &mut Run<'_>, clash: &Clash) {
    let mut out = run.writer();
    out.u64(clash.span.first);
    out.u64(clash.span.length());
    out.u32(if clash.is_write { 2 } else { 1 });
    out.u64(clash.client);
    out.opaque(&clash.owner);
}

/// The current file.
fn file(run: &Run<'_>) -> Result<Target, Status> {
    let target = run.node()?.clone();
    check_regular(&target).map_err(|status| match status {
        Status::IsDir => Status::IsDir,
        // Section 18.10.3: what is neither is INVAL.
        _ => Status::Inval,
    })?;
    Ok(target)
}

fn span(range: &Range) -> Result<Span, Status> {
    Span::new(range.offset, range.length).ok_or(Status::Inval)
}

/// What must be reclaimed comes first. Nothing of a volume that is only read can be lost.
fn may_lock(
    run: &mut Run<'_>,
    client: &Client,
    target: &Target,
    is_reclaim: bool,
) -> Result<(), Halt> {
    if is_reclaim {
        run.books.may_reclaim(client)?;
        return Ok(());
    }
    if !client.is_complete.load(Ordering::Acquire) {
        return Err(Status::Grace.into());
    }
    let can_lose = target.located.export.volume.writable().is_some();
    if can_lose && run.books.is_in_grace() {
        return Err(Status::Grace.into());
    }
    Ok(())
}

/// What a stateid names, if it is of this kind and of the current file.
fn holding(
    run: &Run<'_>,
    target: &Target,
    stateid: StateId,
    kind: Kind,
) -> Result<Arc<Holding>, Status> {
    let client = run.client()?;
    let Meaning::Given(given) = run.resolve(stateid).meaning() else {
        return Err(Status::BadStateId);
    };
    let holding = run.books.holding(given, &client)?;
    let is_this = holding.kind == kind && holding.handle == target.located.node.handle;
    match is_this {
        true => Ok(holding),
        false => Err(Status::BadStateId),
    }
}
