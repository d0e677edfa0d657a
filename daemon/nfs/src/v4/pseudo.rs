//! The root above the volumes: what PUTROOTFH leads to (RFC 8881 section 7).
//!
//! It is made up: a directory with a name for each volume that the caller's address may reach
//! (threat N14), and `exports` leads to a second copy of it, for the habit of mounting
//! `HOST:/exports/NAME`. Invariant: it has a file system of its own, no file id in it is 0 (that
//! panics macOS at mount), and what a caller may not reach looks as if it were not there. Not
//! promised: the same list for everybody.

use std::net::IpAddr;
use std::sync::Arc;

use towline_volume::{Attributes, Export, FileHandle, FileKind, Reach, Space, Timestamp, VolumeId};

use super::attributes::Facts;
use super::compound::Run;
use crate::server::Server;

/// The second copy of the root.
const EXPORTS: &[u8] = b"exports";

/// `fsid` major number of the root; volumes have their number in the upper half.
const FILE_SYSTEM: u64 = 1;

/// File ids of mount points begin here; the low half is the volume's number.
const MOUNTED_BASE: u64 = 3 << 32;

/// Longest name, in bytes: as on every file system that we serve (`NAME_MAX`).
const NAME_BYTES_MAX: u32 = 255;

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Level {
    /// `/`
    Top,
    /// `/exports`
    Exports,
}

impl Level {
    /// Its handle. It is no secret and leads to nothing that an address does not open.
    pub(super) fn handle(self) -> FileHandle {
        let bytes: &[u8] = match self {
            Self::Top => b"towline:/",
            Self::Exports => b"towline:/exports",
        };
        // Both are shorter than a handle may be.
        FileHandle::from_bytes(bytes).unwrap_or_else(|| unreachable!("short enough"))
    }

    /// The level behind a handle.
    pub(super) fn of(handle: &FileHandle) -> Option<Self> {
        [Self::Top, Self::Exports]
            .into_iter()
            .find(|level| level.handle() == *handle)
    }

    fn file_id(self) -> u64 {
        match self {
            Self::Top => 1,
            Self::Exports => 2,
        }
    }

    /// What there is to tell of it.
    pub(super) fn facts(self, run: &Run<'_>) -> Facts {
        let stamp = run.server.born;
        let seen = Attributes {
            kind: FileKind::Directory,
            mode: 0o555,
            links: 2,
            uid: 0,
            gid: 0,
            size: 4096,
            used: 0,
            device: (0, 0),
            file_system: FILE_SYSTEM,
            file_id: self.file_id(),
            accessed: stamp,
            modified: stamp,
            changed: stamp,
            born: Timestamp::default(),
            change: stamp.seconds.cast_unsigned(),
        };
        Facts {
            handle: self.handle(),
            seen,
            file_system: FILE_SYSTEM,
            mounted_on: self.file_id(),
            space: Some(Space {
                bytes_total: 0,
                bytes_free: 0,
                bytes_available: 0,
                files_total: 0,
                files_free: 0,
                name_bytes_max: NAME_BYTES_MAX,
            }),
            minor: run.compound.minor,
            lease_seconds: run.books.lease_seconds,
        }
    }
}

/// What a name in the root leads to.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// The copy of the root.
    Exports,
    /// A volume.
    Volume(Arc<Export>),
}

/// Looks a name up.
pub(super) fn lookup(server: &Server, address: IpAddr, level: Level, name: &[u8]) -> Option<Entry> {
    let volume = server.exports.by_name(name);
    match volume.filter(|export| export.reach(address) > Reach::None) {
        Some(export) => Some(Entry::Volume(export.clone())),
        None if name == EXPORTS && level == Level::Top => Some(Entry::Exports),
        None => None,
    }
}

/// Every volume that an address may reach.
pub(super) fn reachable(server: &Server, address: IpAddr) -> impl Iterator<Item = &Arc<Export>> {
    let all = server.exports.all().iter();
    all.filter(move |export| export.reach(address) > Reach::None)
}

/// The file id of the directory that a volume is mounted on.
pub(super) fn mounted_on(volume: VolumeId) -> u64 {
    MOUNTED_BASE | u64::from(volume.0)
}
