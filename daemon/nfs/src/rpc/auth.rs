//! Who the caller says it is (RFC 5531 sections 8.2 and 10, appendix A), and as whom it acts.
//!
//! AUTH_SYS is an unproved claim: an address opens a volume, a uid never does (threat N10). A
//! caller without identity has the least rights there are (N11). Invariant: [`identify`] is the
//! only place that turns a claim into an [`Identity`].

use towline_sys::identity::{GROUPS_MAX, Identity};
use towline_volume::Export;

use crate::xdr::{Malformed, Reader};

/// No credential (RFC 5531 section 10.1).
pub const AUTH_NONE: u32 = 0;

/// Unix ids (RFC 5531 appendix A).
pub const AUTH_SYS: u32 = 1;

/// A short form of an earlier AUTH_SYS, which we never hand out (RFC 5531 appendix A).
pub const AUTH_SHORT: u32 = 2;

/// Longest body of a credential or verifier, in bytes (RFC 5531 section 8.2).
pub const AUTH_BYTES_MAX: usize = 400;

/// Longest machine name in AUTH_SYS, in bytes (RFC 5531 appendix A).
const MACHINE_NAME_BYTES_MAX: usize = 255;

/// Why a credential was refused: `auth_stat` (RFC 5531 section 9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthFault {
    /// AUTH_BADCRED: the credential is malformed or of an unknown flavor.
    BadCredential = 1,
    /// AUTH_REJECTEDCRED: the client must begin a new session.
    RejectedCredential = 2,
    /// AUTH_BADVERF: the verifier is malformed.
    BadVerifier = 3,
}

/// The caller's claim.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Credential {
    /// AUTH_NONE: no claim.
    Nobody,
    /// AUTH_SYS.
    Unix(UnixIds),
}

/// The ids of an AUTH_SYS credential. The machine name is not kept: nothing may depend on it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct UnixIds {
    uid: u32,
    gid: u32,
    groups: [u32; GROUPS_MAX],
    groups_count: usize,
}

impl Credential {
    /// Reads a credential of this flavor.
    ///
    /// # Errors
    /// [`AuthFault`] for the reply.
    pub fn parse(flavor: u32, body: &[u8]) -> Result<Self, AuthFault> {
        match flavor {
            AUTH_NONE => Ok(Self::Nobody),
            AUTH_SYS => UnixIds::parse(body)
                .map(Self::Unix)
                .map_err(|Malformed| AuthFault::BadCredential),
            AUTH_SHORT => Err(AuthFault::RejectedCredential),
            _ => Err(AuthFault::BadCredential),
        }
    }
}

impl UnixIds {
    /// The uid.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let _stamp = reader.u32()?;
        let _machine = reader.opaque(MACHINE_NAME_BYTES_MAX)?;
        let (uid, gid) = (reader.u32()?, reader.u32()?);
        let mut groups = [0; GROUPS_MAX];
        let groups_count = reader.u32()? as usize;
        for group in groups.get_mut(..groups_count).ok_or(Malformed)? {
            *group = reader.u32()?;
        }
        Ok(Self {
            uid,
            gid,
            groups,
            groups_count,
        })
    }
}

/// As whom a caller with this claim acts on this export.
#[must_use]
pub fn identify(export: &Export, credential: &Credential) -> Identity {
    match credential {
        Credential::Nobody => export.anonymous,
        Credential::Unix(ids) => {
            let groups = ids.groups.get(..ids.groups_count).unwrap_or(&[]);
            export.identity(ids.uid, ids.gid, groups)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use towline_base::MacKey;
    use towline_volume::handle::HandleKeys;
    use towline_volume::tree::Writing;
    use towline_volume::{Squash, Tree, Volume, VolumeId, VolumeKind};

    use super::*;
    use crate::xdr::Writer;

    fn body(groups: u32) -> Vec<u8> {
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        writer.u32(7);
        writer.opaque(b"host");
        writer.words([1000, 100, groups]);
        (0..groups).for_each(|group| writer.u32(group));
        body
    }

    #[test]
    fn sixteen_groups_pass_and_seventeen_do_not() {
        let Ok(Credential::Unix(ids)) = Credential::parse(AUTH_SYS, &body(16)) else {
            panic!("sixteen groups are allowed");
        };
        assert_eq!((ids.uid, ids.gid, ids.groups_count), (1000, 100, 16));
        let refused = Credential::parse(AUTH_SYS, &body(17));
        assert_eq!(refused, Err(AuthFault::BadCredential));
    }

    /// Threat N5: a group count that would overflow a multiplication.
    #[test]
    fn a_lying_group_count_is_refused() {
        let mut body = body(0);
        let end = body.len();
        body[end - 4..].copy_from_slice(&0x4000_0001_u32.to_be_bytes());
        let refused = Credential::parse(AUTH_SYS, &body);
        assert_eq!(refused, Err(AuthFault::BadCredential));
    }

    #[test]
    fn other_flavors_are_refused() {
        let rejected = Credential::parse(AUTH_SHORT, &[]);
        assert_eq!(rejected, Err(AuthFault::RejectedCredential));
        // RPCSEC_GSS and AUTH_TLS.
        for flavor in [6, 7, u32::MAX] {
            let refused = Credential::parse(flavor, &[]);
            assert_eq!(refused, Err(AuthFault::BadCredential));
        }
        assert_eq!(Credential::parse(AUTH_NONE, &[]), Ok(Credential::Nobody));
    }

    /// Threats N10 and N11: uid 0 is never root and no claim is never more than anonymous.
    #[test]
    fn nobody_has_the_least_rights_and_root_is_squashed() {
        let dir = tempfile::tempdir().unwrap();
        let keys = HandleKeys::new(MacKey::new([1; 32]));
        let id = VolumeId(1);
        let tree = Tree::open(dir.path(), id, keys, Writing::ReadOnly, None).unwrap();
        let volume: Arc<dyn Volume> = Arc::new(tree);
        let export = |squash| Export {
            id,
            name: "models".to_owned(),
            kind: VolumeKind::Model,
            volume: volume.clone(),
            hidden: None,
            allow: Vec::new(),
            allow_write: Vec::new(),
            squash,
            anonymous: Identity::new(65_534, 65_534, &[]),
            tokens: Vec::new(),
        };
        let claim = |uid, gid, group: u32| {
            let mut groups = [0; GROUPS_MAX];
            groups[0] = group;
            Credential::Unix(UnixIds {
                uid,
                gid,
                groups,
                groups_count: 1,
            })
        };
        for squash in [Squash::Root, Squash::All] {
            let export = export(squash);
            for credential in [Credential::Nobody, claim(0, 0, 0), claim(0, 5, 6)] {
                assert_eq!(identify(&export, &credential), export.anonymous);
            }
            let groups_of_root = identify(&export, &claim(1000, 0, 0));
            assert_ne!(groups_of_root.gid, 0);
            assert!(!groups_of_root.groups().contains(&0));
        }
        let all = identify(&export(Squash::All), &claim(1000, 1000, 7));
        assert_eq!(all, Identity::new(65_534, 65_534, &[]));
        let one = identify(&export(Squash::Root), &claim(1000, 1000, 7));
        assert_eq!(one, Identity::new(1000, 1000, &[7]));
    }
}
