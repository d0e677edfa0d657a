//! One file on its way in: cut, hashed, recognised where it is known, written where it is not.
//!
//! As long as the chunks are those of a file that is here, at the same places, nothing is written;
//! the file turns out to be that one, or its known beginning is copied when it departs. Invariant:
//! what is written is what was hashed, and a file gets its name only after its bytes are durable.
//! Not promised: that a file is read only once; a known beginning that departs is read again.

use std::sync::Arc;

use crate::cut::{self, Plan, Span, content};
use crate::disk::Temporary;
use crate::error::{ClientFault, PeerFault, Result, io};
use crate::git;
use crate::hasher::{Digests, Hasher};
use crate::name::{ChunkId, FileId, GitId, Sha256};
use crate::progress::Progress;
use crate::source::{Source, SourceEntry};
use crate::space::Reservation;
use crate::store::{Hold, Inner};
use crate::table::{CHUNK_BYTES_MAX, Chunk, ChunkFlags, ChunkTable, Format};

/// How a file came to be in the store.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stored {
    /// Bytes that were written.
    pub written: u64,
    /// Bytes of files that were here already, whole: another link, no room.
    pub linked: u64,
    /// Bytes of chunks that share blocks with chunks that were here: no room.
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
    let read = |offset, buffer: &mut [u8]| source.read_at(index, offset, buffer);
    let plan = cut::plan(entry.size, read)?;
    let is_lfs = git::is_lfs(&entry.path, entry.size);
    // With a promised git id both ways are computed, and the id says which one it is.
    let wants_blob = !is_lfs || entry.git_oid.is_some();
    hasher.begin(wants_blob.then_some(entry.size))?;
    let mut file = Incoming::new(inner, entry.size);
    let read = read_file(hasher, source, (index, entry), plan, &mut file, progress);
    // The other thread is told of the end in any case, so that the next file starts clean.
    let digests = hasher.finish();
    let (format, tensors) = read?;
    let digests = digests?;
    source.check(index)?;
    let git_oid = check_digests(entry, is_lfs, &digests)?;
    let table = ChunkTable {
        size: entry.size,
        format,
        chunks: std::mem::take(&mut file.chunks),
        tensors,
    };
    let again = |offset, buffer: &mut [u8]| source.read_at(index, offset, buffer);
    let (id, table, hold) = file.finish(table, &again)?;
    Ok(Ingested {
        id,
        size: entry.size,
        sha256: digests.sha256,
        git_oid,
        format,
        table,
        stored: file.stored,
        _hold: hold,
    })
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

fn check_digests(entry: &SourceEntry, is_lfs: bool, digests: &Digests) -> Result<GitId> {
    let broken = |what| PeerFault::Hash {
        path: entry.path.clone(),
        what,
    };
    if entry
        .sha256
        .is_some_and(|promised| promised != digests.sha256)
    {
        return Err(broken("SHA-256").into());
    }
    let pointer = git::pointer_id(&digests.sha256, entry.size);
    match (entry.git_oid, digests.blob) {
        (Some(promised), blob) if promised != pointer && Some(promised) != blob => {
            Err(broken("git id").into())
        }
        (Some(promised), _) => Ok(promised),
        (None, Some(blob)) if !is_lfs => Ok(blob),
        (None, _) => Ok(pointer),
    }
}

type Tensors = Vec<crate::table::Tensor>;

/// Reads the whole file, chunk by chunk.
fn read_file(
    hasher: &Hasher,
    source: &dyn Source,
    (index, entry): (usize, &SourceEntry),
    plan: Plan,
    file: &mut Incoming<'_>,
    progress: &Progress,
) -> Result<(Format, Tensors)> {
    let again = |offset, buffer: &mut [u8]| source.read_at(index, offset, buffer);
    match plan {
        Plan::Spans {
            format,
            spans,
            tensors,
        } => {
            for Span { length, flags } in spans {
                let mut buffer = hasher.buffer()?;
                let bytes = front(&mut buffer, length as usize);
                source.read_at(index, file.offset, bytes)?;
                file.chunk(bytes, flags, &again)?;
                hasher.update(buffer, length as usize)?;
                progress.advance(u64::from(length))?;
            }
            Ok((format, tensors))
        }
        Plan::Content => {
            let mut held = 0;
            let mut buffer = hasher.buffer()?;
            while file.offset < entry.size {
                let left = entry.size - file.offset;
                let window = left.min(content::WINDOW_BYTES as u64) as usize;
                let bytes = front(&mut buffer, window);
                if let Some(fresh) = bytes.get_mut(held..) {
                    source.read_at(index, file.offset + held as u64, fresh)?;
                }
                let length = content::cut(bytes);
                let mut next = hasher.buffer()?;
                let (chunk, rest) = bytes.split_at(length.min(bytes.len()));
                front(&mut next, rest.len()).copy_from_slice(rest);
                held = rest.len();
                file.chunk(chunk, ChunkFlags::default(), &again)?;
                hasher.update(buffer, length)?;
                buffer = next;
                progress.advance(length as u64)?;
            }
            hasher.update(buffer, 0)?;
            Ok((Format::Content, Tensors::new()))
        }
    }
}

