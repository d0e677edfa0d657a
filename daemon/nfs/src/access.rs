//! ACCESS of both versions: what a caller may do with a node, as the bits that go over the wire.
//!
//! The first six bits have the same numbers in either (RFC 1813 section 3.3.4, RFC 8881 section
//! 18.1.1). Invariant: the answer is the kernel's for the caller's identity, less what a read-only
//! export takes away; it never echoes the question. Not promised: that it still holds later.

use towline_volume::{Access, FileKind, VolumeError};

use crate::ground::Target;

/// Read data or list.
pub(crate) const READ: u32 = 0x01;
/// Look up in a directory.
pub(crate) const LOOKUP: u32 = 0x02;
/// Change data or entries.
pub(crate) const MODIFY: u32 = 0x04;
/// Write behind the end or add entries.
pub(crate) const EXTEND: u32 = 0x08;
/// Remove an entry.
pub(crate) const DELETE: u32 = 0x10;
/// Execute a file.
pub(crate) const EXECUTE: u32 = 0x20;

/// The bits that the caller has, and those that make sense for this type of node. `more` are a
/// version's own bits that follow reading and writing.
pub(crate) fn granted(
    target: &Target,
    asked: u32,
    (more_read, more_write): (u32, u32),
) -> Result<(u32, u32), VolumeError> {
    let node = &target.located.node;
    let (write_bits, execute_bits) = match node.kind {
        FileKind::Directory => (MODIFY | EXTEND | DELETE, LOOKUP),
        FileKind::Regular
        | FileKind::Symlink
        | FileKind::Block
        | FileKind::Character
        | FileKind::Fifo
        | FileKind::Socket => (MODIFY | EXTEND, EXECUTE),
    };
    let (read_bits, write_bits) = (READ | more_read, write_bits | more_write);
    let question = Access {
        read: asked & read_bits != 0,
        write: asked & write_bits != 0 && target.writable().is_ok(),
        execute: asked & execute_bits != 0,
    };
    let volume = &target.located.export.volume;
    let rights = volume.access(node, &target.who, question)?;
    let bits = |granted: bool, bits: u32| if granted { bits } else { 0 };
    let all = bits(rights.read, read_bits)
        | bits(rights.write && question.write, write_bits)
        | bits(rights.execute, execute_bits);
    Ok((all, read_bits | write_bits | execute_bits))
}
