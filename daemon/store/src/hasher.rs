//! SHA-256 and git's blob id of whole files, on a thread beside the one that cuts.
//!
//! SHA-256 cannot be split and is slower than BLAKE3, so it runs behind on buffers that the cutter
//! has finished with. A short file is hashed at once by who cuts it: handing it over and waiting
//! takes longer. Invariant: buffers go round, so memory is [`BUFFERS`] chunks for each thread
//! pair however large the file is. Not promised: an order between files of different pairs.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use ring::digest::{Context, SHA256};

use crate::buffer::Buffer;
use crate::error::{Result, StorageFault};
use crate::git::BlobHasher;
use crate::name::{GitId, Sha256};

/// Buffers of one chunk each that go round between the two threads.
const BUFFERS: usize = 4;

/// Files up to this long are not handed over, in bytes: some 150 us of SHA-256, where waking a
/// thread twice takes about as long.
const OWN_BYTES_MAX: u64 = 256 << 10;

/// How much is hashed before whoever waits for the processor gets it, in bytes: some 150 us. A
/// kernel may let a thread that woke up wait until the next tick (4 ms) otherwise.
const PIECE_BYTES: usize = 256 << 10;

enum Work {
    Begin { blob_bytes: Option<u64> },
    Bytes { buffer: Buffer, length: usize },
    End,
}

/// Hashes of a whole file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Digests {
    pub(crate) sha256: Sha256,
    pub(crate) blob: Option<GitId>,
}

/// The hashes of a file as far as its bytes have come.
struct Running {
    sha256: Context,
    blob: Option<BlobHasher>,
}

impl Running {
    fn new(blob_bytes: Option<u64>) -> Self {
        Self {
            sha256: Context::new(&SHA256),
            blob: blob_bytes.map(BlobHasher::new),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(blob) = &mut self.blob {
            blob.update(bytes);
        }
    }

    fn finish(self) -> Digests {
        let whole = self.sha256.finish();
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(whole.as_ref()) {
            *to = *from;
        }
        Digests {
            sha256: Sha256(bytes),
            blob: self.blob.map(BlobHasher::finish),
        }
    }
}

/// The thread and the ways to it.
pub(crate) struct Hasher {
    /// A short file, which is hashed here.
    own: RefCell<Option<Running>>,
    /// Buffers that were not handed over.
    spare: RefCell<Vec<Buffer>>,
    work: Option<SyncSender<Work>>,
    buffers: Receiver<Buffer>,
    digests: Receiver<Digests>,
    thread: Option<JoinHandle<()>>,
}

impl Hasher {
    pub(crate) fn start() -> Result<Self> {
        let (work, to_do) = sync_channel(BUFFERS + 2);
        let (give_back, buffers) = sync_channel(BUFFERS);
        let (done, digests) = sync_channel(1);
        for _ in 0..BUFFERS {
            let _ = give_back.send(Buffer::default());
        }
        let thread = std::thread::Builder::new()
            .name("store-sha256".into())
            .spawn(move || run(&to_do, &give_back, &done))
            .map_err(|_| StorageFault::Thread("the hashing thread could not be started"))?;
        Ok(Self {
            own: RefCell::default(),
            spare: RefCell::default(),
            work: Some(work),
            buffers,
            digests,
            thread: Some(thread),
        })
    }

    /// A buffer with room for a chunk from `offset` of its file; waits until the other thread has
    /// finished with one.
    pub(crate) fn buffer(&self, offset: u64) -> Result<Buffer> {
        let spare = self.spare.borrow_mut().pop();
        let mut buffer = match spare {
            Some(buffer) => buffer,
            None => self.buffers.recv().map_err(|_| lost())?,
        };
        buffer.place(offset);
        Ok(buffer)
    }

    /// Starts a file of `size` bytes; with `blob_bytes`, its length, git's blob id is computed too.
    pub(crate) fn begin(&self, size: u64, blob_bytes: Option<u64>) -> Result<()> {
        let is_short = size <= OWN_BYTES_MAX;
        *self.own.borrow_mut() = is_short.then(|| Running::new(blob_bytes));
        if is_short {
            return Ok(());
        }
        self.send(Work::Begin { blob_bytes })
    }

    /// The next `length` bytes of the file, at the front of a buffer.
    pub(crate) fn update(&self, buffer: Buffer, length: usize) -> Result<()> {
        if let Some(own) = &mut *self.own.borrow_mut() {
            own.update(buffer.front(length));
            self.spare.borrow_mut().push(buffer);
            return Ok(());
        }
        self.send(Work::Bytes { buffer, length })
    }

    /// The hashes of the file.
    pub(crate) fn finish(&self) -> Result<Digests> {
        if let Some(own) = self.own.borrow_mut().take() {
            return Ok(own.finish());
        }
        self.send(Work::End)?;
        self.digests.recv().map_err(|_| lost().into())
    }

    fn send(&self, work: Work) -> Result<()> {
        let way = self.work.as_ref().ok_or_else(lost)?;
        way.send(work).map_err(|_| lost().into())
    }
}

fn lost() -> StorageFault {
    StorageFault::Thread("the hashing thread ended")
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(to_do: &Receiver<Work>, give_back: &SyncSender<Buffer>, done: &SyncSender<Digests>) {
    let mut running = Running::new(None);
    for work in to_do {
        match work {
            Work::Begin { blob_bytes } => running = Running::new(blob_bytes),
            Work::Bytes { buffer, length } => {
                for piece in buffer.front(length).chunks(PIECE_BYTES) {
                    running.update(piece);
                    std::thread::yield_now();
                }
                if give_back.send(buffer).is_err() {
                    return;
                }
            }
            Work::End => {
                let whole = std::mem::replace(&mut running, Running::new(None));
                if done.send(whole.finish()).is_err() {
                    return;
                }
            }
        }
    }
}
