//! The MOUNT program, version 3 (RFC 1813 section 5) and versions 1 and 2 (RFC 1094 appendix A).
//!
//! A path is `/volume` or a directory below it; what the caller's address may not reach is not
//! listed (threat N14) and refused with MNT3ERR_ACCES, what does not exist with MNT3ERR_NOENT.
//! Invariant: the path is walked as the caller, so a mount opens no directory that LOOKUP would
//! not. Not promised: MNT in versions 1 and 2, whose handles of 32 bytes only NFSv2 can use; the
//! rest of those versions serves `showmount`.

use std::net::IpAddr;
use std::sync::Arc;

use towline_volume::{Export, FileHandle, FileKind, Name, Pace, Reach};

use crate::ground::{Blocking, Find};
use crate::mounts::PATH_BYTES_MAX;
use crate::rpc::auth::{AUTH_NONE, AUTH_SYS, identify};
use crate::v3::Status;
use crate::xdr::{Malformed, Reader, Writer};
use towline_volume::view::Located;

/// Program number of MOUNT (RFC 1813 section 5.1.2).
pub const PROGRAM: u32 = 100_005;

/// Oldest version: version 1 is what old `showmount` speaks (RFC 1094 appendix A).
pub const VERSION_MIN: u32 = 1;

/// Newest version, the one that goes with NFSv3 (RFC 1813 section 5.1.2).
pub const VERSION_MAX: u32 = 3;

/// A procedure of MOUNT (RFC 1813 section 5.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Procedure {
    Null,
    Mount,
    Dump,
    Unmount,
    UnmountAll,
    Export,
}

impl Procedure {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Null),
            1 => Some(Self::Mount),
            2 => Some(Self::Dump),
            3 => Some(Self::Unmount),
            4 => Some(Self::UnmountAll),
            5 => Some(Self::Export),
            _ => None,
        }
    }
}

/// Carries out a call and writes its results. Blocks.
///
/// # Errors
/// [`Malformed`]: answer GARBAGE_ARGS.
pub(crate) fn answer(
    ground: &mut Blocking<'_>,
    (procedure, version): (Procedure, u32),
    arguments: &mut Reader<'_>,
    out: &mut Writer<'_>,
) -> Result<(), Malformed> {
    let client = ground.caller.address.to_canonical();
    match procedure {
        Procedure::Null => {}
        Procedure::Mount => {
            let path = arguments.opaque(PATH_BYTES_MAX)?;
            mount(ground, version, path, out);
        }
        Procedure::Dump => {
            for (of, path) in ground.server.mounts.seen_by(client) {
                out.u32(1);
                out.opaque(of.to_string().as_bytes());
                out.opaque(&path);
            }
            out.u32(0);
        }
        Procedure::Unmount => {
            let path = arguments.opaque(PATH_BYTES_MAX)?;
            ground.server.mounts.remove(client, Some(path));
        }
        Procedure::UnmountAll => ground.server.mounts.remove(client, None),
        Procedure::Export => {
            for export in ground.server.exports.all() {
                if export.reach(client) > Reach::None {
                    write_export(export, client, out);
                }
            }
            out.u32(0);
        }
    }
    Ok(())
}

fn mount(ground: &mut Blocking<'_>, version: u32, path: &[u8], out: &mut Writer<'_>) {
    let found = match version {
        VERSION_MAX => find(ground, path),
        _ => Err(Status::NotSupp),
    };
    match found {
        Ok(handle) => {
            let client = ground.caller.address.to_canonical();
            ground.server.mounts.add(client, path);
            out.u32(Status::Ok.number());
            out.opaque(handle.as_bytes());
            // AUTH_UNIX first: clients of BSD descent take the first flavor or none.
            out.words([2, AUTH_SYS, AUTH_NONE]);
        }
        Err(status) => out.u32(status.number()),
    }
}

/// The directory at `path`.
fn find(ground: &mut Blocking<'_>, path: &[u8]) -> Result<FileHandle, Status> {
    let mut parts = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty());
    let volume = parts.next().ok_or(Status::NoEnt)?;
    let export = ground.server.exports.by_name(volume).ok_or(Status::NoEnt)?;
    if export.reach(ground.caller.address) == Reach::None {
        return Err(Status::Acces);
    }
    let below: Result<Vec<Name>, _> = parts.map(Name::new).collect();
    let below = below.map_err(|_| Status::NoEnt)?;
    let who = identify(export, &ground.caller.credential);
    let node = match below.as_slice() {
        [] => export.volume.root()?,
        names => export.volume.walk(names, &who, Pace::Blocking)?,
    };
    if node.kind != FileKind::Directory {
        return Err(Status::NotDir);
    }
    let handle = node.handle;
    let export: Arc<Export> = export.clone();
    ground.finds.push(Find::Node(Located { node, export }));
    Ok(handle)
}

/// One `exportnode`: the path, and those networks of the caller that open it.
fn write_export(export: &Export, client: IpAddr, out: &mut Writer<'_>) {
    out.u32(1);
    let path = [b"/", export.name.as_bytes()].concat();
    out.opaque(&path);
    let nets = export.allow.iter().chain(&export.allow_write);
    for net in nets.filter(|net| net.contains(&client)) {
        out.u32(1);
        out.opaque(net.to_string().as_bytes());
    }
    out.u32(0);
}
