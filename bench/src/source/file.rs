//! A local or mounted path: io_uring where it is allowed, one thread per request where not.
//!
//! Invariant: what is told as dropped from memory was looked for: pages that a read answers without
//! waiting (preadv2(2), RWF_NOWAIT) are still there. Direct reads go around the page cache
//! (O_DIRECT, open(2)); a file system without it is an error, never a buffered read instead.

use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use rustix::fs::{Advice, OFlags, fadvise};
use rustix::io::ReadWriteFlags;
use towline_sys::block_reader::{BlockReader, DIRECT_ALIGNMENT, SLOTS_MAX};

use super::{Access, Cold, Entry, Queue, Source, SourceError, Told, Tree, Walk};

/// Places looked at to tell whether a file is in memory.
const LOOKS: u64 = 256;
/// Share of a file in memory up to which it counts as cold.
const RESIDENT_SHARE: f64 = 0.02;
/// Largest file read whole, in bytes: small files are what that is for.
const WHOLE_BYTES_MAX: u64 = 16 << 20;

/// A file of a path.
#[derive(Debug)]
pub struct PathSource {
    path: PathBuf,
    bytes: u64,
}

impl PathSource {
    /// A file that exists, as far as `bytes_max`.
    ///
    /// # Errors
    /// When it cannot be read or is empty.
    pub fn new(path: &Path, bytes_max: u64) -> Result<Self, SourceError> {
        let what = || path.display().to_string();
        let file = File::open(path).map_err(|error| SourceError::system(what(), error))?;
        let found = file.metadata();
        let found = found.map_err(|error| SourceError::system(what(), error))?;
        let bytes = found.len().min(bytes_max);
        if !found.is_file() || bytes == 0 {
            let text = format!("{} is no file with bytes in it", what());
            return Err(SourceError::Usage(text));
        }
        Ok(Self {
            path: path.to_owned(),
            bytes,
        })
    }

    fn failed(&self, error: impl Into<std::io::Error>) -> SourceError {
        SourceError::system(self.path.display().to_string(), error)
    }

    fn file(&self, is_direct: bool) -> Result<File, SourceError> {
        let mut options = File::options();
        options.read(true);
        if is_direct {
            options.custom_flags(OFlags::DIRECT.bits().cast_signed());
        }
        let opened = options.open(&self.path);
        opened.map_err(
            |error| match is_direct && error.raw_os_error() == Some(22) {
                true => SourceError::Usage(format!(
                    "{}: its file system cannot read around memory (O_DIRECT)",
                    self.path.display()
                )),
                false => self.failed(error),
            },
        )
    }

    /// Share of the file that is in memory, 0 to 1.
    fn resident(&self, file: &File) -> f64 {
        let mut there = 0;
        let mut byte = [0];
        for look in 0..LOOKS {
            let offset = self.bytes * look / LOOKS;
            let mut into = [IoSliceMut::new(&mut byte)];
            let read = rustix::io::preadv2(file, &mut into, offset, ReadWriteFlags::NOWAIT);
            there += u64::from(read.is_ok());
        }
        there as f64 / LOOKS as f64
    }
}

impl Source for PathSource {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn block_bytes_max(&self) -> u32 {
        16 << 20
    }

    fn streams(&self) -> bool {
        false
    }

