//! The operations of minor versions 1 and 2 by number: one table of what each one is.
//!
//! Numbers are those of RFC 8881 section 16.2.3, RFC 7862 section 13 and RFC 8276 section 8.2.
//! Invariant: an operation that a minor version knows is never called illegal, done here or not;
//! GET_DIR_DELEGATION answered with OP_ILLEGAL breaks `ls` on Linux 7.2. Not promised: that
//! everything known is done; see [`Operation::is_served`].

/// Highest operation of minor version 1: RECLAIM_COMPLETE (RFC 8881 section 16.2.3).
const LAST_OF_MINOR_1: u32 = 58;

/// Lowest operation: 0 to 2 are not used (RFC 8881 section 16.2.3).
const FIRST: u32 = 3;

/// `OP_ILLEGAL` (RFC 8881 section 16.2.3).
pub const ILLEGAL: u32 = 10_044;

/// An operation, with its number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u32)]
pub enum Operation {
    /// ACCESS.
    Access = 3,
    /// CLOSE.
    Close = 4,
    /// COMMIT.
    Commit = 5,
    /// CREATE.
    Create = 6,
    /// DELEGPURGE.
    DelegPurge = 7,
    /// DELEGRETURN.
    DelegReturn = 8,
    /// GETATTR.
    GetAttr = 9,
    /// GETFH.
    GetFh = 10,
    /// LINK.
    Link = 11,
    /// LOCK.
    Lock = 12,
    /// LOCKT.
    LockT = 13,
    /// LOCKU.
    LockU = 14,
    /// LOOKUP.
    Lookup = 15,
    /// LOOKUPP.
    LookupP = 16,
    /// NVERIFY.
    NVerify = 17,
    /// OPEN.
    Open = 18,
    /// OPENATTR.
    OpenAttr = 19,
    /// OPEN_CONFIRM.
    OpenConfirm = 20,
    /// OPEN_DOWNGRADE.
    OpenDowngrade = 21,
    /// PUTFH.
    PutFh = 22,
    /// PUTPUBFH.
    PutPubFh = 23,
    /// PUTROOTFH.
    PutRootFh = 24,
    /// READ.
    Read = 25,
    /// READDIR.
    ReadDir = 26,
    /// READLINK.
    ReadLink = 27,
    /// REMOVE.
    Remove = 28,
    /// RENAME.
    Rename = 29,
    /// RENEW.
    Renew = 30,
    /// RESTOREFH.
    RestoreFh = 31,
    /// SAVEFH.
    SaveFh = 32,
    /// SECINFO.
    SecInfo = 33,
    /// SETATTR.
    SetAttr = 34,
    /// SETCLIENTID.
    SetClientId = 35,
    /// SETCLIENTID_CONFIRM.
    SetClientIdConfirm = 36,
    /// VERIFY.
    Verify = 37,
    /// WRITE.
    Write = 38,
    /// RELEASE_LOCKOWNER.
    ReleaseLockOwner = 39,
    /// BACKCHANNEL_CTL.
    BackChannelCtl = 40,
    /// BIND_CONN_TO_SESSION.
    BindConnToSession = 41,
    /// EXCHANGE_ID.
    ExchangeId = 42,
    /// CREATE_SESSION.
    CreateSession = 43,
    /// DESTROY_SESSION.
    DestroySession = 44,
    /// FREE_STATEID.
    FreeStateId = 45,
    /// GET_DIR_DELEGATION.
    GetDirDelegation = 46,
    /// GETDEVICEINFO.
    GetDeviceInfo = 47,
    /// GETDEVICELIST.
    GetDeviceList = 48,
    /// LAYOUTCOMMIT.
    LayoutCommit = 49,
    /// LAYOUTGET.
    LayoutGet = 50,
    /// LAYOUTRETURN.
    LayoutReturn = 51,
    /// SECINFO_NO_NAME.
    SecInfoNoName = 52,
    /// SEQUENCE.
    Sequence = 53,
    /// SET_SSV.
    SetSsv = 54,
    /// TEST_STATEID.
    TestStateId = 55,
    /// WANT_DELEGATION.
    WantDelegation = 56,
    /// DESTROY_CLIENTID.
    DestroyClientId = 57,
    /// RECLAIM_COMPLETE.
    ReclaimComplete = 58,
    /// ALLOCATE.
    Allocate = 59,
    /// COPY.
    Copy = 60,
    /// COPY_NOTIFY.
    CopyNotify = 61,
    /// DEALLOCATE.
    Deallocate = 62,
    /// IO_ADVISE.
    IoAdvise = 63,
    /// LAYOUTERROR.
    LayoutError = 64,
    /// LAYOUTSTATS.
    LayoutStats = 65,
    /// OFFLOAD_CANCEL.
    OffloadCancel = 66,
    /// OFFLOAD_STATUS.
    OffloadStatus = 67,
    /// READ_PLUS.
    ReadPlus = 68,
    /// SEEK.
    Seek = 69,
    /// WRITE_SAME.
    WriteSame = 70,
    /// CLONE.
    Clone = 71,
    /// GETXATTR.
    GetXattr = 72,
    /// SETXATTR.
    SetXattr = 73,
    /// LISTXATTRS.
    ListXattrs = 74,
    /// REMOVEXATTR.
    RemoveXattr = 75,
}

