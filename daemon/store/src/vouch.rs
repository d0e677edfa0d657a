//! Whose word a store takes: signatures that come with a revision, later, or not at all.
//!
//! Where the store demands a signature, a revision without one by a trusted key is *refused*: it is
//! kept, listed apart in the catalog, and neither shown in a directory nor named by a tag that
//! anybody can read. Invariant: a signature that does not hold is never counted and never written.
//! Not promised: that a key which was trusted yesterday is today; the options say which are.

use std::collections::HashSet;

use crate::error::{ClientFault, Result};
use crate::layout;
use crate::name::{ManifestId, RepoName, RevisionId};
use crate::publish::Complete;
use crate::recover;
use crate::sign::{self, PublicKey, Signature};
use crate::store::{Inner, Store};

impl Inner {
    /// Whether a revision signed by these keys may be shown.
    pub(crate) fn is_trusted(&self, keys: &[PublicKey]) -> bool {
        !self.options.require_signature
            || keys
                .iter()
                .any(|key| self.options.trusted_keys.contains(key))
    }

    /// Refuses before the first byte what could not be shown in the end.
    pub(crate) fn check_keys(
        &self,
        keys: impl Iterator<Item = PublicKey>,
        repo: &RepoName,
    ) -> Result<()> {
        let keys: Vec<PublicKey> = keys.collect();
        match (self.is_trusted(&keys), keys.first()) {
            (true, _) => Ok(()),
            (false, None) => Err(ClientFault::NoSigner(repo.clone()).into()),
            (false, Some(key)) => Err(ClientFault::Untrusted {
                repo: repo.clone(),
                key: *key,
            }
            .into()),
        }
    }

    /// Signatures of a manifest that hold.
    pub(crate) fn signatures(&self, id: &ManifestId) -> Vec<Signature> {
        let limit = sign::SIGNATURES_MAX * sign::SIGNATURE_BYTES;
        let bytes = self
            .disk
            .read_whole(&layout::signatures(id), limit)
            .unwrap_or_default();
        let mut signatures = sign::decode(&bytes);
        signatures.retain(|signature| signature.vouches_for(id));
        signatures
    }
}

/// Every signature of a manifest that holds, one for each key.
pub(crate) fn vouch(
    inner: &Inner,
    complete: &Complete<'_>,
    id: &ManifestId,
) -> Result<Vec<Signature>> {
    let (repo, rev) = (&complete.manifest.repo, complete.manifest.rev);
    check_all(&complete.signatures, id, repo)?;
    let own = complete.signer.map(|signer| signer.sign_manifest(id));
    let signatures = gathered(inner, id, complete.signatures.iter().copied().chain(own));
    let keys: Vec<_> = signatures.iter().map(|signature| signature.key).collect();
    if inner.is_trusted(&keys) {
        return Ok(signatures);
    }
    let repo = repo.clone();
    Err(ClientFault::Unsigned { repo, rev }.into())
}

fn check_all(signatures: &[Signature], id: &ManifestId, repo: &RepoName) -> Result<()> {
    let wrong = signatures.iter().find(|one| !one.vouches_for(id));
    match wrong {
        None => Ok(()),
        Some(wrong) => Err(ClientFault::WrongSignature {
            repo: repo.clone(),
            key: wrong.key,
        }
        .into()),
    }
}

/// Those that are here and new ones, one for each key.
fn gathered(
    inner: &Inner,
    id: &ManifestId,
    new: impl Iterator<Item = Signature>,
) -> Vec<Signature> {
    let mut seen = HashSet::new();
    let all = new.chain(inner.signatures(id));
    let mut all: Vec<_> = all.filter(|one| seen.insert(one.key)).collect();
    all.truncate(sign::SIGNATURES_MAX);
    all
}

impl Store {
    /// Whether what is signed by this key alone would be taken.
    ///
    /// # Errors
    /// [`ClientFault::NoSigner`] or [`ClientFault::Untrusted`] if it would be refused.
    pub fn check_key(&self, key: Option<PublicKey>, repo: &RepoName) -> Result<()> {
        self.inner.check_keys(key.into_iter(), repo)
    }

    /// Adds somebody's word for a revision that is here; one that was refused for want of it is
    /// shown from now on, under its tags too.
    ///
    /// # Errors
    /// [`ClientFault::NoRevision`] if it is not here, [`ClientFault::WrongSignature`] if the
    /// signature is for something else; those of the disk.
    pub fn add_signature(
        &self,
        repo: &RepoName,
        rev: &RevisionId,
        signature: Signature,
    ) -> Result<()> {
        let inner = &self.inner;
        let mut state = inner.state();
        state.known(repo, rev)?;
        let Some(row) = state.books.revision(repo, rev).cloned() else {
            return Ok(());
        };
        let id = row.manifest;
        check_all(&[signature], &id, repo)?;
        let all = gathered(inner, &id, std::iter::once(signature));
        let path = layout::signatures(&id);
        inner.disk.write_whole(&path, &sign::encode(&all))?;
        let revision = inner.load(&row)?;
        let key = (repo.clone(), *rev);
        if inner.is_trusted(&revision.signed_by) {
            if !recover::has_files(inner, &revision) {
                return Ok(());
            }
            state.refused.remove(&key);
            state.shown.insert(key, revision);
            recover::show(inner, &mut state)?;
        } else {
            state.refused.insert(key, revision);
        }
        inner.publish_catalog(&mut state);
        Ok(())
    }
}
