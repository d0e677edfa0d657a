//! What is kept and what may go: tags, pins, leases, and the removal of revisions.
//!
//! Invariant: a revision that is pinned or leased is not removed, and removing one never takes
//! bytes that another revision shares; bytes go with garbage collection only. Not promised: that
//! a lease outlives its expiry by a second.

use rustix::io::Errno;

use crate::books::{Edit, Row, TEXT_BYTES_MAX};
use crate::error::{ClientFault, Result, io};
use crate::index::Changes;
use crate::layout;
use crate::name::{ManifestId, RepoName, RevisionId, TagName};
use crate::publish::move_tag;
use crate::sign::Signer;
use crate::store::{Inner, State, Store};
use crate::visible;

impl State {
    pub(crate) fn known(&self, repo: &RepoName, rev: &RevisionId) -> Result<()> {
        let fault = || ClientFault::NoRevision {
            repo: repo.clone(),
            rev: *rev,
        };
        self.books
            .revision(repo, rev)
            .map(drop)
            .ok_or_else(|| fault().into())
    }
}

impl Store {
    /// The revision that a tag, or forty hex digits, name; one that is refused for want of a
    /// signature too.
    ///
    /// # Errors
    /// [`ClientFault::NoRepo`], [`ClientFault::NoTag`] or [`ClientFault::NoRevision`].
    pub fn resolve(&self, repo: &RepoName, name: &str) -> Result<RevisionId> {
        let catalog = self.catalog();
        let refused = catalog.refused.get(repo);
        if let Some(revision) = refused.and_then(|repo| repo.resolve(name)) {
            return Ok(revision.rev);
        }
        let found = catalog
            .repo(repo)
            .ok_or_else(|| ClientFault::NoRepo(repo.clone()))?;
        if let Ok(rev) = name.parse::<RevisionId>() {
            let repo = repo.clone();
            let known = found.revisions.contains_key(&rev);
            return if known {
                Ok(rev)
            } else {
                Err(ClientFault::NoRevision { repo, rev }.into())
            };
        }
        let tag: TagName = name.parse()?;
        let at = found.tags.get(&tag).map(|tag| tag.rev);
        let repo = repo.clone();
        at.ok_or_else(|| ClientFault::NoTag { repo, tag }.into())
    }

    /// As [`Store::resolve`], and revisions too that are here and not shown because something of
    /// them is missing.
    ///
    /// # Errors
    /// As [`Store::resolve`].
    pub fn resolve_known(&self, repo: &RepoName, name: &str) -> Result<RevisionId> {
        let fault = match self.resolve(repo, name) {
            Ok(rev) => return Ok(rev),
            Err(fault) => fault,
        };
        let state = self.inner.state();
        let rev = match (name.parse::<RevisionId>(), name.parse::<TagName>()) {
            (Ok(rev), _) => Some(rev),
            (_, Ok(tag)) => state
                .books
                .reference(repo, &tag)
                .map(|row| row.reference.rev),
            _ => None,
        };
        let known = rev.filter(|rev| state.books.revision(repo, rev).is_some());
        known.ok_or(fault)
    }

    /// Lets a tag or branch point to a revision that is here; one that is new is a tag.
    ///
    /// # Errors
    /// [`ClientFault::NoRevision`] if it is not here.
    pub fn tag(
        &self,
        repo: &RepoName,
        tag: &TagName,
        rev: &RevisionId,
        signer: Option<&Signer>,
    ) -> Result<()> {
        self.point(repo, (tag, false), rev, signer)
    }

    /// Lets a branch point to a revision that is here; what is a tag already stays one.
    ///
    /// # Errors
    /// [`ClientFault::NoRevision`] if it is not here.
    pub fn branch(
        &self,
        repo: &RepoName,
        branch: &TagName,
        rev: &RevisionId,
        signer: Option<&Signer>,
    ) -> Result<()> {
        self.point(repo, (branch, true), rev, signer)
    }

