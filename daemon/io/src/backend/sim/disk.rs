//! The simulated disk itself: inodes with bytes or names, and the changes that can be made to it.
//!
//! Invariant: [`Disk::apply`] either makes a change whole or leaves the disk as it was. Not
//! promised: that inodes without a name are freed; a simulation is short.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::super::{Entry, Result};
use super::{Inode, Names};

/// What an inode holds.
#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Vec<u8>),
    Directory(BTreeMap<String, Inode>),
}

/// All inodes; the first is the root.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    nodes: BTreeMap<Inode, Node>,
    next: Inode,
}

const ROOT: Inode = 0;

impl Default for Disk {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Directory(BTreeMap::new()))]),
            next: ROOT + 1,
        }
    }
}

impl Disk {
    pub(super) fn add(&mut self, node: Node) -> Inode {
        let inode = self.next;
        self.insert(inode, node);
        inode
    }

    /// Puts a node at a number that another disk has given out.
    pub(super) fn insert(&mut self, inode: Inode, node: Node) {
        self.next = self.next.max(inode + 1);
        self.nodes.entry(inode).or_insert(node);
    }

    pub(super) fn node(&self, inode: Inode) -> Option<&Node> {
        self.nodes.get(&inode)
    }

    pub(super) fn is_directory(&self, inode: Inode) -> bool {
        matches!(self.node(inode), Some(Node::Directory(_)))
    }

    pub(super) fn find(&self, path: &str) -> Result<Inode> {
        let mut at = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = match self.node(at) {
                Some(Node::Directory(names)) => *names.get(name).ok_or(Errno::NOENT)?,
                Some(Node::File(_)) => return Err(Errno::NOTDIR),
                None => return Err(Errno::NOENT),
            };
        }
        Ok(at)
    }

    pub(super) fn directory(&self, path: &str) -> Result<Inode> {
        let inode = self.find(path)?;
        if self.is_directory(inode) {
            Ok(inode)
        } else {
            Err(Errno::NOTDIR)
        }
    }

    fn names(&self, directory: Inode) -> Option<&BTreeMap<String, Inode>> {
        match self.node(directory) {
            Some(Node::Directory(names)) => Some(names),
            Some(Node::File(_)) | None => None,
        }
    }

    fn names_mut(&mut self, directory: Inode) -> Result<&mut BTreeMap<String, Inode>> {
        match self.nodes.get_mut(&directory) {
            Some(Node::Directory(names)) => Ok(names),
            Some(Node::File(_)) => Err(Errno::NOTDIR),
            None => Err(Errno::NOENT),
        }
    }

    pub(super) fn entry(&self, directory: Inode, name: &str) -> Option<Inode> {
        self.names(directory)?.get(name).copied()
    }

    pub(super) fn entries(&self, directory: Inode) -> Vec<Entry> {
        let names = self.names(directory).into_iter().flatten();
        names
            .map(|(name, inode)| Entry {
                name: name.clone(),
                is_directory: self.is_directory(*inode),
            })
            .collect()
    }

    pub(super) fn links(&self, inode: Inode) -> u64 {
        let directories = self.nodes.keys().filter_map(|at| self.names(*at));
        directories
            .flat_map(BTreeMap::values)
            .filter(|at| **at == inode)
            .count() as u64
    }

    pub(super) fn bytes_of(&self, inode: Inode) -> Result<&Vec<u8>> {
        match self.node(inode) {
            Some(Node::File(bytes)) => Ok(bytes),
            Some(Node::Directory(_)) => Err(Errno::ISDIR),
            None => Err(Errno::STALE),
        }
    }

    /// Bytes of all files that have a name.
    pub(super) fn bytes(&self) -> u64 {
        let mut named: Vec<Inode> = self
            .nodes
            .keys()
            .filter_map(|at| self.names(*at))
            .flat_map(BTreeMap::values)
            .copied()
            .collect();
        named.sort_unstable();
        named.dedup();
        let lengths = named.iter().filter_map(|inode| self.bytes_of(*inode).ok());
        lengths.map(|bytes| bytes.len() as u64).sum()
    }

    pub(super) fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) {
        let (Ok(start), Some(Node::File(data))) =
            (usize::try_from(offset), self.nodes.get_mut(&inode))
        else {
            return;
        };
        let end = start + bytes.len();
        if data.len() < end {
            data.resize(end, 0);
        }
        if let Some(place) = data.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
    }

    pub(super) fn set_length(&mut self, inode: Inode, length: u64) {
        if let (Ok(length), Some(Node::File(data))) =
            (usize::try_from(length), self.nodes.get_mut(&inode))
        {
            data.resize(length, 0);
        }
    }

    /// Makes one change of names.
    ///
    /// # Errors
    /// What the system call of that name would report.
    pub(super) fn apply(&mut self, change: &Names) -> Result<()> {
        match change {
            Names::Add {
                directory,
                name,
                inode,
                is_directory,
            } => {
                let names = self.names_mut(*directory)?;
                if names.contains_key(name) {
                    return Err(Errno::EXIST);
                }
                names.insert(name.clone(), *inode);
                // On a disk after a crash the inode may not be known yet.
                let node = match is_directory {
                    true => Node::Directory(BTreeMap::new()),
                    false => Node::File(Vec::new()),
                };
                self.insert(*inode, node);
            }
            Names::Remove { directory, name } => {
                let removed = self.names_mut(*directory)?.remove(name);
                removed.ok_or(Errno::NOENT)?;
            }
            Names::Move { from, to } => self.relocate(from, to)?,
            Names::Exchange { one, other } => {
                let first = self.entry(one.0, &one.1).ok_or(Errno::NOENT)?;
                let second = self.entry(other.0, &other.1).ok_or(Errno::NOENT)?;
                self.names_mut(one.0)?.insert(one.1.clone(), second);
                self.names_mut(other.0)?.insert(other.1.clone(), first);
            }
        }
        Ok(())
    }

    fn relocate(&mut self, from: &(Inode, String), to: &(Inode, String)) -> Result<()> {
        let inode = self.entry(from.0, &from.1).ok_or(Errno::NOENT)?;
        let moves_directory = self.is_directory(inode);
        self.names(to.0).ok_or(Errno::NOENT)?;
        match self.entry(to.0, &to.1) {
            Some(old) if old == inode => return Ok(()),
            Some(old) if self.is_directory(old) => {
                if !moves_directory {
                    return Err(Errno::ISDIR);
                }
                if self.names(old).is_some_and(|names| !names.is_empty()) {
                    return Err(Errno::NOTEMPTY);
                }
            }
            Some(_) if moves_directory => return Err(Errno::NOTDIR),
            Some(_) | None => {}
        }
        self.names_mut(from.0)?.remove(&from.1);
        self.names_mut(to.0)?.insert(to.1.clone(), inode);
        Ok(())
    }
}
