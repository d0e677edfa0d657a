//! The arguments of the 22 procedures (RFC 1813 section 3.3), read but not yet believed.
//!
//! Names, link targets and data stay in the message; handles are copied into 64 bytes. Invariant:
//! nothing is allocated here, whatever a length claims. Not promised: that a name may be used
//! (`towline_base::Name` decides) or that a handle is ours (its MAC decides).

use towline_volume::handle::HANDLE_BYTES_MAX;
use towline_volume::{FileHandle, SetAttributes, SetTime, Timestamp};

use super::Procedure;
use crate::xdr::{Malformed, Reader};

/// Longest string taken off the wire, in bytes: a message holds no more than about 1 MiB, and
/// what is longer than the file system's own limit gets a status instead of GARBAGE_ARGS.
const STRING_BYTES_MAX: usize = crate::rpc::record::MESSAGE_BYTES_MAX;

/// A name in a directory (RFC 1813 section 2.6, `diropargs3`).
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The directory.
    pub dir: FileHandle,
    /// The name as it came.
    pub name: &'a [u8],
}

/// How durable a WRITE must be when it is answered (RFC 1813 section 3.3.7, `stable_how`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stable {
    /// Not before the next COMMIT.
    Unstable,
    /// The data, and what is needed to find it.
    DataSync,
    /// Data and attributes.
    FileSync,
}

/// How CREATE treats a name that is taken (RFC 1813 section 3.3.8, `createhow3`).
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Takes the file.
    Unchecked(SetAttributes),
    /// Fails.
    Guarded(SetAttributes),
    /// Fails unless the same verifier made it.
    Exclusive([u8; 8]),
}

/// What MKNOD is to make (RFC 1813 section 3.3.11, `mknoddata3`).
#[derive(Clone, Copy, Debug)]
pub enum NodeType {
    /// NF3CHR with major and minor number.
    Character(u32, u32),
    /// NF3BLK with major and minor number.
    Block(u32, u32),
    /// NF3SOCK.
    Socket,
    /// NF3FIFO.
    Fifo,
    /// NF3REG, NF3DIR or NF3LNK: MKNOD makes none of these.
    Unsuitable,
}

/// The arguments of WRITE without the data (RFC 1813 section 3.3.7).
#[derive(Clone, Copy, Debug)]
pub struct WriteHead {
    /// The file.
    pub file: FileHandle,
    /// Bytes from its start.
    pub offset: u64,
    /// Bytes of data that follow; `count` and the length of `data` are the same number.
    pub length: u32,
    /// How durable.
    pub stable: Stable,
}

/// Where a directory listing goes on (RFC 1813 sections 3.3.16 and 3.3.17).
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    /// The directory.
    pub dir: FileHandle,
    /// Behind which entry; 0 from the start.
    pub cookie: u64,
    /// Must be what an earlier reply gave, if `cookie` is not 0.
    pub verifier: [u8; 8],
}

