//! Where a COMPOUND stands: PUTFH, GETFH, LOOKUP and their like (RFC 8881 sections 18.8, 18.13,
//! 18.14, 18.19 to 18.21, 18.27 to 18.29, 18.45).
//!
//! Invariant: a name reaches a volume only as a [`Name`], and above a volume's root is nothing
//! but the made-up root (threat N8). Not promised: security flavours other than AUTH_SYS and
//! AUTH_NONE.

use towline_base::Name;
use towline_volume::{FileHandle, FileKind};

use super::Status;
use super::compound::{Halt, NO_STATEID, Outcome, Place, Run};
use super::pseudo::{self, Entry, Level};
use crate::ground::Target;
use crate::rpc::auth::{AUTH_NONE, AUTH_SYS};

/// PUTFH.
pub(super) fn put_handle(run: &mut Run<'_>, handle: &FileHandle) -> Outcome {
    let place = match Level::of(handle) {
        Some(level) => Place::Root(level),
        None => Place::Node(run.ground.open(handle)?),
    };
    run.set_current(place);
    Ok(())
}

/// PUTROOTFH and PUTPUBFH.
pub(super) fn put_root(run: &mut Run<'_>) -> Outcome {
    run.set_current(Place::Root(Level::Top));
    Ok(())
}

/// GETFH.
pub(super) fn get_handle(run: &mut Run<'_>) -> Outcome {
    let handle = match &run.compound.current {
        Place::None => return Err(Status::NoFileHandle.into()),
        Place::Root(level) => level.handle(),
        Place::Node(target) => target.located.node.handle,
    };
    run.writer().opaque(handle.as_bytes());
    Ok(())
}

/// SAVEFH.
pub(super) fn save(run: &mut Run<'_>) -> Outcome {
    let compound = &mut *run.compound;
    if matches!(compound.current, Place::None) {
        return Err(Status::NoFileHandle.into());
    }
    compound.saved = compound.current.clone();
    compound.saved_stateid = compound.stateid;
    Ok(())
}

/// RESTOREFH.
pub(super) fn restore(run: &mut Run<'_>) -> Outcome {
    let compound = &mut *run.compound;
    if matches!(compound.saved, Place::None) {
        // Section 18.27.3: NOFILEHANDLE where nothing was saved.
        return Err(Status::NoFileHandle.into());
    }
    compound.current = compound.saved.clone();
    compound.stateid = compound.saved_stateid;
    Ok(())
}

/// LOOKUP.
pub(super) fn lookup(run: &mut Run<'_>, name: &[u8]) -> Outcome {
    let place = find(run, name)?;
    run.set_current(place);
    Ok(())
}

/// LOOKUPP.
pub(super) fn parent(run: &mut Run<'_>) -> Outcome {
    let place = above(run)?;
    run.set_current(place);
    Ok(())
}

/// SECINFO: names the flavours, and leaves no current filehandle behind.
pub(super) fn security(run: &mut Run<'_>, name: &[u8]) -> Outcome {
    find(run, name)?;
    write_security(run);
    Ok(())
}

/// SECINFO_NO_NAME.
pub(super) fn security_here(run: &mut Run<'_>, of_parent: bool) -> Outcome {
    if matches!(run.compound.current, Place::None) {
        return Err(Status::NoFileHandle.into());
    }
    if of_parent {
        above(run)?;
    }
    write_security(run);
    Ok(())
}

fn write_security(run: &mut Run<'_>) {
    run.writer().words([2, AUTH_SYS, AUTH_NONE]);
    run.compound.current = Place::None;
    run.compound.stateid = NO_STATEID;
}

/// The place that `name` leads to from here.
pub(super) fn find(run: &mut Run<'_>, name: &[u8]) -> Result<Place, Halt> {
    match &run.compound.current {
        Place::None => Err(Status::NoFileHandle.into()),
        Place::Root(level) => {
            let level = *level;
            let name = Name::new(name)?;
            let address = run.compound.caller.address;
            let entry = pseudo::lookup(run.server, address, level, name.as_bytes());
            match entry.ok_or(Status::NoEnt)? {
                Entry::Exports => Ok(Place::Root(Level::Exports)),
                Entry::Volume(export) => {
                    let root = export.volume.root()?;
                    Ok(Place::Node(run.ground.open(&root.handle)?))
                }
            }
        }
        Place::Node(dir) => {
            check_directory(dir)?;
            let name = Name::new(name)?;
            let dir = dir.clone();
            let (handle, _) = run.ground.lookup(&dir, &name)?;
            Ok(Place::Node(run.ground.open(&handle)?))
        }
    }
}

/// The place above.
fn above(run: &mut Run<'_>) -> Result<Place, Halt> {
    match &run.compound.current {
        Place::None => Err(Status::NoFileHandle.into()),
        Place::Root(Level::Top) => Err(Status::NoEnt.into()),
        Place::Root(Level::Exports) => Ok(Place::Root(Level::Top)),
        Place::Node(dir) => {
            check_directory(dir)?;
            if is_root(dir) {
                return Ok(Place::Root(Level::Top));
            }
            let dir = dir.clone();
            let (handle, _) = run.ground.parent(&dir)?;
            Ok(Place::Node(run.ground.open(&handle)?))
        }
    }
}

/// Whether a node is its volume's root.
pub(super) fn is_root(target: &Target) -> bool {
    let root = target.located.export.volume.root();
    root.is_ok_and(|root| root.handle == target.located.node.handle)
}

/// Refuses what is no directory.
pub(super) fn check_directory(target: &Target) -> Result<(), Status> {
    match target.located.node.kind {
        FileKind::Directory => Ok(()),
        FileKind::Symlink => Err(Status::SymLink),
        FileKind::Regular
        | FileKind::Block
        | FileKind::Character
        | FileKind::Fifo
        | FileKind::Socket => Err(Status::NotDir),
    }
}
