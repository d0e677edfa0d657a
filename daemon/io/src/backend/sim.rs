//! A machine that can lose power: a file system in memory that keeps a log of every change, and
//! builds from any prefix of it a disk as a crash at that point may have left it.
//!
//! Nothing that was not synced is promised to be there, or to be gone ([`Loss`]). Invariant: what
//! [`super::File::sync_data`] and [`super::Backend::sync_directory`] have answered before the
//! crash is on every disk built after it. A directory sync also keeps earlier changes of the very
//! names that its own changes are about; nothing else is kept by courtesy. Not
//! promised: bad sectors and lost flushes; see the fault switches for errors that are reported.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{Backend, Entry, File, Kind, Lock, Metadata, Open, Result, Space, split};

mod disk;
mod loss;

use disk::{Disk, Node};
pub use loss::{Crashes, Loss};

/// Number of a file or directory in one simulation.
type Inode = usize;

/// Block size with which a simulated reflink is judged, in bytes.
const BLOCK_BYTES: u64 = 4_096;

/// One change, as it was asked for.
#[derive(Clone, Debug)]
enum Change {
    Write {
        inode: Inode,
        offset: u64,
        bytes: Arc<[u8]>,
    },
    SetLength {
        inode: Inode,
        length: u64,
    },
    SyncFile(Inode),
    Names(Names),
    SyncDirectory(Inode),
    SyncEverything,
    /// One that was counted and refused: it keeps the log in step with the count.
    Refused,
}

/// A change of names, with the directories that it touches.
#[derive(Clone, Debug)]
enum Names {
    Add {
        directory: Inode,
        name: String,
        inode: Inode,
        is_directory: bool,
    },
    Remove {
        directory: Inode,
        name: String,
    },
    Move {
        from: (Inode, String),
        to: (Inode, String),
    },
    Exchange {
        one: (Inode, String),
        other: (Inode, String),
    },
}

/// What shall go wrong, counted in changes from the start of the simulation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The change with this number fails with this error, and only this one.
    pub fail_at: Option<(usize, Errno)>,
    /// From this change on the machine is dead: every call fails with `IO`.
    pub dead_from: Option<usize>,
    /// Bytes of file contents that the disk holds in all; `None`: no limit.
    pub capacity: Option<u64>,
    /// Whether blocks can be shared between files.
    pub reflink: bool,
}

#[derive(Debug)]
struct State {
    /// The disk at the start of the log.
    base: Disk,
    disk: Disk,
    log: Vec<Change>,
    changes: usize,
    faults: Faults,
    locks: BTreeSet<String>,
    opened: BTreeSet<String>,
}

/// A simulated machine. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct Sim {
    state: Arc<Mutex<State>>,
}

impl Default for Sim {
    fn default() -> Self {
        Self::on(Disk::default())
    }
}

impl Sim {
    /// A machine with an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn on(disk: Disk) -> Self {
        let state = State {
            base: disk.clone(),
            disk,
            log: Vec::new(),
            changes: 0,
            faults: Faults::default(),
            locks: BTreeSet::new(),
            opened: BTreeSet::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Another machine with the same disk, on which everything is durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self::on(self.state().disk.clone())
    }

