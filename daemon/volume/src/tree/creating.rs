//! Making regular files, in the three ways that NFS knows (RFC 1813 section 3.3.8).
//!
//! Invariant: a file that was there before is never changed except for its size, and only by an
//! unchecked create. The callers hold the directory's lock and have assumed an identity. Not
//! promised: durability; the caller syncs.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use towline_base::Name;
use towline_io::OpenFile;
use towline_sys::identity::Identity;

use crate::attributes::{FileKind, SetAttributes, SetTime, Timestamp};
use crate::error::VolumeError;
use crate::node::{Node, Use};
use crate::volume::{Exclusive, Pace, Result};

use super::ground::{Ground, proc_path};
use super::setting;

/// Mode of a file whose creator names none.
pub(super) const FILE_MODE_DEFAULT: u32 = 0o644;

pub(super) fn guarded(
    ground: &Ground,
    dir: &Node,
    name: &Name,
    who: &Identity,
    set: &SetAttributes,
) -> Result<Arc<Node>> {
    let mode = Mode::from_raw_mode(set.mode.unwrap_or(FILE_MODE_DEFAULT) & 0o7777);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(dir.as_path()?, name.as_bytes(), flags | CREATE_FLAGS, mode)?;
    let node = adopt(ground, dir, name, fd)?;
    // The mode was given at birth; asking again would fail for set-id bits of others.
    setting::apply(
        &node,
        who,
        &SetAttributes {
            mode: None,
            ..at_birth(set, who)
        },
    )?;
    Ok(node)
}

/// Makes a node of a file that was just created, and keeps the descriptor: its creator may
/// write to it even where its mode forbids everybody to.
fn adopt(ground: &Ground, dir: &Node, name: &Name, fd: OwnedFd) -> Result<Arc<Node>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let path = rustix::fs::open(proc_path(fd.as_fd()), flags, Mode::empty())?;
    let node = ground.node(path)?;
    ground.moved(&node, dir, name);
    let file = Arc::new(OpenFile::new(File::from(fd)));
    node.keep(Use::Writing, file.clone());
    node.keep(Use::Reading, file);
    Ok(node)
}

pub(super) fn unchecked(
    ground: &Ground,
    dir: &Node,
    name: &Name,
    who: &Identity,
    set: &SetAttributes,
) -> Result<Arc<Node>> {
    match guarded(ground, dir, name, who, set) {
        Err(VolumeError::Exists) => {}
        other => return other,
    }
    let node = ground.enter(dir, name, Pace::Blocking)?;
    if node.kind != FileKind::Regular {
        return Err(VolumeError::Exists);
    }
    // RFC 1813 section 3.3.8: of a file that is there, only the size is set.
    setting::apply(
        &node,
        who,
        &SetAttributes {
            size: set.size,
            ..Default::default()
        },
    )?;
    ground.changes.count(&node.identity);
    Ok(node)
}

pub(super) fn exclusive(
    ground: &Ground,
    dir: &Node,
    name: &Name,
    who: &Identity,
    (verifier, set): (&Exclusive, &SetAttributes),
) -> Result<Arc<Node>> {
    let (accessed, modified) = verifier_times(verifier);
    let set = SetAttributes {
        accessed: SetTime::To(accessed),
        modified: SetTime::To(modified),
        ..*set
    };
    match guarded(ground, dir, name, who, &set) {
        Err(VolumeError::Exists) => {}
        other => return other,
    }
    let node = ground.enter(dir, name, Pace::Blocking)?;
    let is = node.attributes()?;
    let same = is.accessed == accessed && is.modified == modified && is.size == 0;
    if node.kind == FileKind::Regular && same {
        Ok(node)
    } else {
        Err(VolumeError::Exists)
    }
}

/// Some clients send an owner or group along with a create because their own kernel would allow
/// it. Only root may give files away, and a refusal would leave a half-made file behind.
pub(super) fn at_birth(set: &SetAttributes, who: &Identity) -> SetAttributes {
    if who.uid == 0 {
        *set
    } else {
        SetAttributes {
            uid: None,
            gid: None,
            ..*set
        }
    }
}

const CREATE_FLAGS: OFlags = OFlags::CLOEXEC.union(OFlags::NOCTTY);

/// Where an exclusive create keeps its verifier until the client sets real times: in the seconds
/// of atime and mtime, 31 bits each, which every file system can hold.
fn verifier_times(verifier: &Exclusive) -> (Timestamp, Timestamp) {
    let [a, b, c, d, e, f, g, h] = *verifier;
    let stamp = |bytes| Timestamp {
        seconds: i64::from(u32::from_be_bytes(bytes) & 0x7fff_ffff),
        nanoseconds: 0,
    };
    (stamp([a, b, c, d]), stamp([e, f, g, h]))
}
