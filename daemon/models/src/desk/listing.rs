//! What there is: models with their revisions, and the room that they take.
//!
//! Invariant: nobody is told of a model that its token does not show, by name, size or number. Not
//! promised: that what is listed is still there when it is asked for.

use std::collections::BTreeSet;

use towline_http::Sight;
use towline_store::{CatalogRepo, CatalogRevision, PublicKey, RepoName};

use super::ModelDesk;
use super::answer::{Answer, failed, json, refuse};
use towline_api as api;

/// A repository: what is served of it, and what is refused for want of a signature.
type Both<'c> = (Option<&'c CatalogRepo>, Option<&'c CatalogRepo>);

impl ModelDesk {
    pub(super) fn list(&self, sight: &Sight) -> api::Models {
        let seen = self.uploads.models().seen(sight.clone());
        let names = seen.repos().chain(seen.refused_repos());
        let names: BTreeSet<&RepoName> = names.map(|(name, _)| name).collect();
        let models = names.into_iter().map(|name| {
            let both = (seen.repo(name), seen.refused(name));
            self.model(name, both, (sight, false))
        });
        api::Models {
            models: models.collect(),
        }
    }

    pub(super) fn show(&self, name: &str, sight: &Sight) -> Answer {
        let seen = self.uploads.models().seen(sight.clone());
        let found = name.parse::<RepoName>().ok();
        let found = found.map(|name| (seen.repo(&name), seen.refused(&name), name));
        match found {
            Some((repo, refused, name)) if repo.is_some() || refused.is_some() => {
                json(&self.model(&name, (repo, refused), (sight, true)))
            }
            Some(_) | None => refuse(
                404,
                "usage",
                "there is no model of that name; see towline models",
            ),
        }
    }

    fn model(
        &self,
        name: &RepoName,
        (repo, refused): Both<'_>,
        (sight, with_files): (&Sight, bool),
    ) -> api::Model {
        let both = [(repo, false), (refused, true)];
        let both = both
            .into_iter()
            .filter_map(|(repo, out)| Some((repo?, out)));
        let mut revisions: Vec<api::Revision> = both
            .flat_map(|(repo, is_refused)| {
                let all = repo.revisions.values();
                all.map(move |revision| api::Revision {
                    refused: is_refused,
                    ..self.revision(repo, revision, with_files)
                })
            })
            .collect();
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.created));
        api::Model {
            name: name.to_string(),
            kind: name.kind().word().to_owned(),
            private: sight.is_private(name),
            revisions,
        }
    }

    fn revision(
        &self,
        repo: &CatalogRepo,
        revision: &CatalogRevision,
        with_files: bool,
    ) -> api::Revision {
        let tags = repo.tags.iter().filter(|(_, tag)| tag.rev == revision.rev);
        let contents = revision.files.iter().filter(|_| with_files);
        let store = self.store();
        api::Revision {
            revision: revision.rev.to_string(),
            manifest: revision.manifest.to_string(),
            tags: tags.map(|(name, _)| name.to_string()).collect(),
            created: revision.created,
            message: revision.message.clone(),
            origin: revision.origin.clone(),
            bytes: revision.bytes,
            files: revision.files.len() as u64,
            pinned: store.pinned_since(&revision.repo, &revision.rev),
            leases: store.leases(&revision.repo, &revision.rev),
            signed_by: revision
                .signed_by
                .iter()
                .map(|key| self.signed(key))
                .collect(),
            refused: false,
            contents: contents
                .map(|file| api::File {
                    path: file.path.to_string(),
                    size: file.size,
                    etag: file.etag(),
                })
                .collect(),
        }
    }

    fn signed(&self, key: &PublicKey) -> api::SignedBy {
        let trusted = self.trusted.iter().find(|(trusted, _)| trusted == key);
        api::SignedBy {
            key: key.to_string(),
            name: trusted.map(|(_, name)| name.clone()).unwrap_or_default(),
            trusted: trusted.is_some(),
        }
    }

    pub(super) fn usage(&self, sight: &Sight) -> Answer {
        match self.store().usage() {
            Ok(usage) => json(&api::Usage {
                stored: usage.stored_bytes,
                referred: usage.referred_bytes,
                unused: usage.unused_bytes,
                reserved: usage.reserved_bytes,
                quota: usage.quota,
                free: usage.free_bytes,
                revisions: usage
                    .revisions
                    .iter()
                    .filter(|((name, _), _)| sight.sees(name))
                    .map(|((name, rev), usage)| api::RevisionUsage {
                        name: name.to_string(),
                        revision: rev.to_string(),
                        bytes: usage.bytes,
                        unique: usage.unique_bytes,
                        shared: usage.shared_bytes,
                    })
                    .collect(),
            }),
            Err(error) => failed(&error),
        }
    }
}
