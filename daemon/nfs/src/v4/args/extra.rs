//! Arguments of minor version 2: SEEK, ALLOCATE, DEALLOCATE, COPY, CLONE (RFC 7862 section 15) and
//! extended attributes (RFC 8276 section 8.4).
//!
//! Invariant: texts keep their bounds, and copies from another server are told apart. Not
//! promised: anything else of minor version 2; it is not read.

use towline_volume::XattrHow;

use super::{Args, text};
use crate::v4::state::stateid::StateId;
use crate::v4::{Operation, Status};
use crate::xdr::{Malformed, Reader};

/// Longest value of an extended attribute taken off the wire, in bytes; the volume's own bound is
/// lower and has a status of its own.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// COPY and CLONE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Copying {
    /// The open of the saved file.
    pub source: StateId,
    /// The open of the current file.
    pub target: StateId,
    /// Bytes from the start of the saved file.
    pub source_offset: u64,
    /// Bytes from the start of the current file.
    pub target_offset: u64,
    /// Bytes; 0 is "to the end".
    pub count: u64,
}

/// An operation on extended attributes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum XattrArgs<'a> {
    /// GETXATTR.
    Get(&'a [u8]),
    /// SETXATTR.
    Set(XattrHow, &'a [u8], &'a [u8]),
    /// LISTXATTRS: behind which entry, and how many bytes at most.
    List(u64, u32),
    /// REMOVEXATTR.
    Remove(&'a [u8]),
}

/// Reads the arguments of an operation of minor version 2.
pub(super) fn parse<'a>(operation: Operation, from: &mut Reader<'a>) -> Result<Args<'a>, Status> {
    Ok(match operation {
        Operation::Seek => Args::Seek {
            stateid: StateId::parse(from)?,
            offset: from.u64()?,
            what: from.u32()?,
        },
        Operation::Allocate | Operation::Deallocate => Args::Allocate {
            stateid: StateId::parse(from)?,
            offset: from.u64()?,
            length: from.u64()?,
        },
        Operation::Clone => Args::Copy(copying(from)?),
        Operation::Copy => {
            let copying = copying(from)?;
            let (_consecutive, _synchronous) = (from.flag()?, from.flag()?);
            if from.u32()? != 0 {
                // From another server: nothing of that is done here, so it is not read.
                return Err(Status::NotSupp);
            }
            Args::Copy(copying)
        }
        Operation::GetXattr => Args::Xattr(XattrArgs::Get(text(from)?)),
        Operation::RemoveXattr => Args::Xattr(XattrArgs::Remove(text(from)?)),
        Operation::ListXattrs => Args::Xattr(XattrArgs::List(from.u64()?, from.u32()?)),
        Operation::SetXattr => {
            let how = match from.u32()? {
                0 => XattrHow::Either,
                1 => XattrHow::Create,
                2 => XattrHow::Replace,
                _ => return Err(Status::BadXdr),
            };
            let name = text(from)?;
            Args::Xattr(XattrArgs::Set(how, name, from.opaque(VALUE_BYTES_MAX)?))
        }
        _ => return Err(Status::NotSupp),
    })
}

fn copying(from: &mut Reader<'_>) -> Result<Copying, Malformed> {
    Ok(Copying {
        source: StateId::parse(from)?,
        target: StateId::parse(from)?,
        source_offset: from.u64()?,
        target_offset: from.u64()?,
        count: from.u64()?,
    })
}
