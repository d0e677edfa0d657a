//! Setting attributes of an open node: size, owner, mode, times, in that order.
//!
//! The order matters: chown(2) clears set-id bits, so the mode comes behind it; cutting a file
//! changes its times, so they come last. Invariant: the kernel decides each step for the assumed
//! identity. Not promised: that all steps happen if one of them is refused.

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid};
use towline_io::identity::{Identity, assume};

use crate::attributes::{FileKind, SetAttributes, SetTime};
use crate::error::VolumeError;
use crate::node::Node;
use crate::volume::Result;

use super::ground::proc_path;
use super::open_file;

/// Largest size that a file may be given, in bytes: `off_t`.
const SIZE_MAX: u64 = i64::MAX as u64;

/// Applies `changes` to `node` as `who`.
pub(super) fn apply(node: &Node, who: &Identity, changes: &SetAttributes) -> Result<()> {
    if let Some(size) = changes.size {
        if size > SIZE_MAX {
            return Err(VolumeError::TooLarge);
        }
        let file = open_file(node, who, rustix::fs::OFlags::WRONLY, None)?;
        assume(who)?;
        rustix::fs::ftruncate(&*file, size)?;
    }
    assume(who)?;
    if changes.uid.is_some() || changes.gid.is_some() {
        let uid = changes.uid.map(Uid::from_raw);
        let gid = changes.gid.map(Gid::from_raw);
        rustix::fs::chownat(node.as_path(), c"", uid, gid, AtFlags::EMPTY_PATH)?;
    }
    if let Some(mode) = changes.mode {
        set_mode(node, mode)?;
    }
    set_times(node, changes)
}

fn set_mode(node: &Node, mode: u32) -> Result<()> {
    if node.kind == FileKind::Symlink {
        // Linux keeps no mode for links; clients set it all the same when they copy one.
        return Ok(());
    }
    let mode = Mode::from_raw_mode(mode & 0o7777);
    Ok(rustix::fs::chmod(proc_path(node.as_path()), mode)?)
}

fn set_times(node: &Node, changes: &SetAttributes) -> Result<()> {
    if changes.accessed == SetTime::Keep && changes.modified == SetTime::Keep {
        return Ok(());
    }
    let times = Timestamps {
        last_access: timespec(changes.accessed),
        last_modification: timespec(changes.modified),
    };
    Ok(rustix::fs::utimensat(
        node.as_path(),
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