    fn point(
        &self,
        repo: &RepoName,
        (tag, is_branch): (&TagName, bool),
        rev: &RevisionId,
        signer: Option<&Signer>,
    ) -> Result<()> {
        let mut state = self.inner.state();
        state.known(repo, rev)?;
        if state
            .books
            .reference(repo, tag)
            .is_some_and(|row| row.reference.rev == *rev)
        {
            return Ok(());
        }
        let Some(id) = state.books.revision(repo, rev).map(|row| row.manifest) else {
            return Ok(());
        };
        if state.refused.contains_key(&(repo.clone(), *rev)) {
            let (repo, rev) = (repo.clone(), *rev);
            return Err(ClientFault::Unsigned { repo, rev }.into());
        }
        let manifest = self.inner.manifest(&id)?;
        let tag = (tag, is_branch);
        move_tag(&self.inner, &mut state, (&manifest, id), tag, signer)?;
        self.inner.publish_catalog(&mut state);
        Ok(())
    }

    /// Removes a tag; the revision stays until garbage collection finds it unused.
    ///
    /// # Errors
    /// [`ClientFault::NoTag`] if there is none.
    pub fn untag(&self, repo: &RepoName, tag: &TagName) -> Result<()> {
        let mut state = self.inner.state();
        let Some(row) = state.books.reference(repo, tag) else {
            let (repo, tag) = (repo.clone(), tag.clone());
            return Err(ClientFault::NoTag { repo, tag }.into());
        };
        // The row stays without a revision, so that a later tag of this name has a higher number.
        let edits = vec![Edit::Put(Row::Untagged {
            repo: repo.clone(),
            tag: tag.clone(),
            seq: row.reference.seq,
        })];
        self.edit(&mut state, edits)?;
        visible::hide_tag(&self.inner.disk, repo, tag)?;
        self.inner.publish_catalog(&mut state);
        Ok(())
    }

    /// Keeps a revision until it is unpinned.
    ///
    /// # Errors
    /// [`ClientFault::NoRevision`] if it is not here.
    pub fn pin(&self, repo: &RepoName, rev: &RevisionId) -> Result<()> {
        let mut state = self.inner.state();
        state.known(repo, rev)?;
        let (repo, rev, time) = (repo.clone(), *rev, self.inner.now());
        self.edit(&mut state, vec![Edit::Put(Row::Pin { repo, rev, time })])
    }

    /// Takes a pin away; none there is fine.
    ///
    /// # Errors
    /// [`ClientFault::NoRevision`] if the revision is not here.
    pub fn unpin(&self, repo: &RepoName, rev: &RevisionId) -> Result<()> {
        let mut state = self.inner.state();
        state.known(repo, rev)?;
        let (repo, rev) = (repo.clone(), *rev);
        self.edit(
            &mut state,
            vec![Edit::Remove(Row::Pin { repo, rev, time: 0 })],
        )
    }

