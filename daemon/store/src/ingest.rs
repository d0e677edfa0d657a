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
    let read = |offset: u64, buffer: &mut [u8]| source.read_at(index, offset, buffer);
    let mut file = Incoming::new(inner, entry, &read);
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

/// Reads bytes of a file at an offset; the buffer lies inside the file.
pub(crate) type Read<'a> = dyn Fn(u64, &mut [u8]) -> Result<()> + 'a;

/// Takes the chunks of a file in order.
pub(crate) trait Sink {
    /// Takes the next chunk, whose bytes these are.
    fn chunk(&mut self, chunk: &Chunk, bytes: &[u8]) -> Result<()>;
}

/// What a whole file turned out to be.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) table: ChunkTable,
    pub(crate) format: Format,
    pub(crate) sha256: Sha256,
    pub(crate) git_oid: GitId,
}

/// Cuts and hashes a file, and checks it against what was promised of it.
pub(crate) fn cut_file(
    hasher: &Hasher,
    read: &Read<'_>,
    entry: &SourceEntry,
    sink: &mut dyn Sink,
    progress: &Progress,
) -> Result<Cut> {
    let plan = cut::plan(entry.size, read)?;
    let is_lfs = git::is_lfs(&entry.path, entry.size);
    // With a promised git id both ways are computed, and the id says which one it is.
    let wants_blob = !is_lfs || entry.git_oid.is_some();
    hasher.begin(wants_blob.then_some(entry.size))?;
    let mut reading = Reading {
        hasher,
        read,
        sink,
        progress,
        size: entry.size,
        chunks: Vec::new(),
        offset: 0,
    };
    let read = reading.whole(plan);
    let chunks = reading.chunks;
    // The other thread is told of the end in any case, so that the next file starts clean.
    let digests = hasher.finish();
    let (format, tensors) = read?;
    let digests = digests?;
    let git_oid = check_digests(entry, is_lfs, &digests)?;
    let table = ChunkTable {
        size: entry.size,
        format,
        chunks,
        tensors,
    };
    Ok(Cut {
        table,
        format,
        sha256: digests.sha256,
        git_oid,
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

/// A file that is being read.
struct Reading<'a> {
    hasher: &'a Hasher,
    read: &'a Read<'a>,
    sink: &'a mut dyn Sink,
    progress: &'a Progress,
    size: u64,
    chunks: Vec<Chunk>,
    offset: u64,
}

impl Reading<'_> {
    fn whole(&mut self, plan: Plan) -> Result<(Format, Tensors)> {
        match plan {
            Plan::Spans {
                format,
                spans,
                tensors,
            } => {
                for Span { length, flags } in spans {
                    let mut buffer = self.hasher.buffer()?;
                    let bytes = front(&mut buffer, length as usize);
                    (self.read)(self.offset, bytes)?;
                    self.chunk(bytes, flags)?;
                    self.hasher.update(buffer, length as usize)?;
                }
                Ok((format, tensors))
            }
            Plan::Content => {
                self.by_content()?;
                Ok((Format::Content, Tensors::new()))
            }
        }
    }

    fn by_content(&mut self) -> Result<()> {
        let mut held = 0;
        let mut buffer = self.hasher.buffer()?;
        while self.offset < self.size {
            let left = self.size - self.offset;
            let window = left.min(content::WINDOW_BYTES as u64) as usize;
            let bytes = front(&mut buffer, window);
            if let Some(fresh) = bytes.get_mut(held..) {
                (self.read)(self.offset + held as u64, fresh)?;
            }
            let length = content::cut(bytes);
            let mut next = self.hasher.buffer()?;
            let (chunk, rest) = bytes.split_at(length.min(bytes.len()));
            front(&mut next, rest.len()).copy_from_slice(rest);
            held = rest.len();
            self.chunk(chunk, ChunkFlags::default())?;
            self.hasher.update(buffer, length)?;
            buffer = next;
        }
        self.hasher.update(buffer, 0)
    }

    fn chunk(&mut self, bytes: &[u8], flags: ChunkFlags) -> Result<()> {
        let chunk = Chunk {
            id: ChunkId(*blake3::hash(bytes).as_bytes()),
            offset: self.offset,
            length: bytes.len() as u32,
            flags: ChunkFlags {
                zero: is_zero(bytes),
                ..flags
            },
        };
        self.sink.chunk(&chunk, bytes)?;
        self.chunks.push(chunk);
        self.offset += bytes.len() as u64;
        self.progress.advance(bytes.len() as u64)
    }
}

fn front(buffer: &mut [u8], length: usize) -> &mut [u8] {
    let length = length.min(buffer.len());
    buffer.split_at_mut(length).0
}

/// Where the bytes of a file go while it is not known what they are.
enum Output {
    /// Nothing has been seen.
    Nothing,
    /// So far it is a file that is here, which is held meanwhile.
    Same { table: Arc<ChunkTable>, _hold: Hold },
    /// It is something new.
    New(Temporary, Reservation),
}

/// A file, the table that the index does not know yet, and what keeps it.
type Known = (FileId, Option<Arc<ChunkTable>>, Hold);

struct Incoming<'a> {
    inner: &'a Arc<Inner>,
    entry: &'a SourceEntry,
    read: &'a Read<'a>,
    chunks: Vec<Chunk>,
    output: Output,
    stored: Stored,
}

impl Sink for Incoming<'_> {
    fn chunk(&mut self, chunk: &Chunk, bytes: &[u8]) -> Result<()> {
        let at = self.chunks.len();
        let is_same = matches!(&self.output, Output::Same { table, .. }
            if table.chunks.get(at) == Some(chunk));
        if !is_same && !matches!(self.output, Output::New(..)) {
            self.depart(chunk)?;
        }
        if let Output::New(file, _) = &self.output {
            write(self.inner, file, chunk, bytes, &mut self.stored)?;
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
            output: Output::Nothing,
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
        let file = self.inner.disk.temporary()?;
        file.file
            .reserve(self.entry.size)
            .map_err(io("reserve room for", &file.path))?;
        let mut buffer = vec![0; CHUNK_BYTES_MAX as usize];
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
        if let Some(hold) = self.inner.hold_known(&id)? {
            // What was written of it goes with the temporary file.
            self.output = Output::Nothing;
            self.stored = Stored {
                linked: self.entry.size,
                ..Stored::default()
            };
            return Ok((id, None, hold));
        }
        if !matches!(self.output, Output::New(..)) {
            // An empty file, or one that another file begins with.
            self.chunks.clone_from(&table.chunks);
            self.start_writing()?;
        }
        let Output::New(file, reservation) = std::mem::replace(&mut self.output, Output::Nothing)
        else {
            return Err(ClientFault::Argument("a file without an output").into());
        };
        file.file
            .set_length(self.entry.size)
            .map_err(io("set the length of", &file.path))?;
        let hold = self.inner.place_file(&id, &encoded, file, reservation)?;
        Ok((id, Some(Arc::new(table)), hold))
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
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
