//! The procedures of NFSv3 by number (RFC 1813 section 3.3), and what sort each one is.
//!
//! Invariant: [`Procedure::changes`] is true for everything that a read-only export refuses.

/// A procedure of NFSv3, with its number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u32)]
pub enum Procedure {
    /// Does nothing.
    Null = 0,
    /// Attributes of a node.
    GetAttr = 1,
    /// Changes attributes.
    SetAttr = 2,
    /// A name in a directory.
    Lookup = 3,
    /// What the caller may do.
    Access = 4,
    /// The target of a symbolic link.
    ReadLink = 5,
    /// Bytes of a file.
    Read = 6,
    /// Bytes into a file.
    Write = 7,
    /// A new regular file.
    Create = 8,
    /// A new directory.
    MkDir = 9,
    /// A new symbolic link.
    SymLink = 10,
    /// A new pipe, socket or device.
    MkNod = 11,
    /// Removes a file.
    Remove = 12,
    /// Removes a directory.
    RmDir = 13,
    /// Another name.
    Rename = 14,
    /// One more name.
    Link = 15,
    /// Names in a directory.
    ReadDir = 16,
    /// Names, handles and attributes.
    ReadDirPlus = 17,
    /// Room.
    FsStat = 18,
    /// Limits of the server.
    FsInfo = 19,
    /// Limits of the file system.
    PathConf = 20,
    /// Makes earlier writes durable.
    Commit = 21,
}

impl Procedure {
    /// How many there are.
    pub const COUNT: usize = 22;

    /// Every procedure; each stands at its number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Null,
        Self::GetAttr,
        Self::SetAttr,
        Self::Lookup,
        Self::Access,
        Self::ReadLink,
        Self::Read,
        Self::Write,
        Self::Create,
        Self::MkDir,
        Self::SymLink,
        Self::MkNod,
        Self::Remove,
        Self::RmDir,
        Self::Rename,
        Self::Link,
        Self::ReadDir,
        Self::ReadDirPlus,
        Self::FsStat,
        Self::FsInfo,
        Self::PathConf,
        Self::Commit,
    ];

    /// The procedure with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Whether it may change a volume.
    #[must_use]
    pub fn changes(self) -> bool {
        match self {
            Self::SetAttr
            | Self::Write
            | Self::Create
            | Self::MkDir
            | Self::SymLink
            | Self::MkNod
            | Self::Remove
            | Self::RmDir
            | Self::Rename
            | Self::Link
            | Self::Commit => true,
            Self::Null
            | Self::GetAttr
            | Self::Lookup
            | Self::Access
            | Self::ReadLink
            | Self::Read
            | Self::ReadDir
            | Self::ReadDirPlus
            | Self::FsStat
            | Self::FsInfo
            | Self::PathConf => false,
        }
    }

    /// Whether doing it twice may give another answer, so that a retransmission must get the
    /// stored reply. WRITE counts only where it went through memory: a payload on its way from
    /// socket to file is never hashed, and writing it again gives the same file.
    #[must_use]
    pub fn is_replayed(self) -> bool {
        self.changes() && self != Self::Commit
    }

    /// A short name in lower case, for metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::GetAttr => "getattr",
            Self::SetAttr => "setattr",
            Self::Lookup => "lookup",
            Self::Access => "access",
            Self::ReadLink => "readlink",
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::MkDir => "mkdir",
            Self::SymLink => "symlink",
            Self::MkNod => "mknod",
            Self::Remove => "remove",
            Self::RmDir => "rmdir",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::ReadDir => "readdir",
            Self::ReadDirPlus => "readdirplus",
            Self::FsStat => "fsstat",
            Self::FsInfo => "fsinfo",
            Self::PathConf => "pathconf",
            Self::Commit => "commit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_procedure_stands_at_its_number() {
        for (number, procedure) in (0..).zip(Procedure::ALL) {
            assert_eq!(procedure as u32, number);
            assert_eq!(Procedure::from_number(number), Some(procedure));
        }
        assert_eq!(Procedure::from_number(22), None);
    }
}
