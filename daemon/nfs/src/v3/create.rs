//! CREATE, MKDIR, SYMLINK and MKNOD (RFC 1813 sections 3.3.8 to 3.3.11).
//!
//! Invariant: nothing is created through a read-only export or for an address that may only read
//! (threat N12), and no name leaves its directory ([`Name`]). Not promised: device nodes for
//! anyone but root; the kernel decides.

use towline_volume::node::FileIdentity;
use towline_volume::{Created, How, Name, SetAttributes, Special, Wcc, WritableVolume};

use super::args::{Entry, Mode, NodeType};
use super::attributes::{write_no_wcc, write_post, write_post_handle, write_wcc};
use super::reach;
use crate::ground::{Blocking, Ground, Target};
use crate::overlap::Guard;
use crate::v3::Status;
use crate::xdr::Writer;

/// Longest target of a symbolic link, in bytes: Linux' `PATH_MAX` without its NUL.
const TARGET_BYTES_MAX: usize = 4095;

/// CREATE.
pub(crate) fn create(
    ground: &mut Blocking<'_>,
    place: &Entry<'_>,
    mode: &Mode,
    out: &mut Writer<'_>,
) -> Status {
    let how = match mode {
        Mode::Unchecked(set) => How::Unchecked(*set),
        Mode::Guarded(set) => How::Guarded(*set),
        Mode::Exclusive(verifier) => How::Exclusive(*verifier, SetAttributes::default()),
    };
    let server = ground.server.clone();
    make(ground, place, out, |dir, volume, name| {
        let _guard = truncates(&how)
            .then(|| taken(dir, name))
            .flatten()
            .map(|file| -> Guard { server.overlap.begin(&file) });
        Ok(volume.create(&dir.located.node, name, &dir.who, &how)?)
    })
}

/// Whether a create may change the size of a file that is there: writers must learn of it.
fn truncates(how: &How) -> bool {
    match how {
        How::Unchecked(set) => set.size.is_some(),
        How::Guarded(_) | How::Exclusive(..) => false,
    }
}

fn taken(dir: &Target, name: &Name) -> Option<FileIdentity> {
    let volume = &dir.located.export.volume;
    let seen = volume.peek(&dir.located.node, name, &dir.who).ok()?;
    Some(FileIdentity::of(&seen))
}

/// MKDIR.
pub(crate) fn mkdir(
    ground: &mut Blocking<'_>,
    place: &Entry<'_>,
    set: &SetAttributes,
    out: &mut Writer<'_>,
) -> Status {
    make(ground, place, out, |dir, volume, name| {
        Ok(volume.make_dir(&dir.located.node, name, &dir.who, set)?)
    })
}

/// SYMLINK.
pub(crate) fn symlink(
    ground: &mut Blocking<'_>,
    place: &Entry<'_>,
    (set, target): (&SetAttributes, &[u8]),
    out: &mut Writer<'_>,
) -> Status {
    make(ground, place, out, |dir, volume, name| {
        if target.len() > TARGET_BYTES_MAX {
            return Err(Status::NameTooLong);
        }
        if target.is_empty() || target.contains(&0) {
            return Err(Status::Inval);
        }
        Ok(volume.make_symlink(&dir.located.node, name, &dir.who, target, set)?)
    })
}

/// MKNOD.
pub(crate) fn mknod(
    ground: &mut Blocking<'_>,
    place: &Entry<'_>,
    (node_type, set): (&NodeType, &SetAttributes),
    out: &mut Writer<'_>,
) -> Status {
    let special = match *node_type {
        NodeType::Character(major, minor) => Some(Special::Character(major, minor)),
        NodeType::Block(major, minor) => Some(Special::Block(major, minor)),
        NodeType::Socket => Some(Special::Socket),
        NodeType::Fifo => Some(Special::Fifo),
        NodeType::Unsuitable => None,
    };
    make(ground, place, out, |dir, volume, name| {
        let special = special.ok_or(Status::BadType)?;
        Ok(volume.make_special(&dir.located.node, name, &dir.who, special, set)?)
    })
}

/// What all four have in common: the directory, the name, and the results.
fn make(
    ground: &mut Blocking<'_>,
    place: &Entry<'_>,
    out: &mut Writer<'_>,
    act: impl FnOnce(&Target, &dyn WritableVolume, &Name) -> Result<Created, Status>,
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
        let name = new_name(place.name)?;
        Ok((act(&dir, volume, &name)?, name))
    };
    match attempt() {
        Ok((created, name)) => {
            out.u32(Status::Ok.number());
            write_post_handle(out, &created.node.handle);
            write_post(out, &Some((dir.door, created.attributes)));
            write_wcc(out, &dir.door, &created.dir);
            ground.learn(&dir, &name, &created.node);
            Status::Ok
        }
        Err(status) => fail(ground, &dir, status, out),
    }
}

/// A failure with what the directory looks like now.
pub(crate) fn fail(
    ground: &mut Blocking<'_>,
    dir: &Target,
    status: Status,
    out: &mut Writer<'_>,
) -> Status {
    let after = ground.attributes(dir).ok();
    let wcc = Wcc {
        before: None,
        after,
    };
    out.u32(status.number());
    write_wcc(out, &dir.door, &wcc);
    status
}

/// A name for something new: `.` and `..` are always taken.
pub(crate) fn new_name(name: &[u8]) -> Result<Name, Status> {
    match name {
        b"." | b".." => Err(Status::Exist),
        name => Ok(Name::new(name)?),
    }
}
