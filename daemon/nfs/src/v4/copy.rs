//! COPY and CLONE (RFC 7862 sections 15.2 and 15.13): from the saved file to the current one.
//!
//! COPY is synchronous and copies at most [`COPY_BYTES_MAX`] at a time; the client goes on from
//! there. CLONE shares blocks where the file system can, and is NOTSUPP where it cannot: clients
//! then copy. Invariant: both files are of one export, and what their stateids allow decides. Not
//! promised: copies between servers.

use std::sync::Arc;

use rustix::fs::copy_file_range;
use towline_io::OpenFile;
use towline_io::span::Passage;
use towline_sys::{files, identity};
use towline_volume::view::Right;
use towline_volume::{Attributes, VolumeError};

use super::Status;
use super::args::Copying;
use super::compound::{Halt, Outcome, Place, Run};
use super::read::{check_regular, granted};
use super::state::opens;
use crate::ground::{Grant, Target};
use std::os::fd::AsFd;

/// Most bytes that one COPY moves: a second of a slow disk, so that a thread of the pool is free
/// again soon.
const COPY_BYTES_MAX: u64 = 64 << 20;

/// Both files, open.
struct Pair {
    source: Arc<OpenFile>,
    source_seen: Attributes,
    sink: Arc<OpenFile>,
    target: Target,
    grant: Grant,
}

/// COPY.
pub(super) fn copy(run: &mut Run<'_>, args: &Copying) -> Outcome {
    let pair = open(run, args)?;
    let rest = pair.source_seen.size.saturating_sub(args.source_offset);
    let wanted = match args.count {
        0 => rest,
        count => count.min(rest),
    };
    let wanted = wanted.min(COPY_BYTES_MAX);
    let copied = act(run, &pair, || move_bytes(&pair, args, wanted))?;
    let verifier = run.server.verifier();
    run.compound.written_bytes += copied;
    let mut out = run.writer();
    // No callback id; not stable before a COMMIT; in one piece, and done.
    out.u32(0);
    out.u64(copied);
    out.u32(0);
    out.fixed(&verifier);
    out.words([1, 1]);
    Ok(())
}

/// CLONE.
pub(super) fn clone(run: &mut Run<'_>, args: &Copying) -> Outcome {
    let pair = open(run, args)?;
    act(run, &pair, || {
        let (from, to) = (args.source_offset, args.target_offset);
        let cloned =
            files::clone_range(pair.sink.as_fd(), pair.source.as_fd(), from, to, args.count);
        cloned.map_err(VolumeError::from)
    })?;
    Ok(())
}

/// Runs a change of the current file as whoever has it open.
fn act<T>(
    run: &Run<'_>,
    pair: &Pair,
    change: impl FnOnce() -> Result<T, VolumeError>,
) -> Result<T, Halt> {
    let node = &pair.target.located.node;
    let volume = pair.target.writable()?;
    let guard = run.server.overlap.begin(&node.identity);
    let who = match pair.grant {
        Grant::Ask => pair.target.who,
        Grant::Given(who) => who,
    };
    identity::assume(&who).map_err(VolumeError::from)?;
    let done = change();
    volume.written(node);
    drop(guard);
    Ok(done?)
}

fn move_bytes(pair: &Pair, args: &Copying, wanted: u64) -> Result<u64, VolumeError> {
    let mut copied = 0;
    while copied < wanted {
        let (mut from, mut to) = (args.source_offset + copied, args.target_offset + copied);
        let left = usize::try_from(wanted - copied).unwrap_or(usize::MAX);
        let (source, sink) = (&*pair.source, &*pair.sink);
        match copy_file_range(source, Some(&mut from), sink, Some(&mut to), left) {
            Ok(0) => break,
            Ok(bytes) => copied += bytes as u64,
            // What is there counts; the client goes on and is told then.
            Err(_) if copied > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(copied)
}

/// Opens both, after everything that can be refused before.
fn open(run: &mut Run<'_>, args: &Copying) -> Result<Pair, Halt> {
    let target = run.node()?.clone();
    let source = match &run.compound.saved {
        Place::Node(source) => source.clone(),
        Place::Root(_) => return Err(Status::IsDir.into()),
        Place::None => return Err(Status::NoFileHandle.into()),
    };
    check_regular(&source)?;
    check_regular(&target)?;
    if source.door.volume != target.door.volume {
        return Err(Status::Xdev.into());
    }
    target.writable()?;
    let ends = [args.source_offset, args.target_offset].map(|at| at.checked_add(args.count));
    let is_too_far = |end: &Option<u64>| end.is_none_or(|end| end > i64::MAX.unsigned_abs());
    if ends.iter().any(is_too_far) {
        return Err(Status::Inval.into());
    }
    let read = granted(run, &source, args.source, opens::READ)?;
    let grant = granted(run, &target, args.target, opens::WRITE)?;
    run.must_wait()?;
    let source_seen = run.ground.attributes(&source)?;
    if args.source_offset > source_seen.size {
        return Err(Status::Inval.into());
    }
    let seen = run.ground.attributes(&target)?;
    let from = run.ground.file(&source, &source_seen, Right::Read, read)?;
    let rest = source_seen.size - args.source_offset;
    if rest > 0 {
        match from.passage(args.source_offset, rest) {
            Passage::Open(open) if open >= rest => {}
            // They are on their way; the client asks again.
            Passage::Open(_) | Passage::Closed => return Err(Status::Delay.into()),
            Passage::Lost => return Err(Status::Io.into()),
        }
    }
    let sink = run.ground.file(&target, &seen, Right::Write, grant)?;
    Ok(Pair {
        source: from,
        source_seen,
        sink,
        target,
        grant,
    })
}
