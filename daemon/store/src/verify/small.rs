//! What is not file content: the index, the ledger, manifests, and what clients see.
//!
//! Invariant: each is compared with something that vouches for it: the index's pages with their
//! checks, rows with those in memory and in the ledger, manifests with their BLAKE3, links with the
//! inode of the store's file. Not promised: that both copies of a row survive damage to both.

use std::collections::BTreeSet;

use towline_io::backend::Kind;

use super::{Damage, DamageKind, Pass, Remedy};
use crate::catalog::CatalogRevision;
use crate::disk::DiskAccess;
use crate::error::{Result, io};
use crate::index::Index;
use crate::layout;
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::name::{ManifestId, RepoName, RevisionId};
use crate::recover;
use crate::visible;

impl Pass<'_> {
    fn small(&mut self, kind: DamageKind, path: &str, detail: String, healed: bool) {
        self.small_of(kind, path, detail, healed, Vec::new());
    }

    fn small_of(
        &mut self,
        kind: DamageKind,
        path: &str,
        detail: String,
        healed: bool,
        revisions: Vec<(RepoName, RevisionId)>,
    ) {
        let remedy = self.remedy(if healed {
            Remedy::Healed
        } else {
            Remedy::Quarantined
        });
        self.found(Damage {
            kind,
            path: path.to_owned(),
            detail,
            range: None,
            revisions,
            remedy,
        });
    }

    /// Checks every page of the index, and that its rows are those in use.
    pub(super) fn index(&mut self) -> Result<()> {
        let Some(detail) = self.index_damage()? else {
            return Ok(());
        };
        if !self.options.look_only {
            let state = self.inner.state();
            let books = Some(state.books.clone());
            let (index, _) = recover::rebuild_index(&self.inner.disk, books)?;
            self.inner.index.replace(index);
        }
        self.small(DamageKind::Index, layout::INDEX, detail, true);
        Ok(())
    }

    fn index_damage(&self) -> Result<Option<String>> {
        // No change is under way while this is held, so the copy is of one moment.
        let state = self.inner.state();
        let disk = &self.inner.disk;
        let copy = disk.temporary()?;
        if let Err(error) = copy_file(disk, layout::INDEX, &copy) {
            return Ok(Some(error.to_string()));
        }
        let checked = Index::check(&*disk.backend, &copy.path);
        Ok(match checked {
            Err(error) => Some(error.to_string()),
            Ok((_, _, damaged)) if damaged > 0 => Some(format!("{damaged} rows are damaged")),
            Ok((_, books, _)) if books.generation != state.books.generation => {
                Some("it is of another time than this node".into())
            }
            // Rows that may be lost in a crash differ; those of one generation agree in the rest.
            Ok(_) => match self.inner.index.books() {
                Err(error) => Some(error.to_string()),
                Ok((live, 0)) if live.rows == state.books.rows => None,
                Ok(_) => Some("its rows are not those that were written".into()),
            },
        })
    }

    /// Checks that the ledger says what the index says.
    pub(super) fn ledger(&mut self) -> Result<()> {
        let disk = self.inner.disk.clone();
        let detail = {
            let mut state = self.inner.state();
            let detail = match recover::read_ledger(&disk) {
                None if state.books.generation == 0 => None,
                None => Some("it is missing or damaged"),
                Some((_, false)) => Some("its end is damaged"),
                Some((ledger, _)) if ledger.generation != state.books.generation => {
                    Some("it is of another time than the index")
                }
                Some((ledger, _)) if !ledger.names_the_same(&state.books) => {
                    Some("its rows are not those of the index")
                }
                Some(_) => None,
            };
            if detail.is_some() && !self.options.look_only {
                disk.write_whole(layout::LEDGER, &state.books.to_ledger())?;
                state.ledger.forget();
            }
            detail
        };
        if let Some(detail) = detail {
            self.small(DamageKind::Ledger, layout::LEDGER, detail.to_owned(), true);
        }
        Ok(())
    }

    /// Takes up manifests that no row knows, and sets aside those that are none.
    pub(super) fn orphans(&mut self) -> Result<()> {
        let found = {
            let mut state = self.inner.state();
            let found = recover::orphans(&self.inner.disk, &state)?;
            if !self.options.look_only {
                recover::adopt(self.inner, &mut state)?;
            }
            found
        };
        for (id, _, manifest) in found.whole {
            let revision = (manifest.repo.clone(), manifest.rev);
            let detail = format!("no row knows it, of {}@{}", revision.0, revision.1);
            let path = layout::manifest(&id);
            self.small_of(DamageKind::Manifest, &path, detail, true, vec![revision]);
        }
        for id in found.damaged {
            let (path, aside) = (
                layout::manifest(&id),
                format!("{}/{id}.manifest", layout::QUARANTINE),
            );
            if !self.options.look_only {
                let moved = self.inner.disk.backend.rename(&path, &aside);
                moved.map_err(io("rename", &path))?;
                self.inner.disk.sync_parent(&path)?;
            }
            let detail = "no row knows it, and it is not what its name says".to_owned();
            self.small(DamageKind::Manifest, &path, detail, false);
        }
        Ok(())
    }

    /// Tags whose revision nobody knows.
    pub(super) fn tags(&mut self) -> Result<()> {
        let lost: Vec<_> = {
            let state = self.inner.state();
            let tags = state.books.references().map(|row| &row.reference);
            let lost = tags.filter(|at| {
                self.concerns(&at.repo, &at.rev)
                    && state.books.revision(&at.repo, &at.rev).is_none()
            });
            lost.cloned().collect()
        };
        for at in lost {
            if !self.options.look_only {
                visible::hide_tag(&self.inner.disk, &at.repo, &at.tag)?;
            }
            let detail = format!("it points to revision {}, which is not here", at.rev);
            let path = layout::tag(&at.repo, &at.tag);
            let revisions = vec![(at.repo, at.rev)];
            self.small_of(DamageKind::Missing, &path, detail, false, revisions);
        }
        Ok(())
    }

    /// Checks every manifest, on the disk and in the index.
    pub(super) fn manifests(&mut self) -> Result<()> {
        for row in self.rows() {
            self.report.revisions += 1;
            let id = row.manifest;
            let path = layout::manifest(&id);
            let file = self.inner.disk.read_whole(&path, MANIFEST_BYTES_MAX).ok();
            let indexed = self.inner.index.manifest(&id)?;
            let good = |bytes: &Vec<u8>| Manifest::id_of(bytes) == id;
            match (file.filter(good), indexed.filter(good)) {
                (Some(_), Some(_)) => {}
                (None, Some(bytes)) => {
                    if !self.options.look_only {
                        self.inner.disk.write_whole(&path, &bytes)?;
                    }
                    let detail = "it is not what its name says".to_owned();
                    self.small(DamageKind::Manifest, &path, detail, true);
                }
                (Some(bytes), None) => {
                    if !self.options.look_only {
                        self.index_manifest(id, bytes)?;
                    }
                    let detail = format!("its copy of manifest {id} is damaged");
                    self.small(DamageKind::Index, layout::INDEX, detail, true);
                }
                (None, None) => {
                    let revisions = vec![(row.repo, row.rev)];
                    if !self.options.look_only {
                        self.withdraw(&revisions)?;
                    }
                    let detail = "both copies of it are damaged or missing".to_owned();
                    self.small_of(DamageKind::Manifest, &path, detail, false, revisions);
                }
            }
        }
        Ok(())
    }

    fn index_manifest(&self, id: ManifestId, bytes: Vec<u8>) -> Result<()> {
        let changes = crate::index::Changes {
            manifests: vec![(id, bytes)],
            ..Default::default()
        };
        let mut state = self.inner.state();
        self.inner.commit(&mut state, &changes)
    }

    /// Checks that clients see the store's own files under every name, and nothing else.
    pub(super) fn shown(&mut self) -> Result<()> {
        for revision in self.revisions() {
            let (repo, rev) = (&revision.repo, &revision.rev);
            let mut places = vec![layout::revision(repo, rev)];
            if self.inner.options.hub_view {
                places.push(format!("{}/snapshots/{rev}", layout::hub_repo(repo)));
            }
            {
                let state = self.inner.state();
                let tags = state.books.references();
                let tags =
                    tags.filter(|row| row.reference.repo == *repo && row.reference.rev == *rev);
                places.extend(tags.map(|row| layout::tag(repo, &row.reference.tag)));
            }
            let wrong = places.iter().find_map(|place| {
                shown_wrong(&self.inner.disk, &revision, place).map(|detail| (place, detail))
            });
            let Some((place, detail)) = wrong else {
                continue;
            };
            let key = (repo.clone(), *rev);
            if !self.options.look_only {
                self.show_again(std::slice::from_ref(&key))?;
            }
            let remedy = self.remedy(Remedy::Healed);
            self.found(Damage {
                kind: DamageKind::Shown,
                path: place.clone(),
                detail,
                range: None,
                revisions: vec![key],
                remedy,
            });
        }
        Ok(())
    }

    /// Shows revisions again that were out of sight and are whole now.
    pub(super) fn restore(&mut self) -> Result<()> {
        let hidden: Vec<_> = {
            let state = self.inner.state();
            let rows = state.books.revisions();
            let hidden = rows.filter(|row| {
                self.concerns(&row.repo, &row.rev)
                    && !state.shown.contains_key(&(row.repo.clone(), row.rev))
            });
            hidden.cloned().collect()
        };
        for row in hidden {
            let Ok(revision) = self.inner.load(&row) else {
                continue;
            };
            if !self.inner.is_trusted(&revision.signed_by)
                || !recover::has_files(self.inner, &revision)
            {
                continue;
            }
            let key = (row.repo.clone(), row.rev);
            self.show_again(std::slice::from_ref(&key))?;
            let mut state = self.inner.state();
            state.refused.remove(&key);
            state.shown.insert(key.clone(), revision);
            self.inner.publish_catalog(&mut state);
            self.report.restored.push(key);
        }
        let _ = self.store;
        Ok(())
    }
}