/// The arguments of one call.
#[derive(Clone, Copy, Debug)]
#[expect(
    missing_docs,
    reason = "the fields are those of RFC 1813 section 3.3, name for name"
)]
pub enum Arguments<'a> {
    /// NULL.
    Null,
    /// GETATTR.
    GetAttr { object: FileHandle },
    /// SETATTR.
    SetAttr {
        object: FileHandle,
        changes: SetAttributes,
        guard: Option<Timestamp>,
    },
    /// LOOKUP.
    Lookup(Entry<'a>),
    /// ACCESS.
    Access { object: FileHandle, asked: u32 },
    /// READLINK.
    ReadLink { symlink: FileHandle },
    /// READ.
    Read {
        file: FileHandle,
        offset: u64,
        count: u32,
    },
    /// WRITE.
    Write { head: WriteHead, data: &'a [u8] },
    /// CREATE.
    Create { place: Entry<'a>, mode: Mode },
    /// MKDIR.
    MkDir {
        place: Entry<'a>,
        attributes: SetAttributes,
    },
    /// SYMLINK.
    SymLink {
        place: Entry<'a>,
        attributes: SetAttributes,
        target: &'a [u8],
    },
    /// MKNOD.
    MkNod {
        place: Entry<'a>,
        node_type: NodeType,
        attributes: SetAttributes,
    },
    /// REMOVE.
    Remove(Entry<'a>),
    /// RMDIR.
    RmDir(Entry<'a>),
    /// RENAME.
    Rename { from: Entry<'a>, to: Entry<'a> },
    /// LINK.
    Link { file: FileHandle, place: Entry<'a> },
    /// READDIR.
    ReadDir { resume: Resume, count: u32 },
    /// READDIRPLUS.
    ReadDirPlus {
        resume: Resume,
        dir_count: u32,
        max_count: u32,
    },
    /// FSSTAT.
    FsStat { root: FileHandle },
    /// FSINFO.
    FsInfo { root: FileHandle },
    /// PATHCONF.
    PathConf { object: FileHandle },
    /// COMMIT. Its range is not kept: the whole file is made durable.
    Commit { file: FileHandle },
}

impl<'a> Arguments<'a> {
    /// Reads the arguments of `procedure`.
    ///
    /// # Errors
    /// [`Malformed`]: answer GARBAGE_ARGS.
    #[inline]
    pub fn parse(procedure: Procedure, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match procedure {
            Procedure::Null => Self::Null,
            Procedure::GetAttr => Self::GetAttr {
                object: handle(from)?,
            },
            Procedure::Lookup => Self::Lookup(entry(from)?),
            Procedure::Access => Self::Access {
                object: handle(from)?,
                asked: from.u32()?,
            },
            Procedure::Read => Self::Read {
                file: handle(from)?,
                offset: from.u64()?,
                count: from.u32()?,
            },
            Procedure::FsInfo => Self::FsInfo {
                root: handle(from)?,
            },
            Procedure::ReadLink => Self::ReadLink {
                symlink: handle(from)?,
            },
            Procedure::FsStat => Self::FsStat {
                root: handle(from)?,
            },
            Procedure::PathConf => Self::PathConf {
                object: handle(from)?,
            },
            Procedure::ReadDir => Self::ReadDir {
                resume: resume(from)?,
                count: from.u32()?,
            },
            Procedure::ReadDirPlus => Self::ReadDirPlus {
                resume: resume(from)?,
                dir_count: from.u32()?,
                max_count: from.u32()?,
            },
            Procedure::SetAttr
            | Procedure::Write
            | Procedure::Create
            | Procedure::MkDir
            | Procedure::SymLink
            | Procedure::MkNod
            | Procedure::Remove
            | Procedure::RmDir
            | Procedure::Rename
            | Procedure::Link
            | Procedure::Commit => return Self::parse_change(procedure, from),
        })
    }

    fn parse_change(procedure: Procedure, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match procedure {
            Procedure::SetAttr => Self::SetAttr {
                object: handle(from)?,
                changes: set_attributes(from)?,
                guard: from.flag()?.then(|| timestamp(from)).transpose()?,
            },
            Procedure::Write => {
                let head = WriteHead::parse(from)?;
                let length = head.length as usize;
                let data = from.rest().get(..length).ok_or(Malformed)?;
                Self::Write { head, data }
            }
            Procedure::Create => Self::Create {
                place: entry(from)?,
                mode: mode(from)?,
            },
            Procedure::MkDir => Self::MkDir {
                place: entry(from)?,
                attributes: set_attributes(from)?,
            },
            Procedure::SymLink => Self::SymLink {
                place: entry(from)?,
                attributes: set_attributes(from)?,
                target: from.opaque(STRING_BYTES_MAX)?,
            },
            Procedure::MkNod => {
                let place = entry(from)?;
                let (node_type, attributes) = node_type(from)?;
                Self::MkNod {
                    place,
                    node_type,
                    attributes,
                }
            }
            Procedure::Remove => Self::Remove(entry(from)?),
            Procedure::RmDir => Self::RmDir(entry(from)?),
            Procedure::Rename => Self::Rename {
                from: entry(from)?,
                to: entry(from)?,
            },
            Procedure::Link => Self::Link {
                file: handle(from)?,
                place: entry(from)?,
            },
            Procedure::Commit => {
                let file = handle(from)?;
                let (_offset, _count) = (from.u64()?, from.u32()?);
                Self::Commit { file }
            }
            Procedure::Null
            | Procedure::GetAttr
            | Procedure::Lookup
            | Procedure::Access
            | Procedure::ReadLink
            | Procedure::Read
            | Procedure::ReadDir
            | Procedure::ReadDirPlus
            | Procedure::FsStat
            | Procedure::FsInfo
            | Procedure::PathConf => return Err(Malformed),
        })
    }

    /// The handle that stands first in the arguments; NULL has none.
    #[must_use]
    pub fn first_handle(&self) -> Option<&FileHandle> {
        match self {
            Self::Null => None,
            Self::GetAttr { object: handle }
            | Self::SetAttr { object: handle, .. }
            | Self::Access { object: handle, .. }
            | Self::ReadLink { symlink: handle }
            | Self::Read { file: handle, .. }
            | Self::Link { file: handle, .. }
            | Self::FsStat { root: handle }
            | Self::FsInfo { root: handle }
            | Self::PathConf { object: handle }
            | Self::Commit { file: handle } => Some(handle),
            Self::Lookup(place)
            | Self::Create { place, .. }
            | Self::MkDir { place, .. }
            | Self::SymLink { place, .. }
            | Self::MkNod { place, .. }
            | Self::Remove(place)
            | Self::RmDir(place)
            | Self::Rename { from: place, .. } => Some(&place.dir),
            Self::Write { head, .. } => Some(&head.file),
            Self::ReadDir { resume, .. } | Self::ReadDirPlus { resume, .. } => Some(&resume.dir),
        }
    }
}

impl WriteHead {
    /// Reads up to where the data begins, data and padding excluded.
    ///
    /// # Errors
    /// [`Malformed`] if the head is cut, or `count` is not the length of the data.
    pub fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let file = handle(from)?;
        let (offset, count) = (from.u64()?, from.u32()?);
        let stable = match from.u32()? {
            0 => Stable::Unstable,
            1 => Stable::DataSync,
            2 => Stable::FileSync,
            _ => return Err(Malformed),
        };
        let length = from.u32()?;
        if length != count {
            return Err(Malformed);
        }
        Ok(Self {
            file,
            offset,
            length,
            stable,
        })
    }
}

fn handle(from: &mut Reader<'_>) -> Result<FileHandle, Malformed> {
    let bytes = from.opaque(HANDLE_BYTES_MAX)?;
    FileHandle::from_bytes(bytes).ok_or(Malformed)
}

fn entry<'a>(from: &mut Reader<'a>) -> Result<Entry<'a>, Malformed> {
    let dir = handle(from)?;
    let name = from.opaque(STRING_BYTES_MAX)?;
    Ok(Entry { dir, name })
}

