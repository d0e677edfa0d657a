//! What one worker keeps hot: nodes by handle, names in directories, and who may use them.
//!
//! Both faces answer from here without a lock and, when hot, with one system call. A miss is
//! told as [`Hot::Cold`]; the face then runs the blocking call of the [`crate::Volume`] on a pool
//! thread and brings the result back with [`View::admit`] or [`View::grant`].
//!
//! Invariant: a right that was granted to an identity is used only while mode, owner and group
//! stay what they were when the kernel granted it, so a chmod or chown ends it at once; what
//! else may decide (an ACL) is asked again after [`GRANT_TICKS_MAX`] once the file has changed.
//! A cached name is used only if statx(2) of that name shows the same file. Not promised: that
//! the view holds a node that was admitted; it is a cache with a bound.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use towline_base::{Name, Recent};
use towline_io::OpenFile;
use towline_sys::identity::Identity;

use crate::attributes::{Attributes, Timestamp};
use crate::error::VolumeError;
use crate::export::{Export, Exports};
use crate::handle::FileHandle;
use crate::node::{FileIdentity, Node, Use};
use crate::volume::Pace;

/// Most nodes that one worker keeps open. Each holds up to three descriptors; with 16 workers
/// that is 98,304, below the 2^20 that systemd gives a service as hard limit.
pub const NODES_MAX: usize = 2048;

/// Most names that one worker remembers: about 150 bytes each, so 2.5 MB.
pub const NAMES_MAX: usize = 16_384;

/// Most identities per node whose rights are remembered; the oldest is forgotten first.
pub const GRANTS_MAX: usize = 8;

/// Ticks after which an unused node is closed, so that a deleted file's space comes back. At ten
/// ticks a second this is 5 s.
pub const IDLE_TICKS_MAX: u64 = 50;

/// Ticks for which a right holds after the file's change time has moved: every write moves it, so
/// a writer is asked for again once a second and not at every write.
pub const GRANT_TICKS_MAX: u64 = 10;

/// What a hot question gives: an answer, or the need to ask the volume on a pool thread.
#[derive(Debug)]
pub enum Hot<T> {
    /// The answer.
    Ready(T),
    /// Not in memory.
    Cold,
}

/// What a grant is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Right {
    /// Reading contents.
    Read,
    /// Writing contents.
    Write,
}

#[derive(Clone, Copy)]
struct Grant {
    who: Identity,
    right: Right,
    /// Mode, owner and group when the kernel said yes.
    owned: (u32, u32, u32),
    changed: Timestamp,
    tick: u64,
}

struct Entry {
    node: Arc<Node>,
    export: Arc<Export>,
    grants: Vec<Grant>,
    used: u64,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct NameKey {
    dir: FileHandle,
    name: Name,
}

/// The end of a handle is a MAC: it needs no further hashing, and no peer can choose it.
#[derive(Default)]
struct MacHasher(u64);

impl Hasher for MacHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a handle hashes as one u64");
    }

    fn write_u64(&mut self, tail: u64) {
        self.0 = tail;
    }
}

/// One worker's hot state over all exports.
pub struct View {
    exports: Arc<Exports>,
    nodes: HashMap<FileHandle, Entry, BuildHasherDefault<MacHasher>>,
    nodes_max: usize,
    names: Recent<NameKey, (FileIdentity, FileHandle)>,
    tick: u64,
}

/// A node with the export that it belongs to.
#[derive(Clone, Debug)]
pub struct Located {
    /// The node.
    pub node: Arc<Node>,
    /// Its export.
    pub export: Arc<Export>,
}

impl View {
    /// An empty view.
    #[must_use]
    pub fn new(exports: Arc<Exports>) -> Self {
        Self {
            exports,
            nodes: HashMap::default(),
            nodes_max: NODES_MAX,
            names: Recent::new(NAMES_MAX),
            tick: 0,
        }
    }

    /// The same with a lower bound of nodes, for processes that may open few files; at least two.
    #[must_use]
    pub fn holding(self, nodes_max: usize) -> Self {
        let nodes_max = nodes_max.clamp(2, NODES_MAX);
        Self { nodes_max, ..self }
    }

    /// All exports of the node.
    #[must_use]
    pub fn exports(&self) -> &Arc<Exports> {
        &self.exports
    }

    /// The node behind a handle, if it is open here. A hit needs no MAC: these very bytes were
    /// checked when the node came in.
    pub fn node(&mut self, handle: &FileHandle) -> Hot<Located> {
        let tick = self.tick;
        match self.nodes.get_mut(handle) {
            Some(entry) => {
                entry.used = tick;
                let (node, export) = (entry.node.clone(), entry.export.clone());
                Hot::Ready(Located { node, export })
            }
            None => Hot::Cold,
        }
    }

    /// The attributes of a node now. A node whose file is gone leaves the view.
    ///
    /// # Errors
    /// `Stale` if the file has no name any more, or the storage's error.
    pub fn attributes(&mut self, located: &Located) -> Result<Attributes, VolumeError> {
        let result = located.export.volume.attributes(&located.node);
        if result == Err(VolumeError::Stale) {
            self.nodes.remove(&located.node.handle);
        }
        result
    }

