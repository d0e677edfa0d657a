//! Where a file is cut: at its tensors, by its content, or every 4 MiB.
//!
//! The choice looks at the bytes and never at the name, so the same bytes have the same cuts and
//! the same identity wherever they come from. Invariant: the spans of a plan cover the file, none
//! is longer than [`CHUNK_BYTES_MAX`], and a header that is odd in any way only means a plainer
//! plan, never an error. Not promised: that another version cuts alike; tables keep their cuts.

use crate::table::{CHUNK_BYTES_MAX, ChunkFlags, Format, Tensor};

pub mod content;
pub mod gguf;
pub mod safetensors;

/// Longest header of a tensor file that is read, in bytes. Real ones reach 132,095,296.
pub const HEADER_BYTES_MAX: u64 = 128 << 20;

/// Tensors shorter than this are packed together, in bytes.
const SMALL_BYTES: u64 = 256 << 10;

/// Longest chunk of packed tensors, in bytes: one changed bias costs no more.
const PACKED_BYTES_MAX: u64 = 1 << 20;

/// Bytes at the start of a file that are looked at to tell what it is.
const SNIFFED_BYTES: usize = 8 << 10;

/// The length and kind of a chunk to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// 1 to [`CHUNK_BYTES_MAX`] bytes.
    pub length: u32,
    /// What is known of it before its bytes are read.
    pub flags: ChunkFlags,
}

/// How a file will be cut.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Plan {
    /// The cuts are known before the bytes are read.
    Spans {
        /// Why they lie there.
        format: Format,
        /// Their lengths, in order.
        spans: Vec<Span>,
        /// The tensors of the file.
        tensors: Vec<Tensor>,
    },
    /// Each cut depends on the bytes before it: see [`content::cut`].
    Content,
}

/// A tensor as a header describes it: bytes counted from the start of the data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Described {
    /// Its name.
    pub name: Box<str>,
    /// Its element type.
    pub kind: Box<str>,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Its first byte.
    pub start: u64,
    /// The byte behind its last one.
    pub end: u64,
}

/// A header that was understood: the data start, and tensors that cover the data without hole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// Offset of the data in the file.
    pub data_start: u64,
    /// The tensors, sorted by start, the first at 0, each beginning where the one before ends.
    pub tensors: Vec<Described>,
}

/// Plans the cuts of a file of `size` bytes. `read` fills the buffer from an offset; it is only
/// asked for ranges inside the file.
///
/// # Errors
/// Those of `read` only.
pub fn plan<E>(
    size: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Plan, E> {
    let mut start = vec![0; size.min(SNIFFED_BYTES as u64) as usize];
    read(0, &mut start)?;
    if start.starts_with(gguf::MAGIC) {
        let mut length = size.min(1 << 20);
        loop {
            let mut head = vec![0; length as usize];
            read(0, &mut head)?;
            match gguf::parse(&head, size) {
                Err(gguf::Fault::Short) if length < size.min(HEADER_BYTES_MAX) => {
                    length = (length * 4).min(size).min(HEADER_BYTES_MAX);
                }
                Err(_) => return Ok(fixed(size)),
                Ok(header) => return Ok(at_tensors(Format::Gguf, size, &header)),
            }
        }
    }
    if let Some(length) = safetensors::header_bytes(&start, size) {
        let mut json = vec![0; length as usize];
        read(8, &mut json)?;
        let data_start = 8 + length;
        return Ok(match safetensors::parse(&json, size - data_start) {
            Ok(tensors) => {
                let header = Header {
                    data_start,
                    tensors,
                };
                at_tensors(Format::Safetensors, size, &header)
            }
            Err(_) => fixed(size),
        });
    }
    if content::is_edited(&start) {
        return Ok(Plan::Content);
    }
    Ok(fixed(size))
}

/// Cuts every 4 MiB.
#[must_use]
pub fn fixed(size: u64) -> Plan {
    let mut spans = Vec::new();
    steps(size, ChunkFlags::default(), &mut spans);
    Plan::Spans {
        format: Format::Fixed,
        spans,
        tensors: Vec::new(),
    }
}

fn steps(mut length: u64, flags: ChunkFlags, spans: &mut Vec<Span>) {
    while length > 0 {
        let step = length.min(u64::from(CHUNK_BYTES_MAX));
        spans.push(Span {
            length: step as u32,
            flags,
        });
        length -= step;
    }
}

/// Cuts at the tensors of a header that has been understood.
fn at_tensors(format: Format, size: u64, header: &Header) -> Plan {
    let mut spans = Vec::new();
    let flags = ChunkFlags {
        header: true,
        ..ChunkFlags::default()
    };
    steps(header.data_start, flags, &mut spans);
    let mut tensors = Vec::with_capacity(header.tensors.len());
    let mut run = Run::default();
    let mut end = 0;
    for tensor in &header.tensors {
        let length = tensor.end - tensor.start;
        end = tensor.end;
        let small = length < SMALL_BYTES;
        if !small || run.length + length > PACKED_BYTES_MAX {
            run.close(&mut spans);
        }
        let first_chunk = spans.len() as u32;
        if small {
            run.length += length;
            run.tensors += u32::from(length > 0);
        } else {
            steps(length, ChunkFlags::default(), &mut spans);
        }
        let chunks = if small {
            u32::from(length > 0)
        } else {
            spans.len() as u32 - first_chunk
        };
        tensors.push(Tensor {
            name: tensor.name.clone(),
            kind: tensor.kind.clone(),
            shape: tensor.shape.clone(),
            first_chunk: if chunks == 0 { 0 } else { first_chunk },
            chunks,
        });
    }
    run.close(&mut spans);
    steps(
        size - header.data_start - end,
        ChunkFlags::default(),
        &mut spans,
    );
    Plan::Spans {
        format,
        spans,
        tensors,
    }
}

/// Small neighbours that become one chunk.
#[derive(Default)]
struct Run {
    length: u64,
    tensors: u32,
}

impl Run {
    fn close(&mut self, spans: &mut Vec<Span>) {
        let flags = ChunkFlags {
            packed: self.tensors > 1,
            ..ChunkFlags::default()
        };
        steps(self.length, flags, spans);
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
