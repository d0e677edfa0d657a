//! Changes of names and attributes: CREATE, REMOVE, RENAME, LINK, SETATTR (RFC 8881 sections 18.4,
//! 18.9, 18.25, 18.26, 18.30).
//!
//! Invariant: nothing is changed through a read-only export or for an address that may only read
//! (threat N12), and both nodes of RENAME and LINK belong to one export. Not promised: device
//! nodes for anyone but root; the kernel decides.

use towline_base::Name;
use towline_volume::{
    Created, FileKind, Identity, SetAttributes, Special, VolumeError, WritableVolume,
};

use super::Status;
use super::args::{NodeType, Settings};
use super::attributes::SIZE;
use super::bits::Bits;
use super::compound::{Halt, Outcome, Place, Run};
use super::open::Change;
use super::place::check_directory;
use super::read::{check_regular, granted};
use super::state::opens;
use super::state::stateid::StateId;
use crate::ground::{Grant, Target};

/// Longest target of a symbolic link, in bytes: Linux' `PATH_MAX` without its NUL.
const TARGET_BYTES_MAX: usize = 4095;

/// The current directory, to be changed.
fn directory(run: &mut Run<'_>) -> Result<Target, Halt> {
    let dir = run.node()?.clone();
    check_directory(&dir)?;
    dir.writable()?;
    run.must_wait()?;
    Ok(dir)
}

/// CREATE.
pub(super) fn create(
    run: &mut Run<'_>,
    kind: &NodeType<'_>,
    name: &[u8],
    settings: &Settings,
) -> Outcome {
    if *kind == NodeType::Unsuitable {
        return Err(Status::BadType.into());
    }
    if let NodeType::Link(text) = kind {
        check_target(text)?;
    }
    let dir = directory(run)?;
    let name = Name::new(name)?;
    let made = make(&dir, kind, &name, &settings.set)?;
    if let Some(notes) = run.ground.notes() {
        crate::ground::learn(notes, &dir, &name, &made.node);
    }
    let mut out = run.writer();
    Change::of(&made.dir).write(&mut out);
    settings.named.write(&mut out);
    let mut target = dir;
    target.located.node = made.node;
    run.set_current(Place::Node(target));
    Ok(())
}

fn check_target(text: &[u8]) -> Result<(), Status> {
    if text.len() > TARGET_BYTES_MAX {
        return Err(Status::NameTooLong);
    }
    if text.is_empty() || text.contains(&0) {
        return Err(Status::Inval);
    }
    Ok(())
}

fn make(
    dir: &Target,
    kind: &NodeType<'_>,
    name: &Name,
    set: &SetAttributes,
) -> Result<Created, VolumeError> {
    let (node, who) = (&dir.located.node, &dir.who);
    let volume = dir.writable()?;
    let special = |special| volume.make_special(node, name, who, special, set);
    match *kind {
        NodeType::Directory => volume.make_dir(node, name, who, set),
        NodeType::Link(text) => volume.make_symlink(node, name, who, text, set),
        NodeType::Block(major, minor) => special(Special::Block(major, minor)),
        NodeType::Character(major, minor) => special(Special::Character(major, minor)),
        NodeType::Socket => special(Special::Socket),
        NodeType::Fifo => special(Special::Fifo),
        NodeType::Unsuitable => Err(VolumeError::Invalid),
    }
}

/// REMOVE: of a directory too, if it is empty.
pub(super) fn remove(run: &mut Run<'_>, name: &[u8]) -> Outcome {
    let dir = directory(run)?;
    let name = Name::new(name)?;
    let (node, who) = (&dir.located.node, &dir.who);
    let volume = dir.writable()?;
    let wcc = match volume.remove(node, &name, who) {
        // What unlink(2) says of a directory.
        Err(VolumeError::IsDirectory | VolumeError::NotOwner) if is_directory(&dir, &name) => {
            volume.remove_dir(node, &name, who)?
        }
        other => other?,
    };
    Change::of(&wcc).write(&mut run.writer());
    Ok(())
}

fn is_directory(dir: &Target, name: &Name) -> bool {
    let volume = &dir.located.export.volume;
    let seen = volume.peek(&dir.located.node, name, &dir.who);
    seen.is_ok_and(|seen| seen.kind == FileKind::Directory)
}