fn resume(from: &mut Reader<'_>) -> Result<Resume, Malformed> {
    Ok(Resume {
        dir: handle(from)?,
        cookie: from.u64()?,
        verifier: from.fixed()?,
    })
}

/// `nfstime3`; what is a second or more in the nanoseconds is malformed.
fn timestamp(from: &mut Reader<'_>) -> Result<Timestamp, Malformed> {
    let (seconds, nanoseconds) = (from.u32()?, from.u32()?);
    if nanoseconds >= 1_000_000_000 {
        return Err(Malformed);
    }
    let seconds = i64::from(seconds);
    Ok(Timestamp {
        seconds,
        nanoseconds,
    })
}

/// `sattr3` (RFC 1813 section 2.6).
fn set_attributes(from: &mut Reader<'_>) -> Result<SetAttributes, Malformed> {
    Ok(SetAttributes {
        mode: optional(from)?.map(|mode| mode & 0o7777),
        uid: optional(from)?,
        gid: optional(from)?,
        size: from.flag()?.then(|| from.u64()).transpose()?,
        accessed: set_time(from)?,
        modified: set_time(from)?,
    })
}

fn optional(from: &mut Reader<'_>) -> Result<Option<u32>, Malformed> {
    from.flag()?.then(|| from.u32()).transpose()
}

