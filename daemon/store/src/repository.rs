//! Repositories as a whole: made with nothing in them, given another name, removed.
//!
//! Invariant: each is one step of the index, so a crash leaves what was before or what was asked
//! for, and what clients see follows when the store is opened. What is pinned or leased is not
//! removed. Not promised: that signatures of others stay when a name changes; they are for the old
//! name, so such a repository keeps it.

use crate::books::{Edit, ReferenceRow, RevisionRow, Row};
use crate::error::{ClientFault, Result};
use crate::index::Changes;
use crate::layout;
use crate::manifest::Manifest;
use crate::name::{RepoName, RevisionId, TagName};
use crate::progress::Progress;
use crate::publish::{Parent, PublishOptions, Published};
use crate::recover;
use crate::sign::{self, Reference, Signer};
use crate::source::{Source, SourceEntry};
use crate::store::{State, Store};
use crate::visible;

/// What a repository says of its beginning.
const FIRST_MESSAGE: &str = "initial commit";

/// A source without files.
struct Nothing;

impl Source for Nothing {
    fn entries(&self) -> Result<Vec<SourceEntry>> {
        Ok(Vec::new())
    }

    fn read_at(&self, _: usize, _: u64, _: &mut [u8]) -> Result<()> {
        Ok(())
    }
}

impl Store {
    /// Makes a repository with an empty revision as `main`.
    ///
    /// # Errors
    /// [`ClientFault::NameTaken`] if it cannot be here, [`ClientFault::NoSigner`] where signatures
    /// are demanded and nobody signs; those of the disk.
    pub fn create(&self, repo: &RepoName, signer: Option<&Signer>) -> Result<Published> {
        let options = PublishOptions {
            message: FIRST_MESSAGE,
            parent: Parent::Nothing,
            signer,
            may_be_empty: true,
            ..Default::default()
        };
        let progress = Progress::default();
        self.publish(repo, &TagName::main(), &Nothing, &options, &progress)
    }

    /// Removes a repository with every revision and tag. Its bytes go with garbage collection.
    ///
    /// # Errors
    /// [`ClientFault::Held`] if a revision is pinned or leased, and then nothing was removed;
    /// [`ClientFault::NoRepo`] if it is not here.
    pub fn remove_repository(&self, repo: &RepoName) -> Result<()> {
        let mut state = self.inner.state();
        let rows = self.rows_of(&state, repo)?;
        for row in &rows {
            self.check_free(&state, repo, &row.rev)?;
        }
        let tags = tags_of(&state, repo);
        let mut edits: Vec<Edit> = tags.iter().map(untagged).collect();
        let removed = rows.iter().cloned().map(Row::Revision).map(Edit::Remove);
        edits.extend(removed);
        let mut changes = Changes {
            edits,
            ..Changes::default()
        };
        changes.drop_manifests(rows.iter().map(|row| row.manifest));
        self.inner.commit(&mut state, &changes)?;
        self.inner.finish_drops(&mut state)?;
        self.forget(&mut state, repo, &rows);
        self.inner.publish_catalog(&mut state);
        for row in &tags {
            visible::hide_tag(&self.inner.disk, repo, &row.reference.tag)?;
        }
        for row in &rows {
            visible::hide_revision(&self.inner.disk, repo, &row.rev)?;
        }
        self.sweep(repo);
        Ok(())
    }

    /// Gives a repository another name: the same revisions, tags and pins. The node signs them
    /// anew if it has a key.
    ///
    /// # Errors
    /// [`ClientFault::NameTaken`] if the name is not free, [`ClientFault::SignedByOthers`],
    /// [`ClientFault::Held`] if a revision is leased, [`ClientFault::NoRepo`].
    pub fn rename_repository(
        &self,
        from: &RepoName,
        to: &RepoName,
        signer: Option<&Signer>,
    ) -> Result<()> {
        let inner = &self.inner;
        inner.check_keys(signer.map(Signer::public_key).into_iter(), to)?;
        let mut state = inner.state();
        let rows = self.rows_of(&state, from)?;
        self.check_movable(&state, (from, to), &rows, signer)?;
        let mut changes = Changes::default();
        let mut ids = std::collections::HashMap::new();
        for row in &rows {
            let moved = self.renamed(row, to, signer, (&mut state, &mut changes))?;
            ids.insert(moved.rev, moved.manifest);
            changes.edits.extend(pins(&state, (from, to), &row.rev));
            changes.edits.push(Edit::Put(Row::Revision(moved)));
            let before = Edit::Remove(Row::Revision(row.clone()));
            changes.edits.push(before);
        }
        let tags = tags_of(&state, from);
        for row in &tags {
            let at = &row.reference;
            let Some(manifest) = ids.get(&at.rev) else {
                continue;
            };
            let reference = Reference {
                repo: to.clone(),
                manifest: *manifest,
                seq: state.books.next_seq(to, &at.tag),
                time: inner.now(),
                ..at.clone()
            };
            let row = ReferenceRow {
                signature: signer.map(|signer| signer.sign_reference(&reference)),
                reference,
                visible: false,
                is_branch: row.is_branch,
            };
            changes.edits.push(Edit::Put(Row::Reference(row)));
        }
        changes.edits.extend(tags.iter().map(untagged));
        changes.drop_manifests(rows.iter().map(|row| row.manifest));
        inner.commit(&mut state, &changes)?;
        inner.finish_drops(&mut state)?;
        self.forget(&mut state, from, &rows);
        for row in self.rows_of(&state, to)? {
            let revision = inner.load(&row)?;
            state.shown.insert((to.clone(), row.rev), revision);
        }
        recover::show(inner, &mut state)?;
        inner.publish_catalog(&mut state);
        self.sweep(from);
        Ok(())
    }