    /// The node called `name` in `dir`, from memory.
    ///
    /// # Errors
    /// The kernel's refusal for `who`, `NotFound` included.
    pub fn lookup(
        &mut self,
        dir: &Located,
        name: &Name,
        who: &Identity,
    ) -> Result<Hot<(FileHandle, Attributes)>, VolumeError> {
        let key = NameKey {
            dir: dir.node.handle,
            name: name.clone(),
        };
        let volume = &dir.export.volume;
        if let Some((identity, handle)) = self.names.get(&key) {
            match volume.peek(&dir.node, name, who) {
                Ok(seen) if FileIdentity::of(&seen) == *identity => {
                    return Ok(Hot::Ready((*handle, seen)));
                }
                Ok(_) => {}
                Err(error) => {
                    self.names.remove(&key);
                    return Err(error);
                }
            }
        }
        match volume.lookup(&dir.node, name, who, Pace::Cached) {
            Ok(node) => {
                let attributes = volume.attributes(&node)?;
                let found = (node.handle, attributes);
                self.remember(key, &node);
                self.admit(Located {
                    node,
                    export: dir.export.clone(),
                });
                Ok(Hot::Ready(found))
            }
            Err(VolumeError::WouldBlock) => Ok(Hot::Cold),
            Err(error) => Err(error),
        }
    }

    /// The open file of a node for `who`, if the kernel has granted that right and the file has
    /// not changed hands since. `attributes` are those of this moment.
    pub fn file(
        &mut self,
        node: &Node,
        attributes: &Attributes,
        who: &Identity,
        right: Right,
    ) -> Option<Arc<OpenFile>> {
        let entry = self.nodes.get(&node.handle)?;
        let granted = entry.grants.iter().any(|grant| {
            let fresh =
                grant.changed == attributes.changed || grant.tick + GRANT_TICKS_MAX >= self.tick;
            grant.right == right && grant.who == *who && grant.owned == owned(attributes) && fresh
        });
        let file = match right {
            Right::Read => entry.node.kept(Use::Reading),
            Right::Write => entry.node.kept(Use::Writing),
        };
        file.filter(|_| granted)
    }

    /// The open file of a node, for whom its right was judged elsewhere.
    #[must_use]
    pub fn opened(node: &Node, right: Right) -> Option<Arc<OpenFile>> {
        match right {
            Right::Read => node.kept(Use::Reading),
            Right::Write => node.kept(Use::Writing),
        }
    }

    /// Keeps a node that a pool thread opened.
    pub fn admit(&mut self, located: Located) {
        if self.nodes.len() >= self.nodes_max {
            self.evict_older_half();
        }
        let tick = self.tick;
        let handle = located.node.handle;
        self.nodes
            .entry(handle)
            .and_modify(|entry| entry.used = tick)
            .or_insert_with(|| {
                let Located { node, export } = located;
                Entry {
                    node,
                    export,
                    grants: Vec::new(),
                    used: tick,
                }
            });
    }

    /// Keeps a right that the kernel granted; `seen` are attributes read *before* it was asked.
    pub fn grant(&mut self, located: Located, who: &Identity, right: Right, seen: &Attributes) {
        let handle = located.node.handle;
        let (owned, changed, tick) = (owned(seen), seen.changed, self.tick);
        // The node that holds the freshly opened file replaces one that does not.
        let better = |entry: &Entry| match right {
            Right::Read => entry.node.kept(Use::Reading).is_none(),
            Right::Write => entry.node.kept(Use::Writing).is_none(),
        };
        if let Some(entry) = self.nodes.get_mut(&handle).filter(|entry| better(entry)) {
            entry.node = located.node.clone();
            entry.grants.clear();
        }
        self.admit(located);
        if let Some(entry) = self.nodes.get_mut(&handle) {
            entry
                .grants
                .retain(|grant| !(grant.who == *who && grant.right == right));
            if entry.grants.len() >= GRANTS_MAX {
                entry.grants.remove(0);
            }
            entry.grants.push(Grant {
                who: *who,
                right,
                owned,
                changed,
                tick,
            });
        }
    }

    /// Remembers that `name` in `dir` was `node`.
    pub fn learn(&mut self, dir: &Node, name: &Name, node: &Node) {
        self.remember(
            NameKey {
                dir: dir.handle,
                name: name.clone(),
            },
            node,
        );
    }

    /// Closes what has not been used for a while or is deleted. Called about ten times a second.
    pub fn tick(&mut self) {
        self.tick += 1;
        let oldest = self.tick.saturating_sub(IDLE_TICKS_MAX);
        if self.tick.is_multiple_of(10) {
            self.nodes.retain(|_, entry| {
                entry.used >= oldest && entry.export.volume.attributes(&entry.node).is_ok()
            });
        }
    }

    /// Nodes open at the moment, for the metrics.
    #[must_use]
    pub fn nodes_open(&self) -> usize {
        self.nodes.len()
    }

    fn remember(&mut self, key: NameKey, node: &Node) {
        self.names.insert(key, (node.identity, node.handle));
    }

    fn evict_older_half(&mut self) {
        let mut ages: Vec<u64> = self.nodes.values().map(|entry| entry.used).collect();
        let middle = ages.len() / 2;
        let (_, median, _) = ages.select_nth_unstable(middle);
        let median = *median;
        let mut surplus = middle;
        self.nodes.retain(|_, entry| {
            let old = entry.used < median || (entry.used == median && surplus > 0);
            surplus = surplus.saturating_sub(usize::from(old));
            !old
        });
    }
}

fn owned(attributes: &Attributes) -> (u32, u32, u32) {
    (attributes.mode, attributes.uid, attributes.gid)
}
