//! Extended attributes of files and directories: the `user.` part of them (xattr(7)).
//!
//! Invariant: the kernel decides for the assumed identity, and no name reaches another part than
//! `user.`. Not promised: that a file system has them, or room for them.

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use towline_sys::identity::{Identity, assume};

use crate::node::Node;
use crate::volume::{Result, XattrHow, XattrSet};

use super::ground::proc_path;

/// What clients see of the names is what follows (RFC 8276 section 4.3).
const PREFIX: &[u8] = b"user.";

/// Longest value, in bytes: Linux' `XATTR_SIZE_MAX`.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// Longest list of names, in bytes: Linux' `XATTR_LIST_MAX`.
const LIST_BYTES_MAX: usize = 64 << 10;

/// The name on the host.
fn whole(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}

/// One value; `None`: there is no such attribute.
pub(super) fn get(node: &Node, who: &Identity, name: &[u8]) -> Result<Option<Vec<u8>>> {
    assume(who)?;
    let path = node.as_path()?;
    let mut value = Vec::with_capacity(VALUE_BYTES_MAX);
    let room = rustix::buffer::spare_capacity(&mut value);
    match rustix::fs::getxattr(proc_path(&path), whole(name), room) {
        Ok(_) => Ok(Some(value)),
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// All names.
pub(super) fn list(node: &Node, who: &Identity) -> Result<Vec<Vec<u8>>> {
    assume(who)?;
    let path = node.as_path()?;
    let mut names = Vec::with_capacity(LIST_BYTES_MAX);
    let room = rustix::buffer::spare_capacity(&mut names);
    rustix::fs::listxattr(proc_path(&path), room)?;
    let names = names.split(|byte| *byte == 0);
    Ok(names
        .filter_map(|name| name.strip_prefix(PREFIX))
        .map(<[u8]>::to_vec)
        .collect())
}

/// Sets one.
pub(super) fn set(
    node: &Node,
    who: &Identity,
    (name, value): (&[u8], &[u8]),
    how: XattrHow,
) -> Result<XattrSet> {
    assume(who)?;
    let path = node.as_path()?;
    let flags = match how {
        XattrHow::Either => XattrFlags::empty(),
        XattrHow::Create => XattrFlags::CREATE,
        XattrHow::Replace => XattrFlags::REPLACE,
    };
    match rustix::fs::setxattr(proc_path(&path), whole(name), value, flags) {
        Ok(()) => Ok(XattrSet::Done),
        Err(Errno::EXIST) => Ok(XattrSet::Taken),
        Err(Errno::NODATA) => Ok(XattrSet::Missing),
        // E2BIG and ERANGE of setxattr(2): it is longer than one may be.
        Err(Errno::TOOBIG | Errno::RANGE) => Ok(XattrSet::TooBig),
        Err(error) => Err(error.into()),
    }
}

/// Removes one; whether there was one.
pub(super) fn remove(node: &Node, who: &Identity, name: &[u8]) -> Result<bool> {
    assume(who)?;
    let path = node.as_path()?;
    match rustix::fs::removexattr(proc_path(&path), whole(name)) {
        Ok(()) => Ok(true),
        Err(Errno::NODATA) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
