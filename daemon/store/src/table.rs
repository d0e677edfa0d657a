//! The chunk table of a file: where it is cut, and the BLAKE3 name of every piece.
//!
//! The table's own BLAKE3 is the identity of the file ([`FileId`]), so one hash vouches for every
//! byte. Invariant: a table that was decoded covers `[0, size)` without hole or overlap, no chunk
//! is longer than [`CHUNK_BYTES_MAX`], and encoding it again gives the same bytes. Not promised:
//! that the cuts are where this version would cut; readers never derive them. Only a short file of
//! one chunk needs none: its bytes tell its table, whatever version cut it
//! ([`ChunkTable::of_short`]).
//!
//! Layout, little-endian: a head of 64 bytes (magic 8, version u16, format u8, flags u8, chunks
//! u32, size u64, tensors u32, tensor bytes u32, 32 zeros), then 44 bytes per chunk (hash 32,
//! offset u64, length u24, flags u8), then the tensor index.

use crate::name::{ChunkId, FileId};

/// Longest chunk, in bytes; also the step inside a tensor.
pub const CHUNK_BYTES_MAX: u32 = 4 << 20;

/// Longest file whose table is told by its bytes, in bytes: so much is read to make it again.
pub const SHORT_BYTES_MAX: u64 = 64 << 10;

/// Most chunks of one file: 64 TiB in steps of 4 MiB.
pub const CHUNKS_MAX: usize = 1 << 24;

/// Most tensors that a table lists; a file with more is cut as if it had none.
pub const TENSORS_MAX: usize = 1 << 20;

/// Most dimensions of a tensor that a table lists (ggml has 4, numpy 64).
pub const DIMENSIONS_MAX: usize = 64;

const MAGIC: &[u8; 8] = b"TOWTABLE";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 64;

/// How a short file may have been cut that is one chunk.
const SHORT_FORMATS: [Format; 2] = [Format::Fixed, Format::Content];
const ROW_BYTES: usize = 44;

/// How a file was cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Every 4 MiB from its start.
    Fixed,
    /// At the tensors of a safetensors file.
    Safetensors,
    /// At the tensors of a GGUF file.
    Gguf,
    /// Where its content says so.
    Content,
}

impl Format {
    /// The number in tables and manifests.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Fixed => 0,
            Self::Safetensors => 1,
            Self::Gguf => 2,
            Self::Content => 3,
        }
    }

    /// The format with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Fixed, Self::Safetensors, Self::Gguf, Self::Content]
            .into_iter()
            .find(|format| format.number() == number)
    }
}

/// What is special about a chunk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ChunkFlags {
    /// All its bytes are zero, and the data file has a hole there.
    pub zero: bool,
    /// It is (part of) the header of a tensor file.
    pub header: bool,
    /// It holds several small tensors.
    pub packed: bool,
}

impl ChunkFlags {
    fn to_bits(self) -> u8 {
        u8::from(self.zero) | u8::from(self.header) << 1 | u8::from(self.packed) << 2
    }

    fn from_bits(bits: u8) -> Option<Self> {
        (bits < 8).then_some(Self {
            zero: bits & 1 != 0,
            header: bits & 2 != 0,
            packed: bits & 4 != 0,
        })
    }
}

/// One chunk of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// BLAKE3 of its bytes.
    pub id: ChunkId,
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// Its length, 1 to [`CHUNK_BYTES_MAX`] bytes.
    pub length: u32,
    /// What is special about it.
    pub flags: ChunkFlags,
}

impl Chunk {
    /// The byte behind its last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }
}

/// One tensor, and the chunks that hold it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tensor {
    /// Its name as the file gives it.
    pub name: Box<str>,
    /// Its element type as the file gives it: `BF16`, or ggml's number.
    pub kind: Box<str>,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Index of the first chunk with bytes of it.
    pub first_chunk: u32,
    /// How many chunks hold bytes of it.
    pub chunks: u32,
}

