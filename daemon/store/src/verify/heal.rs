//! Putting a file right from other copies, or taking it out of sight.
//!
//! A repaired file is a new one beside, built from chunks that were each compared with their name,
//! and takes the place of the damaged one by rename; then everything that showed the old inode is
//! shown anew. Invariant: no byte gets into a repaired file unchecked. Not promised: repair of a
//! file whose table and data are both damaged when no healer has it.

use std::sync::Arc;

use towline_io::backend::{File, Open};

use super::data::{Wrong, is_good};
use super::{Damage, DamageKind, Pass, Remedy, Wanted};
use crate::cutting::{Read, Sink, cut_file};
use crate::error::{Result, StorageFault, io};
use crate::hasher::Hasher;
use crate::index::{Changes, IndexedFile};
use crate::layout;
use crate::metrics;
use crate::name::{RepoName, RevisionId};
use crate::progress::Progress;
use crate::source::SourceEntry;
use crate::table::{CHUNK_BYTES_MAX, Chunk, ChunkTable};
use crate::visible::{Staged, StagedHub};

/// Keeps the chunks' bytes, if a file is given.
struct Keep<'a>(Option<&'a dyn File>);

impl Sink for Keep<'_> {
    fn chunk(&mut self, chunk: &Chunk, bytes: &[u8]) -> Result<()> {
        match self.0 {
            Some(file) if !chunk.flags.zero => file
                .write_at(bytes, chunk.offset)
                .map_err(io("write", "a repaired file")),
            Some(_) | None => Ok(()),
        }
    }
}

