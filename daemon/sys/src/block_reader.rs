//! Reading blocks of one file with many requests in flight (io_uring's READ), for measurements.
//!
//! Each slot owns one buffer, aligned for O_DIRECT (open(2)). A slot's buffer belongs to the kernel
//! from [`BlockReader::submit`] until [`BlockReader::wait`] tells its end, and only then can its
//! bytes be seen. Invariant: the ring is drained before the buffers are freed; a slot in flight is
//! never submitted again. Not promised: an order among slots.

use std::fs::File;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, types};
use rustix::io::Errno;

/// Alignment in bytes of buffers, offsets and lengths that every disk in use takes for O_DIRECT.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// Most requests in flight, as a count: beyond that a measurement tells only of queues.
pub const SLOTS_MAX: u32 = 1024;

/// Most bytes of a block: buffers of all slots stay below this times [`SLOTS_MAX`].
pub const BLOCK_BYTES_MAX: u32 = 64 << 20;

struct Slot {
    memory: Vec<u8>,
    /// Where the aligned part of `memory` begins.
    start: usize,
    in_flight: bool,
}

/// One file, read through a ring of its own.
pub struct BlockReader {
    ring: IoUring,
    file: File,
    slots: Vec<Slot>,
    block_bytes: u32,
    in_flight: u32,
}

impl std::fmt::Debug for BlockReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("BlockReader");
        shown
            .field("slots", &self.slots.len())
            .field("block_bytes", &self.block_bytes)
            .finish_non_exhaustive()
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

impl BlockReader {
    /// A reader of blocks of up to `block_bytes` with up to `slots` in flight. Open `file` with
    /// O_DIRECT for reads around the page cache; offsets must then be multiples of
    /// [`DIRECT_ALIGNMENT`].
    ///
    /// # Errors
    /// What io_uring_setup(2) reports where rings are forbidden; `INVAL` for no slots, no bytes, or
    /// more than [`SLOTS_MAX`] and [`BLOCK_BYTES_MAX`].
    pub fn new(file: File, slots: u32, block_bytes: u32) -> Result<Self, Errno> {
        let fits = (1..=SLOTS_MAX).contains(&slots) && (1..=BLOCK_BYTES_MAX).contains(&block_bytes);
        if !fits {
            return Err(Errno::INVAL);
        }
        let ring = IoUring::new(slots.next_power_of_two()).map_err(|error| errno(&error))?;
        let slot = || {
            let memory = vec![0; block_bytes as usize + DIRECT_ALIGNMENT];
            let start = memory.as_ptr().align_offset(DIRECT_ALIGNMENT);
            Slot {
                // Where it cannot be told, O_DIRECT reads fail with INVAL instead.
                start: start.min(DIRECT_ALIGNMENT),
                memory,
                in_flight: false,
            }
        };
        Ok(Self {
            ring,
            file,
            slots: (0..slots).map(|_| slot()).collect(),
            block_bytes,
            in_flight: 0,
        })
    }

    /// Begins to read `length` bytes from `offset` into the buffer of `slot`.
    ///
    /// # Errors
    /// `INVAL` for a slot that is not there, in flight already, or shorter than `length`.
    pub fn submit(&mut self, slot: usize, offset: u64, length: u32) -> Result<(), Errno> {
        let block_bytes = self.block_bytes;
        let entry = self.slots.get_mut(slot).ok_or(Errno::INVAL)?;
        if entry.in_flight || length > block_bytes {
            return Err(Errno::INVAL);
        }
        let range = entry.start..entry.start + length as usize;
        let buffer = entry.memory.get_mut(range).ok_or(Errno::INVAL)?;
        let read = opcode::Read::new(
            types::Fd(self.file.as_raw_fd()),
            buffer.as_mut_ptr(),
            length,
        );
        let read = read.offset(offset).build().user_data(slot as u64);
        // SAFETY: the entry writes into a buffer whose memory never moves and is neither read nor
        // freed while the slot is in flight: `wait` clears that mark, and `drop` waits for all.
        let pushed = unsafe { self.ring.submission().push(&read) };
        pushed.map_err(|_full| Errno::AGAIN)?;
        entry.in_flight = true;
        self.in_flight += 1;
        Ok(())
    }

    /// Waits until at least one slot has ended and tells all that have: the slot and its bytes,
    /// fewer than asked for at the end of the file. Tells nothing when nothing is in flight.
    ///
    /// # Errors
    /// What io_uring_enter(2) reports. What a read reports goes to `done`.
    pub fn wait(&mut self, mut done: impl FnMut(usize, Result<&[u8], Errno>)) -> Result<(), Errno> {
        if self.in_flight == 0 {
            return Ok(());
        }
        loop {
            match self.ring.submit_and_wait(1) {
                Ok(_) => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(errno(&error)),
            }
        }
        for answer in self.ring.completion() {
            let index = usize::try_from(answer.user_data()).unwrap_or(usize::MAX);
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            slot.in_flight = false;
            self.in_flight -= 1;
            match usize::try_from(answer.result()) {
                Ok(length) => {
                    let bytes = slot.memory.get(slot.start..slot.start + length);
                    done(index, bytes.ok_or(Errno::IO));
                }
                Err(_) => done(index, Err(Errno::from_raw_os_error(-answer.result()))),
            }
        }
        Ok(())
    }
}

impl Drop for BlockReader {
    fn drop(&mut self) {
        while self.in_flight > 0 {
            if self.wait(|_, _| {}).is_err() {
                // The kernel may still write: memory that it was given is leaked, never freed.
                for slot in &mut self.slots {
                    std::mem::forget(std::mem::take(&mut slot.memory));
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn every_slot_gets_the_bytes_of_its_place() {
        let content: Vec<u8> = (0..64 * 1024_u32).map(|at| (at / 1000) as u8).collect();
        let Ok(mut reader) = BlockReader::new(file(&content), 8, 4096) else {
            return;
        };
        let mut seen = 0;
        for slot in 0..8 {
            reader.submit(slot, slot as u64 * 4096, 4096).unwrap();
        }
        assert_eq!(reader.submit(0, 0, 1), Err(Errno::INVAL));
        while seen < 8 {
            let told = reader.wait(|slot, bytes| {
                assert_eq!(bytes.unwrap(), &content[slot * 4096..][..4096]);
                seen += 1;
            });
            told.unwrap();
        }
        reader.submit(3, content.len() as u64 - 10, 4096).unwrap();
        let told = reader.wait(|_, bytes| assert_eq!(bytes.unwrap().len(), 10));
        told.unwrap();
    }

    #[test]
    fn limits_hold_and_what_is_in_flight_is_waited_for() {
        let content = vec![7; 8192];
        for (slots, bytes) in [(0, 1), (1, 0), (SLOTS_MAX + 1, 1), (1, BLOCK_BYTES_MAX + 1)] {
            let made = BlockReader::new(file(&content), slots, bytes);
            assert_eq!(made.err(), Some(Errno::INVAL));
        }
        let Ok(mut reader) = BlockReader::new(file(&content), 2, 4096) else {
            return;
        };
        assert_eq!(reader.submit(0, 0, 4097), Err(Errno::INVAL));
        assert_eq!(reader.submit(2, 0, 1), Err(Errno::INVAL));
        reader.submit(0, 0, 4096).unwrap();
        drop(reader);
    }
}
