//! SHA-256 and git's blob id of whole files, on a thread beside the one that cuts.
//!
//! SHA-256 cannot be split and is slower than BLAKE3, so it runs behind on buffers that the cutter
//! has finished with. Invariant: buffers go round, so memory is [`BUFFERS`] chunks for each thread
//! pair however large the file is. Not promised: an order between files of different pairs.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use ring::digest::{Context, SHA256};

use crate::error::{Result, StorageFault};
use crate::git::BlobHasher;
use crate::name::{GitId, Sha256};
use crate::table::CHUNK_BYTES_MAX;

/// Buffers of one chunk each that go round between the two threads.
const BUFFERS: usize = 4;

enum Work {
    Begin { blob_bytes: Option<u64> },
    Bytes { buffer: Vec<u8>, length: usize },
    End,
}

/// Hashes of a whole file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Digests {
    pub(crate) sha256: Sha256,
    pub(crate) blob: Option<GitId>,
}

/// The thread and the ways to it.
pub(crate) struct Hasher {
    work: Option<SyncSender<Work>>,
    buffers: Receiver<Vec<u8>>,
    digests: Receiver<Digests>,
    thread: Option<JoinHandle<()>>,
}

impl Hasher {
    pub(crate) fn start() -> Result<Self> {
        let (work, to_do) = sync_channel(BUFFERS + 2);
        let (give_back, buffers) = sync_channel(BUFFERS);
        let (done, digests) = sync_channel(1);
        for _ in 0..BUFFERS {
            let _ = give_back.send(Vec::new());
        }
        let thread = std::thread::Builder::new()
            .name("store-sha256".into())
            .spawn(move || run(&to_do, &give_back, &done))
            .map_err(|_| StorageFault::Thread("the hashing thread could not be started"))?;
        Ok(Self {
            work: Some(work),
            buffers,
            digests,
            thread: Some(thread),
        })
    }

    /// A buffer with room for a chunk; waits until the other thread has finished with one.
    pub(crate) fn buffer(&self) -> Result<Vec<u8>> {
        let mut buffer = self.buffers.recv().map_err(|_| lost())?;
        if buffer.is_empty() {
            buffer = vec![0; CHUNK_BYTES_MAX as usize];
        }
        Ok(buffer)
    }

    /// Starts a file; with `blob_bytes`, its length, git's blob id is computed too.
    pub(crate) fn begin(&self, blob_bytes: Option<u64>) -> Result<()> {
        self.send(Work::Begin { blob_bytes })
    }

    /// The next `length` bytes of the file, at the front of a buffer.
    pub(crate) fn update(&self, buffer: Vec<u8>, length: usize) -> Result<()> {
        self.send(Work::Bytes { buffer, length })
    }

    /// The hashes of the file.
    pub(crate) fn finish(&self) -> Result<Digests> {
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

fn run(to_do: &Receiver<Work>, give_back: &SyncSender<Vec<u8>>, done: &SyncSender<Digests>) {
    let mut sha256 = Context::new(&SHA256);
    let mut blob = None;
    for work in to_do {
        match work {
            Work::Begin { blob_bytes } => {
                sha256 = Context::new(&SHA256);
                blob = blob_bytes.map(BlobHasher::new);
            }
            Work::Bytes { buffer, length } => {
                let bytes = buffer.get(..length).unwrap_or(&buffer);
                sha256.update(bytes);
                if let Some(blob) = &mut blob {
                    blob.update(bytes);
                }
                if give_back.send(buffer).is_err() {
                    return;
                }
            }
            Work::End => {
                let whole = std::mem::replace(&mut sha256, Context::new(&SHA256)).finish();
                let mut bytes = [0; 32];
                for (to, from) in bytes.iter_mut().zip(whole.as_ref()) {
                    *to = *from;
                }
                let digests = Digests {
                    sha256: Sha256(bytes),
                    blob: blob.take().map(BlobHasher::finish),
                };
                if done.send(digests).is_err() {
                    return;
                }
            }
        }
    }
}