    /// Refuses a name that is not free, and what others have signed or leased under the old one.
    fn check_movable(
        &self,
        state: &State,
        (from, to): (&RepoName, &RepoName),
        rows: &[RevisionRow],
        signer: Option<&Signer>,
    ) -> Result<()> {
        if state.has(to) {
            let (repo, other) = (to.clone(), to.clone());
            let reason = "there is one of that name";
            return Err(ClientFault::NameTaken {
                repo,
                other,
                reason,
            }
            .into());
        }
        state.check_name(to, Some(from))?;
        let (own, now) = (signer.map(Signer::public_key), self.inner.now());
        for row in rows {
            if let Some((holder, _)) = state.books.leases(from, &row.rev, now).next() {
                return Err(ClientFault::Held {
                    repo: from.clone(),
                    rev: row.rev,
                    held: format!("leased by {holder}"),
                    remedy: "wait until it is given back",
                }
                .into());
            }
            let signed = self.inner.signatures(&row.manifest);
            if signed.iter().any(|one| Some(one.key) != own) {
                return Err(ClientFault::SignedByOthers(from.clone()).into());
            }
        }
        Ok(())
    }

    /// The row of a revision under another name; its manifest is written, and joins the changes.
    fn renamed(
        &self,
        row: &RevisionRow,
        to: &RepoName,
        signer: Option<&Signer>,
        (state, changes): (&mut State, &mut Changes),
    ) -> Result<RevisionRow> {
        let inner = &self.inner;
        let mut manifest = inner.manifest(&row.manifest)?;
        (manifest.repo, manifest.kind) = (to.clone(), to.kind());
        let encoded = manifest.encode();
        let id = Manifest::id_of(&encoded);
        // Until the rename is known, what is written for it counts for nothing.
        let manifest_row = Row::Dropped { manifest: id };
        self.edit(state, vec![Edit::Put(manifest_row.clone())])?;
        changes.edits.push(Edit::Remove(manifest_row));
        if let Some(signer) = signer {
            let bytes = sign::encode(&[signer.sign_manifest(&id)]);
            inner.disk.write_whole(&layout::signatures(&id), &bytes)?;
        }
        inner.disk.write_whole(&layout::manifest(&id), &encoded)?;
        changes.manifests.push((id, encoded));
        Ok(RevisionRow {
            repo: to.clone(),
            manifest: id,
            visible: false,
            ..row.clone()
        })
    }

    fn rows_of(&self, state: &State, repo: &RepoName) -> Result<Vec<RevisionRow>> {
        let rows = state.books.revisions().filter(|row| row.repo == *repo);
        let rows: Vec<_> = rows.cloned().collect();
        if rows.is_empty() {
            return Err(ClientFault::NoRepo(repo.clone()).into());
        }
        Ok(rows)
    }

    fn forget(&self, state: &mut State, repo: &RepoName, rows: &[RevisionRow]) {
        for row in rows {
            let key = (repo.clone(), row.rev);
            state.shown.remove(&key);
            state.refused.remove(&key);
        }
    }

    /// Removes the folders of a repository that is gone, where nobody else has put anything.
    fn sweep(&self, repo: &RepoName) {
        let backend = &self.inner.disk.backend;
        let hub = layout::hub_repo(repo);
        for below in ["blobs", "refs", "snapshots", "trees", ".no_exist"] {
            let _full = backend.remove_directory(&format!("{hub}/{below}"));
        }
        let _full = backend.remove_directory(&hub);
        let _full = backend.remove_directory(repo.as_str());
    }
}

fn tags_of(state: &State, repo: &RepoName) -> Vec<ReferenceRow> {
    let rows = state.books.references();
    rows.filter(|row| row.reference.repo == *repo)
        .cloned()
        .collect()
}

/// The row that stays when a tag goes, so that a later one has a higher number.
fn untagged(row: &ReferenceRow) -> Edit {
    Edit::Put(Row::Untagged {
        repo: row.reference.repo.clone(),
        tag: row.reference.tag.clone(),
        seq: row.reference.seq,
    })
}

/// What moves the pin of a revision to another name.
fn pins(state: &State, (from, to): (&RepoName, &RepoName), rev: &RevisionId) -> Vec<Edit> {
    let Some(time) = state.books.pinned(from, rev) else {
        return Vec::new();
    };
    let pin = |repo: &RepoName| Row::Pin {
        repo: repo.clone(),
        rev: *rev,
        time,
    };
    vec![Edit::Remove(pin(from)), Edit::Put(pin(to))]
}