/// RENAME, from the saved directory to the current one.
pub(super) fn rename(run: &mut Run<'_>, from: &[u8], to: &[u8]) -> Outcome {
    let to_dir = directory(run)?;
    let from_dir = saved(run)?;
    check_directory(&from_dir)?;
    same_export(&from_dir, &to_dir)?;
    let (from, to) = (Name::new(from)?, Name::new(to)?);
    let source = (&*from_dir.located.node, &from);
    let target = (&*to_dir.located.node, &to);
    let volume = from_dir.writable()?;
    let (from_wcc, to_wcc) = volume
        .rename(source, target, &from_dir.who)
        .map_err(renamed)?;
    let mut out = run.writer();
    Change::of(&from_wcc).write(&mut out);
    Change::of(&to_wcc).write(&mut out);
    Ok(())
}

/// What rename(2) says of two types that do not replace each other is EXIST here (section
/// 18.26.3).
fn renamed(error: VolumeError) -> Status {
    match error {
        VolumeError::IsDirectory | VolumeError::NotDirectory | VolumeError::NotEmpty => {
            Status::Exist
        }
        error => error.into(),
    }
}

/// LINK: the saved file gets a name in the current directory.
pub(super) fn link(run: &mut Run<'_>, name: &[u8]) -> Outcome {
    let dir = directory(run)?;
    let file = saved(run)?;
    same_export(&file, &dir)?;
    if file.located.node.kind == FileKind::Directory {
        return Err(Status::IsDir.into());
    }
    let name = Name::new(name)?;
    let volume = dir.writable()?;
    let (_, wcc) = volume.link(&file.located.node, &dir.located.node, &name, &dir.who)?;
    Change::of(&wcc).write(&mut run.writer());
    Ok(())
}

fn saved(run: &Run<'_>) -> Result<Target, Status> {
    match &run.compound.saved {
        Place::Node(target) => Ok(target.clone()),
        Place::Root(_) => Err(Status::Xdev),
        Place::None => Err(Status::NoFileHandle),
    }
}

fn same_export(one: &Target, other: &Target) -> Result<(), Status> {
    match one.door.volume == other.door.volume {
        true => Ok(()),
        false => Err(Status::Xdev),
    }
}

/// SETATTR. Its result names what was set, whatever the status.
pub(super) fn setattr(run: &mut Run<'_>, stateid: StateId, settings: &Settings) -> Outcome {
    match set(run, stateid, settings) {
        Ok(()) => {
            settings.named.write(&mut run.writer());
            Ok(())
        }
        Err(Halt::Failed(status)) => {
            Bits::default().write(&mut run.writer());
            Err(Halt::Told(status))
        }
        Err(other) => Err(other),
    }
}

fn set(run: &mut Run<'_>, stateid: StateId, settings: &Settings) -> Outcome {
    let target = run.node()?.clone();
    let mut who = target.who;
    if settings.named.has(SIZE) {
        check_regular(&target)?;
        // A cut is a write: by whom it was opened decides, not what the mode says now.
        if let Grant::Given(opener) = granted(run, &target, stateid, opens::WRITE)? {
            who = opener;
        }
    }
    target.writable()?;
    run.must_wait()?;
    apply(run, &target, &who, &settings.set)?;
    Ok(())
}

fn apply(
    run: &Run<'_>,
    target: &Target,
    opener: &Identity,
    set: &SetAttributes,
) -> Result<(), VolumeError> {
    let node = &target.located.node;
    let _guard = run.server.overlap.begin(&node.identity);
    let volume: &dyn WritableVolume = target.writable()?;
    let only_cut = SetAttributes {
        size: set.size,
        ..SetAttributes::default()
    };
    let is_cut_alone = *set == only_cut && set.size.is_some();
    match volume.set_attributes(node, &target.who, set, None) {
        // The right to write was given when it was opened.
        Err(VolumeError::Denied) if is_cut_alone && *opener != target.who => {
            volume.set_attributes(node, opener, set, None)?;
        }
        other => {
            other?;
        }
    }
    Ok(())
}
