//! One file: its table against its identity, its bytes against the table.
//!
//! Invariant: a file passes only if its length and every chunk are what the table says, and the
//! table is what the identity says. Not promised: that it is read from the disk and not from the
//! page cache; the kernel decides.

use towline_io::backend::{File, Open};

use super::{Damage, DamageKind, Pass, Remedy, Wanted};
use crate::error::{Result, io};
use crate::layout;
use crate::progress::Progress;
use crate::table::{CHUNK_BYTES_MAX, ChunkTable};

/// What is wrong with the bytes of a file.
#[derive(Debug, Default)]
pub(super) struct Wrong {
    /// Indexes of chunks that are not what they should be.
    pub(super) chunks: Vec<usize>,
    /// The length that was found, if it is another.
    pub(super) length: Option<u64>,
    pub(super) missing: bool,
}

impl Wrong {
    fn is_nothing(&self) -> bool {
        self.chunks.is_empty() && self.length.is_none() && !self.missing
    }
}

impl Pass<'_> {
    /// Verifies one file.
    pub(super) fn file(&mut self, wanted: Wanted<'_>, progress: &Progress) -> Result<()> {
        let id = wanted.file.id;
        // Not the cached table: the one on the disk is what has to be looked at.
        let table = match self.inner.read_table(&id) {
            Ok(table) => table,
            Err(error) => {
                let Some(table) = self.table_damage(wanted, &error.to_string())? else {
                    return Ok(());
                };
                table
            }
        };
        let is_indexed = self.inner.index.size_of(&id)?.is_some();
        let wrong = self.wrong(&table, &layout::data(&id), progress)?;
        if wrong.is_nothing() {
            if !is_indexed {
                self.unindexed(wanted, &table)?;
            }
            return Ok(());
        }
        let kind = match (&wrong.length, wrong.missing) {
            (_, true) => DamageKind::Missing,
            (Some(_), _) => DamageKind::Length,
            (None, _) => DamageKind::Data,
        };
        let detail = describe(&wrong, &table);
        let range = wrong.chunks.first().and_then(|first| {
            let start = table.chunks.get(*first)?.offset;
            let lengths = wrong.chunks.iter().filter_map(|at| table.chunks.get(*at));
            Some((start, lengths.map(|chunk| u64::from(chunk.length)).sum()))
        });
        let revisions = self.having(&id);
        let remedy = self.mend(wanted, &table, &wrong, &revisions)?;
        self.found(Damage {
            kind,
            path: layout::data(&id),
            detail,
            range,
            revisions,
            remedy,
        });
        Ok(())
    }

    /// Reads every chunk.
    fn wrong(&mut self, table: &ChunkTable, path: &str, progress: &Progress) -> Result<Wrong> {
        let mut wrong = Wrong::default();
        self.report.files += 1;
        let Ok(file) = self.inner.disk.backend.open(path, Open::Read) else {
            wrong.missing = true;
            self.report.files -= 1;
            wrong.chunks = (0..table.chunks.len()).collect();
            return Ok(wrong);
        };
        let length = file.length().map_err(io("read", path))?;
        if length != table.size {
            wrong.length = Some(length);
        }
        let mut buffer = vec![0; CHUNK_BYTES_MAX as usize];
        for (at, chunk) in table.chunks.iter().enumerate() {
            let (bytes, _) = buffer.split_at_mut(chunk.length as usize);
            if !is_good(&*file, chunk, bytes) {
                wrong.chunks.push(at);
            }
            self.report.bytes += u64::from(chunk.length);
            progress.advance(u64::from(chunk.length))?;
        }
        Ok(wrong)
    }

    /// A file is whole, and the index does not know it.
    fn unindexed(&mut self, wanted: Wanted<'_>, table: &ChunkTable) -> Result<()> {
        let id = wanted.file.id;
        if !self.options.look_only {
            self.index_again(wanted, table)?;
        }
        let remedy = self.remedy(Remedy::Healed);
        let revisions = self.having(&id);
        self.found(Damage {
            kind: DamageKind::Index,
            path: layout::data(&id),
            detail: "the index does not know this file".into(),
            range: None,
            revisions,
            remedy,
        });
        Ok(())
    }
}

/// Reads one chunk into the buffer and compares it with its name.
pub(crate) fn is_good(file: &dyn File, chunk: &crate::table::Chunk, bytes: &mut [u8]) -> bool {
    let count = file.read_at(bytes, chunk.offset);
    count == Ok(bytes.len()) && blake3::hash(bytes).as_bytes() == &chunk.id.0
}

fn describe(wrong: &Wrong, table: &ChunkTable) -> String {
    if wrong.missing {
        return "it is missing or cannot be opened".into();
    }
    let chunks = format!(
        "{} of {} chunks are wrong",
        wrong.chunks.len(),
        table.chunks.len()
    );
    match wrong.length {
        Some(length) => format!("{length} bytes instead of {}; {chunks}", table.size),
        None => chunks,
    }
}