/// The cuts of one file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChunkTable {
    /// Length of the file in bytes.
    pub size: u64,
    /// How it was cut.
    pub format: Format,
    /// Its chunks, in order.
    pub chunks: Vec<Chunk>,
    /// Its tensors, by offset; empty for other files.
    pub tensors: Vec<Tensor>,
}

impl ChunkTable {
    /// Whether [`ChunkTable::of_short`] makes it again from the bytes of its file.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let is_plain = |chunk: &Chunk| !chunk.flags.header && !chunk.flags.packed;
        self.size <= SHORT_BYTES_MAX
            && SHORT_FORMATS.contains(&self.format)
            && self.tensors.is_empty()
            && self.chunks.len() <= 1
            && self.chunks.iter().all(is_plain)
    }

    /// The table with this identity of a short file with these bytes, if they are those of it.
    #[must_use]
    pub fn of_short(id: &FileId, bytes: &[u8]) -> Option<Self> {
        let size = bytes.len() as u64;
        if size > SHORT_BYTES_MAX {
            return None;
        }
        let chunk = Chunk {
            id: ChunkId(*blake3::hash(bytes).as_bytes()),
            offset: 0,
            length: size as u32,
            flags: ChunkFlags {
                zero: bytes.iter().all(|byte| *byte == 0),
                ..ChunkFlags::default()
            },
        };
        let of = |format| Self {
            size,
            format,
            chunks: if size == 0 { Vec::new() } else { vec![chunk] },
            tensors: Vec::new(),
        };
        SHORT_FORMATS
            .map(of)
            .into_iter()
            .find(|table| table.id() == *id)
    }
}

/// Why bytes are not a chunk table.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TableFault {
    /// Too short, or longer than it says.
    #[error("the chunk table has another length than it says")]
    Length,
    /// Not a table of this version.
    #[error("not a chunk table of version {VERSION}")]
    Version,
    /// An unknown format or flag, or reserved bytes that are not zero.
    #[error("the chunk table has fields of another version")]
    Field,
    /// Chunks overlap, leave a hole, or are too long.
    #[error("the chunk table does not cover the file")]
    Cover,
    /// A tensor lies in chunks that do not exist, or its text is not UTF-8.
    #[error("the chunk table has a bad tensor index")]
    Tensor,
}

