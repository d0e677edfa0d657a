//! Signatures: whether each that is kept holds, and whether those that are demanded are there.
//!
//! Invariant: after a verification that may repair, no file of signatures holds one that is wrong,
//! and where the store demands a signature nothing is shown without one. Not promised: that a wrong
//! signature is put right; only its key can do that.

use super::{Damage, DamageKind, Pass, Remedy};
use crate::books::RevisionRow;
use crate::error::Result;
use crate::layout;
use crate::sign::{self, PublicKey, SIGNATURE_BYTES, SIGNATURES_MAX};

impl Pass<'_> {
    /// Checks the signatures of every revision that concerns this pass.
    pub(super) fn signatures(&mut self) -> Result<()> {
        for row in self.rows() {
            self.kept(&row)?;
            self.demanded(&row)?;
        }
        Ok(())
    }

    /// Signatures that do not hold are set aside, the whole file as it was.
    fn kept(&mut self, row: &RevisionRow) -> Result<()> {
        let path = layout::signatures(&row.manifest);
        let disk = &self.inner.disk;
        if !disk.exists(&path) {
            return Ok(());
        }
        let bytes = disk.read_whole(&path, SIGNATURES_MAX * SIGNATURE_BYTES);
        let bytes = bytes.unwrap_or_default();
        let all = sign::decode(&bytes);
        let (good, wrong): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|one| one.vouches_for(&row.manifest));
        let detail = match wrong.first() {
            Some(wrong) => format!(
                "the signature by {} is not for this content; sign it again with that key",
                wrong.key
            ),
            None if good.len() * SIGNATURE_BYTES != bytes.len() || bytes.is_empty() => {
                "it is cut short, or too long; sign the revision again".to_owned()
            }
            None => return Ok(()),
        };
        if !self.options.look_only {
            let aside = format!("{}/{}.sig", layout::QUARANTINE, row.manifest);
            disk.write_whole(&aside, &bytes)?;
            disk.write_whole(&path, &sign::encode(&good))?;
            if good.is_empty() {
                disk.remove_all(&path)?;
            }
        }
        let remedy = self.remedy(Remedy::Quarantined);
        self.signature_damage(row, path, detail, remedy);
        Ok(())
    }

    /// What the store may not show for want of a trusted signature is out of sight, and told.
    fn demanded(&mut self, row: &RevisionRow) -> Result<()> {
        let signatures = self.inner.signatures(&row.manifest);
        let keys: Vec<PublicKey> = signatures.iter().map(|one| one.key).collect();
        if self.inner.is_trusted(&keys) {
            return Ok(());
        }
        let key = (row.repo.clone(), row.rev);
        if !self.options.look_only {
            self.withdraw(std::slice::from_ref(&key))?;
            if let Ok(revision) = self.inner.load(row) {
                let mut state = self.inner.state();
                state.refused.insert(key, revision);
                self.inner.publish_catalog(&mut state);
            }
        }
        let signers = match keys.as_slice() {
            [] => "nobody".to_owned(),
            keys => {
                let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
                keys.join(", ")
            }
        };
        let detail = format!(
            "it is signed by {signers}, and models.require_signature wants a trusted key; sign it \
             with 'towline models sign {}:{}'",
            row.repo, row.rev
        );
        let path = layout::signatures(&row.manifest);
        let remedy = self.remedy(Remedy::Quarantined);
        self.signature_damage(row, path, detail, remedy);
        Ok(())
    }

    fn signature_damage(
        &mut self,
        row: &RevisionRow,
        path: String,
        detail: String,
        remedy: Remedy,
    ) {
        self.found(Damage {
            kind: DamageKind::Signature,
            path,
            detail,
            range: None,
            revisions: vec![(row.repo.clone(), row.rev)],
            remedy,
        });
    }
}
