//! The arguments of the operations (RFC 8881 section 18, RFC 7862 section 15, RFC 8276 section
//! 8.4), read but not yet believed.
//!
//! Names, owners and data stay in the message; handles are copied into 64 bytes. Invariant:
//! nothing is allocated from a length that a peer claims, and operations that are not done here
//! are not read. Not promised: that a name may be used or that a handle is ours.

pub mod extra;
pub mod lock;
pub mod open;
pub mod session;
pub mod settings;

use towline_volume::FileHandle;
use towline_volume::handle::HANDLE_BYTES_MAX;

use super::Status;
use super::bits::Bits;
use super::operation::Operation;
use super::state::stateid::StateId;
use crate::xdr::{Malformed, Reader};

pub use extra::{Copying, XattrArgs};
pub use lock::{LockArgs, LockOwner, LockTest, Unlock};
pub use open::{Claim, Create, OpenArgs};
pub use session::{Channel, CreateSessionArgs, ExchangeIdArgs, SequenceArgs};
pub use settings::Settings;

/// Longest name or text taken off the wire, in bytes: a message holds no more than about 1 MiB,
/// and what is longer than the file system's own limit gets a status of its own.
const STRING_BYTES_MAX: usize = crate::rpc::record::MESSAGE_BYTES_MAX;

/// Longest owner of an open or a lock, in bytes (RFC 8881 section 3.3.17, `NFS4_OPAQUE_LIMIT`).
pub const OWNER_BYTES_MAX: usize = 1024;

/// Most stateids of one TEST_STATEID: its reply must fit in any session's.
pub const STATEIDS_MAX: u32 = 1024;

