//! Questions about one node: GETATTR, ACCESS, READLINK, VERIFY, NVERIFY (RFC 8881 sections 18.1,
//! 18.7, 18.15, 18.24, 18.30).
//!
//! Invariant: what is told of a node is what the kernel tells, for the caller's identity. Not
//! promised: that the free space shown is still free.

use towline_volume::{Attributes, FileKind};

use super::Status;
use super::attributes::{self, Facts, WRITE_ONLY};
use super::bits::Bits;
use super::compound::{Halt, Outcome, Place, Run};
use super::place::is_root;
use super::pseudo;
use crate::access;
use crate::ground::Target;
use crate::xdr::Writer;

/// `ACCESS4_XAREAD` and `ACCESS4_XALIST` (RFC 8276 section 8.5).
const ACCESS_XATTR_READ: u32 = 0x40 | 0x100;
/// `ACCESS4_XAWRITE` (RFC 8276 section 8.5).
const ACCESS_XATTR_WRITE: u32 = 0x80;

/// GETATTR.
pub(super) fn getattr(run: &mut Run<'_>, asked: &Bits) -> Outcome {
    if !asked.and(&WRITE_ONLY).is_empty() {
        return Err(Status::Inval.into());
    }
    let facts = facts(run, asked)?;
    attributes::write(&mut run.writer(), asked, &facts);
    Ok(())
}

/// VERIFY and NVERIFY: compares with the bytes that we would send.
pub(super) fn verify(run: &mut Run<'_>, asked: &Bits, values: &[u8], wants_same: bool) -> Outcome {
    let not_compared = WRITE_ONLY.or(&Bits::of(&[attributes::RDATTR_ERROR]));
    if matches!(run.compound.current, Place::None) {
        return Err(Status::NoFileHandle.into());
    }
    if !asked.and(&not_compared).is_empty() {
        return Err(Status::Inval.into());
    }
    let supported = attributes::supported(run.compound.minor);
    if !asked.without(&supported).is_empty() {
        return Err(Status::AttrNotSupp.into());
    }
    let facts = facts(run, asked)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    attributes::write(&mut Writer::new(&mut ours), asked, &facts);
    let mut writer = Writer::new(&mut theirs);
    asked.write(&mut writer);
    writer.opaque(values);
    match (ours == theirs, wants_same) {
        (true, true) | (false, false) => Ok(()),
        (false, true) => Err(Status::NotSame.into()),
        (true, false) => Err(Status::Same.into()),
    }
}

/// ACCESS.
pub(super) fn access(run: &mut Run<'_>, asked: u32) -> Outcome {
    let (granted, known) = match &run.compound.current {
        Place::None => return Err(Status::NoFileHandle.into()),
        Place::Root(_) => {
            let reading = access::READ | access::LOOKUP;
            let changing = access::MODIFY | access::EXTEND | access::DELETE;
            (reading, reading | changing)
        }
        Place::Node(target) => {
            let more = match run.compound.minor {
                0 | 1 => (0, 0),
                _ => (ACCESS_XATTR_READ, ACCESS_XATTR_WRITE),
            };
            access::granted(target, asked, more)?
        }
    };
    run.writer().words([known & asked, granted & known & asked]);
    Ok(())
}

/// READLINK.
pub(super) fn readlink(run: &mut Run<'_>) -> Outcome {
    let target = match &run.compound.current {
        Place::Node(target) => target.clone(),
        Place::Root(_) => return Err(Status::WrongType.into()),
        Place::None => return Err(Status::NoFileHandle.into()),
    };
    match target.located.node.kind {
        FileKind::Symlink => {}
        // Section 18.24.4: of the two that there are, the one that says more.
        _ => return Err(Status::WrongType.into()),
    }
    run.must_wait()?;
    let volume = &target.located.export.volume;
    let text = volume.read_link(&target.located.node, &target.who)?;
    run.room_for(8 + text.len())?;
    run.writer().opaque(&text);
    Ok(())
}

/// What there is to tell of the current place.
pub(super) fn facts(run: &mut Run<'_>, asked: &Bits) -> Result<Facts, Halt> {
    let target = match &run.compound.current {
        Place::None => return Err(Status::NoFileHandle.into()),
        Place::Root(level) => return Ok(level.facts(run)),
        Place::Node(target) => target,
    };
    let needs_space = attributes::needs_space(asked);
    if needs_space && run.ground.notes().is_none() {
        return Err(Halt::Cold);
    }
    let seen = run.ground.attributes(target)?;
    let target = run.node()?;
    let mut facts = of_node(run, target, &seen, target.located.node.handle);
    if asked.has(attributes::MOUNTED_ON_FILEID) && is_root(target) {
        facts.mounted_on = pseudo::mounted_on(target.door.volume);
    }
    if needs_space {
        facts.space = Some(target.located.export.volume.space()?);
    }
    Ok(facts)
}

/// What there is to tell of a node in the volume of `near`.
pub(super) fn of_node(
    run: &Run<'_>,
    near: &Target,
    seen: &Attributes,
    handle: towline_volume::FileHandle,
) -> Facts {
    Facts {
        handle,
        seen: *seen,
        file_system: near.door.file_system_id(seen.file_system),
        mounted_on: seen.file_id,
        space: None,
        minor: run.compound.minor,
        lease_seconds: run.books.lease_seconds,
    }
}
