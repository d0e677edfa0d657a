//! WRITE and COMMIT (RFC 1813 sections 3.3.7 and 3.3.21): what is promised about durability.
//!
//! On a synchronous volume DATA_SYNC and FILE_SYNC are answered only after the file was made
//! durable; UNSTABLE data waits for COMMIT. On a volume that is not synchronous (cache) nothing
//! is promised: a stable WRITE is answered as such when the kernel has taken the data. When
//! making data durable fails, the write verifier changes, so that every client sends again what it
//! has not committed; the volume condemns the file. Invariant: `committed` is never more than
//! was done. Not promised: that a WRITE of several pages is one step for a reader.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use towline_sys::identity::assume;
use towline_volume::view::Located;
use towline_volume::{Attributes, FileHandle, VolumeError, Wcc};

use super::args::{Stable, WriteHead};
use super::attributes::{write_no_wcc, write_wcc};
use super::create::fail;
use super::reach;
use crate::ground::{Blocking, Target};
use crate::overlap::Guard;
use crate::server::Server;
use crate::v3::Status;
use crate::xdr::Writer;

/// A change of one file's contents under way.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) target: Target,
    pub(crate) head: WriteHead,
    before: Option<Attributes>,
    guard: Guard,
}

impl Change {
    /// Begins: looks at the file before anything is written.
    pub(crate) fn begin(server: &Server, target: Target, head: WriteHead) -> Self {
        let Located { node, export } = &target.located;
        let guard = server.overlap.begin(&node.identity);
        let before = export.volume.attributes(node).ok();
        Self {
            target,
            head,
            before,
            guard,
        }
    }

    /// Whether the data must be made durable before the reply.
    pub(crate) fn must_sync(&self) -> bool {
        match (self.head.stable, self.target.writable()) {
            (Stable::Unstable, _) | (_, Err(_)) => false,
            (Stable::DataSync | Stable::FileSync, Ok(volume)) => volume.is_synchronous(),
        }
    }

    /// Makes the data durable. Blocks.
    pub(crate) fn sync(&self, server: &Server) -> Result<(), Status> {
        sync(server, &self.target)
    }

    /// Writes the results.
    pub(crate) fn finish(
        self,
        server: &Server,
        outcome: Result<(), Status>,
        out: &mut Writer<'_>,
    ) -> Status {
        let Located { node, export } = &self.target.located;
        if let Ok(volume) = self.target.writable() {
            volume.written(node);
        }
        let after = export.volume.attributes(node).ok();
        let before = self.before.filter(|_| self.guard.was_alone());
        let wcc = Wcc { before, after };
        let status = outcome.err().unwrap_or(Status::Ok);
        out.u32(status.number());
        write_wcc(out, &self.target.door, &wcc);
        if status == Status::Ok {
            let committed = match self.head.stable {
                Stable::Unstable => 0,
                // More than asked for is allowed: the volume syncs attributes too.
                Stable::DataSync | Stable::FileSync => 2,
            };
            out.words([self.head.length, committed]);
            out.fixed(&server.verifier());
        }
        status
    }
}

/// Whether a WRITE fits into a file at all: offsets are at most 2^63-1.
pub(crate) fn check_range(head: &WriteHead) -> Result<(), Status> {
    let end = head.offset.checked_add(u64::from(head.length));
    match end {
        Some(end) if end <= i64::MAX.unsigned_abs() => Ok(()),
        Some(_) | None => Err(Status::Fbig),
    }
}

/// WRITE whose data lies in memory.
pub(crate) fn write(
    ground: &mut Blocking<'_>,
    head: &WriteHead,
    data: &[u8],
    out: &mut Writer<'_>,
) -> Status {
    let target = match reach(ground, &head.file) {
        Ok(target) => target,
        Err(status) => {
            out.u32(status.number());
            write_no_wcc(out);
            return status;
        }
    };
    let server: &Arc<Server> = ground.server;
    let change = Change::begin(server, target, *head);
    let outcome = store(&change, data).and_then(|()| match change.must_sync() {
        true => change.sync(server),
        false => Ok(()),
    });
    change.finish(server, outcome, out)
}

fn store(change: &Change, data: &[u8]) -> Result<(), Status> {
    let target = &change.target;
    let volume = target.writable()?;
    check_range(&change.head)?;
    let file = volume.open_write(&target.located.node, &target.who)?;
    // As the caller: the kernel takes set-id bits away from a file that somebody else writes.
    assume(&target.who).map_err(VolumeError::from)?;
    let stored = file.write_all_at(data, change.head.offset);
    Ok(stored.map_err(VolumeError::from)?)
}

/// COMMIT.
pub(crate) fn commit(ground: &mut Blocking<'_>, file: &FileHandle, out: &mut Writer<'_>) -> Status {
    let target = match reach(ground, file) {
        Ok(target) => target,
        Err(status) => {
            out.u32(status.number());
            write_no_wcc(out);
            return status;
        }
    };
    let server: &Arc<Server> = ground.server;
    let Located { node, export } = &target.located;
    let guard = server.overlap.begin(&node.identity);
    let before = export.volume.attributes(node).ok();
    if let Err(status) = sync(server, &target) {
        return fail(ground, &target, status, out);
    }
    let after = export.volume.attributes(node).ok();
    let before = before.filter(|_| guard.was_alone());
    out.u32(Status::Ok.number());
    write_wcc(out, &target.door, &Wcc { before, after });
    out.fixed(&server.verifier());
    Status::Ok
}

fn sync(server: &Server, target: &Target) -> Result<(), Status> {
    let volume = target.writable()?;
    volume.sync(&target.located.node).map_err(|error| {
        server.change_verifier();
        error.into()
    })
}