/// What is wrong with a directory that shows a revision.
fn shown_wrong(disk: &DiskAccess, revision: &CatalogRevision, place: &str) -> Option<String> {
    let mut expected = BTreeSet::new();
    for file in &revision.files {
        let path = format!("{place}/{}", file.path);
        let Ok(own) = disk.backend.metadata(&layout::data(&file.id)) else {
            continue;
        };
        match disk.backend.metadata(&path) {
            // A copy is made where a file has as many names as there may be.
            Ok(seen) if seen.inode == own.inode || own.links >= 60_000 => {}
            Ok(seen) if seen.kind != Kind::File => return Some(format!("{path} is no file")),
            Ok(_) => return Some(format!("{path} is another file than the store's")),
            Err(errno) => return Some(format!("{path}: {errno}")),
        }
        expected.insert(path);
    }
    stranger(disk, place, &expected, 600)
}

/// A name below a directory that should not be there.
fn stranger(
    disk: &DiskAccess,
    place: &str,
    expected: &BTreeSet<String>,
    depth: usize,
) -> Option<String> {
    let entries = disk.backend.list(place).ok()?;
    entries.into_iter().find_map(|entry| {
        let path = format!("{place}/{}", entry.name);
        if entry.is_directory && depth > 0 {
            return stranger(disk, &path, expected, depth - 1);
        }
        (!expected.contains(&path)).then(|| format!("{path} does not belong there"))
    })
}

fn copy_file(disk: &DiskAccess, from: &str, to: &crate::disk::Temporary) -> Result<()> {
    let source = disk.backend.open(from, towline_io::backend::Open::Read);
    let source = source.map_err(io("open", from))?;
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    loop {
        let count = source
            .read_at(&mut buffer, offset)
            .map_err(io("read", from))?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        to.file
            .write_at(bytes, offset)
            .map_err(io("write", &to.path))?;
        offset += count as u64;
    }
}
