//! Why an operation on a volume failed, sorted so that each protocol can map it in one match.
//!
//! Invariant: every errno that a file system can return has exactly one variant here
//! ([`VolumeError::from`]); what is unknown becomes [`VolumeError::Io`], never success.

use rustix::io::Errno;

/// The outcome of an operation on a volume.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VolumeError {
    // The client asked for something that cannot be.
    /// No such name.
    #[error("no such file or directory")]
    NotFound,
    /// The name is taken.
    #[error("the name exists already")]
    Exists,
    /// A directory was expected.
    #[error("not a directory")]
    NotDirectory,
    /// Anything but a directory was expected.
    #[error("is a directory")]
    IsDirectory,
    /// A symbolic link was expected, or a regular file.
    #[error("wrong type of file")]
    WrongType,
    /// A directory that is to go still has entries.
    #[error("directory not empty")]
    NotEmpty,
    /// The kernel refused the caller (EACCES).
    #[error("permission denied")]
    Denied,
    /// Only the owner may (EPERM).
    #[error("operation not permitted")]
    NotOwner,
    /// The handle was made by this node, and its file is gone.
    #[error("the file behind the handle is gone")]
    Stale,
    /// The handle was not made by this node.
    #[error("not a handle of this node")]
    BadHandle,
    /// The name is longer than the file system allows.
    #[error("name too long")]
    NameTooLong,
    /// An argument is out of range.
    #[error("invalid argument")]
    Invalid,
    /// The file would pass the largest size of the file system.
    #[error("file too large")]
    TooLarge,
    /// The volume, or the file system below it, is read-only.
    #[error("read-only volume")]
    ReadOnly,
    /// Source and target lie on different file systems.
    #[error("not on the same file system")]
    CrossDevice,
    /// It is in use on the node itself and cannot be moved, removed or written: a mount point, a
    /// program that runs. Asking again does not help.
    #[error("in use on the node itself (a mount point, or a program that runs)")]
    InUse,
    /// Too many names of one file.
    #[error("too many links")]
    TooManyLinks,
    /// The file system cannot do that.
    #[error("not supported by the file system")]
    NotSupported,
    /// A guard did not hold (`NFS3ERR_NOT_SYNC`).
    #[error("the file was changed in the meantime")]
    GuardFailed,
    /// The directory cookie is of another directory or another time.
    #[error("directory cookie not valid any more")]
    BadCookie,
    // The storage cannot.
    /// No space.
    #[error("no space left on the volume")]
    NoSpace,
    /// The caller's or the volume's quota is used up.
    #[error("quota exceeded")]
    Quota,
    /// The storage failed; the errno that it gave.
    #[error("storage error: {0}")]
    Io(Errno),
    // Nobody's fault.
    /// It would have to wait for the storage and was told not to ([`crate::Pace::Cached`]).
    #[error("not in memory")]
    WouldBlock,
    /// A resource of this node is used up for the moment; try again.
    #[error("busy: {0}")]
    Busy(Errno),
}

impl From<Errno> for VolumeError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NotFound,
            Errno::EXIST => Self::Exists,
            Errno::NOTDIR => Self::NotDirectory,
            Errno::ISDIR => Self::IsDirectory,
            // ELOOP: a symbolic link stands where O_NOFOLLOW or openat2 forbids one.
            Errno::LOOP | Errno::NXIO => Self::WrongType,
            Errno::NOTEMPTY => Self::NotEmpty,
            Errno::ACCESS => Self::Denied,
            Errno::PERM => Self::NotOwner,
            Errno::STALE => Self::Stale,
            Errno::NAMETOOLONG => Self::NameTooLong,
            Errno::INVAL => Self::Invalid,
            Errno::FBIG | Errno::OVERFLOW => Self::TooLarge,
            Errno::ROFS => Self::ReadOnly,
            Errno::XDEV => Self::CrossDevice,
            Errno::MLINK => Self::TooManyLinks,
            Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOTTY => Self::NotSupported,
            Errno::NOSPC => Self::NoSpace,
            Errno::DQUOT => Self::Quota,
            Errno::AGAIN => Self::WouldBlock,
            Errno::BUSY | Errno::TXTBSY => Self::InUse,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR => Self::Busy(errno),
            other => Self::Io(other),
        }
    }
}

impl From<std::io::Error> for VolumeError {
    fn from(error: std::io::Error) -> Self {
        let errno = error
            .raw_os_error()
            .map_or(Errno::IO, Errno::from_raw_os_error);
        Self::from(errno)
    }
}
