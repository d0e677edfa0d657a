//! WRITE and COMMIT (RFC 8881 sections 18.3 and 18.32): what is promised about durability.
//!
//! As in version 3: on a synchronous volume DATA_SYNC and FILE_SYNC are answered only after the
//! file was made durable, UNSTABLE data waits for COMMIT, and when making data durable fails the
//! write verifier changes, so that every client sends again what it has not committed. Invariant:
//! `committed` is never more than was done. Not promised: that a WRITE of several pages is one
//! step for a reader.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use towline_io::OpenFile;
use towline_sys::identity::assume;
use towline_volume::view::Right;
use towline_volume::{Identity, VolumeError};

use super::Status;
use super::args::{Stable, WriteHead};
use super::compound::{Halt, Outcome, Run};
use super::read::{check_regular, granted};
use super::state::opens;
use crate::ground::{Grant, Target};
use crate::overlap::Guard;
use crate::server::Server;

/// Where the data of a WRITE goes.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) target: Target,
    pub(crate) file: Arc<OpenFile>,
    /// As whom it is written.
    pub(crate) who: Identity,
    pub(crate) head: WriteHead,
    guard: Option<Guard>,
}

/// WRITE whose data lies in memory.
pub(super) fn write(run: &mut Run<'_>, head: &WriteHead, data: &[u8]) -> Outcome {
    let mut sink = open(run, head)?;
    run.must_wait()?;
    sink.begin(run.server);
    // As the caller: the kernel takes set-id bits away from a file that somebody else writes.
    assume(&sink.who).map_err(VolumeError::from)?;
    let stored = sink.file.write_all_at(data, head.offset);
    let stored = stored.map_err(|error| Status::from(VolumeError::from(error)));
    conclude(run, sink, stored)
}

/// Everything that can be refused before the data comes, and the file, open for writing.
pub(super) fn open(run: &mut Run<'_>, head: &WriteHead) -> Result<Sink, Halt> {
    let target = run.node()?.clone();
    check_regular(&target)?;
    target.writable()?;
    let grant = granted(run, &target, head.stateid, opens::WRITE)?;
    let end = head.offset.checked_add(u64::from(head.length));
    if end.is_none_or(|end| end > i64::MAX.unsigned_abs()) {
        return Err(Status::Fbig.into());
    }
    let seen = run.ground.attributes(&target)?;
    let file = run.ground.file(&target, &seen, Right::Write, grant)?;
    let who = match grant {
        Grant::Ask => target.who,
        Grant::Given(who) => who,
    };
    Ok(Sink {
        target,
        file,
        who,
        head: *head,
        guard: None,
    })
}

impl Sink {
    /// The data begins to go in.
    pub(super) fn begin(&mut self, server: &Server) {
        self.guard = Some(server.overlap.begin(&self.target.located.node.identity));
    }

    /// Whether the data must be made durable before the reply.
    pub(super) fn must_sync(&self) -> bool {
        match (self.head.stable, self.target.writable()) {
            (Stable::Unstable, _) | (_, Err(_)) => false,
            (Stable::DataSync | Stable::FileSync, Ok(volume)) => volume.is_synchronous(),
        }
    }
}

/// The data is in the file, or is not: makes it durable if that is asked for, and answers.
pub(super) fn conclude(run: &mut Run<'_>, sink: Sink, stored: Result<(), Status>) -> Outcome {
    if let Ok(volume) = sink.target.writable() {
        volume.written(&sink.target.located.node);
    }
    stored?;
    if sink.must_sync() {
        run.must_wait()?;
        sync(run.server, &sink.target)?;
    }
    let committed = match sink.head.stable {
        Stable::Unstable => 0,
        // More than asked for is allowed: the volume syncs attributes too.
        Stable::DataSync | Stable::FileSync => 2,
    };
    let verifier = run.server.verifier();
    run.compound.written_bytes += u64::from(sink.head.length);
    let mut out = run.writer();
    out.words([sink.head.length, committed]);
    out.fixed(&verifier);
    Ok(())
}

/// COMMIT.
pub(super) fn commit(run: &mut Run<'_>, offset: u64, count: u32) -> Outcome {
    let target = run.node()?.clone();
    check_regular(&target)?;
    if offset.checked_add(u64::from(count)).is_none() {
        return Err(Status::Inval.into());
    }
    target.writable()?;
    run.must_wait()?;
    sync(run.server, &target)?;
    let verifier = run.server.verifier();
    run.writer().fixed(&verifier);
    Ok(())
}

fn sync(server: &Server, target: &Target) -> Result<(), Status> {
    let volume = target.writable()?;
    volume.sync(&target.located.node).map_err(|error| {
        server.change_verifier();
        error.into()
    })
}
