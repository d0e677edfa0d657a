//! LOOKUP (RFC 1813 section 3.3.3): a name in a directory, `.` and `..` included.
//!
//! Invariant: a name reaches the volume only as a [`Name`], and `..` of an export's root is that
//! root (threat N8). Not promised: that the name is still there when the answer arrives.

use towline_base::NameError;
use towline_volume::{Attributes, FileHandle, FileKind, Name, VolumeError};

use super::args::Entry;
use super::attributes::write_post;
use super::settle;
use crate::ground::{Cold, Ground, Miss, Target};
use crate::v3::Status;
use crate::xdr::Writer;

/// LOOKUP.
pub(crate) fn lookup<G: Ground>(
    ground: &mut G,
    place: &Entry<'_>,
    out: &mut Writer<'_>,
) -> Result<Status, Cold> {
    let dir = match settle(ground.open(&place.dir))? {
        Ok(dir) => dir,
        Err(status) => {
            out.words([status.number(), 0]);
            return Ok(status);
        }
    };
    let found = settle(find(ground, &dir, place.name))?;
    let dir_seen = ground.attributes(&dir).ok().map(|seen| (dir.door, seen));
    let status = match found {
        Ok((handle, seen)) => {
            out.u32(Status::Ok.number());
            out.opaque(handle.as_bytes());
            write_post(out, &Some((dir.door, seen)));
            Status::Ok
        }
        Err(status) => {
            out.u32(status.number());
            status
        }
    };
    write_post(out, &dir_seen);
    Ok(status)
}

fn find<G: Ground>(
    ground: &mut G,
    dir: &Target,
    name: &[u8],
) -> Result<(FileHandle, Attributes), Miss> {
    if dir.located.node.kind != FileKind::Directory {
        return Err(Miss::Failed(VolumeError::NotDirectory));
    }
    match name {
        b"." => Ok((dir.located.node.handle, ground.attributes(dir)?)),
        b".." => ground.parent(dir),
        name => {
            let name = Name::new(name).map_err(refused)?;
            ground.lookup(dir, &name)
        }
    }
}

/// A name that no directory can have.
fn refused(error: NameError) -> VolumeError {
    match error {
        NameError::Empty | NameError::Escapes => VolumeError::Invalid,
        NameError::TooLong => VolumeError::NameTooLong,
    }
}
