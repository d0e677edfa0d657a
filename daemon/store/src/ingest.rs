//! One file on its way in: cut, hashed, recognised where it is known, written where it is not.
//!
//! Where the file system can share blocks with the source, the file is cloned first and the clone
//! is read. Else, as long as the chunks are those of a file that is here, at the same places,
//! nothing is written; the file turns out to be that one, or its known beginning is copied when it
//! departs. A short file is held in memory until it is known what it is. Invariant: what is stored
//! is what was hashed. Not promised: that a longer file is read only once; a known beginning that
//! departs is read again.

use std::sync::Arc;

use towline_io::backend::File;

use crate::cutting::{Read, Sink, cut_file, front};
use crate::disk::Temporary;
use crate::error::{ClientFault, Result, io};
use crate::git;
use crate::hasher::Hasher;
use crate::hold::Hold;
use crate::layout;
use crate::name::{FileId, GitId, Sha256};
use crate::progress::Progress;
use crate::source::{Source, SourceEntry};
use crate::space::Reservation;
use crate::store::Inner;
use crate::table::{Chunk, ChunkTable, Format, SHORT_BYTES_MAX};

/// Files shorter than this are not cloned from their source, in bytes: copying is as fast.
const CLONE_BYTES_MIN: u64 = 1 << 20;

/// How far writing may run ahead of the disk being told, in bytes. Left alone the kernel begins
/// only when gigabytes have gathered, and the sync at the end has all of them to wait for.
const WRITING_STEP_BYTES: u64 = 16 << 20;

/// How a file came to be in the store.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stored {
    /// Bytes that were written.
    pub written: u64,
    /// Bytes of files that were here already, whole: another link, no room.
    pub linked: u64,
    /// Bytes that share blocks with chunks that were here, or with the source: no room.
    pub cloned: u64,
    /// Bytes of chunks that were here but had to be written again, because the file system
    /// cannot share blocks or they lie at another place within a block.
    pub known_written: u64,
    /// Bytes of zeros, which take no room.
    pub zero: u64,
}

impl Stored {
    pub(crate) fn add(&mut self, other: &Self) {
        self.written += other.written;
        self.linked += other.linked;
        self.cloned += other.cloned;
        self.known_written += other.known_written;
        self.zero += other.zero;
    }
}

/// A file that is in the store now, though not yet in the index.
#[derive(Debug)]
pub(crate) struct Ingested {
    pub(crate) id: FileId,
    pub(crate) size: u64,
    pub(crate) sha256: Sha256,
    pub(crate) git_oid: GitId,
    pub(crate) format: Format,
    /// Set if the index has to learn of it.
    pub(crate) table: Option<Arc<ChunkTable>>,
    pub(crate) stored: Stored,
    /// Keeps it from being collected.
    pub(crate) _hold: Hold,
}

/// Reads and stores one file of a source.
pub(crate) fn ingest(
    inner: &Arc<Inner>,
    hasher: &Hasher,
    source: &dyn Source,
    (index, entry): (usize, &SourceEntry),
    progress: &Progress,
) -> Result<Ingested> {
    if let Some(known) = known_by_sha256(inner, entry)? {
        progress.advance(entry.size)?;
        return Ok(known);
    }
    let clone = clone_of(inner, source, (index, entry))?;
    let cloned = clone.as_ref().map(|(file, _)| Arc::clone(&file.file));
    let read = |offset: u64, buffer: &mut [u8]| match &cloned {
        Some(clone) => read_whole(&**clone, entry, offset, buffer),
        None => source.read_at(index, offset, buffer),
    };
    let mut file = Incoming::new(inner, entry, &read);
    if let Some((clone, room)) = clone {
        file.output = Output::Clone(clone, room);
    }
    let cut = cut_file(hasher, &read, entry, &mut file, progress)?;
    source.check(index)?;
    let (id, table, hold) = file.finish(cut.table)?;
    Ok(Ingested {
        id,
        size: entry.size,
        sha256: cut.sha256,
        git_oid: cut.git_oid,
        format: cut.format,
        table,
        stored: file.stored,
        _hold: hold,
    })
}

fn read_whole(file: &dyn File, entry: &SourceEntry, offset: u64, buffer: &mut [u8]) -> Result<()> {
    let count = file
        .read_at(buffer, offset)
        .map_err(io("read", "a clone"))?;
    if count == buffer.len() {
        return Ok(());
    }
    Err(ClientFault::SourceChanged(entry.path.clone()).into())
}

/// A file that shares its blocks with the source's, where there is room and the file system can.
fn clone_of(
    inner: &Arc<Inner>,
    source: &dyn Source,
    (index, entry): (usize, &SourceEntry),
) -> Result<Option<(Temporary, Reservation)>> {
    if entry.size < CLONE_BYTES_MIN {
        return Ok(None);
    }
    let Some(from) = source.file(index)? else {
        return Ok(None);
    };
    // Content that is here already needs no room, so nothing is evicted for it yet.
    let Some(room) = inner.try_reserve(entry.size)? else {
        return Ok(None);
    };
    let file = inner.disk.temporary()?;
    Ok(file
        .file
        .clone_whole(&*from)
        .is_ok()
        .then_some((file, room)))
}

