//! Who may reach a volume, and as whom: the export's rules.
//!
//! An address (or a token) opens a volume; a uid never does, because AUTH_SYS is the client's own
//! claim (RFC 5531 section 14, threat N10). Inside an open volume the claimed uid only feeds the
//! kernel's permission checks, after squashing: uid 0 becomes the anonymous user unless the
//! export says otherwise. Invariant: [`Exports`] does not change while the node runs.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use towline_base::Name;
use towline_sys::identity::Identity;

use crate::error::VolumeError;
use crate::handle::{FileHandle, HandleKeys, VolumeId};
use crate::private::Hidden;
use crate::volume::Volume;

/// What a volume is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VolumeKind {
    /// Read-only.
    Model,
    /// Read-write, synchronous.
    Project,
    /// Read-write, asynchronous, bounded.
    Cache,
}

/// Which callers become the anonymous user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Squash {
    /// uid 0 and gid 0 (the default).
    Root,
    /// Everybody.
    All,
    /// Nobody. Only for networks where every root is trusted.
    None,
}

/// What an address may do with an export.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Reach {
    /// Not even know that it exists.
    None,
    /// Read.
    Read,
    /// Read and write, if the volume is writable.
    Write,
}

/// A volume with its rules.
#[derive(Debug)]
pub struct Export {
    /// Number, derived from the name.
    pub id: VolumeId,
    /// Name: the NFS export is `/name`, the HTTP folder `/files/name`.
    pub name: String,
    /// Kind.
    pub kind: VolumeKind,
    /// The volume, as everybody who reaches it sees it.
    pub volume: Arc<dyn Volume>,
    /// What it hides from them.
    pub hidden: Option<Hidden>,
    /// Addresses that may read.
    pub allow: Vec<IpNet>,
    /// Addresses that may write; they need not be in `allow`.
    pub allow_write: Vec<IpNet>,
    /// Who becomes the anonymous user.
    pub squash: Squash,
    /// The anonymous user: also whoever comes without identity (AUTH_NONE, HTTP).
    pub anonymous: Identity,
    /// Bearer tokens for HTTP; empty: the address alone decides.
    pub tokens: Vec<Token>,
}

/// A bearer token and what it opens.
#[derive(Clone)]
pub struct Token {
    /// The secret text. Never printed.
    pub secret: String,
    /// What it opens: `Read` or `Write`.
    pub reach: Reach,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(***, {:?})", self.reach)
    }
}

impl Export {
    /// The volume with nothing hidden. Only for places that were judged before.
    #[must_use]
    pub fn whole(&self) -> &Arc<dyn Volume> {
        match &self.hidden {
            Some(hidden) => &hidden.whole,
            None => &self.volume,
        }
    }

    /// Whether a place below the root is not for everybody.
    #[must_use]
    pub fn hides(&self, names: &[Name]) -> bool {
        self.hidden
            .as_ref()
            .is_some_and(|hidden| hidden.private.hides(names))
    }

    /// What `address` may do.
    #[must_use]
    pub fn reach(&self, address: IpAddr) -> Reach {
        let address = address.to_canonical();
        let listed = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        match (listed(&self.allow_write), listed(&self.allow)) {
            (true, _) if self.volume.writable().is_some() => Reach::Write,
            (true, _) | (_, true) => Reach::Read,
            (false, false) => Reach::None,
        }
    }

    /// Whom a caller with an AUTH_SYS claim acts as.
    #[must_use]
    pub fn identity(&self, uid: u32, gid: u32, groups: &[u32]) -> Identity {
        match self.squash {
            Squash::All => self.anonymous,
            Squash::None => Identity::new(uid, gid, groups),
            Squash::Root if uid == 0 => self.anonymous,
            Squash::Root => {
                let anonymous = self.anonymous.gid;
                let map = |gid: u32| if gid == 0 { anonymous } else { gid };
                let mut mapped = [0; towline_sys::identity::GROUPS_MAX];
                let count = groups.len().min(mapped.len());
                for (to, from) in mapped.iter_mut().zip(groups) {
                    *to = map(*from);
                }
                Identity::new(uid, map(gid), mapped.get(..count).unwrap_or(&[]))
            }
        }
    }
}

/// All exports of a node.
#[derive(Debug)]
pub struct Exports {
    list: Vec<Arc<Export>>,
    keys: HandleKeys,
}

impl Exports {
    /// The exports, with the keys of their handles.
    #[must_use]
    pub fn new(list: Vec<Arc<Export>>, keys: HandleKeys) -> Self {
        Self { list, keys }
    }

    /// Every export.
    #[must_use]
    pub fn all(&self) -> &[Arc<Export>] {
        &self.list
    }

    /// The export with this name.
    #[must_use]
    pub fn by_name(&self, name: &[u8]) -> Option<&Arc<Export>> {
        self.list
            .iter()
            .find(|export| export.name.as_bytes() == name)
    }

    /// The export with this id.
    #[must_use]
    pub fn by_id(&self, id: VolumeId) -> Option<&Arc<Export>> {
        self.list.iter().find(|export| export.id == id)
    }

    /// The export that a handle belongs to, after checking its MAC.
    ///
    /// # Errors
    /// `BadHandle` if this node did not make it; `Stale` if the export is no more.
    pub fn of_handle(&self, handle: &FileHandle) -> Result<&Arc<Export>, VolumeError> {
        let (id, _) = self.keys.open(handle)?;
        self.by_id(id).ok_or(VolumeError::Stale)
    }
}
