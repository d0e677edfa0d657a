//! RENAME and LINK (RFC 1813 sections 3.3.14 and 3.3.15): two nodes at once.
//!
//! Invariant: both nodes belong to one export, otherwise the answer is XDEV, whatever the
//! directories below are. Not promised: anything about a target that was replaced; clients that
//! hold it open have renamed it first.

use towline_volume::{Attributes, FileKind, Name, Wcc};

use super::args::Entry;
use super::attributes::{write_no_wcc, write_post, write_wcc};
use super::create::new_name;
use super::reach;
use crate::ground::{Blocking, Ground, Target};
use crate::v3::Status;
use crate::xdr::Writer;
use towline_volume::FileHandle;

/// RENAME.
pub(crate) fn rename(
    ground: &mut Blocking<'_>,
    from: &Entry<'_>,
    to: &Entry<'_>,
    out: &mut Writer<'_>,
) -> Status {
    let from_dir = reach(ground, &from.dir);
    let to_dir = reach(ground, &to.dir);
    let attempt = || {
        let (from_dir, to_dir) = (from_dir.as_ref(), to_dir.as_ref());
        let (from_dir, to_dir) = (from_dir.map_err(|e| *e)?, to_dir.map_err(|e| *e)?);
        let volume = from_dir.writable()?;
        to_dir.writable()?;
        same_export(from_dir, to_dir)?;
        let (old, new) = (Name::new(from.name)?, Name::new(to.name)?);
        let source = (&*from_dir.located.node, &old);
        let target = (&*to_dir.located.node, &new);
        Ok(volume.rename(source, target, &from_dir.who)?)
    };
    let (status, from_wcc, to_wcc) = match attempt() {
        Ok((from_wcc, to_wcc)) => (Status::Ok, from_wcc, to_wcc),
        Err(status) => {
            let mut after = |dir: &Result<Target, Status>| Wcc {
                before: None,
                after: dir
                    .as_ref()
                    .ok()
                    .and_then(|dir| ground.attributes(dir).ok()),
            };
            (status, after(&from_dir), after(&to_dir))
        }
    };
    out.u32(status.number());
    for (dir, wcc) in [(from_dir, from_wcc), (to_dir, to_wcc)] {
        match dir {
            Ok(dir) => write_wcc(out, &dir.door, &wcc),
            Err(_) => write_no_wcc(out),
        }
    }
    status
}

/// LINK.
pub(crate) fn link(
    ground: &mut Blocking<'_>,
    file: &FileHandle,
    place: &Entry<'_>,
    out: &mut Writer<'_>,
) -> Status {
    let node = reach(ground, file);
    let dir = reach(ground, &place.dir);
    let attempt = || -> Result<(Attributes, Wcc), Status> {
        let (node, dir) = (node.as_ref(), dir.as_ref());
        let (node, dir) = (node.map_err(|e| *e)?, dir.map_err(|e| *e)?);
        let volume = dir.writable()?;
        same_export(node, dir)?;
        if node.located.node.kind == FileKind::Directory {
            return Err(Status::IsDir);
        }
        let name = new_name(place.name)?;
        Ok(volume.link(&node.located.node, &dir.located.node, &name, &dir.who)?)
    };
    let (status, seen, wcc) = match attempt() {
        Ok((seen, wcc)) => (Status::Ok, Some(seen), wcc),
        Err(status) => {
            let mut after = |target: &Result<Target, Status>| {
                let target = target.as_ref().ok()?;
                ground.attributes(target).ok()
            };
            let wcc = Wcc {
                before: None,
                after: after(&dir),
            };
            (status, after(&node), wcc)
        }
    };
    out.u32(status.number());
    let door = node.ok().map(|node| node.door);
    write_post(out, &door.zip(seen));
    match dir {
        Ok(dir) => write_wcc(out, &dir.door, &wcc),
        Err(_) => write_no_wcc(out),
    }
    status
}

fn same_export(one: &Target, other: &Target) -> Result<(), Status> {
    match one.door.volume == other.door.volume {
        true => Ok(()),
        false => Err(Status::Xdev),
    }
}
