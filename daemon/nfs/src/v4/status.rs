//! The status codes of NFS version 4, and what each failure of a volume becomes on the wire.
//!
//! Numbers are those of RFC 8881 section 15.1 (`nfsstat4`), RFC 7862 section 11.1 and RFC 8276
//! section 8.5. Invariant: [`Status::from`] is exhaustive, so a new failure must be mapped before
//! this crate compiles. Not promised: a status for every case that the RFCs know; those that no
//! operation here answers are left out.

use towline_base::NameError;
use towline_volume::VolumeError;

use crate::statuses::statuses;
use crate::xdr::Malformed;

statuses! {
    /// Outcome of an operation: `nfsstat4` (RFC 8881 section 15.1).
    pub enum Status {
        /// NFS4_OK.
        Ok = 0, "ok";
        /// NFS4ERR_PERM: not the owner.
        Perm = 1, "perm";
        /// NFS4ERR_NOENT: no such name.
        NoEnt = 2, "noent";
        /// NFS4ERR_IO: the storage failed.
        Io = 5, "io";
        /// NFS4ERR_NXIO: SEEK behind the end.
        Nxio = 6, "nxio";
        /// NFS4ERR_ACCESS: permission denied.
        Access = 13, "access";
        /// NFS4ERR_EXIST: the name is taken.
        Exist = 17, "exist";
        /// NFS4ERR_XDEV: two nodes of different file systems.
        Xdev = 18, "xdev";
        /// NFS4ERR_NOTDIR: not a directory.
        NotDir = 20, "notdir";
        /// NFS4ERR_ISDIR: a directory.
        IsDir = 21, "isdir";
        /// NFS4ERR_INVAL: an argument that cannot be.
        Inval = 22, "inval";
        /// NFS4ERR_FBIG: the file would be too large.
        Fbig = 27, "fbig";
        /// NFS4ERR_NOSPC: no space.
        NoSpc = 28, "nospc";
        /// NFS4ERR_ROFS: read-only, at least for this address.
        Rofs = 30, "rofs";
        /// NFS4ERR_MLINK: too many links.
        Mlink = 31, "mlink";
        /// NFS4ERR_NAMETOOLONG: the name is too long.
        NameTooLong = 63, "nametoolong";
        /// NFS4ERR_NOTEMPTY: the directory has entries.
        NotEmpty = 66, "notempty";
        /// NFS4ERR_DQUOT: the quota is used up.
        Dquot = 69, "dquot";
        /// NFS4ERR_STALE: the file is gone.
        Stale = 70, "stale";
        /// NFS4ERR_BADHANDLE: no handle of ours.
        BadHandle = 10_001, "badhandle";
        /// NFS4ERR_BAD_COOKIE: the directory cookie is no good.
        BadCookie = 10_003, "bad_cookie";
        /// NFS4ERR_NOTSUPP: known and not done here.
        NotSupp = 10_004, "notsupp";
        /// NFS4ERR_TOOSMALL: the buffer holds not even one entry.
        TooSmall = 10_005, "toosmall";
        /// NFS4ERR_SERVERFAULT: this node could not.
        ServerFault = 10_006, "serverfault";
        /// NFS4ERR_BADTYPE: no node of this type can be made.
        BadType = 10_007, "badtype";
        /// NFS4ERR_DELAY: busy, ask again later.
        Delay = 10_008, "delay";
        /// NFS4ERR_SAME: NVERIFY found the attributes equal.
        Same = 10_009, "same";
        /// NFS4ERR_DENIED: somebody holds a lock there.
        Denied = 10_010, "denied";
        /// NFS4ERR_EXPIRED: the state was revoked after its lease.
        Expired = 10_011, "expired";
        /// NFS4ERR_LOCKED: a deny mode forbids it.
        Locked = 10_012, "locked";
        /// NFS4ERR_GRACE: only what was held before the restart is given now.
        Grace = 10_013, "grace";
        /// NFS4ERR_SHARE_DENIED: an open of somebody else forbids it.
        ShareDenied = 10_015, "share_denied";
        /// NFS4ERR_CLID_INUSE: another principal has this name.
        ClidInUse = 10_017, "clid_inuse";
        /// NFS4ERR_NOFILEHANDLE: there is no current filehandle.
        NoFileHandle = 10_020, "nofilehandle";
        /// NFS4ERR_MINOR_VERS_MISMATCH: not that minor version.
        MinorVersMismatch = 10_021, "minor_vers_mismatch";
        /// NFS4ERR_STALE_CLIENTID: no such client here.
        StaleClientId = 10_022, "stale_clientid";
        /// NFS4ERR_OLD_STATEID: the stateid has moved on.
        OldStateId = 10_024, "old_stateid";
        /// NFS4ERR_BAD_STATEID: no stateid of this client.
        BadStateId = 10_025, "bad_stateid";
        /// NFS4ERR_NOT_SAME: VERIFY found the attributes different.
        NotSame = 10_027, "not_same";
        /// NFS4ERR_SYMLINK: a symbolic link stands there.
        SymLink = 10_029, "symlink";
        /// NFS4ERR_RESTOREFH: there is no saved filehandle.
        RestoreFh = 10_030, "restorefh";
        /// NFS4ERR_ATTRNOTSUPP: an attribute that cannot be set.
        AttrNotSupp = 10_032, "attrnotsupp";
        /// NFS4ERR_NO_GRACE: nothing can be reclaimed any more.
        NoGrace = 10_033, "no_grace";
        /// NFS4ERR_RECLAIM_BAD: it was not held before the restart.
        ReclaimBad = 10_034, "reclaim_bad";
        /// NFS4ERR_RECLAIM_CONFLICT: somebody holds it meanwhile.
        ReclaimConflict = 10_035, "reclaim_conflict";
        /// NFS4ERR_BADXDR: malformed arguments.
        BadXdr = 10_036, "badxdr";
        /// NFS4ERR_LOCKS_HELD: locks stand in the way of closing.
        LocksHeld = 10_037, "locks_held";
        /// NFS4ERR_OPENMODE: the file is not open for that.
        OpenMode = 10_038, "openmode";
        /// NFS4ERR_BADOWNER: an owner that is no number.
        BadOwner = 10_039, "badowner";
        /// NFS4ERR_BADNAME: a name that no file can have.
        BadName = 10_041, "badname";
        /// NFS4ERR_OP_ILLEGAL: no such operation in this minor version.
        OpIllegal = 10_044, "op_illegal";
        /// NFS4ERR_BADSESSION: no such session here.
        BadSession = 10_052, "badsession";
        /// NFS4ERR_BADSLOT: the session has fewer slots.
        BadSlot = 10_053, "badslot";
        /// NFS4ERR_COMPLETE_ALREADY: reclaiming was ended before.
        CompleteAlready = 10_054, "complete_already";
        /// NFS4ERR_SEQ_MISORDERED: a sequence id out of turn.
        SeqMisordered = 10_063, "seq_misordered";
        /// NFS4ERR_SEQUENCE_POS: SEQUENCE stands first or not at all.
        SequencePos = 10_064, "sequence_pos";
        /// NFS4ERR_REQ_TOO_BIG: longer than the session allows.
        ReqTooBig = 10_065, "req_too_big";
        /// NFS4ERR_REP_TOO_BIG: the reply would be longer than the session allows.
        RepTooBig = 10_066, "rep_too_big";
        /// NFS4ERR_REP_TOO_BIG_TO_CACHE: longer than is kept.
        RepTooBigToCache = 10_067, "rep_too_big_to_cache";
        /// NFS4ERR_RETRY_UNCACHED_REP: that reply was not kept.
        RetryUncachedRep = 10_068, "retry_uncached_rep";
        /// NFS4ERR_TOO_MANY_OPS: more operations than the session allows.
        TooManyOps = 10_070, "too_many_ops";
        /// NFS4ERR_OP_NOT_IN_SESSION: SEQUENCE must come first.
        OpNotInSession = 10_071, "op_not_in_session";
        /// NFS4ERR_CLIENTID_BUSY: the client still has state.
        ClientIdBusy = 10_074, "clientid_busy";
        /// NFS4ERR_SEQ_FALSE_RETRY: another call under an old number.
        SeqFalseRetry = 10_076, "seq_false_retry";
        /// NFS4ERR_ENCR_ALG_UNSUPP: SSV is not built here.
        EncrAlgUnsupp = 10_079, "encr_alg_unsupp";
        /// NFS4ERR_NOT_ONLY_OP: it must stand alone.
        NotOnlyOp = 10_081, "not_only_op";
        /// NFS4ERR_WRONG_TYPE: not for this type of node.
        WrongType = 10_083, "wrong_type";
        /// NFS4ERR_DELEG_REVOKED: the delegation was not returned in time.
        DelegRevoked = 10_087, "deleg_revoked";
        /// NFS4ERR_NOXATTR: no such extended attribute.
        NoXattr = 10_095, "noxattr";
        /// NFS4ERR_XATTR2BIG: longer than an extended attribute may be.
        Xattr2Big = 10_096, "xattr2big";
    }
}

