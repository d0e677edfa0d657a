//! The end of an arrival: what came becomes a revision.
//!
//! Invariant: nothing is published that breaks a promise of its source. Not promised: that a finish
//! which fails has moved nothing; what is good is found again by the next one.

use super::{Arrival, follow};
use crate::error::{ClientFault, Result};
use crate::manifest::{Manifest, ManifestFile};
use crate::name::{RevisionId, TagName};
use crate::publish::{Complete, Parent, Published, commit};
use crate::sign::Signer;

impl Arrival {
    /// Everything is here: checks what was promised, publishes the revision, and lets the tag
    /// point to it.
    ///
    /// # Errors
    /// [`ClientFault::Incomplete`] if bytes are missing; [`crate::PeerFault::Hash`] if a file is
    /// not what was promised: it is missing again then, and may be fetched once more.
    pub fn finish(self, tag: Option<&TagName>, signer: Option<&Signer>) -> Result<Published> {
        let shared = &self.handle.shared;
        let _span = tracing::info_span!("arrive", node = %shared.plan.repo).entered();
        for (number, planned) in shared.plan.files.iter().enumerate() {
            let missing: u64 = self
                .missing(number)
                .iter()
                .map(|range| range.end - range.start)
                .sum();
            if missing > 0 {
                let path = planned.path.clone();
                return Err(ClientFault::Incomplete { path, missing }.into());
            }
        }
        let files = follow::finish(shared, &self.handle.threads)?;
        let plan = &shared.plan;
        let manifest_files = plan
            .files
            .iter()
            .zip(&files)
            .map(|(planned, file)| ManifestFile {
                path: planned.path.clone(),
                size: file.size,
                git_oid: file.git_oid,
                sha256: Some(file.sha256),
                format: file.format,
                table: file.id,
            });
        let message = if plan.message.is_empty() {
            "pull"
        } else {
            &plan.message
        };
        let mut manifest = Manifest {
            repo: plan.repo.clone(),
            rev: RevisionId([0; 20]),
            parent: plan.parent,
            created: plan.created.unwrap_or_else(|| shared.inner.now()),
            message: message.to_owned(),
            files: manifest_files.collect(),
        };
        manifest.arrange()?;
        let computed = crate::git::commit_id(
            &manifest.trees().root(),
            manifest.parent.as_ref(),
            manifest.created,
            &manifest.message,
        );
        manifest.rev = plan.rev.unwrap_or(computed);
        let complete = Complete {
            manifest,
            files,
            tag,
            signer,
            signatures: Vec::new(),
            origin: Some(plan.origin.clone()),
            parent: Parent::Head,
        };
        let published = commit(&shared.inner, complete)?;
        shared.close();
        shared.inner.disk.remove_all(&shared.directory)?;
        Ok(published)
    }
}
