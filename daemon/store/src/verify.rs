//! Reading everything again and comparing it with its name.
//!
//! The chain is: a revision's row names its manifest by BLAKE3, the manifest names each table, the
//! table names each chunk. So bits that flipped, ends that are missing, zeroed, swapped and stale
//! blocks are all the same to it: bytes that are not what their name says. Beside the chain the
//! index's pages, the ledger, and what clients see are checked against it. What is wrong is put
//! right from another copy where there is one: the same chunk in another file, the index's or the
//! ledger's copy, the table from the data, or a [`Healer`]. What cannot be put right is taken out
//! of sight, its bytes set aside in `quarantine/`. Signatures are checked with the keys that they
//! name, and against what the store demands.
//!
//! What there should be is counted from rows, tags and every manifest on the disk, shown or not, so
//! what is missing is told each time, until it is here again or its revision is removed. Invariant:
//! nothing is shown after a verification that it has found wrong. Not promised: that damage which
//! comes a moment later is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::books::RevisionRow;
use crate::catalog::CatalogRevision;
use crate::error::Result;
use crate::layout;
use crate::metrics;
use crate::name::{FileId, RepoName, RevisionId};
use crate::progress::Progress;
use crate::store::{Inner, Store};

mod data;
mod heal;
mod signatures;
mod small;

pub(crate) use data::is_good;

/// Another place where a file of a revision can be had.
pub trait Healer: Sync {
    /// Fills the buffer with the bytes of the file at `offset`. What comes is checked.
    ///
    /// # Errors
    /// Whatever keeps it from doing so; the damage stays then.
    fn read(&self, wanted: &Wanted<'_>, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

/// What a healer is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// A revision that has the file.
    pub revision: &'a CatalogRevision,
    /// The file in it.
    pub file: &'a crate::catalog::CatalogFile,
}

/// What shall be verified.
#[derive(Clone, Copy, Default)]
pub struct VerifyOptions<'a> {
    /// One repository; `None`: everything, the index included.
    pub repo: Option<&'a RepoName>,
    /// One revision of it.
    pub rev: Option<&'a RevisionId>,
    /// Look only: nothing is repaired or set aside.
    pub look_only: bool,
    /// Where good bytes can be had.
    pub healer: Option<&'a dyn Healer>,
}

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum DamageKind {
    /// Bytes of a file are not those of their chunk.
    Data,
    /// A file is shorter or longer than it should be.
    Length,
    /// A file is not there or cannot be read.
    Missing,
    /// A chunk table is not the one that it should be.
    Table,
    /// A manifest is not the one that it should be.
    Manifest,
    /// The index has pages or rows that are not what was written.
    Index,
    /// The ledger is not what was written.
    Ledger,
    /// Clients see something else than the store has.
    Shown,
    /// A signature does not hold, or one that is demanded is not there.
    Signature,
}

/// What became of something that was wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remedy {
    /// It is as it should be again.
    Healed,
    /// It is out of sight; its bytes lie in `quarantine/`.
    Quarantined,
    /// Nothing was done, because only a look was asked for.
    Left,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// What kind of thing.
    pub kind: DamageKind,
    /// Where, relative to the store's root.
    pub path: String,
    /// What exactly, in words.
    pub detail: String,
    /// First wrong byte of the file, and how many bytes are not to be trusted.
    pub range: Option<(u64, u64)>,
    /// Revisions that have it.
    pub revisions: Vec<(RepoName, RevisionId)>,
    /// What became of it.
    pub remedy: Remedy,
}

/// What a verification has found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct VerifyReport {
    /// Revisions looked at.
    pub revisions: u64,
    /// Files looked at.
    pub files: u64,
    /// Bytes read and hashed.
    pub bytes: u64,
    /// Everything that was wrong.
    pub damages: Vec<Damage>,
    /// Revisions that were out of sight and are shown again.
    pub restored: Vec<(RepoName, RevisionId)>,
}

impl VerifyReport {
    /// Whether nothing is wrong any more.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damages
            .iter()
            .all(|damage| damage.remedy == Remedy::Healed)
    }
}

/// One pass.
struct Pass<'a> {
    store: &'a Store,
    inner: &'a Arc<Inner>,
    options: &'a VerifyOptions<'a>,
    report: VerifyReport,
    /// Revisions that are known and not shown, for want of a file or a signature.
    hidden: Vec<Arc<CatalogRevision>>,
}

impl Store {
    /// Reads and hashes what `options` name, repairs what it can, and takes out of sight what it
    /// cannot.
    ///
    /// # Errors
    /// [`crate::ClientFault`] if there is nothing of that name or it was stopped;
    /// [`crate::StorageFault`] if the disk does not even take a repair.
    pub fn verify(&self, options: &VerifyOptions<'_>, progress: &Progress) -> Result<VerifyReport> {
        let _span = tracing::info_span!("verify").entered();
        let mut pass = Pass {
            store: self,
            inner: &self.inner,
            options,
            report: VerifyReport::default(),
            hidden: Vec::new(),
        };
        if let Some(repo) = options.repo {
            if self
                .inner
                .state()
                .books
                .revisions()
                .all(|row| row.repo != *repo)
            {
                return Err(crate::ClientFault::NoRepo(repo.clone()).into());
            }
            if let Some(rev) = options.rev {
                self.inner.state().known(repo, rev)?;
            }
        } else {
            pass.index()?;
            pass.ledger()?;
            pass.orphans()?;
        }
        pass.manifests()?;
        pass.signatures()?;
        pass.tags()?;
        pass.load_hidden();
        pass.files(progress)?;
        pass.shown()?;
        if !options.look_only {
            pass.restore()?;
        }
        metrics::add(&self.inner.counters.bytes_verified, pass.report.bytes);
        Ok(pass.report)
    }
}

