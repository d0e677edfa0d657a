//! Setting attributes of an open node: owner, size, mode, times, in that order.
//!
//! What would be refused is found out first: the file is opened for the cut and ownership is
//! judged before anything is changed, so a refusal leaves the file as it was. Then the order
//! matters: the owner may still be refused (groups, quotas) and cutting cannot be taken back, so
//! it comes behind; chown(2) and a cut clear set-id bits, so the mode comes behind both; a cut
//! changes times, so they come last. Invariant: the kernel decides each step for the assumed
//! identity; the judgement here only refuses what the kernel would refuse later. Source: Linux
//! `setattr_prepare` and knfsd's `nfsd_setattr`. Not promised: that all steps happen if the
//! storage fails between two.

use std::sync::Arc;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid};
use towline_io::OpenFile;
use towline_sys::identity::{Identity, assume, is_owner};

use crate::attributes::{FileKind, SetAttributes, SetTime};
use crate::error::VolumeError;
use crate::node::Node;
use crate::volume::Result;

use super::ground::proc_path;
use super::open_file;

/// Largest size that a file may be given, in bytes: `off_t`.
const SIZE_MAX: u64 = i64::MAX as u64;

/// Applies `changes` to `node` as `who`, or changes nothing if `who` may not make one of them.
pub(super) fn apply(node: &Node, who: &Identity, changes: &SetAttributes) -> Result<()> {
    let cut = to_cut(node, who, changes)?;
    let mut times = times(changes);
    let sets_mode = changes.mode.is_some() && node.kind != FileKind::Symlink;
    if (sets_mode || times.is_some()) && !is_owner(who, node.attributes()?.uid) {
        if times == Some((SetTime::Keep, SetTime::Now)) {
            // What Linux asks for when a file is cut to the size that it has. utimensat(2) lets
            // whoever may write set both times to now, and only both.
            times = Some((SetTime::Now, SetTime::Now));
        }
        let is_touch = times.is_none_or(|times| times == (SetTime::Now, SetTime::Now));
        if sets_mode || !is_touch {
            return Err(VolumeError::NotOwner);
        }
    }
    assume(who)?;
    if changes.uid.is_some() || changes.gid.is_some() {
        let uid = changes.uid.map(Uid::from_raw);
        let gid = changes.gid.map(Gid::from_raw);
        rustix::fs::chownat(node.as_path()?, c"", uid, gid, AtFlags::EMPTY_PATH)?;
    }
    if let Some((file, size)) = cut {
        rustix::fs::ftruncate(&*file, size)?;
    }
    if let Some(mode) = changes.mode {
        set_mode(node, mode)?;
    }
    match times {
        Some(times) => set_times(node, times),
        None => Ok(()),
    }
}

/// The file to cut, open for writing, if it is to be cut and `who` may.
fn to_cut(
    node: &Node,
    who: &Identity,
    changes: &SetAttributes,
) -> Result<Option<(Arc<OpenFile>, u64)>> {
    match changes.size {
        None => Ok(None),
        Some(size) if size > SIZE_MAX => Err(VolumeError::TooLarge),
        Some(size) => {
            let file = open_file(node, who, rustix::fs::OFlags::WRONLY, None)?;
            Ok(Some((file, size)))
        }
    }
}

/// The times to set, if there are any. A cut sets the time of change to now by itself, which
/// whoever may write may do; so the server's time beside a new size is that, and no second step
/// for owners only.
fn times(changes: &SetAttributes) -> Option<(SetTime, SetTime)> {
    let is_cut = changes.size.is_some();
    match (changes.accessed, changes.modified) {
        (SetTime::Keep, SetTime::Keep) => None,
        (SetTime::Keep, SetTime::Now) if is_cut => None,
        (SetTime::Now, SetTime::Keep) if is_cut => Some((SetTime::Now, SetTime::Now)),
        other => Some(other),
    }
}

fn set_mode(node: &Node, mode: u32) -> Result<()> {
    if node.kind == FileKind::Symlink {
        // Linux keeps no mode for links; clients set it all the same when they copy one.
        return Ok(());
    }
    let mode = Mode::from_raw_mode(mode & 0o7777);
    let path = node.as_path()?;
    Ok(rustix::fs::chmod(proc_path(&path), mode)?)
}

fn set_times(node: &Node, (accessed, modified): (SetTime, SetTime)) -> Result<()> {
    let times = Timestamps {
        last_access: timespec(accessed),
        last_modification: timespec(modified),
    };
    Ok(rustix::fs::utimensat(
        node.as_path()?,
        c"",
        &times,
        AtFlags::EMPTY_PATH,
    )?)
}

fn timespec(time: SetTime) -> Timespec {
    match time {
        SetTime::Keep => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        SetTime::Now => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        SetTime::To(stamp) => Timespec {
            tv_sec: stamp.seconds,
            tv_nsec: i64::from(stamp.nanoseconds) as _,
        },
    }
}
