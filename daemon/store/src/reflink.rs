//! Sharing blocks between files: where a chunk is here already and lies alike within a block, its
//! inner blocks are cloned and only the ragged ends are written.
//!
//! FICLONERANGE wants source, target and length in whole blocks (4 KiB). Tensors start behind a
//! header of any multiple of 8 bytes, so two files agree by luck one time in 512; for the rest the
//! bytes are written again. Invariant: a clone is made only of a chunk whose bytes were compared
//! with the ones that are wanted. Not promised: any saving on ext4, which cannot share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use towline_io::backend::Open;

use crate::disk::Temporary;
use crate::layout;
use crate::name::FileId;
use crate::store::Inner;
use crate::table::Chunk;

/// What file systems share, in bytes.
const BLOCK_BYTES: u64 = 4_096;

/// Puts a chunk into a file by sharing blocks with chunk `index` of the file `id`. Gives the bytes
/// that are shared, or `None` if that cannot be done and nothing useful was written.
pub(crate) fn share(
    inner: &Arc<Inner>,
    to: &Temporary,
    chunk: &Chunk,
    bytes: &[u8],
    id: &FileId,
    index: u32,
) -> Option<u64> {
    if !inner.shares_blocks.load(Ordering::Relaxed) {
        return None;
    }
    let table = inner.table(id).ok()?;
    let from = table.chunks.get(index as usize)?;
    let length = u64::from(chunk.length);
    if from.id != chunk.id || from.offset % BLOCK_BYTES != chunk.offset % BLOCK_BYTES {
        return None;
    }
    let head = chunk.offset.next_multiple_of(BLOCK_BYTES) - chunk.offset;
    let inside = length.checked_sub(head)? / BLOCK_BYTES * BLOCK_BYTES;
    if inside == 0 {
        return None;
    }
    let source = inner
        .disk
        .backend
        .open(&layout::data(id), Open::Read)
        .ok()?;
    // A damaged chunk must not spread.
    let mut there = vec![0; bytes.len()];
    if source.read_at(&mut there, from.offset).ok()? != bytes.len() || there != bytes {
        return None;
    }
    let target = &to.file;
    match target.clone_range(&*source, from.offset + head, chunk.offset + head, inside) {
        Ok(()) => {}
        Err(errno) => {
            if matches!(
                errno,
                Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS
            ) {
                inner.shares_blocks.store(false, Ordering::Relaxed);
            }
            return None;
        }
    }
    let (first, rest) = bytes.split_at_checked(usize::try_from(head).ok()?)?;
    let last = rest.get(usize::try_from(inside).ok()?..)?;
    target.write_at(first, chunk.offset).ok()?;
    target.write_at(last, chunk.offset + head + inside).ok()?;
    Some(inside)
}