impl Pass<'_> {
    fn concerns(&self, repo: &RepoName, rev: &RevisionId) -> bool {
        self.options.repo.is_none_or(|wanted| wanted == repo)
            && self.options.rev.is_none_or(|wanted| wanted == rev)
    }

    /// Rows of all revisions that concern this pass, shown or not.
    fn rows(&self) -> Vec<RevisionRow> {
        let state = self.inner.state();
        let rows = state.books.revisions();
        rows.filter(|row| self.concerns(&row.repo, &row.rev))
            .cloned()
            .collect()
    }

    /// Revisions that are shown and concern this pass.
    fn revisions(&self) -> Vec<Arc<CatalogRevision>> {
        let state = self.inner.state();
        let all = state.shown.iter();
        all.filter(|((repo, rev), _)| self.concerns(repo, rev))
            .map(|(_, revision)| Arc::clone(revision))
            .collect()
    }

    /// Loads what is known and not shown.
    fn load_hidden(&mut self) {
        let rows = self.rows().into_iter();
        let state = self.inner.state();
        let hidden = rows.filter(|row| {
            let key = (row.repo.clone(), row.rev);
            !state.shown.contains_key(&key)
        });
        let hidden: Vec<RevisionRow> = hidden.collect();
        drop(state);
        let loaded = hidden.iter().filter_map(|row| self.inner.load(row).ok());
        self.hidden = loaded.collect();
    }

    /// Every file of revisions that concern this pass, with one revision that has it: a shown one,
    /// if there is one.
    fn distinct_files(&self) -> BTreeMap<FileId, (Arc<CatalogRevision>, usize)> {
        let mut files = BTreeMap::new();
        for revision in self.revisions().iter().chain(&self.hidden) {
            for (at, file) in revision.files.iter().enumerate() {
                files
                    .entry(file.id)
                    .or_insert_with(|| (Arc::clone(revision), at));
            }
        }
        files
    }

    /// Every revision that has a file, whatever this pass is about.
    fn having(&self, id: &FileId) -> Vec<(RepoName, RevisionId)> {
        let state = self.inner.state();
        let all = state.shown.values().chain(&self.hidden);
        let having = all.filter(|one| one.files.iter().any(|file| file.id == *id));
        let having: BTreeSet<_> = having.map(|one| (one.repo.clone(), one.rev)).collect();
        having.into_iter().collect()
    }

    /// Those of some revisions that are shown.
    fn shown_among(&self, all: &[(RepoName, RevisionId)]) -> Vec<(RepoName, RevisionId)> {
        let state = self.inner.state();
        let shown = all.iter().filter(|key| state.shown.contains_key(key));
        shown.cloned().collect()
    }

    fn found(&mut self, damage: Damage) {
        let text = format!("{}: {}", damage.path, damage.detail);
        let healed = damage.remedy == Remedy::Healed;
        if healed {
            tracing::warn!(error = text, "damage in the store was repaired");
        } else {
            tracing::error!(error = text, "damage in the store");
        }
        metrics::add(&self.inner.counters.damages_found, 1);
        metrics::add(&self.inner.counters.damages_healed, u64::from(healed));
        self.report.damages.push(damage);
    }

    fn files(&mut self, progress: &Progress) -> Result<()> {
        let files = self.distinct_files();
        let sizes = files
            .values()
            .filter_map(|(revision, at)| revision.files.get(*at));
        progress.expect(files.len() as u64, sizes.map(|file| file.size).sum());
        for (id, (revision, at)) in files {
            let Some(file) = revision.files.get(at) else {
                continue;
            };
            // Without one a row of the index is gone, or the file is.
            let _hold = self.inner.hold_indexed(&id)?;
            let revision = &*revision;
            self.file(Wanted { revision, file }, progress)?;
            progress.finish_file();
        }
        Ok(())
    }

    /// Takes revisions out of sight that cannot be repaired.
    fn withdraw(&mut self, revisions: &[(RepoName, RevisionId)]) -> Result<()> {
        let mut state = self.inner.state();
        let taken: BTreeSet<_> = revisions.iter().cloned().collect();
        state.shown.retain(|key, _| !taken.contains(key));
        self.inner.publish_catalog(&mut state);
        let disk = &self.inner.disk;
        for (repo, rev) in &taken {
            let tags = state
                .books
                .references()
                .filter(|row| row.reference.repo == *repo && row.reference.rev == *rev);
            for row in tags {
                crate::visible::hide_tag(disk, repo, &row.reference.tag)?;
            }
            crate::visible::hide_revision(disk, repo, rev)?;
        }
        Ok(())
    }

    fn remedy(&self, otherwise: Remedy) -> Remedy {
        if self.options.look_only {
            Remedy::Left
        } else {
            otherwise
        }
    }

    fn quarantine_path(&self, id: &FileId, suffix: &str) -> String {
        format!("{}/{id}.{suffix}", layout::QUARANTINE)
    }
}
