//! Listing a directory with the kernel's own cookies.
//!
//! `d_off` of getdents64(2) is the cookie: on ext4, xfs, btrfs and tmpfs it names a place in the
//! directory that stays valid while entries come and go. Invariant: an entry at which the visitor
//! breaks is not consumed; its predecessor's cookie leads to it. Uploads on their way in are not
//! shown. Not promised: an order.

use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, RawDir, SeekFrom};
use towline_base::Name;

use crate::attributes::Attributes;
use crate::error::VolumeError;
use crate::evict;
use crate::handle::FileHandle;
use crate::node::Node;
use crate::volume::{Detail, DirEntry, Result};

use super::ground::{Ground, proc_path};

/// Bytes of entries that are asked for at once: about 1,000 names.
const BATCH_BYTES: usize = 32 * 1024;

/// Lists entries behind `cookie`; see [`crate::Volume::read_dir`]. The caller has assumed an
/// identity.
pub(super) fn read_dir(
    ground: &Ground,
    dir: &Node,
    cookie: u64,
    detail: Detail,
    visit: &mut dyn FnMut(&DirEntry<'_>) -> ControlFlow<()>,
) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = dir.as_path()?;
    let fd = rustix::fs::open(proc_path(&path), flags, Mode::empty())?;
    if cookie != 0 {
        let start = SeekFrom::Start(cookie);
        rustix::fs::seek(&fd, start).map_err(|_| VolumeError::BadCookie)?;
    }
    let mut batch = [MaybeUninit::<u8>::uninit(); BATCH_BYTES];
    let mut entries = RawDir::new(&fd, &mut batch);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if evict::is_unfinished(name) {
            continue;
        }
        let node = match detail {
            Detail::Names => None,
            Detail::Attributes => describe(ground, dir, fd.as_fd(), name),
        };
        let file_id = match &node {
            Some((_, attributes)) => attributes.file_id,
            None => entry.ino(),
        };
        let cookie = entry.next_entry_cookie();
        if visit(&DirEntry {
            name,
            file_id,
            cookie,
            node,
        })
        .is_break()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes unfinished uploads that nobody writes to from the directory `name` in `dir`; whether
/// nothing else was in it. The caller has assumed an identity.
pub(super) fn remove_leftovers(dir: BorrowedFd<'_>, name: &Name) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name.as_bytes(), flags, Mode::empty())?;
    let mut leftovers = Vec::new();
    for entry in rustix::fs::Dir::read_from(&fd)? {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name if evict::is_unfinished(name) => leftovers.push(entry.file_name().to_owned()),
            // The rest stays as it is: somebody sees this entry.
            _ => return Ok(false),
        }
    }
    let mut left = leftovers.iter();
    Ok(left.all(|name| evict::remove_unheld(fd.as_fd(), name)))
}

fn describe(
    ground: &Ground,
    dir: &Node,
    fd: std::os::fd::BorrowedFd<'_>,
    name: &[u8],
) -> Option<(FileHandle, Attributes)> {
    match name {
        b"." => Some((dir.handle, dir.attributes().ok()?)),
        b".." => {
            let parent = ground.parent(dir).ok()?;
            Some((parent.handle, parent.attributes().ok()?))
        }
        _ => ground.describe(dir, fd, &Name::new(name).ok()?),
    }
}