/// The names in lower case, each at its place in [`Operation::ALL`].
const LABELS: [&str; Operation::COUNT] = [
    "access",
    "close",
    "commit",
    "create",
    "delegpurge",
    "delegreturn",
    "getattr",
    "getfh",
    "link",
    "lock",
    "lockt",
    "locku",
    "lookup",
    "lookupp",
    "nverify",
    "open",
    "openattr",
    "open_confirm",
    "open_downgrade",
    "putfh",
    "putpubfh",
    "putrootfh",
    "read",
    "readdir",
    "readlink",
    "remove",
    "rename",
    "renew",
    "restorefh",
    "savefh",
    "secinfo",
    "setattr",
    "setclientid",
    "setclientid_confirm",
    "verify",
    "write",
    "release_lockowner",
    "backchannel_ctl",
    "bind_conn_to_session",
    "exchange_id",
    "create_session",
    "destroy_session",
    "free_stateid",
    "get_dir_delegation",
    "getdeviceinfo",
    "getdevicelist",
    "layoutcommit",
    "layoutget",
    "layoutreturn",
    "secinfo_no_name",
    "sequence",
    "set_ssv",
    "test_stateid",
    "want_delegation",
    "destroy_clientid",
    "reclaim_complete",
    "allocate",
    "copy",
    "copy_notify",
    "deallocate",
    "io_advise",
    "layouterror",
    "layoutstats",
    "offload_cancel",
    "offload_status",
    "read_plus",
    "seek",
    "write_same",
    "clone",
    "getxattr",
    "setxattr",
    "listxattrs",
    "removexattr",
];

impl Operation {
    /// How many there are.
    pub const COUNT: usize = 73;

    /// Every operation in the order of their numbers, the first is 3.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Access,
        Self::Close,
        Self::Commit,
        Self::Create,
        Self::DelegPurge,
        Self::DelegReturn,
        Self::GetAttr,
        Self::GetFh,
        Self::Link,
        Self::Lock,
        Self::LockT,
        Self::LockU,
        Self::Lookup,
        Self::LookupP,
        Self::NVerify,
        Self::Open,
        Self::OpenAttr,
        Self::OpenConfirm,
        Self::OpenDowngrade,
        Self::PutFh,
        Self::PutPubFh,
        Self::PutRootFh,
        Self::Read,
        Self::ReadDir,
        Self::ReadLink,
        Self::Remove,
        Self::Rename,
        Self::Renew,
        Self::RestoreFh,
        Self::SaveFh,
        Self::SecInfo,
        Self::SetAttr,
        Self::SetClientId,
        Self::SetClientIdConfirm,
        Self::Verify,
        Self::Write,
        Self::ReleaseLockOwner,
        Self::BackChannelCtl,
        Self::BindConnToSession,
        Self::ExchangeId,
        Self::CreateSession,
        Self::DestroySession,
        Self::FreeStateId,
        Self::GetDirDelegation,
        Self::GetDeviceInfo,
        Self::GetDeviceList,
        Self::LayoutCommit,
        Self::LayoutGet,
        Self::LayoutReturn,
        Self::SecInfoNoName,
        Self::Sequence,
        Self::SetSsv,
        Self::TestStateId,
        Self::WantDelegation,
        Self::DestroyClientId,
        Self::ReclaimComplete,
        Self::Allocate,
        Self::Copy,
        Self::CopyNotify,
        Self::Deallocate,
        Self::IoAdvise,
        Self::LayoutError,
        Self::LayoutStats,
        Self::OffloadCancel,
        Self::OffloadStatus,
        Self::ReadPlus,
        Self::Seek,
        Self::WriteSame,
        Self::Clone,
        Self::GetXattr,
        Self::SetXattr,
        Self::ListXattrs,
        Self::RemoveXattr,
    ];

    /// The operation with this number, if the minor version knows it.
    #[must_use]
    pub fn from_number(number: u32, minor: u32) -> Option<Self> {
        if minor < 2 && number > LAST_OF_MINOR_1 {
            return None;
        }
        let place = number.checked_sub(FIRST)?;
        Self::ALL.get(usize::try_from(place).ok()?).copied()
    }

    /// Its place in [`Operation::ALL`].
    #[must_use]
    pub fn place(self) -> usize {
        self as usize - FIRST as usize
    }

    /// A short name in lower case, for metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        LABELS.get(self.place()).copied().unwrap_or("unknown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_stands_at_its_number_and_has_its_name() {
        for (number, operation) in (FIRST..).zip(Operation::ALL) {
            assert_eq!(operation as u32, number);
            assert_eq!(Operation::from_number(number, 2), Some(operation));
        }
        assert_eq!(Operation::from_number(2, 2), None);
        assert_eq!(Operation::from_number(59, 1), None);
        assert_eq!(Operation::from_number(76, 2), None);
        assert_eq!(Operation::PutRootFh.label(), "putrootfh");
        assert_eq!(Operation::RemoveXattr.label(), "removexattr");
    }
}
