//! SETATTR (RFC 1813 section 3.3.2): mode, owner, size and times, if the guard holds.
//!
//! Invariant: `before` is sent only if no WRITE through this node overlapped. Not promised: that
//! all changes are one step for a reader who looks in between; the kernel makes them one by one.

use towline_volume::{FileHandle, SetAttributes, Timestamp};

use super::attributes::{write_no_wcc, write_wcc};
use super::create::fail;
use super::reach;
use crate::ground::Blocking;
use crate::v3::Status;
use crate::xdr::Writer;

/// SETATTR.
pub(crate) fn setattr(
    ground: &mut Blocking<'_>,
    object: &FileHandle,
    (changes, guard): (&SetAttributes, &Option<Timestamp>),
    out: &mut Writer<'_>,
) -> Status {
    let target = match reach(ground, object) {
        Ok(target) => target,
        Err(status) => {
            out.u32(status.number());
            write_no_wcc(out);
            return status;
        }
    };
    let node = &target.located.node;
    let overlap = ground.server.overlap.begin(&node.identity);
    let attempt = || -> Result<_, Status> {
        let volume = target.writable()?;
        Ok(volume.set_attributes(node, &target.who, changes, *guard)?)
    };
    match attempt() {
        Ok(mut wcc) => {
            wcc.before = wcc.before.filter(|_| overlap.was_alone());
            out.u32(Status::Ok.number());
            write_wcc(out, &target.door, &wcc);
            Status::Ok
        }
        Err(status) => fail(ground, &target, status, out),
    }
}