fn front(buffer: &mut [u8], length: usize) -> &mut [u8] {
    let length = length.min(buffer.len());
    buffer.split_at_mut(length).0
}

type ReadAgain<'a> = dyn Fn(u64, &mut [u8]) -> Result<()> + 'a;

/// Where the bytes of a file go while it is not known what they are.
enum Output {
    /// Nothing has been seen.
    Nothing,
    /// So far it is a file that is here, which is held meanwhile.
    Same(Arc<ChunkTable>, Hold),
    /// It is something new.
    New(Temporary, Reservation),
}

pub(crate) struct Incoming<'a> {
    inner: &'a Arc<Inner>,
    size: u64,
    offset: u64,
    chunks: Vec<Chunk>,
    output: Output,
    stored: Stored,
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(inner: &'a Arc<Inner>, size: u64) -> Self {
        Self {
            inner,
            size,
            offset: 0,
            chunks: Vec::new(),
            output: Output::Nothing,
            stored: Stored::default(),
        }
    }

    /// Takes the next chunk.
    fn chunk(&mut self, bytes: &[u8], flags: ChunkFlags, again: &ReadAgain<'_>) -> Result<()> {
        let chunk = Chunk {
            id: ChunkId(*blake3::hash(bytes).as_bytes()),
            offset: self.offset,
            length: bytes.len() as u32,
            flags: ChunkFlags {
                zero: is_zero(bytes),
                ..flags
            },
        };
        let at = self.chunks.len();
        let is_same = matches!(&self.output, Output::Same(table, _)
            if table.chunks.get(at) == Some(&chunk));
        if !is_same && !matches!(self.output, Output::New(..)) {
            self.depart(&chunk, again)?;
        }
        if let Output::New(file, _) = &self.output {
            write(self.inner, file, &chunk, bytes, &mut self.stored)?;
        }
        self.chunks.push(chunk);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// The file is not the one that it seemed to be: finds another one, or starts to write.
    fn depart(&mut self, chunk: &Chunk, again: &ReadAgain<'_>) -> Result<()> {
        let at = self.chunks.len();
        if let Some((id, index)) = self.inner.index.locate(&chunk.id)?
            && index as usize == at
            && let Some(hold) = self.inner.hold_known(&id)?
            && let Ok(table) = self.inner.table(&id)
            && table.chunks.get(..at) == Some(&self.chunks)
            && table.chunks.get(at) == Some(chunk)
        {
            self.output = Output::Same(table, hold);
            return Ok(());
        }
        self.start_writing(again)
    }

    fn start_writing(&mut self, again: &ReadAgain<'_>) -> Result<()> {
        let reservation = self.inner.reserve(self.size)?;
        let file = self.inner.disk.temporary()?;
        file.file
            .reserve(self.size)
            .map_err(io("reserve room for", &file.path))?;
        let mut buffer = vec![0; CHUNK_BYTES_MAX as usize];
        for chunk in &self.chunks {
            let bytes = front(&mut buffer, chunk.length as usize);
            again(chunk.offset, bytes)?;
            if blake3::hash(bytes).as_bytes() != &chunk.id.0 {
                let reason = "changed while it was read; push again when nobody writes to it";
                return Err(ClientFault::Source {
                    path: "a file of the source".into(),
                    reason: reason.into(),
                }
                .into());
            }
            write(self.inner, &file, chunk, bytes, &mut self.stored)?;
        }
        self.output = Output::New(file, reservation);
        Ok(())
    }

    /// The whole file was seen: gives it its place, unless it is here already.
    fn finish(
        &mut self,
        table: ChunkTable,
        again: &ReadAgain<'_>,
    ) -> Result<(FileId, Option<Arc<ChunkTable>>, Hold)> {
        let encoded = table.encode();
        let id = ChunkTable::id_of(&encoded);
        if let Some(hold) = self.inner.hold_known(&id)? {
            // What was written of it goes with the temporary file.
            self.output = Output::Nothing;
            self.stored = Stored {
                linked: self.size,
                ..Stored::default()
            };
            return Ok((id, None, hold));
        }
        if !matches!(self.output, Output::New(..)) {
            // An empty file, or one that another file begins with.
            self.chunks.clone_from(&table.chunks);
            self.start_writing(again)?;
        }
        let Output::New(file, reservation) = std::mem::replace(&mut self.output, Output::Nothing)
        else {
            return Err(ClientFault::Argument("a file without an output").into());
        };
        file.file
            .set_length(self.size)
            .map_err(io("set the length of", &file.path))?;
        let hold = self.inner.place_file(&id, &encoded, file, reservation)?;
        Ok((id, Some(Arc::new(table)), hold))
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| *block == [0; 64]) && rest.iter().all(|byte| *byte == 0)
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
    let failed = io("write", &file.path);
    let known = inner.index.locate(&chunk.id)?;
    if let Some((id, index)) = known
        && let Some(shared) = crate::reflink::share(inner, file, chunk, bytes, &id, index)
    {
        stored.cloned += shared;
        stored.known_written += length - shared;
        stored.written += length - shared;
        return Ok(());
    }
    file.file.write_at(bytes, chunk.offset).map_err(failed)?;
    stored.written += length;
    if known.is_some() {
        stored.known_written += length;
    }
    Ok(())
}