impl ChunkTable {
    /// The bytes of the table.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut index = Vec::new();
        for tensor in &self.tensors {
            encode_tensor(tensor, &mut index);
        }
        let mut bytes =
            Vec::with_capacity(HEAD_BYTES + self.chunks.len() * ROW_BYTES + index.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.push(self.format.number());
        bytes.push(0);
        bytes.extend_from_slice(&(self.chunks.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&(self.tensors.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(index.len() as u32).to_le_bytes());
        bytes.resize(HEAD_BYTES, 0);
        for chunk in &self.chunks {
            bytes.extend_from_slice(&chunk.id.0);
            bytes.extend_from_slice(&chunk.offset.to_le_bytes());
            let [one, two, three, _] = chunk.length.to_le_bytes();
            bytes.extend_from_slice(&[one, two, three, chunk.flags.to_bits()]);
        }
        bytes.extend_from_slice(&index);
        bytes
    }

    /// Reads a table. Nothing is allocated beyond what the bytes themselves justify.
    ///
    /// # Errors
    /// [`TableFault`] says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, TableFault> {
        let (head, mut rest) = bytes
            .split_at_checked(HEAD_BYTES)
            .ok_or(TableFault::Length)?;
        let mut head = Reader(head);
        if head.take(8)? != MAGIC || head.u16()? != VERSION {
            return Err(TableFault::Version);
        }
        let format = Format::from_number(head.u8()?).ok_or(TableFault::Field)?;
        let flags = head.u8()?;
        let count = head.u32()? as usize;
        let size = head.u64()?;
        let tensors = head.u32()? as usize;
        let index_bytes = head.u32()? as usize;
        if flags != 0 || head.0.iter().any(|byte| *byte != 0) {
            return Err(TableFault::Field);
        }
        let expected = count
            .checked_mul(ROW_BYTES)
            .and_then(|rows| rows.checked_add(index_bytes));
        if expected != Some(rest.len()) || count > CHUNKS_MAX || tensors > TENSORS_MAX {
            return Err(TableFault::Length);
        }
        let rows = rest
            .split_off(..count * ROW_BYTES)
            .ok_or(TableFault::Length)?;
        let chunks = decode_rows(rows, size)?;
        let tensors = decode_tensors(rest, tensors, chunks.len())?;
        Ok(Self {
            size,
            format,
            chunks,
            tensors,
        })
    }

    /// The identity of the file that this table describes.
    #[must_use]
    pub fn id(&self) -> FileId {
        Self::id_of(&self.encode())
    }

    /// The identity that encoded bytes have.
    #[must_use]
    pub fn id_of(encoded: &[u8]) -> FileId {
        FileId(*blake3::hash(encoded).as_bytes())
    }

    /// Indexes of the chunks that hold bytes of `[offset, offset + length)`.
    #[must_use]
    pub fn covering(&self, offset: u64, length: u64) -> std::ops::Range<usize> {
        let end = offset.saturating_add(length).min(self.size);
        if offset >= end {
            return 0..0;
        }
        let first = self.chunks.partition_point(|chunk| chunk.end() <= offset);
        let last = self.chunks.partition_point(|chunk| chunk.offset < end);
        first..last
    }
}

fn decode_rows(rows: &[u8], size: u64) -> Result<Vec<Chunk>, TableFault> {
    let mut chunks = Vec::with_capacity(rows.len() / ROW_BYTES);
    let mut expected = 0u64;
    let mut rows = Reader(rows);
    while !rows.0.is_empty() {
        let id = ChunkId(rows.array()?);
        let offset = rows.u64()?;
        let [one, two, three, bits] = rows.array()?;
        let length = u32::from_le_bytes([one, two, three, 0]);
        let flags = ChunkFlags::from_bits(bits).ok_or(TableFault::Field)?;
        let end = offset
            .checked_add(u64::from(length))
            .ok_or(TableFault::Cover)?;
        if offset != expected || end > size || length == 0 || length > CHUNK_BYTES_MAX {
            return Err(TableFault::Cover);
        }
        expected = end;
        chunks.push(Chunk {
            id,
            offset,
            length,
            flags,
        });
    }
    if expected == size {
        Ok(chunks)
    } else {
        Err(TableFault::Cover)
    }
}

fn encode_tensor(tensor: &Tensor, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(tensor.name.len() as u16).to_le_bytes());
    bytes.extend_from_slice(tensor.name.as_bytes());
    bytes.push(tensor.kind.len() as u8);
    bytes.extend_from_slice(tensor.kind.as_bytes());
    bytes.push(tensor.shape.len() as u8);
    for dimension in &tensor.shape {
        bytes.extend_from_slice(&dimension.to_le_bytes());
    }
    bytes.extend_from_slice(&tensor.first_chunk.to_le_bytes());
    bytes.extend_from_slice(&tensor.chunks.to_le_bytes());
}

fn decode_tensors(bytes: &[u8], count: usize, chunks: usize) -> Result<Vec<Tensor>, TableFault> {
    let mut reader = Reader(bytes);
    let mut tensors = Vec::new();
    for _ in 0..count {
        let length = usize::from(reader.u16()?);
        let name = text(reader.take(length)?)?;
        let length = usize::from(reader.u8()?);
        let kind = text(reader.take(length)?)?;
        let dimensions = usize::from(reader.u8()?);
        if dimensions > DIMENSIONS_MAX {
            return Err(TableFault::Tensor);
        }
        let shape = (0..dimensions)
            .map(|_| reader.u64())
            .collect::<Result<_, _>>()?;
        let (first_chunk, held) = (reader.u32()?, reader.u32()?);
        let end = u64::from(first_chunk) + u64::from(held);
        if end > chunks as u64 {
            return Err(TableFault::Tensor);
        }
        tensors.push(Tensor {
            name,
            kind,
            shape,
            first_chunk,
            chunks: held,
        });
    }
    if reader.0.is_empty() {
        Ok(tensors)
    } else {
        Err(TableFault::Length)
    }
}