    fn open(&self, access: Access) -> Result<Box<dyn Queue + '_>, SourceError> {
        let file = self.file(access.is_direct)?;
        if !access.is_sequential {
            // Read-ahead would make a disk read 128 KiB for each block of 4 KiB.
            let _only_advice = fadvise(&file, 0, None, Advice::Random);
        }
        let slots = access.depth.min(SLOTS_MAX);
        match BlockReader::new(file, slots, access.block_bytes) {
            Ok(reader) => Ok(Box::new(RingQueue {
                reader,
                source: self,
                lengths: vec![0; slots as usize],
            })),
            Err(_no_ring) => {
                let file = self.file(access.is_direct)?;
                Ok(Box::new(ThreadQueue::new(self, file, &access)?))
            }
        }
    }

    fn cool(&self) -> Cold {
        let why = |error: SourceError| Cold::No(error.to_string());
        let file = match self.file(false) {
            Ok(file) => file,
            Err(error) => return why(error),
        };
        // What is not on the disk yet cannot be dropped.
        let _read_only = file.sync_data();
        if let Err(error) = fadvise(&file, 0, None, Advice::DontNeed) {
            return why(self.failed(error));
        }
        // A look starts read-ahead where nothing is: one page each, and those are dropped again.
        let _only_advice = fadvise(&file, 0, None, Advice::Random);
        let share = self.resident(&file);
        let _only_advice = fadvise(&file, 0, None, Advice::DontNeed);
        match share > RESIDENT_SHARE {
            true => Cold::Stays(share),
            false => Cold::Yes,
        }
    }

    fn peer(&self) -> Option<SocketAddr> {
        None
    }
}

struct RingQueue<'a> {
    reader: BlockReader,
    source: &'a PathSource,
    lengths: Vec<u32>,
}

impl Queue for RingQueue<'_> {
    fn submit(&mut self, slot: usize, offset: u64, length: u32) -> Result<(), SourceError> {
        if let Some(entry) = self.lengths.get_mut(slot) {
            *entry = length;
        }
        let submitted = self.reader.submit(slot, offset, length);
        submitted.map_err(|error| self.source.failed(error))
    }

    fn wait(&mut self, told: &mut Told<'_>) -> Result<(), SourceError> {
        let mut failed = None;
        let (source, lengths) = (self.source, &self.lengths);
        let waited = self.reader.wait(|slot, bytes| {
            let wanted = lengths.get(slot).copied().unwrap_or(0) as usize;
            let outcome = match bytes {
                Ok(bytes) if bytes.len() == wanted => told(slot, bytes),
                Ok(bytes) => Err(short(source, bytes.len(), wanted)),
                Err(error) => Err(source.failed(error)),
            };
            if let Err(error) = outcome {
                failed.get_or_insert(error);
            }
        });
        waited.map_err(|error| source.failed(error))?;
        failed.map_or(Ok(()), Err)
    }
}

fn short(source: &PathSource, got: usize, wanted: usize) -> SourceError {
    let what = source.path.display().to_string();
    SourceError::server(what, format!("{got} bytes came instead of {wanted}"))
}

/// One order for a thread: slot, offset, length.
type Order = (usize, u64, u32);
/// What came of it.
type Answer = (usize, std::io::Result<Vec<u8>>);

/// Where io_uring is forbidden: as many threads as requests, each with pread(2).
struct ThreadQueue<'a> {
    source: &'a PathSource,
    orders: SyncSender<Order>,
    answers: Receiver<Answer>,
}

impl<'a> ThreadQueue<'a> {
    fn new(source: &'a PathSource, file: File, access: &Access) -> Result<Self, SourceError> {
        let depth = access.depth.min(SLOTS_MAX);
        let (orders, taken) = sync_channel::<Order>(depth as usize);
        let (tell, answers) = sync_channel::<Answer>(depth as usize);
        let taken = Arc::new(Mutex::new(taken));
        let file = Arc::new(file);
        for _ in 0..depth {
            let (taken, tell, file) = (taken.clone(), tell.clone(), file.clone());
            let work = move || {
                loop {
                    let order = taken.lock().map(|taken| taken.recv());
                    let Ok(Ok((slot, offset, length))) = order else {
                        return;
                    };
                    let read = aligned_read(&file, offset, length as usize);
                    if tell.send((slot, read)).is_err() {
                        return;
                    }
                }
            };
            let thread = std::thread::Builder::new().name("bench-read".to_owned());
            let spawned = thread.spawn(work);
            spawned.map_err(|error| SourceError::system("a reading thread", error))?;
        }
        Ok(Self {
            source,
            orders,
            answers,
        })
    }
}