/// A file that the source has named by a hash that the store knows.
fn known_by_sha256(inner: &Arc<Inner>, entry: &SourceEntry) -> Result<Option<Ingested>> {
    let Some(sha256) = entry.sha256 else {
        return Ok(None);
    };
    let pointer = git::pointer_id(&sha256, entry.size);
    let git_oid = match entry.git_oid {
        Some(git_oid) => git_oid,
        None if git::is_lfs(&entry.path, entry.size) => pointer,
        // The blob's id is not known without its bytes.
        None => return Ok(None),
    };
    let Some(id) = inner.index.by_sha256(&sha256)? else {
        return Ok(None);
    };
    let Some(hold) = inner.hold_known(&id)? else {
        return Ok(None);
    };
    let Ok(table) = inner.table(&id) else {
        return Ok(None);
    };
    if table.size != entry.size {
        return Ok(None);
    }
    Ok(Some(Ingested {
        id,
        size: entry.size,
        sha256,
        git_oid,
        format: table.format,
        table: None,
        stored: Stored {
            linked: entry.size,
            ..Stored::default()
        },
        _hold: hold,
    }))
}

/// Where the bytes of a file go while it is not known what they are.
enum Output {
    /// Nothing has been seen.
    Nothing,
    /// All that was seen, of a short file: with its name known it is written where it stays, and
    /// one that is here already is not written at all.
    Short(Vec<u8>),
    /// So far it is a file that is here, which is held meanwhile.
    Same { table: Arc<ChunkTable>, _hold: Hold },
    /// It is something new.
    New(Temporary, Reservation),
    /// All its bytes are there: a clone of the source.
    Clone(Temporary, Reservation),
}

/// A file, the table that the index does not know yet, and what keeps it.
type Known = (FileId, Option<Arc<ChunkTable>>, Hold);

struct Incoming<'a> {
    inner: &'a Arc<Inner>,
    entry: &'a SourceEntry,
    read: &'a Read<'a>,
    chunks: Vec<Chunk>,
    output: Output,
    /// Up to here the disk was told to write.
    told: u64,
    stored: Stored,
}

impl Sink for Incoming<'_> {
    fn chunk(&mut self, chunk: &Chunk, bytes: &[u8]) -> Result<()> {
        let at = self.chunks.len();
        let is_same = matches!(&self.output, Output::Same { table, .. }
            if table.chunks.get(at) == Some(chunk));
        if !is_same && matches!(self.output, Output::Nothing | Output::Same { .. }) {
            self.depart(chunk)?;
        }
        match &mut self.output {
            Output::Short(held) => held.extend_from_slice(bytes),
            Output::New(file, _) => {
                write(self.inner, file, chunk, bytes, &mut self.stored)?;
                let end = chunk.offset + u64::from(chunk.length);
                if end - self.told >= WRITING_STEP_BYTES {
                    file.file.start_writing(self.told, end - self.told);
                    self.told = end;
                }
            }
            Output::Clone(file, _) => {
                // Blocks of the source go with the source; those of the store are shared longer.
                share_known(self.inner, file, chunk, bytes)?;
                self.stored.cloned += u64::from(chunk.length);
            }
            Output::Nothing | Output::Same { .. } => {}
        }
        self.chunks.push(*chunk);
        Ok(())
    }
}

impl<'a> Incoming<'a> {
    fn new(inner: &'a Arc<Inner>, entry: &'a SourceEntry, read: &'a Read<'a>) -> Self {
        Self {
            inner,
            entry,
            read,
            chunks: Vec::new(),
            output: match entry.size {
                ..=SHORT_BYTES_MAX => Output::Short(Vec::with_capacity(entry.size as usize)),
                _ => Output::Nothing,
            },
            told: 0,
            stored: Stored::default(),
        }
    }

    /// The file is not the one that it seemed to be: finds another one, or starts to write.
    fn depart(&mut self, chunk: &Chunk) -> Result<()> {
        let at = self.chunks.len();
        if let Some((id, index)) = self.inner.index.locate(&chunk.id)?
            && index as usize == at
            && let Some(hold) = self.inner.hold_known(&id)?
            && let Ok(table) = self.inner.table(&id)
            && table.chunks.get(..at) == Some(&self.chunks)
            && table.chunks.get(at) == Some(chunk)
        {
            self.output = Output::Same { table, _hold: hold };
            return Ok(());
        }
        self.start_writing()
    }