    /// Says what shall go wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Changes asked for so far: the boundaries at which power can go.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.state().changes
    }

    /// Marks a path as opened by somebody, or not any more.
    pub fn set_open(&self, path: &str, open: bool) {
        let mut state = self.state();
        if open {
            state.opened.insert(path.to_owned());
        } else {
            state.opened.remove(path);
        }
    }

    /// Every disk that a crash at some point of the log so far may have left.
    #[must_use]
    pub fn crashes(&self) -> Crashes {
        let state = self.state();
        Crashes::new(state.base.clone(), state.log.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a change and lets it fail where a fault says so.
    fn change(&mut self) -> Result<()> {
        let number = self.changes;
        self.changes += 1;
        if self.faults.dead_from.is_some_and(|from| number >= from) {
            return Err(Errno::IO);
        }
        match self.faults.fail_at {
            Some((at, errno)) if at == number => Err(errno),
            _ => Ok(()),
        }
    }

    fn alive(&self) -> Result<()> {
        match self.faults.dead_from {
            Some(from) if self.changes > from => Err(Errno::IO),
            _ => Ok(()),
        }
    }

    fn names(&mut self, names: Names) -> Result<()> {
        self.change()?;
        let outcome = self.disk.apply(&names);
        self.log.push(match outcome {
            Ok(()) => Change::Names(names),
            Err(_) => Change::Refused,
        });
        outcome
    }

    fn place(&self, path: &str) -> Result<(Inode, String)> {
        let (directory, name) = split(path);
        if matches!(name, "" | "." | "..") {
            return Err(Errno::INVAL);
        }
        Ok((self.disk.directory(directory)?, name.to_owned()))
    }
}

impl Backend for Sim {
    fn open(&self, path: &str, how: Open) -> Result<Arc<dyn File>> {
        let mut state = self.state();
        state.alive()?;
        let inode = match how {
            Open::Read | Open::Write => state.disk.find(path)?,
            Open::Create | Open::CreateLong => {
                let (directory, name) = state.place(path)?;
                if state.disk.entry(directory, &name).is_some() {
                    return Err(Errno::EXIST);
                }
                let inode = state.disk.add(Node::File(Vec::new()));
                state.names(Names::Add {
                    directory,
                    name,
                    inode,
                    is_directory: false,
                })?;
                inode
            }
        };
        if !matches!(state.disk.node(inode), Some(Node::File(_))) {
            return Err(Errno::ISDIR);
        }
        Ok(Arc::new(SimFile {
            sim: self.clone(),
            inode,
            condemned: AtomicBool::new(false),
            writes: how != Open::Read,
        }))
    }

    fn metadata(&self, path: &str) -> Result<Metadata> {
        let state = self.state();
        state.alive()?;
        let inode = state.disk.find(path)?;
        let (kind, length) = match state.disk.node(inode) {
            Some(Node::File(bytes)) => (Kind::File, bytes.len() as u64),
            Some(Node::Directory(_)) => (Kind::Directory, 0),
            None => return Err(Errno::NOENT),
        };
        Ok(Metadata {
            kind,
            length,
            inode: inode as u64,
            links: state.disk.links(inode),
            allocated: length,
            accessed: 0,
        })
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let state = self.state();
        state.alive()?;
        let directory = state.disk.directory(path)?;
        Ok(state.disk.entries(directory))
    }

    fn make_directory(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        let (directory, name) = state.place(path)?;
        if state.disk.entry(directory, &name).is_some() {
            return Err(Errno::EXIST);
        }
        let inode = state.disk.add(Node::Directory(Default::default()));
        state.names(Names::Add {
            directory,
            name,
            inode,
            is_directory: true,
        })
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        let mut state = self.state();
        let inode = state.disk.find(from)?;
        let (directory, name) = state.place(to)?;
        if state.disk.entry(directory, &name).is_some() {
            return Err(Errno::EXIST);
        }
        if !matches!(state.disk.node(inode), Some(Node::File(_))) {
            return Err(Errno::PERM);
        }
        state.names(Names::Add {
            directory,
            name,
            inode,
            is_directory: false,
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut state = self.state();
        let (from, to) = (state.place(from)?, state.place(to)?);
        state.names(Names::Move { from, to })
    }

    fn exchange(&self, one: &str, other: &str) -> Result<()> {
        let mut state = self.state();
        let (one, other) = (state.place(one)?, state.place(other)?);
        state.names(Names::Exchange { one, other })
    }

    fn remove_file(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        let inode = state.disk.find(path)?;
        if matches!(state.disk.node(inode), Some(Node::Directory(_))) {
            return Err(Errno::ISDIR);
        }
        let (directory, name) = state.place(path)?;
        state.names(Names::Remove { directory, name })
    }

    fn remove_directory(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        let inode = state.disk.directory(path)?;
        if !state.disk.entries(inode).is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        let (directory, name) = state.place(path)?;
        state.names(Names::Remove { directory, name })
    }

    fn sync_directory(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        let inode = state.disk.directory(path)?;
        state.change()?;
        state.log.push(Change::SyncDirectory(inode));
        Ok(())
    }

    fn sync_everything(&self) -> Result<()> {
        let mut state = self.state();
        state.change()?;
        state.log.push(Change::SyncEverything);
        Ok(())
    }

    fn lock(&self, path: &str) -> Result<Lock> {
        let mut state = self.state();
        state.alive()?;
        if !state.locks.insert(path.to_owned()) {
            return Err(Errno::WOULDBLOCK);
        }
        Ok(Box::new(SimLock {
            sim: self.clone(),
            path: path.to_owned(),
        }))
    }

    fn space(&self) -> Result<Space> {
        let state = self.state();
        state.alive()?;
        let total = state.faults.capacity.unwrap_or(1 << 50);
        Ok(Space {
            free: total.saturating_sub(state.disk.bytes()),
            total,
        })
    }

    fn is_open(&self, path: &str) -> Result<bool> {
        let state = self.state();
        state.disk.find(path)?;
        Ok(state.opened.contains(path))
    }
}

#[derive(Debug)]
struct SimLock {
    sim: Sim,
    path: String,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.sim.state().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct SimFile {
    sim: Sim,
    inode: Inode,
    condemned: AtomicBool,
    writes: bool,
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let state = self.sim.state();
        state.alive()?;
        let bytes = state.disk.bytes_of(self.inode)?;
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let found = bytes.get(from..).unwrap_or(&[]);
        let count = found.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(found) {
            *to = *from;
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        if !self.writes {
            return Err(Errno::BADF);
        }
        let mut state = self.sim.state();
        state.change()?;
        let end = offset + bytes.len() as u64;
        let grows = end.saturating_sub(state.disk.bytes_of(self.inode)?.len() as u64);
        if let Some(capacity) = state.faults.capacity
            && state.disk.bytes() + grows > capacity
        {
            return Err(Errno::NOSPC);
        }
        state.disk.write(self.inode, offset, bytes);
        state.log.push(Change::Write {
            inode: self.inode,
            offset,
            bytes: bytes.into(),
        });
        Ok(())
    }

    fn length(&self) -> Result<u64> {
        let state = self.sim.state();
        state.alive()?;
        Ok(state.disk.bytes_of(self.inode)?.len() as u64)
    }

    fn set_length(&self, length: u64) -> Result<()> {
        if !self.writes {
            return Err(Errno::INVAL);
        }
        let mut state = self.sim.state();
        state.change()?;
        state.disk.set_length(self.inode, length);
        state.log.push(Change::SetLength {
            inode: self.inode,
            length,
        });
        Ok(())
    }

    fn reserve(&self, length: u64) -> Result<()> {
        let state = self.sim.state();
        state.alive()?;
        let grows = length.saturating_sub(state.disk.bytes_of(self.inode)?.len() as u64);
        match state.faults.capacity {
            Some(capacity) if state.disk.bytes() + grows > capacity => Err(Errno::NOSPC),
            _ => Ok(()),
        }
    }

    fn sync_data(&self) -> Result<()> {
        if self.condemned.load(Ordering::Acquire) {
            return Err(Errno::IO);
        }
        let mut state = self.sim.state();
        if let Err(error) = state.change() {
            self.condemned.store(true, Ordering::Release);
            return Err(error);
        }
        state.log.push(Change::SyncFile(self.inode));
        Ok(())
    }

    fn start_writing(&self, _: u64, _: u64) {}

    fn make_read_only(&self) -> Result<()> {
        self.sim.state().alive()
    }

    fn clone_range(&self, other: &dyn File, from: u64, to: u64, length: u64) -> Result<()> {
        let other = other.as_any().downcast_ref::<Self>().ok_or(Errno::XDEV)?;
        let bytes = {
            let state = self.sim.state();
            if !state.faults.reflink {
                return Err(Errno::OPNOTSUPP);
            }
            if [from, to, length]
                .iter()
                .any(|at| !at.is_multiple_of(BLOCK_BYTES))
            {
                return Err(Errno::INVAL);
            }
            let start = usize::try_from(from).map_err(|_| Errno::INVAL)?;
            let end = usize::try_from(from + length).map_err(|_| Errno::INVAL)?;
            let bytes = state.disk.bytes_of(other.inode)?;
            bytes.get(start..end).ok_or(Errno::INVAL)?.to_vec()
        };
        self.write_at(&bytes, to)
    }

    fn clone_whole(&self, other: &dyn File) -> Result<()> {
        let other = other.as_any().downcast_ref::<Self>().ok_or(Errno::XDEV)?;
        let bytes = {
            let state = self.sim.state();
            if !state.faults.reflink {
                return Err(Errno::OPNOTSUPP);
            }
            state.disk.bytes_of(other.inode)?.to_vec()
        };
        self.write_at(&bytes, 0)
    }

    fn next_data(&self, offset: u64) -> Result<Option<(u64, u64)>> {
        let length = self.length()?;
        Ok((offset < length).then_some((offset, length)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests;