fn aligned_read(file: &File, offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
    let mut memory = vec![0; length + DIRECT_ALIGNMENT];
    let start = memory.as_ptr().align_offset(DIRECT_ALIGNMENT);
    let start = start.min(DIRECT_ALIGNMENT);
    let mut done = 0;
    while done < length {
        let Some(rest) = memory.get_mut(start + done..start + length) else {
            break;
        };
        match file.read_at(rest, offset + done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    memory.copy_within(start..start + done, 0);
    memory.truncate(done);
    Ok(memory)
}

impl Queue for ThreadQueue<'_> {
    fn submit(&mut self, slot: usize, offset: u64, length: u32) -> Result<(), SourceError> {
        let gone = |_| SourceError::server("reading threads", "they ended");
        self.orders.send((slot, offset, length)).map_err(gone)
    }

    fn wait(&mut self, told: &mut Told<'_>) -> Result<(), SourceError> {
        let gone = |_| SourceError::server("reading threads", "they ended");
        let mut next = Some(self.answers.recv().map_err(gone)?);
        while let Some((slot, read)) = next {
            let bytes = read.map_err(|error| self.source.failed(error))?;
            told(slot, &bytes)?;
            next = self.answers.try_recv().ok();
        }
        Ok(())
    }
}

/// A folder of a path.
#[derive(Debug)]
pub struct PathTree(
    /// Where it is.
    pub PathBuf,
);

impl Tree for PathTree {
    fn open(&self) -> Result<Box<dyn Walk + '_>, SourceError> {
        Ok(Box::new(PathWalk(&self.0)))
    }
}

struct PathWalk<'a>(&'a Path);

impl PathWalk<'_> {
    fn failed(&self, name: &str, error: std::io::Error) -> SourceError {
        SourceError::system(self.0.join(name).display().to_string(), error)
    }
}

impl Walk for PathWalk<'_> {
    fn list(&mut self) -> Result<Vec<Entry>, SourceError> {
        let failed = |error| self.failed("", error);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.0).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Names that are no text are left out: nothing here could name them again.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file);
            let bytes = metadata.map(|metadata| metadata.len());
            found.push(Entry { name, bytes });
        }
        Ok(found)
    }

    fn stat(&mut self, name: &str) -> Result<u64, SourceError> {
        let found = std::fs::metadata(self.0.join(name));
        let found = found.map_err(|error| self.failed(name, error))?;
        Ok(found.len())
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, SourceError> {
        let mut bytes = Vec::new();
        let read = File::open(self.0.join(name))
            .and_then(|file| file.take(WHOLE_BYTES_MAX).read_to_end(&mut bytes));
        read.map_err(|error| self.failed(name, error))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_read_the_same_bytes() {
        let content: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, &content).unwrap();
        let source = PathSource::new(&path, u64::MAX).unwrap();
        let access = Access {
            depth: 3,
            block_bytes: 4096,
            is_sequential: true,
            is_direct: false,
        };
        let threads = ThreadQueue::new(&source, source.file(false).unwrap(), &access).unwrap();
        let queues = [source.open(access).unwrap(), Box::new(threads)];
        for mut queue in queues {
            for slot in 0..3 {
                queue.submit(slot, slot as u64 * 5000, 4096).unwrap();
            }
            let mut seen = 0;
            while seen < 3 {
                let told = queue.wait(&mut |slot, bytes| {
                    assert_eq!(bytes, &content[slot * 5000..][..4096]);
                    seen += 1;
                    Ok(())
                });
                told.unwrap();
            }
        }
    }

    #[test]
    fn a_folder_or_an_empty_file_is_no_source() {
        let folder = tempfile::tempdir().unwrap();
        assert!(PathSource::new(folder.path(), 1).is_err());
        std::fs::write(folder.path().join("x"), "").unwrap();
        assert!(PathSource::new(&folder.path().join("x"), 1).is_err());
    }
}
