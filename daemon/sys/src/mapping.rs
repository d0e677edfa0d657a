//! Files in memory (tmpfs), named to system calls by address: a reply's bytes go from the file to
//! the socket in one copy, together with the heads and bytes of the replies around it, in one
//! call. Reading them into the reply first is one more copy and one more call each.
//!
//! Invariant: the addresses are given to the kernel and never read by this process, so a file that
//! shrinks makes a call fail (`EFAULT`) and raises no signal. Not promised: that a mapping covers
//! what the file has grown by; then its bytes go another way.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::last_errno;

/// Largest file that is mapped, in bytes: its page tables (8 MiB) are taken down on a worker.
const MAPPED_FILE_BYTES_MAX: u64 = 4 << 30;

/// Most pieces of one call.
pub const PIECES_MAX: usize = 64;

/// A file's memory, from its first byte.
#[derive(Debug)]
struct Mapping {
    start: NonNull<libc::c_void>,
    bytes: usize,
    /// A call found bytes missing.
    has_failed: AtomicBool,
}

// SAFETY: the mapping is shared and read-only, and this process never reads through the address;
// it is only passed to system calls, which any thread may make, and unmapped by the last owner.
unsafe impl Send for Mapping {}
// SAFETY: as above; no method changes anything but the atomic flag.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a whole file, unless it is empty, too large, or has holes: reading a hole through a
    /// mapping would give it memory (tmpfs), reading it by a call does not.
    fn of(file: BorrowedFd<'_>) -> Option<Self> {
        let stat = rustix::fs::fstat(file).ok()?;
        let size = u64::try_from(stat.st_size).ok()?;
        let held = u64::try_from(stat.st_blocks).ok()?.checked_mul(512)?;
        if size == 0 || size > MAPPED_FILE_BYTES_MAX || held < size {
            return None;
        }
        let bytes = usize::try_from(size).ok()?;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing of ours.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return None;
        }
        Some(Self {
            start: NonNull::new(start)?,
            bytes,
            has_failed: AtomicBool::new(false),
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `bytes` are mmap's, and no span is left: each holds the `Arc`.
        if unsafe { libc::munmap(self.start.as_ptr(), self.bytes) } != 0 {
            tracing::debug!(error = %last_errno(), "a mapping stays");
        }
    }
}

/// A file whose bytes stay in memory as long as this is held, for benches: hosts that reclaim the
/// page cache in the background would make hot loads cold.
#[derive(Debug)]
pub struct HeldInMemory {
    _mapping: Mapping,
}

impl HeldInMemory {
    /// Reads the file into memory and locks it there (mlock(2)). The file must not be empty, have
    /// holes, or be longer than 4 GiB.
    ///
    /// # Errors
    /// `INVAL` for a file that cannot be mapped, `NOMEM` or `PERM` where the user may not lock so
    /// much memory (`RLIMIT_MEMLOCK`).
    pub fn new(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mapping = Mapping::of(file).ok_or(Errno::INVAL)?;
        // SAFETY: locking pages of a mapping changes no memory; unmapping unlocks them.
        if unsafe { libc::mlock(mapping.start.as_ptr(), mapping.bytes) } != 0 {
            return Err(last_errno());
        }
        Ok(Self { _mapping: mapping })
    }
}

/// Bytes of a mapped file, to be sent.
#[derive(Clone, Debug)]
pub struct MappedSpan {
    mapping: Arc<Mapping>,
    /// From the start of the file. `offset + length` is inside the mapping.
    offset: usize,
    length: usize,
}

impl MappedSpan {
    /// Bytes left to be sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether all has been sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes away bytes at the front that have been sent.
    pub fn advance(&mut self, bytes: usize) {
        let bytes = bytes.min(self.length);
        self.offset += bytes;
        self.length -= bytes;
    }

    /// Lets this file be read another way from now on.
    pub fn give_up(&self) {
        self.mapping.has_failed.store(true, Ordering::Relaxed);
    }
}

/// An open file's mapping, made when it is first asked for.
#[derive(Debug, Default)]
pub struct Mappable {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Untried,
    Mapped(Arc<Mapping>),
    Refused,
}

impl Mappable {
    /// These bytes of the file, if they can be sent from where they lie.
    pub fn span(&self, file: impl AsFd, offset: u64, length: u64) -> Option<MappedSpan> {
        let offset = usize::try_from(offset).ok()?;
        let length = usize::try_from(length).ok()?;
        let end = offset.checked_add(length)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_enough = match &*state {
            State::Refused => return None,
            State::Untried => false,
            State::Mapped(mapping) if mapping.has_failed.load(Ordering::Relaxed) => {
                *state = State::Refused;
                return None;
            }
            State::Mapped(mapping) => end <= mapping.bytes,
        };
        if !is_enough {
            // The file is new here, or it has grown.
            *state = match Mapping::of(file.as_fd()) {
                Some(mapping) => State::Mapped(Arc::new(mapping)),
                None => State::Refused,
            };
        }
        match &*state {
            State::Mapped(mapping) if end <= mapping.bytes => Some(MappedSpan {
                mapping: mapping.clone(),
                offset,
                length,
            }),
            _ => None,
        }
    }
}

/// The pieces of one call, in order.
pub struct Pieces<'a> {
    places: [libc::iovec; PIECES_MAX],
    count: usize,
    bytes: usize,
    lifetime: std::marker::PhantomData<&'a [u8]>,
}

