//! The operations of minor versions 1 and 2 by number: one table of what each one is.
//!
//! Numbers are those of RFC 8881 section 16.2.3, RFC 7862 section 13 and RFC 8276 section 8.2.
//! Invariant: an operation that a minor version knows is never called illegal, done here or not;
//! GETDIR_DELEGATION answered with OP_ILLEGAL breaks `ls` on Linux 7.2. Not promised: that
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
        match self {
            Self::Access => "access",
            Self::Close => "close",
            Self::Commit => "commit",
            Self::Create => "create",
            Self::DelegPurge => "delegpurge",
            Self::DelegReturn => "delegreturn",
            Self::GetAttr => "getattr",
            Self::GetFh => "getfh",
            Self::Link => "link",
            Self::Lock => "lock",
            Self::LockT => "lockt",
            Self::LockU => "locku",
            Self::Lookup => "lookup",
            Self::LookupP => "lookupp",
            Self::NVerify => "nverify",
            Self::Open => "open",
            Self::OpenAttr => "openattr",
            Self::OpenConfirm => "open_confirm",
            Self::OpenDowngrade => "open_downgrade",
            Self::PutFh => "putfh",
            Self::PutPubFh => "putpubfh",
            Self::PutRootFh => "putrootfh",
            Self::Read => "read",
            Self::ReadDir => "readdir",
            Self::ReadLink => "readlink",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::Renew => "renew",
            Self::RestoreFh => "restorefh",
            Self::SaveFh => "savefh",
            Self::SecInfo => "secinfo",
            Self::SetAttr => "setattr",
            Self::SetClientId => "setclientid",
            Self::SetClientIdConfirm => "setclientid_confirm",
            Self::Verify => "verify",
            Self::Write => "write",
            Self::ReleaseLockOwner => "release_lockowner",
            Self::BackChannelCtl => "backchannel_ctl",
            Self::BindConnToSession => "bind_conn_to_session",
            Self::ExchangeId => "exchange_id",
            Self::CreateSession => "create_session",
            Self::DestroySession => "destroy_session",
            Self::FreeStateId => "free_stateid",
            Self::GetDirDelegation => "get_dir_delegation",
            Self::GetDeviceInfo => "getdeviceinfo",
            Self::GetDeviceList => "getdevicelist",
            Self::LayoutCommit => "layoutcommit",
            Self::LayoutGet => "layoutget",
            Self::LayoutReturn => "layoutreturn",
            Self::SecInfoNoName => "secinfo_no_name",
            Self::Sequence => "sequence",
            Self::SetSsv => "set_ssv",
            Self::TestStateId => "test_stateid",
            Self::WantDelegation => "want_delegation",
            Self::DestroyClientId => "destroy_clientid",
            Self::ReclaimComplete => "reclaim_complete",
            Self::Allocate => "allocate",
            Self::Copy => "copy",
            Self::CopyNotify => "copy_notify",
            Self::Deallocate => "deallocate",
            Self::IoAdvise => "io_advise",
            Self::LayoutError => "layouterror",
            Self::LayoutStats => "layoutstats",
            Self::OffloadCancel => "offload_cancel",
            Self::OffloadStatus => "offload_status",
            Self::ReadPlus => "read_plus",
            Self::Seek => "seek",
            Self::WriteSame => "write_same",
            Self::Clone => "clone",
            Self::GetXattr => "getxattr",
            Self::SetXattr => "setxattr",
            Self::ListXattrs => "listxattrs",
            Self::RemoveXattr => "removexattr",
        }
    }
}
