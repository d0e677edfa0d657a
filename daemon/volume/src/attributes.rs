//! What a node looks like: type, mode, owner, sizes and times, and how to change them.
//!
//! Field for field what RFC 1813 section 2.6 (`fattr3`, `sattr3`, `wcc_data`) and statx(2) have
//! in common. Not promised: that two reads a moment apart agree.

use rustix::fs::{Stat, Statx};

/// A point in time, as statx(2) gives it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 UTC; negative before.
    pub seconds: i64,
    /// Nanoseconds within the second, below 10^9.
    pub nanoseconds: u32,
}

/// The type of a node (`ftype3`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link. The server never follows one.
    Symlink,
    /// A block device.
    Block,
    /// A character device.
    Character,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// The attributes of a node at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attributes {
    /// Type.
    pub kind: FileKind,
    /// Permission bits with set-id and sticky, 12 bits.
    pub mode: u32,
    /// Number of names. Zero: the file is deleted and only open descriptors keep it.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Bytes of disk that it takes.
    pub used: u64,
    /// Major and minor number of the device that a device node names.
    pub device: (u32, u32),
    /// The file system that it lies on.
    pub file_system: u64,
    /// Inode number.
    pub file_id: u64,
    /// Last read.
    pub accessed: Timestamp,
    /// Last change of the contents.
    pub modified: Timestamp,
    /// Last change of contents or attributes, by the kernel's clock.
    pub changed: Timestamp,
    /// Creation; zero where the file system does not keep it.
    pub born: Timestamp,
    /// Another number for another state (NFSv4's `change`); 0 where the volume was not asked.
    pub change: u64,
}

impl Attributes {
    /// Reads what statx(2) returned.
    #[must_use]
    pub fn from_statx(statx: &Statx) -> Self {
        let time = |stamp: &rustix::fs::StatxTimestamp| Timestamp {
            seconds: stamp.tv_sec,
            nanoseconds: stamp.tv_nsec,
        };
        let mode = u32::from(statx.stx_mode);
        Self {
            kind: FileKind::from_mode(mode),
            mode: mode & 0o7777,
            links: statx.stx_nlink,
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            size: statx.stx_size,
            used: statx.stx_blocks.saturating_mul(512),
            device: (statx.stx_rdev_major, statx.stx_rdev_minor),
            file_system: u64::from(statx.stx_dev_major) << 32 | u64::from(statx.stx_dev_minor),
            file_id: statx.stx_ino,
            accessed: time(&statx.stx_atime),
            modified: time(&statx.stx_mtime),
            changed: time(&statx.stx_ctime),
            born: time(&statx.stx_btime),
            change: 0,
        }
    }
}

impl Attributes {
    /// Reads what fstat(2) returned of a file whose time of birth is known: it costs less than
    /// statx(2), which before Linux 6.11 looks an empty path up.
    #[must_use]
    pub fn from_stat(stat: &Stat, born: Timestamp) -> Self {
        let time = |seconds: i64, nanoseconds: u64| Timestamp {
            seconds,
            nanoseconds: nanoseconds as u32,
        };
        let device = |number: u64| (rustix::fs::major(number), rustix::fs::minor(number));
        let (major, minor) = device(stat.st_dev);
        Self {
            kind: FileKind::from_mode(stat.st_mode),
            mode: stat.st_mode & 0o7777,
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            used: (stat.st_blocks as u64).saturating_mul(512),
            device: device(stat.st_rdev),
            file_system: u64::from(major) << 32 | u64::from(minor),
            file_id: stat.st_ino,
            accessed: time(stat.st_atime, stat.st_atime_nsec),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
            born,
            change: 0,
        }
    }
}

impl FileKind {
    /// The type in the upper bits of a `st_mode` (inode(7)).
    #[must_use]
    pub fn from_mode(mode: u32) -> Self {
        match rustix::fs::FileType::from_raw_mode(mode) {
            rustix::fs::FileType::Directory => Self::Directory,
            rustix::fs::FileType::Symlink => Self::Symlink,
            rustix::fs::FileType::BlockDevice => Self::Block,
            rustix::fs::FileType::CharacterDevice => Self::Character,
            rustix::fs::FileType::Fifo => Self::Fifo,
            rustix::fs::FileType::Socket => Self::Socket,
            rustix::fs::FileType::RegularFile | rustix::fs::FileType::Unknown => Self::Regular,
        }
    }
}

/// How a time is to be set (`set_atime`, `set_mtime`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SetTime {
    /// Left as it is.
    #[default]
    Keep,
    /// The server's clock.
    Now,
    /// The time given.
    To(Timestamp),
}

/// Changes to attributes; `None` leaves a field as it is (`sattr3`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SetAttributes {
    /// Permission bits, 12 bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// New size in bytes: cut or extended with zeros.
    pub size: Option<u64>,
    /// Last read.
    pub accessed: SetTime,
    /// Last change of the contents.
    pub modified: SetTime,
}

/// A change is made only if the node was last changed at this time (`sattrguard3`).
pub type Guard = Option<Timestamp>;

/// What an operation saw of a node before and after (`wcc_data`). `before` is there only if
/// nothing else that goes through this node can have come between.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wcc {
    /// Attributes before the operation.
    pub before: Option<Attributes>,
    /// Attributes after it.
    pub after: Option<Attributes>,
}

/// Room of the file system below a volume, after the volume's own quota (`FSSTAT3resok`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Space {
    /// Bytes in all.
    pub bytes_total: u64,
    /// Bytes free.
    pub bytes_free: u64,
    /// Bytes free to an ordinary user.
    pub bytes_available: u64,
    /// Files in all.
    pub files_total: u64,
    /// Files free.
    pub files_free: u64,
    /// Longest name, in bytes.
    pub name_bytes_max: u32,
}
