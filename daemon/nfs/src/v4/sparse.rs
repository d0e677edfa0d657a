//! SEEK, ALLOCATE and DEALLOCATE (RFC 7862 sections 15.1, 15.4 and 15.11).
//!
//! Invariant: what a stateid allows decides, as for READ and WRITE. Not promised: holes on file
//! systems that keep none; there everything is data up to the end.

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek as lseek};
use rustix::io::Errno;
use towline_volume::VolumeError;
use towline_volume::view::Right;

use super::Status;
use super::compound::{Outcome, Run};
use super::read::{check_regular, granted};
use super::state::opens;
use super::state::stateid::StateId;

/// `NFS4_CONTENT_DATA` (RFC 7862 section 11.5).
const CONTENT_DATA: u32 = 0;
/// `NFS4_CONTENT_HOLE` (RFC 7862 section 11.5).
const CONTENT_HOLE: u32 = 1;

/// SEEK.
pub(super) fn seek(run: &mut Run<'_>, stateid: StateId, offset: u64, what: u32) -> Outcome {
    let target = run.node()?.clone();
    check_regular(&target)?;
    let place = match what {
        CONTENT_DATA => SeekFrom::Data(offset),
        CONTENT_HOLE => SeekFrom::Hole(offset),
        _ => return Err(Status::Inval.into()),
    };
    let grant = granted(run, &target, stateid, opens::READ)?;
    run.must_wait()?;
    let seen = run.ground.attributes(&target)?;
    if offset >= seen.size {
        return Err(Status::Nxio.into());
    }
    let file = run.ground.file(&target, &seen, Right::Read, grant)?;
    // The cursor of the descriptor is moved too, and nobody uses it.
    let (found, is_end) = match lseek(&*file, place) {
        Ok(found) => (found, found >= seen.size),
        // No data behind: the rest is one hole.
        Err(Errno::NXIO) => (seen.size, true),
        Err(error) => return Err(VolumeError::from(error).into()),
    };
    let mut out = run.writer();
    out.u32(u32::from(is_end));
    out.u64(found);
    Ok(())
}

/// ALLOCATE, and DEALLOCATE unless `wanted`.
pub(super) fn allocate(
    run: &mut Run<'_>,
    stateid: StateId,
    (offset, length): (u64, u64),
    wanted: bool,
) -> Outcome {
    let target = run.node()?.clone();
    check_regular(&target)?;
    let end = offset.checked_add(length);
    if length == 0 || end.is_none_or(|end| end > i64::MAX.unsigned_abs()) {
        return Err(Status::Inval.into());
    }
    let volume = target.writable()?;
    let grant = granted(run, &target, stateid, opens::WRITE)?;
    run.must_wait()?;
    let seen = run.ground.attributes(&target)?;
    let file = run.ground.file(&target, &seen, Right::Write, grant)?;
    let node = &target.located.node;
    let guard = run.server.overlap.begin(&node.identity);
    let flags = match wanted {
        true => FallocateFlags::empty(),
        false => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
    };
    let done = fallocate(&*file, flags, offset, length);
    volume.written(node);
    drop(guard);
    done.map_err(VolumeError::from)?;
    Ok(())
}
