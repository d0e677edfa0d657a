//! Files on their way in over HTTP.
//!
//! A plain upload has no name until it is complete (`O_TMPFILE`, open(2)), so a crash leaves
//! nothing behind; where the file system cannot do that it has a temporary name. A resumable one
//! lies beside its target as `.towline-upload-<hash>` until it is complete or abandoned.
//! Invariant: a reader of the target sees the old file or the whole new one. Left-over resumable
//! uploads are not listed, and [`crate::evict::sweep_uploads`] removes those that have aged. Not
//! promised: that a name that begins like theirs is left alone.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use towline_base::{MacKey, Name};
use towline_io::OpenFile;
use towline_sys::identity::{Identity, assume};

use crate::attributes::FileKind;
use crate::error::VolumeError;
use crate::node::{FileIdentity, Node};
use crate::volume::{Result, Upload};

use super::ground::{live_attributes, proc_path};
use super::statx_at;

/// What every temporary name begins with, so that people and scripts can tell.
pub(crate) const TEMPORARY_PREFIX: &str = ".towline-upload-";

/// Mode of uploaded files, before the node's umask (0 where the daemon runs).
const UPLOAD_MODE: Mode = Mode::from_raw_mode(0o644);

/// See [`crate::WritableVolume::begin_upload`].
pub(super) fn begin(
    dir: &Arc<Node>,
    name: &Name,
    who: &Identity,
    session: Option<&[u8]>,
) -> Result<Upload> {
    if dir.kind != FileKind::Directory {
        return Err(VolumeError::NotDirectory);
    }
    assume(who)?;
    match session {
        Some(session) => begin_named(dir, session_name(name, session)?, false),
        None => match begin_unnamed(dir) {
            Err(VolumeError::NotSupported | VolumeError::IsDirectory) => {
                begin_named(dir, random_name()?, true)
            }
            other => other,
        },
    }
}

/// Gives a finished upload its name. The caller has assumed an identity and synced the data.
pub(super) fn publish(upload: &Upload, name: &Name) -> Result<()> {
    let dir = &*upload.dir.as_path()?;
    let temporary = upload.name.as_bytes();
    if !upload.is_named {
        let from = proc_path(upload.file.as_fd());
        rustix::fs::linkat(
            rustix::fs::CWD,
            from,
            dir,
            temporary,
            AtFlags::SYMLINK_FOLLOW,
        )?;
    }
    let renamed = rustix::fs::renameat(dir, temporary, dir, name.as_bytes());
    if let Err(error) = renamed {
        if !upload.is_named {
            let _ = rustix::fs::unlinkat(dir, temporary, AtFlags::empty());
        }
        return Err(error.into());
    }
    Ok(())
}

/// Which file an upload writes to.
pub(super) fn identity(upload: &Upload) -> Result<FileIdentity> {
    let attributes = statx_at(upload.file.as_fd(), b"", AtFlags::EMPTY_PATH)?;
    Ok(FileIdentity::of(&attributes))
}

/// Least upload whose room is reserved, in bytes: a smaller one is in before others fill the disk.
const RESERVED_BYTES_MIN: u64 = 1 << 20;

/// Takes the room of the whole file before its first byte, where the file system can: several
/// uploads then never share the last gigabyte.
pub(super) fn reserve(upload: &Upload, bytes_total: u64) -> Result<()> {
    if bytes_total < RESERVED_BYTES_MIN {
        return Ok(());
    }
    let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(&*upload.file, flags, 0, bytes_total) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn begin_unnamed(dir: &Arc<Node>) -> Result<Upload> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir.as_path()?, c".", flags, UPLOAD_MODE)?;
    Ok(upload(dir, random_name()?, false, fd, 0))
}

fn begin_named(dir: &Arc<Node>, name: Name, is_new: bool) -> Result<Upload> {
    let once = if is_new {
        OFlags::EXCL
    } else {
        OFlags::empty()
    };
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | once;
    let fd = rustix::fs::openat(dir.as_path()?, name.as_bytes(), flags, UPLOAD_MODE)?;
    // Two clients that continue one upload at the same time would mix their bytes.
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::AGAIN) => return Err(VolumeError::Busy(Errno::BUSY)),
        Err(error) => return Err(error.into()),
    }
    let held = live_attributes(fd.as_fd())?;
    if held.kind != FileKind::Regular {
        return Err(VolumeError::Exists);
    }
    Ok(upload(dir, name, true, fd, held.size))
}

fn upload(dir: &Arc<Node>, name: Name, is_named: bool, fd: OwnedFd, bytes_held: u64) -> Upload {
    Upload {
        dir: dir.clone(),
        name,
        is_named,
        file: Arc::new(OpenFile::new(File::from(fd))),
        bytes_held,
    }
}

fn random_name() -> Result<Name> {
    let bits = towline_base::rand::bits().map_err(VolumeError::from)?;
    temporary_name(&format!("{bits:016x}"))
}

fn session_name(name: &Name, session: &[u8]) -> Result<Name> {
    let key = MacKey::new(*b"towline upload session, no secre");
    let length = (name.as_bytes().len() as u64).to_le_bytes();
    let mac = key.sign(&[&length[..], name.as_bytes(), session].concat());
    temporary_name(&format!("{:032x}", u128::from_be_bytes(mac.0)))
}

fn temporary_name(suffix: &str) -> Result<Name> {
    Name::new(format!("{TEMPORARY_PREFIX}{suffix}").as_bytes()).map_err(|_| VolumeError::Invalid)
}
