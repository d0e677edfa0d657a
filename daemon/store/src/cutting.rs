//! Reading a file once: its cuts, the name of each chunk, and the hashes of the whole.
//!
//! BLAKE3 is computed here, SHA-256 and git's id by the [`Hasher`] beside. Invariant: the hashes
//! are those of the bytes that the sink was given, in order, each once. Not promised: a second
//! look; a source that gives other bytes the next time is found out by whoever reads again.

use crate::cut::{self, Plan, Span, content};
use crate::error::{PeerFault, Result};
use crate::git;
use crate::hasher::{Digests, Hasher};
use crate::name::{ChunkId, GitId, Sha256};
use crate::progress::Progress;
use crate::source::SourceEntry;
use crate::table::{Chunk, ChunkFlags, ChunkTable, Format};

/// Reads bytes of a file at an offset; the buffer lies inside the file.
pub(crate) type Read<'a> = dyn Fn(u64, &mut [u8]) -> Result<()> + 'a;

/// Takes the chunks of a file in order.
pub(crate) trait Sink {
    /// Takes the next chunk, whose bytes these are.
    fn chunk(&mut self, chunk: &Chunk, bytes: &[u8]) -> Result<()>;
}

/// Nothing is done with a chunk but naming it.
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    fn chunk(&mut self, _: &Chunk, _: &[u8]) -> Result<()> {
        Ok(())
    }
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
    hasher.begin(entry.size, wants_blob.then_some(entry.size))?;
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
                    let mut buffer = self.hasher.buffer(self.offset)?;
                    let bytes = buffer.front_mut(length as usize);
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
        let mut buffer = self.hasher.buffer(self.offset)?;
        while self.offset < self.size {
            let left = self.size - self.offset;
            let window = left.min(content::WINDOW_BYTES as u64) as usize;
            let bytes = buffer.front_mut(window);
            if let Some(fresh) = bytes.get_mut(held..) {
                (self.read)(self.offset + held as u64, fresh)?;
            }
            let length = content::cut(bytes);
            let mut next = self.hasher.buffer(self.offset + length as u64)?;
            let (chunk, rest) = bytes.split_at(length.min(bytes.len()));
            next.front_mut(rest.len()).copy_from_slice(rest);
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

/// The first bytes of a buffer.
pub(crate) fn front(buffer: &mut [u8], length: usize) -> &mut [u8] {
    let length = length.min(buffer.len());
    buffer.split_at_mut(length).0
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| *block == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}
