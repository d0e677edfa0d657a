//! Extended attributes (RFC 8276 sections 8.4.1 to 8.4.4).
//!
//! Names are those of Linux without `user.`. Invariant: nothing is set or removed through a
//! read-only export, and the kernel decides for the caller. Not promised: that a listing which is
//! continued while names come and go shows each once.

use towline_volume::{FileKind, XattrSet};

use super::Status;
use super::args::XattrArgs;
use super::compound::{Halt, Outcome, Run};
use super::open::Change;
use crate::ground::Target;
use crate::xdr::{Writer, padded};

/// Longest name, in bytes: Linux' `XATTR_NAME_MAX` less `user.`.
const NAME_BYTES_MAX: usize = 255 - 5;

/// Bytes of a list around its names: cookie, count, `eof`.
const FRAME_BYTES: usize = 8 + 4 + 4;

/// GETXATTR, SETXATTR, LISTXATTRS and REMOVEXATTR.
pub(super) fn xattr(run: &mut Run<'_>, args: &XattrArgs<'_>) -> Outcome {
    let target = run.node()?.clone();
    match target.located.node.kind {
        FileKind::Regular | FileKind::Directory => {}
        _ => return Err(Status::WrongType.into()),
    }
    match args {
        XattrArgs::Get(name) => get(run, &target, name),
        XattrArgs::List(cookie, bytes_max) => list(run, &target, (*cookie, *bytes_max)),
        XattrArgs::Set(how, name, value) => {
            check(name)?;
            let volume = target.writable()?;
            run.must_wait()?;
            let node = &target.located.node;
            let (set, wcc) = volume.set_xattr(node, &target.who, (name, value), *how)?;
            match set {
                XattrSet::Done => {}
                XattrSet::Taken => return Err(Status::Exist.into()),
                XattrSet::Missing => return Err(Status::NoXattr.into()),
                XattrSet::TooBig => return Err(Status::Xattr2Big.into()),
            }
            Change::of(&wcc).write(&mut run.writer());
            Ok(())
        }
        XattrArgs::Remove(name) => {
            check(name)?;
            let volume = target.writable()?;
            run.must_wait()?;
            let (was_there, wcc) = volume.remove_xattr(&target.located.node, &target.who, name)?;
            if !was_there {
                return Err(Status::NoXattr.into());
            }
            Change::of(&wcc).write(&mut run.writer());
            Ok(())
        }
    }
}

fn check(name: &[u8]) -> Result<(), Status> {
    match name {
        [] => Err(Status::Inval),
        name if name.contains(&0) => Err(Status::Inval),
        name if name.len() > NAME_BYTES_MAX => Err(Status::NameTooLong),
        _ => Ok(()),
    }
}

fn get(run: &mut Run<'_>, target: &Target, name: &[u8]) -> Outcome {
    check(name)?;
    run.must_wait()?;
    let volume = &target.located.export.volume;
    let value = volume.xattr(&target.located.node, &target.who, name)?;
    let value = value.ok_or(Status::NoXattr)?;
    run.room_for(4 + padded(value.len()))?;
    run.writer().opaque(&value);
    Ok(())
}

/// Lists names; a cookie is how many came before.
fn list(run: &mut Run<'_>, target: &Target, (cookie, bytes_max): (u64, u32)) -> Outcome {
    run.must_wait()?;
    let volume = &target.located.export.volume;
    let mut names = volume.xattrs(&target.located.node, &target.who)?;
    names.sort_unstable();
    let most = (bytes_max as usize).min(run.room());
    let mut left = most.checked_sub(FRAME_BYTES).ok_or(Status::TooSmall)?;
    let skipped = usize::try_from(cookie).unwrap_or(usize::MAX);
    let rest = names.get(skipped..).ok_or(Status::BadCookie)?;
    let (mut wire, mut count) = (Vec::new(), 0_usize);
    let mut out = Writer::new(&mut wire);
    for name in rest {
        let bytes = 4 + padded(name.len());
        if bytes > left {
            break;
        }
        left -= bytes;
        out.opaque(name);
        count += 1;
    }
    if count == 0 && !rest.is_empty() {
        return Err(Halt::Failed(Status::TooSmall));
    }
    let mut out = run.writer();
    out.u64((skipped + count) as u64);
    out.u32(count as u32);
    run.out.extend_from_slice(&wire);
    run.writer().u32(u32::from(count == rest.len()));
    Ok(())
}