impl From<VolumeError> for Status {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::NotFound => Self::NoEnt,
            VolumeError::Exists => Self::Exist,
            VolumeError::NotDirectory => Self::NotDir,
            VolumeError::IsDirectory => Self::IsDir,
            VolumeError::WrongType => Self::WrongType,
            VolumeError::Invalid => Self::Inval,
            VolumeError::NotEmpty => Self::NotEmpty,
            // As knfsd answers EBUSY and ETXTBSY: "later" would make a client ask for ever.
            VolumeError::Denied | VolumeError::InUse => Self::Access,
            VolumeError::NotOwner => Self::Perm,
            VolumeError::Stale => Self::Stale,
            VolumeError::BadHandle => Self::BadHandle,
            VolumeError::NameTooLong => Self::NameTooLong,
            VolumeError::TooLarge => Self::Fbig,
            VolumeError::ReadOnly => Self::Rofs,
            VolumeError::CrossDevice => Self::Xdev,
            VolumeError::TooManyLinks => Self::Mlink,
            VolumeError::NotSupported => Self::NotSupp,
            // A guard is version 3's; nobody here sets one.
            VolumeError::GuardFailed => Self::ServerFault,
            VolumeError::BadCookie => Self::BadCookie,
            VolumeError::NoSpace => Self::NoSpc,
            VolumeError::Quota => Self::Dquot,
            VolumeError::Io(_) => Self::Io,
            // A blocking call never answers "would block"; if it did, later is the right word.
            VolumeError::WouldBlock | VolumeError::Busy(_) => Self::Delay,
        }
    }
}

impl From<NameError> for Status {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Empty => Self::Inval,
            // As knfsd says of `.`, `..` and slashes.
            NameError::Escapes => Self::BadName,
            NameError::TooLong => Self::NameTooLong,
        }
    }
}

impl From<Malformed> for Status {
    fn from(_: Malformed) -> Self {
        Self::BadXdr
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn busy_is_asked_again_and_broken_is_not() {
        let busy = VolumeError::Busy(Errno::MFILE);
        assert_eq!(Status::from(busy), Status::Delay);
        assert_eq!(Status::from(VolumeError::Io(Errno::IO)), Status::Io);
    }

    #[test]
    fn the_list_is_complete_and_in_order() {
        let numbers: Vec<u32> = Status::ALL.iter().map(|status| status.number()).collect();
        assert!(numbers.is_sorted());
        let mut labels: Vec<_> = Status::ALL.iter().map(|status| status.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Status::ALL.len());
        let pairs = [
            (Status::Ok, "ok"),
            (Status::Delay, "delay"),
            (Status::OpIllegal, "op_illegal"),
            (Status::Xattr2Big, "xattr2big"),
        ];
        for (status, label) in pairs {
            assert_eq!(status.label(), label);
        }
    }
}
