//! REMOVE and RMDIR (RFC 1813 sections 3.3.12 and 3.3.13).
//!
//! They are two methods of the volume: REMOVE takes no directory and RMDIR nothing else. Not
//! promised: that the space is free at once; open descriptors keep a file.

use towline_volume::{Name, VolumeError, Wcc, WritableVolume};

use super::args::Entry;
use super::attributes::{write_no_wcc, write_wcc};
use super::create::fail;
use super::reach;
use crate::ground::{Blocking, Target};
use crate::v3::Status;
use crate::xdr::Writer;

/// REMOVE.
pub(crate) fn remove(ground: &mut Blocking<'_>, place: &Entry<'_>, out: &mut Writer<'_>) -> Status {
    take_away(ground, place, out, |dir, volume, name| {
        volume.remove(&dir.located.node, name, &dir.who)
    })
}

/// RMDIR.
pub(crate) fn rmdir(ground: &mut Blocking<'_>, place: &Entry<'_>, out: &mut Writer<'_>) -> Status {
    take_away(ground, place, out, |dir, volume, name| {
        volume.remove_dir(&dir.located.node, name, &dir.who)
    })
}

fn take_away(
    ground: &mut Blocking<'_>,
    place: &Entry<'_>,
    out: &mut Writer<'_>,
    act: impl FnOnce(&Target, &dyn WritableVolume, &Name) -> Result<Wcc, VolumeError>,
) -> Status {
    let dir = match reach(ground, &place.dir) {
        Ok(dir) => dir,
        Err(status) => {
            out.u32(status.number());
            write_no_wcc(out);
            return status;
        }
    };
    let attempt = || {
        let volume = dir.writable()?;
        let name = old_name(place.name)?;
        Ok(act(&dir, volume, &name)?)
    };
    match attempt() {
        Ok(wcc) => {
            out.u32(Status::Ok.number());
            write_wcc(out, &dir.door, &wcc);
            Status::Ok
        }
        Err(status) => fail(ground, &dir, status, out),
    }
}

/// A name to take away: `..` is a directory with entries, `.` cannot be asked for (RFC 1813
/// section 3.3.13).
fn old_name(name: &[u8]) -> Result<Name, Status> {
    match name {
        b"." => Err(Status::Inval),
        b".." => Err(Status::Exist),
        name => Ok(Name::new(name)?),
    }
}