fn text(bytes: &[u8]) -> Result<Box<str>, TableFault> {
    std::str::from_utf8(bytes)
        .map(Box::from)
        .map_err(|_| TableFault::Tensor)
}

/// Hands out parts of bounded bytes, never more than there are.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], TableFault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(TableFault::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TableFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(TableFault::Length)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, TableFault> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, TableFault> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, TableFault> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, TableFault> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ChunkTable {
        let chunk = |index: u8, offset, length| Chunk {
            id: ChunkId([index; 32]),
            offset,
            length,
            flags: ChunkFlags {
                header: index == 0,
                ..ChunkFlags::default()
            },
        };
        ChunkTable {
            size: u64::from(CHUNK_BYTES_MAX) + 30,
            format: Format::Safetensors,
            chunks: vec![
                chunk(0, 0, 20),
                chunk(1, 20, CHUNK_BYTES_MAX),
                chunk(2, 4_194_324, 10),
            ],
            tensors: vec![Tensor {
                name: "w".into(),
                kind: "BF16".into(),
                shape: vec![2, 3],
                first_chunk: 1,
                chunks: 2,
            }],
        }
    }

    #[test]
    fn a_table_comes_back_as_it_was() {
        let table = sample();
        let bytes = table.encode();
        assert_eq!(ChunkTable::decode(&bytes), Ok(table));
    }

    #[test]
    fn the_bytes_of_a_short_file_tell_its_table_and_no_others_do() {
        for bytes in [&b""[..], b"x", &[0; 4_096], &[7; SHORT_BYTES_MAX as usize]] {
            for format in SHORT_FORMATS {
                let chunk = Chunk {
                    id: ChunkId(*blake3::hash(bytes).as_bytes()),
                    offset: 0,
                    length: bytes.len() as u32,
                    flags: ChunkFlags {
                        zero: bytes.starts_with(&[0]),
                        ..ChunkFlags::default()
                    },
                };
                let table = ChunkTable {
                    size: bytes.len() as u64,
                    format,
                    chunks: (!bytes.is_empty()).then_some(chunk).into_iter().collect(),
                    tensors: Vec::new(),
                };
                assert!(table.is_short());
                assert_eq!(
                    ChunkTable::of_short(&table.id(), bytes),
                    Some(table.clone())
                );
                assert_eq!(ChunkTable::of_short(&table.id(), b"other"), None);
            }
        }
        let long = [7; SHORT_BYTES_MAX as usize + 1];
        assert_eq!(ChunkTable::of_short(&FileId([0; 32]), &long), None);
        assert!(!sample().is_short());
    }

    #[test]
    fn no_byte_can_be_changed_or_lost_unnoticed() {
        let bytes = sample().encode();
        for length in 0..bytes.len() {
            assert!(ChunkTable::decode(&bytes[..length]).is_err(), "{length}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let decoded = ChunkTable::decode(&changed);
            // What still decodes has another identity.
            assert!(
                decoded.is_err() || ChunkTable::id_of(&changed) != sample().id(),
                "{at}"
            );
        }
    }

    #[test]
    fn a_chunk_of_four_mebibytes_passes_and_one_byte_more_does_not() {
        let mut table = sample();
        assert!(ChunkTable::decode(&table.encode()).is_ok());
        table.chunks[1].length += 1;
        table.chunks[2].offset += 1;
        table.size += 1;
        assert_eq!(ChunkTable::decode(&table.encode()), Err(TableFault::Cover));
    }

    #[test]
    fn covering_chunks_are_those_with_bytes_in_the_range() {
        let table = sample();
        assert_eq!(table.covering(0, 20), 0..1);
        assert_eq!(table.covering(19, 2), 0..2);
        assert_eq!(table.covering(4_194_324, 100), 2..3);
        assert_eq!(table.covering(table.size, 1), 0..0);
        assert_eq!(table.covering(0, u64::MAX), 0..3);
    }
}
