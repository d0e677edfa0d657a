//! The end of an arrival: what came becomes a revision.
//!
//! Invariant: nothing is published that breaks a promise of its source. Not promised: that a finish
//! which fails has moved nothing; what is good is found again by the next one.

use super::{Arrival, follow};
use crate::compose::Outline;
use crate::error::{ClientFault, Result};
use crate::manifest::ManifestFile;
use crate::name::TagName;
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
        let outline = Outline {
            repo: &plan.repo,
            parent: plan.parent,
            created: plan.created.unwrap_or_else(|| shared.inner.now()),
            message: match plan.message.as_str() {
                "" => "pull",
                message => message,
            },
        };
        let mut manifest = outline.manifest(manifest_files.collect())?;
        // What a source names a revision stays its name.
        manifest.rev = plan.rev.unwrap_or(manifest.rev);
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
