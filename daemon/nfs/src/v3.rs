//! NFS version 3 (RFC 1813): its 22 procedures, one file for each or for a few that are alike.
//!
//! A procedure reads nothing from the wire ([`args`] did) and writes its whole result. Those that
//! a worker may answer from memory are generic over `ground::Ground`; the others run on a pool
//! thread only. READ and the WRITE that goes straight from socket to file are driven by the
//! connection. Not promised: locking (NLM) and access control lists (NFSACL).

pub mod args;
pub(crate) mod attributes;
mod create;
mod directory;
pub mod drc;
mod inspect;
mod intake;
mod job;
mod lookup;
pub(crate) mod metrics;
pub mod procedure;
pub(crate) mod read;
mod remove;
mod rename;
mod serve;
mod setattr;
pub mod status;
pub(crate) mod write;

pub use args::Arguments;
pub(crate) use intake::{Intake, Scan, scan};
pub use metrics::Counts;
pub use procedure::Procedure;
pub(crate) use serve::Step;
pub use status::Status;

use towline_volume::FileHandle;

use crate::ground::{self, Blocking, Cold, Ground, Miss, Target};
use crate::xdr::Writer;

/// Program number of NFS (RFC 1813 section 1.2).
pub const PROGRAM: u32 = 100_003;

/// The version that we serve (RFC 1813 section 1.2).
pub const VERSION: u32 = 3;

/// Longest READ and WRITE that FSINFO offers, in bytes: 1 MiB is the most that Linux and macOS
/// clients take, and what one pooled pipe of the driver holds (RFC 1813 section 3.3.19 `rtmax`).
pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;

const _: () = assert!(TRANSFER_BYTES_MAX as u64 <= towline_io::protocol::FRAMED_SPAN_BYTES_MAX);

/// Answers what any ground can answer; everything else is [`Cold`].
#[inline]
pub(crate) fn answer_hot<G: Ground>(
    ground: &mut G,
    arguments: &Arguments<'_>,
    out: &mut Writer<'_>,
) -> Result<Status, Cold> {
    match arguments {
        Arguments::Null => Ok(Status::Ok),
        Arguments::GetAttr { object } => inspect::getattr(ground, object, out),
        Arguments::Lookup(place) => lookup::lookup(ground, place, out),
        Arguments::Access { object, asked } => inspect::access(ground, object, *asked, out),
        Arguments::FsInfo { root } => inspect::fsinfo(ground, root, out),
        Arguments::SetAttr { .. }
        | Arguments::ReadLink { .. }
        | Arguments::Read { .. }
        | Arguments::Write { .. }
        | Arguments::Create { .. }
        | Arguments::MkDir { .. }
        | Arguments::SymLink { .. }
        | Arguments::MkNod { .. }
        | Arguments::Remove(_)
        | Arguments::RmDir(_)
        | Arguments::Rename { .. }
        | Arguments::Link { .. }
        | Arguments::ReadDir { .. }
        | Arguments::ReadDirPlus { .. }
        | Arguments::FsStat { .. }
        | Arguments::PathConf { .. }
        | Arguments::Commit { .. } => Err(Cold),
    }
}

/// Answers everything but READ, which needs the connection's output.
pub(crate) fn answer_blocking(
    ground: &mut Blocking<'_>,
    arguments: &Arguments<'_>,
    out: &mut Writer<'_>,
) -> Status {
    match arguments {
        Arguments::ReadLink { symlink } => inspect::readlink(ground, symlink, out),
        Arguments::FsStat { root } => inspect::fsstat(ground, root, out),
        Arguments::PathConf { object } => inspect::pathconf(ground, object, out),
        Arguments::ReadDir { resume, count } => directory::readdir(ground, resume, *count, out),
        Arguments::ReadDirPlus {
            resume,
            dir_count,
            max_count,
        } => directory::readdirplus(ground, resume, (*dir_count, *max_count), out),
        Arguments::SetAttr {
            object,
            changes,
            guard,
        } => setattr::setattr(ground, object, (changes, guard), out),
        Arguments::Write { head, data } => write::write(ground, head, data, out),
        Arguments::Commit { file } => write::commit(ground, file, out),
        Arguments::Create { place, mode } => create::create(ground, place, mode, out),
        Arguments::MkDir { place, attributes } => create::mkdir(ground, place, attributes, out),
        Arguments::SymLink {
            place,
            attributes,
            target,
        } => create::symlink(ground, place, (attributes, target), out),
        Arguments::MkNod {
            place,
            node_type,
            attributes,
        } => create::mknod(ground, place, (node_type, attributes), out),
        Arguments::Remove(place) => remove::remove(ground, place, out),
        Arguments::RmDir(place) => remove::rmdir(ground, place, out),
        Arguments::Rename { from, to } => rename::rename(ground, from, to, out),
        Arguments::Link { file, place } => rename::link(ground, file, place, out),
        Arguments::Null
        | Arguments::GetAttr { .. }
        | Arguments::Lookup(_)
        | Arguments::Access { .. }
        | Arguments::FsInfo { .. }
        | Arguments::Read { .. } => answer_hot(ground, arguments, out).unwrap_or_else(|Cold| {
            // Only READ is left, which never comes here; "later" is a safe word for a client.
            out.words([Status::Jukebox.number(), 0]);
            Status::Jukebox
        }),
    }
}

/// The node behind a handle, with this version's word for a failure.
fn reach(ground: &mut Blocking<'_>, handle: &FileHandle) -> Result<Target, Status> {
    Ok(ground.reach(handle)?)
}

/// Tells "ask elsewhere" from "this is the answer", with this version's word for a failure.
#[inline]
fn settle<T>(result: Result<T, Miss>) -> Result<Result<T, Status>, Cold> {
    Ok(ground::settle(result)?.map_err(Status::from))
}