impl Default for Pieces<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Pieces<'a> {
    /// No pieces yet.
    #[must_use]
    pub fn new() -> Self {
        let nothing = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            places: [nothing; PIECES_MAX],
            count: 0,
            bytes: 0,
            lifetime: std::marker::PhantomData,
        }
    }

    /// Adds bytes of ours; `false` if there is no room for another piece.
    pub fn add_bytes(&mut self, bytes: &'a [u8]) -> bool {
        self.add(bytes.as_ptr().cast_mut().cast(), bytes.len())
    }

    /// Adds bytes of a mapped file; `false` if there is no room for another piece.
    pub fn add_mapped(&mut self, span: &'a MappedSpan) -> bool {
        let start = span.mapping.start.as_ptr().wrapping_byte_add(span.offset);
        self.add(start, span.length)
    }

    fn add(&mut self, start: *mut libc::c_void, bytes: usize) -> bool {
        let Some(place) = self.places.get_mut(self.count) else {
            return false;
        };
        *place = libc::iovec {
            iov_base: start,
            iov_len: bytes,
        };
        self.count += 1;
        self.bytes += bytes;
        true
    }

    /// Bytes of all pieces.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends them with sendmsg(2); returns how many bytes the socket took.
    ///
    /// # Errors
    /// What the socket reports, and `FAULT` if a mapped file has lost the first bytes to send.
    pub fn send(&mut self, socket: BorrowedFd<'_>, flags: SendFlags) -> Result<usize, Errno> {
        let flags = flags.bits().cast_signed();
        // SAFETY: all zeroes is an empty `msghdr`.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = self.places.as_mut_ptr();
        message.msg_iovlen = self.count as _;
        // SAFETY: the first `count` places name slices and mappings that outlive `'a`, which this
        // call is inside of. The kernel only reads them, and answers an address without memory
        // behind it (a file that shrank) with EFAULT.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
        usize::try_from(sent).map_err(|_| last_errno())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    const BYTES: usize = 64 << 10;

    /// A file in memory with [`BYTES`] bytes.
    fn file_in_memory() -> File {
        let fd = rustix::fs::memfd_create(c"mapped", rustix::fs::MemfdFlags::CLOEXEC);
        let mut file = File::from(fd.expect("memfd"));
        file.write_all(&vec![7; BYTES]).expect("write");
        file
    }

    fn send(pieces: &mut Pieces<'_>) -> (Result<usize, Errno>, Vec<u8>) {
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        let sent = pieces.send(ours.as_fd(), SendFlags::NOSIGNAL);
        drop(ours);
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).expect("read");
        (sent, received)
    }

    #[test]
    fn pieces_arrive_in_order() {
        let (file, mappable) = (file_in_memory(), Mappable::default());
        let span = mappable.span(&file, 4095, 3).expect("mapped");
        let mut pieces = Pieces::new();
        assert!(pieces.add_bytes(b"head") && pieces.add_mapped(&span) && pieces.add_bytes(b"!"));
        assert_eq!(send(&mut pieces), (Ok(8), b"head\x07\x07\x07!".to_vec()));
    }

    #[test]
    fn no_more_pieces_than_a_call_takes() {
        let mut pieces = Pieces::new();
        let taken = (0..PIECES_MAX * 2)
            .filter(|_| pieces.add_bytes(b"x"))
            .count();
        assert_eq!((taken, pieces.bytes()), (PIECES_MAX, PIECES_MAX));
    }

    #[test]
    fn a_file_that_shrank_fails_the_call_and_is_not_mapped_again() {
        let (file, mappable) = (file_in_memory(), Mappable::default());
        let span = mappable.span(&file, 8192, 4096).expect("mapped");
        file.set_len(0).expect("truncate");
        let mut pieces = Pieces::new();
        pieces.add_mapped(&span);
        assert_eq!(send(&mut pieces), (Err(Errno::FAULT), Vec::new()));
        span.give_up();
        file.set_len(BYTES as u64).expect("grow");
        assert!(mappable.span(&file, 0, 1).is_none());
    }

    #[test]
    fn a_held_file_is_held_and_an_empty_one_refused() {
        let file = file_in_memory();
        // Who may not lock memory gets told, not killed.
        let held = HeldInMemory::new(file.as_fd());
        assert!(matches!(
            held,
            Ok(_) | Err(Errno::NOMEM | Errno::PERM | Errno::AGAIN)
        ));
        file.set_len(0).expect("truncate");
        assert_eq!(HeldInMemory::new(file.as_fd()).err(), Some(Errno::INVAL));
    }

    #[test]
    fn what_a_file_has_grown_by_is_mapped_too() {
        let (mut file, mappable) = (file_in_memory(), Mappable::default());
        assert!(mappable.span(&file, 0, 1).is_some());
        file.write_all(&[8; 4096]).expect("append");
        let span = mappable.span(&file, BYTES as u64, 2).expect("mapped");
        let mut pieces = Pieces::new();
        pieces.add_mapped(&span);
        assert_eq!(send(&mut pieces), (Ok(2), vec![8, 8]));
    }

    #[test]
    fn files_with_holes_and_what_lies_behind_the_end_are_refused() {
        let file = file_in_memory();
        assert!(Mappable::default().span(&file, BYTES as u64, 1).is_none());
        file.set_len(1 << 30).expect("grow");
        assert!(Mappable::default().span(&file, 0, 1).is_none());
    }
}
