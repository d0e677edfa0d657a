//! Room for one chunk that lies in memory as the chunk lies in its file.
//!
//! Invariant: byte `n` of the file is at an address with the same place within a block of 4 KiB, so
//! that whole blocks can go to the disk without a copy. Not promised: what the bytes are before
//! they are written.

use towline_io::backend::BLOCK_BYTES;

use crate::table::CHUNK_BYTES_MAX;

/// A buffer that goes round; nothing is allocated before it is used.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// Makes room for a chunk from `offset` of its file.
    pub(crate) fn place(&mut self, offset: u64) {
        if self.bytes.is_empty() {
            self.bytes = vec![0; CHUNK_BYTES_MAX as usize + BLOCK_BYTES];
        }
        let wanted = (offset % BLOCK_BYTES as u64) as usize;
        let base = self.bytes.as_ptr().addr() % BLOCK_BYTES;
        self.start = (wanted + BLOCK_BYTES - base) % BLOCK_BYTES;
    }

    /// The first bytes.
    pub(crate) fn front(&self, length: usize) -> &[u8] {
        let room = self.bytes.get(self.start..).unwrap_or(&[]);
        room.get(..length).unwrap_or(room)
    }

    /// The first bytes, to be written.
    pub(crate) fn front_mut(&mut self, length: usize) -> &mut [u8] {
        let room = self.bytes.get_mut(self.start..).unwrap_or(&mut []);
        let length = length.min(room.len());
        room.split_at_mut(length).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_has_its_place_and_room_for_a_chunk() {
        let mut buffer = Buffer::default();
        for offset in [0, 1, 8, 4_095, 4_096, 4_097, (1 << 40) + 77] {
            buffer.place(offset);
            let room = buffer.front_mut(CHUNK_BYTES_MAX as usize);
            assert_eq!(room.len(), CHUNK_BYTES_MAX as usize);
            let place = room.as_ptr().addr() as u64;
            assert_eq!(place % BLOCK_BYTES as u64, offset % BLOCK_BYTES as u64);
            room.fill(offset as u8);
            assert_eq!(buffer.front(3), [offset as u8; 3]);
        }
    }
}
