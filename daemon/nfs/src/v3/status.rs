//! The status codes of NFSv3, and what each failure of a volume becomes on the wire.
//!
//! Numbers are those of RFC 1813 section 2.6 (`nfsstat3`); MOUNT's `mountstat3` (section 5.1.5)
//! uses the same numbers for the cases it has. Invariant: [`Status::from`] is exhaustive, so a
//! new failure must be mapped before this crate compiles.

use towline_base::NameError;
use towline_volume::VolumeError;

use crate::statuses::statuses;

statuses! {
    /// Outcome of a procedure: `nfsstat3` (RFC 1813 section 2.6).
    pub enum Status {
        /// NFS3_OK.
        Ok = 0, "ok";
        /// NFS3ERR_PERM: not the owner.
        Perm = 1, "perm";
        /// NFS3ERR_NOENT: no such name.
        NoEnt = 2, "noent";
        /// NFS3ERR_IO: the storage failed.
        Io = 5, "io";
        /// NFS3ERR_ACCES: permission denied.
        Acces = 13, "acces";
        /// NFS3ERR_EXIST: the name is taken.
        Exist = 17, "exist";
        /// NFS3ERR_XDEV: the two nodes lie on different exports or file systems.
        Xdev = 18, "xdev";
        /// NFS3ERR_NOTDIR: not a directory.
        NotDir = 20, "notdir";
        /// NFS3ERR_ISDIR: a directory.
        IsDir = 21, "isdir";
        /// NFS3ERR_INVAL: an argument that cannot be.
        Inval = 22, "inval";
        /// NFS3ERR_FBIG: the file would be too large.
        Fbig = 27, "fbig";
        /// NFS3ERR_NOSPC: no space.
        NoSpc = 28, "nospc";
        /// NFS3ERR_ROFS: the export is read-only, at least for this address.
        Rofs = 30, "rofs";
        /// NFS3ERR_MLINK: too many links.
        Mlink = 31, "mlink";
        /// NFS3ERR_NAMETOOLONG: the name is too long.
        NameTooLong = 63, "nametoolong";
        /// NFS3ERR_NOTEMPTY: the directory has entries.
        NotEmpty = 66, "notempty";
        /// NFS3ERR_DQUOT: the quota is used up.
        Dquot = 69, "dquot";
        /// NFS3ERR_STALE: the file is gone.
        Stale = 70, "stale";
        /// NFS3ERR_BADHANDLE: no handle of ours.
        BadHandle = 10_001, "badhandle";
        /// NFS3ERR_NOT_SYNC: the guard did not hold.
        NotSync = 10_002, "not_sync";
        /// NFS3ERR_BAD_COOKIE: the directory cookie is no good.
        BadCookie = 10_003, "bad_cookie";
        /// NFS3ERR_NOTSUPP: the file system cannot do that.
        NotSupp = 10_004, "notsupp";
        /// NFS3ERR_TOOSMALL: the buffer that the client offers holds not even one entry.
        TooSmall = 10_005, "toosmall";
        /// NFS3ERR_BADTYPE: no node of this type can be made.
        BadType = 10_007, "badtype";
        /// NFS3ERR_JUKEBOX: busy, ask again later.
        Jukebox = 10_008, "jukebox";
    }
}

impl From<VolumeError> for Status {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::NotFound => Self::NoEnt,
            VolumeError::Exists => Self::Exist,
            VolumeError::NotDirectory => Self::NotDir,
            VolumeError::IsDirectory => Self::IsDir,
            VolumeError::WrongType | VolumeError::Invalid => Self::Inval,
            VolumeError::NotEmpty => Self::NotEmpty,
            // As knfsd answers EBUSY and ETXTBSY: "later" would make a client ask for ever.
            VolumeError::Denied | VolumeError::InUse => Self::Acces,
            VolumeError::NotOwner => Self::Perm,
            VolumeError::Stale => Self::Stale,
            VolumeError::BadHandle => Self::BadHandle,
            VolumeError::NameTooLong => Self::NameTooLong,
            VolumeError::TooLarge => Self::Fbig,
            VolumeError::ReadOnly => Self::Rofs,
            VolumeError::CrossDevice => Self::Xdev,
            VolumeError::TooManyLinks => Self::Mlink,
            VolumeError::NotSupported => Self::NotSupp,
            VolumeError::GuardFailed => Self::NotSync,
            VolumeError::BadCookie => Self::BadCookie,
            VolumeError::NoSpace => Self::NoSpc,
            VolumeError::Quota => Self::Dquot,
            VolumeError::Io(_) => Self::Io,
            // A blocking call never answers "would block"; if it did, later is the right word.
            VolumeError::WouldBlock | VolumeError::Busy(_) => Self::Jukebox,
        }
    }
}

impl From<NameError> for Status {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Empty | NameError::Escapes => Self::Inval,
            NameError::TooLong => Self::NameTooLong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn busy_is_asked_again_and_broken_is_not() {
        let busy = VolumeError::Busy(Errno::MFILE);
        assert_eq!(Status::from(busy), Status::Jukebox);
        assert_eq!(Status::from(VolumeError::Io(Errno::IO)), Status::Io);
        let in_use = VolumeError::from(Errno::BUSY);
        assert_eq!(Status::from(in_use), Status::Acces);
    }

    #[test]
    fn the_list_is_complete_and_in_order() {
        let numbers: Vec<u32> = Status::ALL.iter().map(|status| status.number()).collect();
        assert!(numbers.is_sorted());
        let mut labels: Vec<_> = Status::ALL.iter().map(|status| status.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Status::ALL.len());
    }
}