    /// Since when a revision is pinned, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn pinned_since(&self, repo: &RepoName, rev: &RevisionId) -> Option<u64> {
        self.inner.state().books.pinned(repo, rev)
    }

    /// Keeps a revision for a holder until `expiry`, in seconds since 1970-01-01 UTC; the same
    /// holder's lease before is replaced.
    ///
    /// # Errors
    /// [`ClientFault::NoRevision`] if it is not here.
    pub fn lease(
        &self,
        holder: &str,
        repo: &RepoName,
        rev: &RevisionId,
        expiry: u64,
    ) -> Result<()> {
        if holder.is_empty() || holder.len() > TEXT_BYTES_MAX {
            return Err(ClientFault::Argument("a lease needs a holder of 1 to 2048 bytes").into());
        }
        let mut state = self.inner.state();
        state.known(repo, rev)?;
        let row = Row::Lease {
            holder: holder.to_owned(),
            repo: repo.clone(),
            rev: *rev,
            expiry,
        };
        self.edit(&mut state, vec![Edit::Put(row)])
    }

    /// Gives a lease back; none there is fine.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn release(&self, holder: &str, repo: &RepoName, rev: &RevisionId) -> Result<()> {
        let mut state = self.inner.state();
        let row = Row::Lease {
            holder: holder.to_owned(),
            repo: repo.clone(),
            rev: *rev,
            expiry: 0,
        };
        self.edit(&mut state, vec![Edit::Remove(row)])
    }

    /// Who leases a revision now, and until when.
    #[must_use]
    pub fn leases(&self, repo: &RepoName, rev: &RevisionId) -> Vec<(String, u64)> {
        let state = self.inner.state();
        let leases = state.books.leases(repo, rev, self.inner.now());
        leases
            .map(|(holder, expiry)| (holder.to_owned(), expiry))
            .collect()
    }

    /// Removes a revision and the tags that point to it. Its bytes go with garbage collection.
    ///
    /// # Errors
    /// [`ClientFault::Held`] if it is pinned or leased, [`ClientFault::NoRevision`] if it is not
    /// here.
    pub fn remove(&self, repo: &RepoName, rev: &RevisionId) -> Result<Vec<TagName>> {
        let mut state = self.inner.state();
        state.known(repo, rev)?;
        self.check_free(&state, repo, rev)?;
        self.drop_revision(&mut state, repo, rev)
    }

    pub(crate) fn check_free(
        &self,
        state: &State,
        repo: &RepoName,
        rev: &RevisionId,
    ) -> Result<()> {
        let held = if state.books.pinned(repo, rev).is_some() {
            Some(("pinned".to_owned(), "unpin it first"))
        } else {
            let now = self.inner.now();
            let lease = state.books.leases(repo, rev, now).next();
            lease.map(|(holder, _)| (format!("leased by {holder}"), "wait until it is given back"))
        };
        let Some((held, remedy)) = held else {
            return Ok(());
        };
        Err(ClientFault::Held {
            repo: repo.clone(),
            rev: *rev,
            held,
            remedy,
        }
        .into())
    }

    /// Removes rows and directories of a revision that may go.
    pub(crate) fn drop_revision(
        &self,
        state: &mut State,
        repo: &RepoName,
        rev: &RevisionId,
    ) -> Result<Vec<TagName>> {
        let Some(row) = state.books.revision(repo, rev).cloned() else {
            return Ok(Vec::new());
        };
        let manifest = row.manifest;
        let mut edits = vec![Edit::Remove(Row::Revision(row))];
        let mut tags = Vec::new();
        for row in state.books.references() {
            let at = &row.reference;
            if at.repo == *repo && at.rev == *rev {
                tags.push(at.tag.clone());
                edits.push(Edit::Put(Row::Untagged {
                    repo: repo.clone(),
                    tag: at.tag.clone(),
                    seq: at.seq,
                }));
            }
        }
        let mut changes = Changes {
            edits,
            ..Changes::default()
        };
        changes.drop_manifests([manifest]);
        self.inner.commit(state, &changes)?;
        self.inner.finish_drops(state)?;
        let key = (repo.clone(), *rev);
        state.shown.remove(&key);
        state.refused.remove(&key);
        self.inner.publish_catalog(state);
        for tag in &tags {
            visible::hide_tag(&self.inner.disk, repo, tag)?;
        }
        visible::hide_revision(&self.inner.disk, repo, rev)?;
        Ok(tags)
    }

    pub(crate) fn edit(&self, state: &mut State, edits: Vec<Edit>) -> Result<()> {
        let changes = Changes {
            edits,
            ..Changes::default()
        };
        self.inner.commit(state, &changes)
    }
}

impl Inner {
    /// Removes from the disk what rows say is dropped: a manifest there means that its revision is
    /// wanted.
    pub(crate) fn finish_drops(&self, state: &mut State) -> Result<()> {
        let dropped: Vec<ManifestId> = state.books.dropped().collect();
        if dropped.is_empty() {
            return Ok(());
        }
        let wanted: std::collections::BTreeSet<ManifestId> =
            state.books.revisions().map(|row| row.manifest).collect();
        let gone: Vec<ManifestId> = dropped
            .iter()
            .filter(|id| !wanted.contains(id))
            .copied()
            .collect();
        self.remove_manifests(&gone)?;
        let rows = dropped
            .into_iter()
            .map(|manifest| Edit::Remove(Row::Dropped { manifest }));
        let changes = Changes {
            edits: rows.collect(),
            ..Changes::default()
        };
        self.commit(state, &changes)
    }

    /// Removes manifests and their signatures, for good.
    pub(crate) fn remove_manifests(&self, ids: &[ManifestId]) -> Result<()> {
        let paths = ids
            .iter()
            .flat_map(|id| [layout::signatures(id), layout::manifest(id)]);
        for path in paths {
            match self.disk.backend.remove_file(&path) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(io("remove", &path)(errno)),
            }
        }
        let synced = self.disk.backend.sync_directory(layout::MANIFESTS);
        synced.map_err(io("sync", layout::MANIFESTS))
    }
}