fn set_time(from: &mut Reader<'_>) -> Result<SetTime, Malformed> {
    match from.u32()? {
        0 => Ok(SetTime::Keep),
        1 => Ok(SetTime::Now),
        2 => Ok(SetTime::To(timestamp(from)?)),
        _ => Err(Malformed),
    }
}

fn mode(from: &mut Reader<'_>) -> Result<Mode, Malformed> {
    match from.u32()? {
        0 => Ok(Mode::Unchecked(set_attributes(from)?)),
        1 => Ok(Mode::Guarded(set_attributes(from)?)),
        2 => Ok(Mode::Exclusive(from.fixed()?)),
        _ => Err(Malformed),
    }
}

/// The type and what belongs to it; `ftype3` numbers are those of RFC 1813 section 2.6.
fn node_type(from: &mut Reader<'_>) -> Result<(NodeType, SetAttributes), Malformed> {
    let number = from.u32()?;
    Ok(match number {
        1 | 2 | 5 => (NodeType::Unsuitable, SetAttributes::default()),
        3 | 4 => {
            let attributes = set_attributes(from)?;
            let (major, minor) = (from.u32()?, from.u32()?);
            match number {
                3 => (NodeType::Block(major, minor), attributes),
                _ => (NodeType::Character(major, minor), attributes),
            }
        }
        6 => (NodeType::Socket, set_attributes(from)?),
        7 => (NodeType::Fifo, set_attributes(from)?),
        _ => return Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdr::Writer;

    fn bytes(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut buffer = Vec::new();
        write(&mut Writer::new(&mut buffer));
        buffer
    }

    fn parse(procedure: Procedure, bytes: &[u8]) -> Result<Arguments<'_>, Malformed> {
        Arguments::parse(procedure, &mut Reader::new(bytes))
    }

    #[test]
    fn a_handle_has_at_most_64_bytes() {
        let exactly = bytes(|out| out.opaque(&[1; HANDLE_BYTES_MAX]));
        assert!(parse(Procedure::GetAttr, &exactly).is_ok());
        let longer = bytes(|out| out.opaque(&[1; HANDLE_BYTES_MAX + 1]));
        assert!(parse(Procedure::GetAttr, &longer).is_err());
    }

    #[test]
    fn a_write_whose_two_lengths_differ_is_malformed() {
        let write = |count: u32| {
            bytes(|out| {
                out.opaque(b"handle");
                out.u64(7);
                out.words([count, 2]);
                out.opaque(b"hello");
            })
        };
        let good = write(5);
        let Ok(Arguments::Write { head, data }) = parse(Procedure::Write, &good) else {
            panic!("a good WRITE");
        };
        assert_eq!((head.offset, head.length, data), (7, 5, &b"hello"[..]));
        assert_eq!(head.stable, Stable::FileSync);
        assert!(parse(Procedure::Write, &write(4)).is_err());
        assert!(parse(Procedure::Write, &write(6)).is_err());
    }

    #[test]
    fn attributes_are_set_only_where_asked() {
        let wire = bytes(|out| {
            out.opaque(b"dir");
            out.opaque(b"name");
            out.words([1, 0o100_644, 0, 0, 1]);
            out.u64(9);
            out.words([1, 2, 5, 6]);
        });
        let Ok(Arguments::MkDir { attributes, .. }) = parse(Procedure::MkDir, &wire) else {
            panic!("a good MKDIR");
        };
        let wanted = SetAttributes {
            mode: Some(0o644),
            size: Some(9),
            accessed: SetTime::Now,
            modified: SetTime::To(Timestamp {
                seconds: 5,
                nanoseconds: 6,
            }),
            ..SetAttributes::default()
        };
        assert_eq!(attributes, wanted);
    }

    #[test]
    fn no_cut_of_any_arguments_is_taken_for_the_whole() {
        let rename = bytes(|out| {
            for part in [&b"dir"[..], b"name", b"dir", b"name"] {
                out.opaque(part);
            }
        });
        for cut in 0..rename.len() {
            assert!(parse(Procedure::Rename, &rename[..cut]).is_err());
        }
        assert!(parse(Procedure::Rename, &rename).is_ok());
    }
}