impl Pass<'_> {
    /// Repairs the bytes of a file, or quarantines it.
    pub(super) fn mend(
        &mut self,
        wanted: Wanted<'_>,
        table: &ChunkTable,
        wrong: &Wrong,
        revisions: &[(RepoName, RevisionId)],
    ) -> Result<Remedy> {
        if self.options.look_only {
            return Ok(Remedy::Left);
        }
        if self.rebuild(wanted, table, wrong)? {
            if self.inner.index.size_of(&wanted.file.id)?.is_none() {
                self.index_again(wanted, table)?;
            }
            self.show_again(&self.shown_among(revisions))?;
            return Ok(Remedy::Healed);
        }
        self.quarantine(wanted, Some(table), revisions)?;
        Ok(Remedy::Quarantined)
    }

    /// Builds the file anew; `false` if some chunk cannot be had.
    fn rebuild(&self, wanted: Wanted<'_>, table: &ChunkTable, wrong: &Wrong) -> Result<bool> {
        let path = layout::data(&wanted.file.id);
        let old = self.inner.disk.backend.open(&path, Open::Read).ok();
        let copy = self.inner.disk.temporary()?;
        let (mut buffer, mut healed) = (vec![0; CHUNK_BYTES_MAX as usize], 0);
        for (at, chunk) in table.chunks.iter().enumerate() {
            let (bytes, _) = buffer.split_at_mut(chunk.length as usize);
            let is_bad = wrong.chunks.contains(&at);
            let kept = !is_bad
                && old
                    .as_ref()
                    .is_some_and(|old| is_good(&**old, chunk, bytes));
            if !kept {
                if !self.fetch(wanted, chunk, bytes)? {
                    return Ok(false);
                }
                healed += 1;
            }
            if !chunk.flags.zero {
                copy.file
                    .write_at(bytes, chunk.offset)
                    .map_err(io("write", &copy.path))?;
            }
        }
        copy.file
            .set_length(table.size)
            .map_err(io("set the length of", &copy.path))?;
        copy.place(&path)?;
        self.inner.disk.sync_parent(&path)?;
        metrics::add(&self.inner.counters.chunks_healed, healed);
        Ok(true)
    }

    /// Finds the bytes of one chunk somewhere else.
    fn fetch(&self, wanted: Wanted<'_>, chunk: &Chunk, bytes: &mut [u8]) -> Result<bool> {
        if chunk.flags.zero {
            bytes.fill(0);
            return Ok(true);
        }
        if let Some((id, at)) = self.inner.index.locate(&chunk.id)?
            && let Ok(table) = self.inner.read_table(&id)
            && let Some(other) = table.chunks.get(at as usize)
            && other.length == chunk.length
            && let Ok(file) = self.inner.disk.backend.open(&layout::data(&id), Open::Read)
            && is_good(&*file, other, bytes)
            && other.id == chunk.id
        {
            return Ok(true);
        }
        let Some(healer) = self.options.healer else {
            return Ok(false);
        };
        let came = healer.read(&wanted, chunk.offset, bytes).is_ok();
        Ok(came && blake3::hash(bytes).as_bytes() == &chunk.id.0)
    }

    /// The table of a file is damaged: makes it again from the data, or else the whole file from
    /// the healer. Gives the table if the data still has to be looked at.
    pub(super) fn table_damage(
        &mut self,
        wanted: Wanted<'_>,
        reason: &str,
    ) -> Result<Option<ChunkTable>> {
        let id = wanted.file.id;
        self.inner.tables.forget(&id);
        let revisions = self.having(&id);
        let is_here = self.inner.disk.exists(&layout::data(&id));
        let (kind, path, detail) = match is_here {
            true => (DamageKind::Table, layout::table(&id), reason.to_owned()),
            false => {
                let detail = "it is missing, and so is its table".to_owned();
                (DamageKind::Missing, layout::data(&id), detail)
            }
        };
        let mut damage = Damage {
            kind,
            path,
            detail,
            range: None,
            revisions: revisions.clone(),
            remedy: Remedy::Left,
        };
        let mut table = self.cut_again(wanted);
        if self.options.look_only {
            self.found(damage);
            return Ok(table);
        }
        if table.is_none() {
            table = self.refetch(wanted)?;
            if table.is_some() {
                self.show_again(&self.shown_among(&revisions))?;
            }
        }
        match &table {
            Some(table) => {
                self.inner
                    .disk
                    .write_whole(&layout::table(&id), &table.encode())?;
                self.index_again(wanted, table)?;
                damage.remedy = Remedy::Healed;
            }
            None => {
                self.quarantine(wanted, None, &revisions)?;
                damage.remedy = Remedy::Quarantined;
            }
        }
        self.found(damage);
        Ok(table)
    }

    fn cut(
        &self,
        wanted: Wanted<'_>,
        read: &Read<'_>,
        to: Option<&dyn File>,
    ) -> Option<ChunkTable> {
        let entry = SourceEntry {
            path: wanted.file.path.clone(),
            size: wanted.file.size,
            sha256: wanted.file.sha256,
            git_oid: None,
        };
        let hasher = Hasher::start().ok()?;
        let cut = cut_file(&hasher, read, &entry, &mut Keep(to), &Progress::default()).ok()?;
        (cut.table.id() == wanted.file.id).then_some(cut.table)
    }

    fn cut_again(&self, wanted: Wanted<'_>) -> Option<ChunkTable> {
        let path = layout::data(&wanted.file.id);
        let file = self.inner.disk.backend.open(&path, Open::Read).ok()?;
        let read = |offset: u64, buffer: &mut [u8]| {
            let count = file.read_at(buffer, offset).map_err(io("read", &path))?;
            if count == buffer.len() {
                return Ok(());
            }
            let (path, reason) = (path.clone(), "it is too short".to_owned());
            Err(StorageFault::Damaged { path, reason }.into())
        };
        self.cut(wanted, &read, None)
    }

    fn refetch(&self, wanted: Wanted<'_>) -> Result<Option<ChunkTable>> {
        let Some(healer) = self.options.healer else {
            return Ok(None);
        };
        let copy = self.inner.disk.temporary()?;
        let read = |offset: u64, buffer: &mut [u8]| healer.read(&wanted, offset, buffer);
        let Some(table) = self.cut(wanted, &read, Some(&*copy.file)) else {
            return Ok(None);
        };
        copy.file
            .set_length(table.size)
            .map_err(io("set the length of", &copy.path))?;
        let path = layout::data(&wanted.file.id);
        copy.place(&path)?;
        self.inner.disk.sync_parent(&path)?;
        Ok(Some(table))
    }

    pub(super) fn index_again(&self, wanted: Wanted<'_>, table: &ChunkTable) -> Result<()> {
        if self.inner.index.size_of(&wanted.file.id)?.is_none() {
            self.inner.space.add_stored(table.size);
        }
        let changes = Changes {
            files: vec![IndexedFile {
                id: wanted.file.id,
                sha256: wanted.file.sha256,
                table: Arc::new(table.clone()),
            }],
            ..Changes::default()
        };
        let mut state = self.inner.state();
        self.inner.commit(&mut state, &changes)
    }

    /// Shows revisions anew, and every tag that points to them: the links lead to new inodes.
    pub(super) fn show_again(&self, revisions: &[(RepoName, RevisionId)]) -> Result<()> {
        let state = self.inner.state();
        let disk = &self.inner.disk;
        for (repo, rev) in revisions {
            let Some(row) = state.books.revision(repo, rev) else {
                continue;
            };
            let manifest = self.inner.manifest(&row.manifest)?;
            Staged::revision(disk, &manifest)?.place(&layout::revision(repo, rev))?;
            if self.inner.options.hub_view {
                StagedHub::new(disk, &manifest)?.place(&manifest)?;
            }
            let tags = state.books.references();
            for tag in tags.filter(|row| row.reference.repo == *repo && row.reference.rev == *rev) {
                let place = layout::tag(repo, &tag.reference.tag);
                Staged::revision(disk, &manifest)?.place(&place)?;
                if self.inner.options.hub_view {
                    crate::visible::point(disk, repo, &tag.reference.tag, rev)?;
                }
            }
        }
        Ok(())
    }

    /// Sets a file aside, and takes out of sight whatever has it.
    fn quarantine(
        &mut self,
        wanted: Wanted<'_>,
        table: Option<&ChunkTable>,
        revisions: &[(RepoName, RevisionId)],
    ) -> Result<()> {
        let id = wanted.file.id;
        self.withdraw(revisions)?;
        let is_indexed = self.inner.index.size_of(&id)?.is_some();
        let disk = &self.inner.disk;
        if !is_indexed && !disk.exists(&layout::data(&id)) && !disk.exists(&layout::table(&id)) {
            return Ok(());
        }
        let empty = ChunkTable {
            size: wanted.file.size,
            format: crate::table::Format::Fixed,
            chunks: Vec::new(),
            tensors: Vec::new(),
        };
        // Nothing may be linked to it or copied from it any more.
        let changes = Changes {
            files_removed: vec![IndexedFile {
                id,
                sha256: wanted.file.sha256,
                table: Arc::new(table.cloned().unwrap_or(empty)),
            }],
            ..Changes::default()
        };
        let mut state = self.inner.state();
        self.inner.commit(&mut state, &changes)?;
        self.inner.tables.forget(&id);
        if is_indexed {
            self.inner.space.remove_stored(wanted.file.size);
        }
        for (path, suffix) in [(layout::data(&id), "data"), (layout::table(&id), "table")] {
            let aside = self.quarantine_path(&id, suffix);
            match disk.backend.rename(&path, &aside) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(io("rename", &path)(errno)),
            }
        }
        disk.sync_parent(&layout::data(&id))?;
        disk.sync_parent(&self.quarantine_path(&id, "data"))
    }
}
