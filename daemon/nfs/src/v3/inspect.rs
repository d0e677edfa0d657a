//! Questions about one node: GETATTR, ACCESS, READLINK, FSSTAT, FSINFO, PATHCONF (RFC 1813
//! sections 3.3.1, 3.3.4, 3.3.5 and 3.3.18 to 3.3.20).
//!
//! Invariant: what is told of a node is what the kernel tells, for the caller's identity. Not
//! promised: that the free space shown is still free.

use towline_volume::FileHandle;

use super::TRANSFER_BYTES_MAX;
use super::attributes::{Seen, write, write_post};
use super::{reach, settle};
use crate::access;
use crate::ground::{Blocking, Cold, Ground, Target};
use crate::v3::Status;
use crate::xdr::Writer;
use crate::xdr::writer::halves;

/// FSINFO `properties`: hard links, symbolic links, the same for all objects, times can be set
/// (RFC 1813 section 3.3.19: `FSF3_LINK`, `_SYMLINK`, `_HOMOGENEOUS`, `_CANSETTIME`).
const PROPERTIES: u32 = 0x01 | 0x02 | 0x08 | 0x10;

/// FSINFO `rtmult` and `wtmult`: transfers that are multiples of a page need no copying.
const TRANSFER_MULTIPLE_BYTES: u32 = 4096;

/// FSINFO `dtpref`: as much of a directory as one READDIR reply of ours holds.
const DIRECTORY_BYTES: u32 = 64 * 1024;

/// PATHCONF `linkmax`: what ext4 allows, the lowest of the file systems that we serve.
const LINKS_MAX: u32 = 65_000;

/// GETATTR.
#[inline]
pub(crate) fn getattr<G: Ground>(
    ground: &mut G,
    object: &FileHandle,
    out: &mut Writer<'_>,
) -> Result<Status, Cold> {
    let opened = settle(ground.open(object))?;
    let seen = opened.and_then(|target| Ok((ground.attributes(&target)?, target.door)));
    Ok(match seen {
        Ok((seen, door)) => {
            out.u32(Status::Ok.number());
            write(out, &door, &seen);
            Status::Ok
        }
        Err(status) => {
            out.u32(status.number());
            status
        }
    })
}

/// ACCESS.
pub(crate) fn access<G: Ground>(
    ground: &mut G,
    object: &FileHandle,
    asked: u32,
    out: &mut Writer<'_>,
) -> Result<Status, Cold> {
    let opened = settle(ground.open(object))?;
    Ok(answer(ground, opened, out, |target, _, out| {
        let (granted, _) = access::granted(target, asked, (0, 0))?;
        out.u32(granted & asked);
        Ok(())
    }))
}

/// READLINK.
pub(crate) fn readlink(
    ground: &mut Blocking<'_>,
    symlink: &FileHandle,
    out: &mut Writer<'_>,
) -> Status {
    let opened = reach(ground, symlink);
    answer(ground, opened, out, |target, _, out| {
        let volume = &target.located.export.volume;
        let text = volume.read_link(&target.located.node, &target.who)?;
        out.opaque(&text);
        Ok(())
    })
}

/// FSSTAT.
pub(crate) fn fsstat(ground: &mut Blocking<'_>, root: &FileHandle, out: &mut Writer<'_>) -> Status {
    let opened = reach(ground, root);
    answer(ground, opened, out, |target, _, out| {
        let space = target.located.export.volume.space()?;
        out.u64(space.bytes_total);
        out.u64(space.bytes_free);
        out.u64(space.bytes_available);
        out.u64(space.files_total);
        out.u64(space.files_free);
        out.u64(space.files_free);
        // `invarsec`: the numbers may change at once.
        out.u32(0);
        Ok(())
    })
}

/// FSINFO.
pub(crate) fn fsinfo<G: Ground>(
    ground: &mut G,
    root: &FileHandle,
    out: &mut Writer<'_>,
) -> Result<Status, Cold> {
    let opened = settle(ground.open(root))?;
    Ok(answer(ground, opened, out, |_, _, out| {
        let (most, multiple) = (TRANSFER_BYTES_MAX, TRANSFER_MULTIPLE_BYTES);
        out.words([most, most, multiple, most, most, multiple, DIRECTORY_BYTES]);
        let [size_high, size_low] = halves(i64::MAX.unsigned_abs());
        // `time_delta`: the kernel keeps nanoseconds.
        out.words([size_high, size_low, 0, 1, PROPERTIES]);
        Ok(())
    }))
}

/// PATHCONF.
pub(crate) fn pathconf(
    ground: &mut Blocking<'_>,
    object: &FileHandle,
    out: &mut Writer<'_>,
) -> Status {
    let opened = reach(ground, object);
    answer(ground, opened, out, |target, _, out| {
        let name_bytes_max = target.located.export.volume.space()?.name_bytes_max;
        // `no_trunc`, `chown_restricted`, not `case_insensitive`, `case_preserving`.
        out.words([LINKS_MAX, name_bytes_max, 1, 1, 0, 1]);
        Ok(())
    })
}

/// Writes status, the node's attributes and, if all went well, what `results` writes.
fn answer<G: Ground>(
    ground: &mut G,
    opened: Result<Target, Status>,
    out: &mut Writer<'_>,
    results: impl FnOnce(&Target, &Seen, &mut Writer<'_>) -> Result<(), Status>,
) -> Status {
    let start = out.len();
    let target = match opened {
        Ok(target) => target,
        Err(status) => {
            out.words([status.number(), 0]);
            return status;
        }
    };
    let seen = match ground.attributes(&target).map_err(Status::from) {
        Ok(seen) => Some((target.door, seen)),
        Err(status) => {
            out.words([status.number(), 0]);
            return status;
        }
    };
    out.u32(Status::Ok.number());
    write_post(out, &seen);
    match results(&target, &seen, out) {
        Ok(()) => Status::Ok,
        Err(status) => {
            out.truncate(start);
            out.u32(status.number());
            write_post(out, &seen);
            status
        }
    }
}
