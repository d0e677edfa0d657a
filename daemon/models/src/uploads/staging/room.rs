//! Room for uploads: what lies here, what is promised to senders, and the limits of both.
//!
//! Invariant: promised bytes always have room on the file system, with a margin that stays free
//! for everything else, as long as nobody outside fills it; a promise shrinks by what was written
//! and is given back when it is dropped. Not promised: that others leave the room alone; so it is
//! looked at again before each write.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of the file system that uploads never take: what publishing, the index and the files of
/// other volumes need to go on; four times what the store keeps free for itself.
const MARGIN_BYTES: u64 = 64 << 20;

/// The share of the file system that uploads may take together, as a divisor: the other half is for
/// what is published.
const SHARE: u64 = 2;

/// How much uploads take.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Staged {
    /// Bytes that lie here and are not published.
    pub bytes: u64,
    /// Bytes that are promised to senders.
    pub promised: u64,
    /// Most bytes of both together.
    pub bytes_max: u64,
}

/// The room for uploads of one node.
#[derive(Debug)]
pub(super) struct Room {
    data: PathBuf,
    staged: Mutex<Staged>,
}

/// Bytes that nobody else may take.
#[derive(Debug)]
pub(super) struct Promise {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    pub(super) fn new(data: &Path) -> Self {
        let room = Self {
            data: data.to_owned(),
            staged: Mutex::default(),
        };
        if let Ok((_, total)) = room.space() {
            room.lock().bytes_max = total / SHARE;
        }
        room
    }

    fn lock(&self) -> MutexGuard<'_, Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the file system that are free, and all of them.
    fn space(&self) -> io::Result<(u64, u64)> {
        let found = rustix::fs::statvfs(&self.data)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok((bytes(found.f_bavail), bytes(found.f_blocks)))
    }

    pub(super) fn staged(&self) -> Staged {
        *self.lock()
    }

    pub(super) fn set_staged(&self, bytes: u64) {
        self.lock().bytes = bytes;
    }

    pub(super) fn remove_staged(&self, bytes: u64) {
        let mut staged = self.lock();
        staged.bytes = staged.bytes.saturating_sub(bytes);
    }

    /// Takes room for so many bytes.
    pub(super) fn promise(self: &Arc<Self>, bytes: u64) -> io::Result<Promise> {
        let (free, total) = self.space()?;
        let mut staged = self.lock();
        staged.bytes_max = total / SHARE;
        let taken = staged.promised.saturating_add(MARGIN_BYTES);
        let open = free.saturating_sub(taken);
        let held = staged.bytes.saturating_add(staged.promised);
        let allowed = staged.bytes_max.saturating_sub(held);
        if bytes > open.min(allowed) {
            return Err(full(format!(
                "{bytes} bytes are to come, and there is room for {}: {free} bytes are free on the \
                 node's disk, of which {taken} are kept for others, and uploads that are not \
                 published take {held} of at most {}; remove models or files there, or run \
                 'towline gc --grace 0' on the node to drop uploads that nobody goes on with",
                open.min(allowed),
                staged.bytes_max,
            )));
        }
        staged.promised += bytes;
        Ok(Promise {
            room: Arc::clone(self),
            bytes,
        })
    }
}

fn full(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, what)
}

impl Promise {
    /// Bytes that are promised and not written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Some of it as a promise of its own; at most all of it.
    pub(super) fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            room: Arc::clone(&self.room),
            bytes,
        }
    }

    /// Takes another one in.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// So many of the bytes that were written are off the disk again, and promised as before.
    pub(super) fn untake(&mut self, bytes: u64) {
        self.bytes += bytes;
        let mut staged = self.room.lock();
        staged.bytes = staged.bytes.saturating_sub(bytes);
        staged.promised += bytes;
    }

    /// Whether others have left the room that was promised.
    pub(super) fn check(&self) -> io::Result<()> {
        let (free, _) = self.room.space()?;
        if free >= MARGIN_BYTES {
            return Ok(());
        }
        Err(full(format!(
            "the node's disk was filled meanwhile: {free} bytes are free, and {MARGIN_BYTES} stay \
             free for others; remove models or files there and send it again"
        )))
    }

    /// So many of the bytes are on the disk now.
    pub(super) fn took(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let mut staged = self.room.lock();
        staged.promised = staged.promised.saturating_sub(bytes);
        staged.bytes += bytes;
    }

    /// So many of the bytes are off the disk again.
    pub(super) fn gave_back(&self, bytes: u64) {
        self.room.remove_staged(bytes);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut staged = self.room.lock();
        staged.promised = staged.promised.saturating_sub(self.bytes);
    }
}