    fn start_writing(&mut self) -> Result<()> {
        let reservation = self.inner.reserve(self.entry.size)?;
        let file = self.inner.disk.temporary_of(self.entry.size)?;
        file.file
            .reserve(self.entry.size)
            .map_err(io("reserve room for", &file.path))?;
        // Writing inside the file needs no change of its length with each chunk.
        file.file
            .set_length(self.entry.size)
            .map_err(io("set the length of", &file.path))?;
        let longest = self.chunks.iter().map(|chunk| chunk.length).max();
        let mut buffer = vec![0; longest.unwrap_or(0) as usize];
        for chunk in &self.chunks {
            let bytes = front(&mut buffer, chunk.length as usize);
            (self.read)(chunk.offset, bytes)?;
            if blake3::hash(bytes).as_bytes() != &chunk.id.0 {
                return Err(ClientFault::SourceChanged(self.entry.path.clone()).into());
            }
            write(self.inner, &file, chunk, bytes, &mut self.stored)?;
        }
        self.output = Output::New(file, reservation);
        Ok(())
    }

    /// The whole file was seen: gives it its place, unless it is here already.
    fn finish(&mut self, table: ChunkTable) -> Result<Known> {
        let encoded = table.encode();
        let id = ChunkTable::id_of(&encoded);
        if matches!(self.output, Output::Short(_)) {
            return self.finish_short(id, &encoded, table);
        }
        if let Some(hold) = self.inner.hold_known(&id)? {
            // What was written of it goes with the temporary file.
            self.output = Output::Nothing;
            self.stored = Stored {
                linked: self.entry.size,
                ..Stored::default()
            };
            return Ok((id, None, hold));
        }
        if matches!(self.output, Output::Nothing | Output::Same { .. }) {
            // One that another file begins with.
            self.chunks.clone_from(&table.chunks);
            self.start_writing()?;
        }
        let output = std::mem::replace(&mut self.output, Output::Nothing);
        let (Output::New(file, reservation) | Output::Clone(file, reservation)) = output else {
            return Err(ClientFault::Argument("a file without an output").into());
        };
        file.file
            .set_length(self.entry.size)
            .map_err(io("set the length of", &file.path))?;
        let inner = self.inner;
        let written = || inner.write_table(&id, (&table, &encoded));
        let hold = inner.place_file((&id, self.entry.size), || Ok((file, written()?)))?;
        drop(reservation);
        Ok((id, Some(Arc::new(table)), hold))
    }

    /// Writes a short file where it stays.
    fn finish_short(&mut self, id: FileId, encoded: &[u8], table: ChunkTable) -> Result<Known> {
        let Output::Short(bytes) = std::mem::replace(&mut self.output, Output::Nothing) else {
            return Err(ClientFault::Argument("a file without its bytes").into());
        };
        let (inner, size) = (self.inner, self.entry.size);
        let (mut room, stored) = (None, &mut self.stored);
        let write_all = || {
            room = Some(inner.reserve(size)?);
            let file = inner.create_in_place(&layout::data(&id))?;
            for chunk in &table.chunks {
                let from = chunk.offset as usize;
                let part = bytes.get(from..from + chunk.length as usize);
                write(inner, &file, chunk, part.unwrap_or(&[]), stored)?;
            }
            if table.chunks.last().is_some_and(|chunk| chunk.flags.zero) {
                let sized = file.file.set_length(size);
                sized.map_err(io("set the length of", &file.path))?;
            }
            Ok((file, inner.write_table(&id, (&table, encoded))?))
        };
        let hold = inner.place_file((&id, size), write_all)?;
        if room.is_none() {
            self.stored.linked = size;
        }
        Ok((id, room.map(|_| Arc::new(table)), hold))
    }
}

/// Writes one chunk, or shares the blocks of one that is here.
fn write(
    inner: &Arc<Inner>,
    file: &Temporary,
    chunk: &Chunk,
    bytes: &[u8],
    stored: &mut Stored,
) -> Result<()> {
    let length = u64::from(chunk.length);
    if chunk.flags.zero {
        stored.zero += length;
        return Ok(());
    }
    let known = inner.index.locate(&chunk.id)?;
    if let Some(shared) = share(inner, file, (chunk, bytes), known) {
        stored.cloned += shared;
        stored.known_written += length - shared;
        stored.written += length - shared;
        return Ok(());
    }
    file.file
        .write_at(bytes, chunk.offset)
        .map_err(io("write", &file.path))?;
    stored.written += length;
    if known.is_some() {
        stored.known_written += length;
    }
    Ok(())
}

fn share(
    inner: &Arc<Inner>,
    file: &Temporary,
    (chunk, bytes): (&Chunk, &[u8]),
    known: Option<(FileId, u32)>,
) -> Option<u64> {
    let (id, index) = known?;
    crate::reflink::share(inner, file, chunk, bytes, &id, index)
}

/// Shares the blocks of a chunk that is here with a file that has its bytes already.
fn share_known(inner: &Arc<Inner>, file: &Temporary, chunk: &Chunk, bytes: &[u8]) -> Result<()> {
    let known = inner.index.locate(&chunk.id)?;
    // Where that fails half-way, the same bytes were written over the same bytes.
    let _ = share(inner, file, (chunk, bytes), known);
    Ok(())
}