/// The arguments of one operation.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the fields are those of the RFC section, name for name"
)]
pub enum Args<'a> {
    /// Operations that have none: GETFH, LOOKUPP, PUTROOTFH, PUTPUBFH, READLINK, RESTOREFH, SAVEFH.
    None,
    /// ACCESS (18.1).
    Access { asked: u32 },
    /// CLOSE (18.2).
    Close { stateid: StateId },
    /// COMMIT (18.3).
    Commit { offset: u64, count: u32 },
    /// CREATE (18.4).
    Create {
        kind: NodeType<'a>,
        name: &'a [u8],
        settings: Settings,
    },
    /// DELEGRETURN (18.6).
    DelegReturn { stateid: StateId },
    /// GETATTR (18.7).
    GetAttr { asked: Bits },
    /// LINK (18.9), LOOKUP (18.13), REMOVE (18.25), SECINFO (18.29).
    Name { name: &'a [u8] },
    /// LOCK (18.10).
    Lock(LockArgs<'a>),
    /// LOCKT (18.11).
    LockTest(LockTest<'a>),
    /// LOCKU (18.12).
    Unlock(Unlock),
    /// VERIFY (18.30) and NVERIFY (18.15).
    Verify { asked: Bits, values: &'a [u8] },
    /// OPEN (18.16).
    Open(OpenArgs<'a>),
    /// OPEN_DOWNGRADE (18.18).
    OpenDowngrade {
        stateid: StateId,
        access: u32,
        deny: u32,
    },
    /// PUTFH (18.19).
    PutFh { handle: FileHandle },
    /// READ (18.22).
    Read {
        stateid: StateId,
        offset: u64,
        count: u32,
    },
    /// READDIR (18.23).
    ReadDir {
        cookie: u64,
        verifier: [u8; 8],
        dir_count: u32,
        max_count: u32,
        asked: Bits,
    },
    /// RENAME (18.26).
    Rename { from: &'a [u8], to: &'a [u8] },
    /// SETATTR (18.30).
    SetAttr {
        stateid: StateId,
        settings: Settings,
    },
    /// WRITE (18.32).
    Write { head: WriteHead, data: &'a [u8] },
    /// EXCHANGE_ID (18.35).
    ExchangeId(ExchangeIdArgs<'a>),
    /// CREATE_SESSION (18.36).
    CreateSession(CreateSessionArgs),
    /// BACKCHANNEL_CTL (18.33).
    BackChannelCtl {
        program: u32,
        security: Option<session::Security>,
    },
    /// BIND_CONN_TO_SESSION (18.34).
    BindConnToSession { session: [u8; 16], direction: u32 },
    /// DESTROY_SESSION (18.37).
    DestroySession { session: [u8; 16] },
    /// DESTROY_CLIENTID (18.50).
    DestroyClientId { client: u64 },
    /// FREE_STATEID (18.38).
    FreeStateId { stateid: StateId },
    /// SECINFO_NO_NAME (18.45).
    SecInfoNoName { of_parent: bool },
    /// SEQUENCE (18.46).
    Sequence(SequenceArgs),
    /// TEST_STATEID (18.48).
    TestStateId { count: u32, list: Reader<'a> },
    /// RECLAIM_COMPLETE (18.51).
    ReclaimComplete { one_fs: bool },
    /// SEEK (RFC 7862 section 15.11).
    Seek {
        stateid: StateId,
        offset: u64,
        what: u32,
    },
    /// ALLOCATE and DEALLOCATE (RFC 7862 sections 15.1 and 15.4).
    Allocate {
        stateid: StateId,
        offset: u64,
        length: u64,
    },
    /// COPY and CLONE (RFC 7862 sections 15.2 and 15.13).
    Copy(Copying),
    /// GETXATTR, SETXATTR, LISTXATTRS and REMOVEXATTR (RFC 8276 section 8.4).
    Xattr(XattrArgs<'a>),
}

/// What CREATE is to make (RFC 8881 section 18.4, `createtype4`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NodeType<'a> {
    /// NF4LNK and its text.
    Link(&'a [u8]),
    /// NF4BLK with major and minor number.
    Block(u32, u32),
    /// NF4CHR with major and minor number.
    Character(u32, u32),
    /// NF4SOCK.
    Socket,
    /// NF4FIFO.
    Fifo,
    /// NF4DIR.
    Directory,
    /// Regular files and what is no type: CREATE makes none of these.
    Unsuitable,
}

/// How durable a WRITE must be (RFC 8881 section 18.32, `stable_how4`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stable {
    /// Not before the next COMMIT.
    Unstable,
    /// The data, and what is needed to find it.
    DataSync,
    /// Data and attributes.
    FileSync,
}

/// WRITE without its data.
#[derive(Clone, Copy, Debug)]
pub struct WriteHead {
    /// Who writes.
    pub stateid: StateId,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// How durable.
    pub stable: Stable,
    /// Bytes of data that follow.
    pub length: u32,
}

impl<'a> Args<'a> {
    /// Reads the arguments of an operation that is done here.
    ///
    /// # Errors
    /// BADXDR, or the status that an argument asks for by itself.
    pub fn parse(operation: Operation, from: &mut Reader<'a>) -> Result<Self, Status> {
        Ok(match operation {
            Operation::Access => Self::Access { asked: from.u32()? },
            Operation::GetAttr => Self::GetAttr {
                asked: Bits::parse(from)?,
            },
            Operation::GetFh
            | Operation::LookupP
            | Operation::PutRootFh
            | Operation::PutPubFh
            | Operation::ReadLink
            | Operation::RestoreFh
            | Operation::SaveFh => Self::None,
            Operation::Link | Operation::Lookup | Operation::Remove | Operation::SecInfo => {
                Self::Name { name: text(from)? }
            }
            Operation::PutFh => Self::PutFh {
                handle: handle(from)?,
            },
            Operation::Read => Self::Read {
                stateid: StateId::parse(from)?,
                offset: from.u64()?,
                count: from.u32()?,
            },
            Operation::ReadDir => Self::ReadDir {
                cookie: from.u64()?,
                verifier: from.fixed()?,
                dir_count: from.u32()?,
                max_count: from.u32()?,
                asked: Bits::parse(from)?,
            },
            Operation::Verify | Operation::NVerify => Self::Verify {
                asked: Bits::parse(from)?,
                values: from.opaque(STRING_BYTES_MAX)?,
            },
            Operation::Close
            | Operation::DelegReturn
            | Operation::FreeStateId
            | Operation::OpenDowngrade
            | Operation::TestStateId
            | Operation::Open
            | Operation::Lock
            | Operation::LockT
            | Operation::LockU => Self::parse_state(operation, from)?,
            Operation::Commit
            | Operation::Create
            | Operation::Rename
            | Operation::SetAttr
            | Operation::Write => Self::parse_change(operation, from)?,
            other => Self::parse_session(other, from)?,
        })
    }

    /// Operations on opens, locks and delegations.
    fn parse_state(operation: Operation, from: &mut Reader<'a>) -> Result<Self, Status> {
        Ok(match operation {
            Operation::Close => {
                let _ignored_seqid = from.u32()?;
                Self::Close {
                    stateid: StateId::parse(from)?,
                }
            }
            Operation::DelegReturn => Self::DelegReturn {
                stateid: StateId::parse(from)?,
            },
            Operation::FreeStateId => Self::FreeStateId {
                stateid: StateId::parse(from)?,
            },
            Operation::OpenDowngrade => {
                let stateid = StateId::parse(from)?;
                let _ignored_seqid = from.u32()?;
                Self::OpenDowngrade {
                    stateid,
                    access: from.u32()?,
                    deny: from.u32()?,
                }
            }
            Operation::TestStateId => {
                let count = from.u32()?;
                if count > STATEIDS_MAX {
                    return Err(Status::BadXdr);
                }
                let list = *from;
                for _ in 0..count {
                    StateId::parse(from)?;
                }
                Self::TestStateId { count, list }
            }
            Operation::Lock => Self::Lock(LockArgs::parse(from)?),
            Operation::LockT => Self::LockTest(LockTest::parse(from)?),
            Operation::LockU => Self::Unlock(Unlock::parse(from)?),
            _ => Self::Open(OpenArgs::parse(from)?),
        })
    }

    /// Operations that change files and names.
    fn parse_change(operation: Operation, from: &mut Reader<'a>) -> Result<Self, Status> {
        Ok(match operation {
            Operation::Commit => Self::Commit {
                offset: from.u64()?,
                count: from.u32()?,
            },
            Operation::Create => {
                let kind = node_type(from)?;
                let name = text(from)?;
                let settings = Settings::parse(from)?;
                Self::Create {
                    kind,
                    name,
                    settings,
                }
            }
            Operation::Rename => Self::Rename {
                from: text(from)?,
                to: text(from)?,
            },
            Operation::SetAttr => Self::SetAttr {
                stateid: StateId::parse(from)?,
                settings: Settings::parse(from)?,
            },
            _ => {
                let head = WriteHead::parse(from)?;
                let mut data = *from;
                let length = head.length as usize;
                let bytes = data.rest().get(..length).ok_or(Malformed)?;
                data.skip(crate::xdr::padded(length))?;
                *from = data;
                Self::Write { head, data: bytes }
            }
        })
    }

    /// Operations on client ids and sessions.
    fn parse_session(operation: Operation, from: &mut Reader<'a>) -> Result<Self, Status> {
        Ok(match operation {
            Operation::ExchangeId => Self::ExchangeId(ExchangeIdArgs::parse(from)?),
            Operation::CreateSession => Self::CreateSession(CreateSessionArgs::parse(from)?),
            Operation::BackChannelCtl => {
                let program = from.u32()?;
                let security = session::security(from)?;
                Self::BackChannelCtl { program, security }
            }
            Operation::BindConnToSession => {
                let session = from.fixed()?;
                let direction = from.u32()?;
                let _rdma = from.flag()?;
                Self::BindConnToSession { session, direction }
            }
            Operation::DestroySession => Self::DestroySession {
                session: from.fixed()?,
            },
            Operation::DestroyClientId => Self::DestroyClientId {
                client: from.u64()?,
            },
            Operation::SecInfoNoName => Self::SecInfoNoName {
                of_parent: match from.u32()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Status::BadXdr),
                },
            },
            Operation::Sequence => Self::Sequence(SequenceArgs::parse(from)?),
            Operation::ReclaimComplete => Self::ReclaimComplete {
                one_fs: from.flag()?,
            },
            other => return extra::parse(other, from),
        })
    }
}

impl WriteHead {
    /// Reads up to where the data begins.
    ///
    /// # Errors
    /// [`Malformed`] if it is cut.
    pub fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let stateid = StateId::parse(from)?;
        let offset = from.u64()?;
        let stable = match from.u32()? {
            0 => Stable::Unstable,
            1 => Stable::DataSync,
            2 => Stable::FileSync,
            _ => return Err(Malformed),
        };
        Ok(Self {
            stateid,
            offset,
            stable,
            length: from.u32()?,
        })
    }
}

/// `nfs_fh4`: at most 128 bytes (RFC 8881 section 3.3.3); ours have at most 64, so what is longer
/// is none of ours.
fn handle(from: &mut Reader<'_>) -> Result<FileHandle, Status> {
    /// `NFS4_FHSIZE` (RFC 8881 section 3.1).
    const WIRE_BYTES_MAX: usize = 128;
    let bytes = from.opaque(WIRE_BYTES_MAX)?;
    if bytes.len() > HANDLE_BYTES_MAX {
        return Err(Status::BadHandle);
    }
    FileHandle::from_bytes(bytes).ok_or(Status::BadHandle)
}

/// A name or another text.
pub(super) fn text<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    from.opaque(STRING_BYTES_MAX)
}

/// The type and what belongs to it; numbers are those of RFC 8881 section 3.2.1 (`nfs_ftype4`).
fn node_type<'a>(from: &mut Reader<'a>) -> Result<NodeType<'a>, Malformed> {
    Ok(match from.u32()? {
        2 => NodeType::Directory,
        3 => NodeType::Block(from.u32()?, from.u32()?),
        4 => NodeType::Character(from.u32()?, from.u32()?),
        5 => NodeType::Link(text(from)?),
        6 => NodeType::Socket,
        7 => NodeType::Fifo,
        _ => NodeType::Unsuitable,
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

    #[test]
    fn a_handle_that_is_too_long_for_ours_is_a_bad_one() {
        let parse = |length: usize| {
            let wire = bytes(|out| out.opaque(&vec![1; length]));
            Args::parse(Operation::PutFh, &mut Reader::new(&wire)).map(drop)
        };
        assert_eq!(parse(64), Ok(()));
        assert_eq!(parse(65), Err(Status::BadHandle));
        assert_eq!(parse(129), Err(Status::BadXdr));
    }

    #[test]
    fn a_write_lends_its_data_and_stands_behind_the_padding() {
        let wire = bytes(|out| {
            StateId::default().write(out);
            out.u64(7);
            out.u32(2);
            out.opaque(b"hello");
            out.u32(9);
        });
        let mut reader = Reader::new(&wire);
        let Ok(Args::Write { head, data }) = Args::parse(Operation::Write, &mut reader) else {
            panic!("a good WRITE");
        };
        assert_eq!((head.offset, head.length, data), (7, 5, &b"hello"[..]));
        assert_eq!(reader.u32(), Ok(9));
    }

    #[test]
    fn no_cut_of_any_arguments_is_taken_for_the_whole() {
        let rename = bytes(|out| {
            out.opaque(b"from");
            out.opaque(b"to");
        });
        for cut in 0..rename.len() {
            let mut reader = Reader::new(&rename[..cut]);
            let refused = Args::parse(Operation::Rename, &mut reader).map(drop);
            assert_eq!(refused, Err(Status::BadXdr));
        }
    }
}
