//! A volume that is an ordinary directory: stop the node and the data is still there as files.
//!
//! Names are resolved one component at a time beneath the root (openat2(2) with RESOLVE_BENEATH,
//! NO_SYMLINKS, NO_MAGICLINKS, NO_XDEV); what is open is known by descriptor from then on, so a
//! rename by somebody else changes nothing. Invariant: every method assumes an identity before it
//! touches a file. Not promised: that a mount point inside the directory can be entered; give it
//! a volume of its own.

mod changes;
mod condemned;
mod creating;
mod ground;
mod index;
mod list;
mod present;
mod setting;
mod upload;
mod usage;
mod xattr;

use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;
use towline_base::Name;
use towline_io::{Gate, OpenFile};
use towline_sys::files;
use towline_sys::identity::{Identity, assume, assume_daemon};

use crate::attributes::{Attributes, FileKind, Space};
use crate::error::VolumeError;
use crate::handle::{FileHandle, HandleKeys, VolumeId};
use crate::node::{FileIdentity, Node, Use};
use crate::private::Private;
use crate::volume::{Access, Detail, DirEntry, Pace, Result, Volume, WritableVolume};

use changes::Changes;
use ground::{Ground, proc_path};
pub(crate) use upload::TEMPORARY_PREFIX;

/// How a tree may be changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writing {
    /// Not at all (models).
    ReadOnly,
    /// Changes are on stable storage when they are acknowledged (projects).
    Synchronous,
    /// Changes are written back by the kernel in its own time (caches).
    Asynchronous,
}

/// A directory tree as a volume.
#[derive(Debug)]
pub struct Tree {
    ground: Arc<Ground>,
    changes: Option<Changes>,
    gates: Option<Arc<dyn Gates>>,
    private: Option<Arc<Private>>,
}

/// Knows which files of a volume are still on their way here.
pub trait Gates: std::fmt::Debug + Send + Sync {
    /// The gate of a file; `None`: all of it is here.
    fn gate(&self, file: &FileIdentity) -> Option<Arc<dyn Gate>>;
}

/// What lies at the root of a read-only volume for the node alone: the inner side of a store of
/// models. Clients do not see it and cannot enter it.
pub const HIDDEN: &str = ".towline";

impl Tree {
    /// Opens the directory at `root` as the volume `id`. `size_max` bounds what FSSTAT shows.
    ///
    /// # Errors
    /// The operating system's error: the directory is not there or may not be opened.
    pub fn open(
        root: &Path,
        id: VolumeId,
        keys: HandleKeys,
        writing: Writing,
        size_max: Option<u64>,
    ) -> Result<Self> {
        // Files of a volume that is only read are published whole and never written into.
        let by_contents = writing == Writing::ReadOnly;
        let ground = Arc::new(Ground::open(root, id, keys, (size_max, by_contents))?);
        let changes = match writing {
            Writing::ReadOnly => None,
            Writing::Synchronous => Some(Changes::new(ground.clone(), true)),
            Writing::Asynchronous => Some(Changes::new(ground.clone(), false)),
        };
        Ok(Self {
            ground,
            changes,
            gates: None,
            private: None,
        })
    }

    /// The same volume, of whose files some may be still on their way here.
    #[must_use]
    pub fn with_gates(self, gates: Arc<dyn Gates>) -> Self {
        Self {
            gates: Some(gates),
            ..self
        }
    }

    /// The same files, read-only and without the private ones: nobody sees, enters or opens them by
    /// name. Handles of one volume are those of the other, so what is hidden must never have been
    /// given out under this volume's id.
    #[must_use]
    pub fn hiding(&self, private: Arc<Private>) -> Self {
        Self {
            ground: self.ground.clone(),
            changes: None,
            gates: self.gates.clone(),
            private: Some(private),
        }
    }

    /// Refuses names that no client sees. `dir`: where it stands.
    fn refuse_hidden(&self, dir: &Node, name: &Name) -> Result<()> {
        let is_root = dir.identity == self.ground.root().identity;
        if self.changes.is_none() && name.as_bytes() == HIDDEN.as_bytes() && is_root {
            return Err(VolumeError::NotFound);
        }
        let Some(private) = &self.private else {
            return Ok(());
        };
        let mut names = match self.divided(private, dir)? {
            Some(above) => above,
            None if is_root => Vec::new(),
            None => return Ok(()),
        };
        names.push(name.clone());
        if private.hides(&names) {
            return Err(VolumeError::NotFound);
        }
        Ok(())
    }

    /// The same for a whole path.
    fn refuse_hidden_path(&self, path: &[Name]) -> Result<()> {
        let first = path.first().map(Name::as_bytes);
        let is_inner = self.changes.is_none() && first == Some(HIDDEN.as_bytes());
        let is_private = self.private.as_ref().is_some_and(|rules| rules.hides(path));
        if is_inner || is_private {
            return Err(VolumeError::NotFound);
        }
        Ok(())
    }

    /// The names of a directory, from the top, in which some models are private and others are
    /// not. There are a few for each rule that names part of an organisation: few.
    fn divided(&self, private: &Private, dir: &Node) -> Result<Option<Vec<Name>>> {
        for path in private.divided() {
            let names = path.split('/').map(|name| Name::new(name.as_bytes()).ok());
            let Some(names) = names.collect::<Option<Vec<Name>>>() else {
                continue;
            };
            // Whatever the caller may see of the root, the rule holds.
            assume_daemon()?;
            match ground::attributes_below(self.ground.root().as_path()?, &path) {
                Ok(seen) if FileIdentity::of(&seen) == dir.identity => return Ok(Some(names)),
                Ok(_) | Err(VolumeError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Volume for Tree {
    fn root(&self) -> Result<Arc<Node>> {
        Ok(self.ground.root())
    }

    fn resolve(&self, handle: &FileHandle) -> Result<Arc<Node>> {
        self.ground.resolve(handle)
    }

    fn lookup(&self, dir: &Node, name: &Name, who: &Identity, pace: Pace) -> Result<Arc<Node>> {
        self.refuse_hidden(dir, name)?;
        assume(who)?;
        self.ground.enter(dir, name, pace)
    }

    fn peek(&self, dir: &Node, name: &Name, who: &Identity) -> Result<Attributes> {
        self.refuse_hidden(dir, name)?;
        assume(who)?;
        ground::attributes_at(dir.as_path()?, name)
    }

    fn parent(&self, dir: &Node, who: &Identity) -> Result<Arc<Node>> {
        assume(who)?;
        self.ground.parent(dir)
    }

    fn walk(&self, path: &[Name], who: &Identity, pace: Pace) -> Result<Arc<Node>> {
        self.refuse_hidden_path(path)?;
        assume(who)?;
        self.ground.walk(path, pace)
    }

    fn peek_path(&self, path: &[Name], who: &Identity) -> Result<Attributes> {
        self.refuse_hidden_path(path)?;
        assume(who)?;
        self.ground.peek_path(path)
    }

    fn attributes(&self, node: &Node) -> Result<Attributes> {
        node.attributes()
    }

    fn access(&self, node: &Node, who: &Identity, asked: Access) -> Result<Access> {
        assume(who)?;
        let path = node.as_path()?;
        let may = |wanted: bool, mode: i32| wanted && files::access(&path, mode).is_ok();
        // R_OK, W_OK and X_OK of access(2).
        let (read, write, execute) = (4, 2, 1);
        Ok(Access {
            read: may(asked.read, read),
            write: self.changes.is_some() && may(asked.write, write),
            execute: may(asked.execute, execute),
        })
    }

    fn open_read(&self, node: &Node, who: &Identity) -> Result<Arc<OpenFile>> {
        let gates = self.gates.as_ref();
        let gate = gates.and_then(|gates| gates.gate(&node.identity));
        open_file(node, who, OFlags::RDONLY, gate)
    }

    fn read_link(&self, node: &Node, who: &Identity) -> Result<Vec<u8>> {
        if node.kind != FileKind::Symlink {
            return Err(VolumeError::Invalid);
        }
        assume(who)?;
        let target = rustix::fs::readlinkat(node.as_path()?, c"", Vec::new())?;
        Ok(target.into_bytes())
    }

    fn read_dir(
        &self,
        dir: &Node,
        who: &Identity,
        cookie: u64,
        detail: Detail,
        visit: &mut dyn FnMut(&DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<bool> {
        let is_root = dir.identity == self.ground.root().identity;
        let above: Option<Vec<Name>> = match &self.private {
            None => None,
            Some(_) if is_root => Some(Vec::new()),
            Some(private) => self.divided(private, dir)?,
        };
        let is_hidden = |name: &[u8]| {
            let is_inner = is_root && self.changes.is_none() && name == HIDDEN.as_bytes();
            let dots = name == b"." || name == b"..";
            let rules = self.private.as_ref().zip(above.as_ref()).filter(|_| !dots);
            let is_private = rules.is_some_and(|(private, above)| {
                let subject = private.entry(above, name);
                subject.is_some_and(|subject| private.covers(&subject))
            });
            is_inner || is_private
        };
        assume(who)?;
        list::read_dir(&self.ground, dir, cookie, detail, &mut |entry| {
            if is_hidden(entry.name) {
                return ControlFlow::Continue(());
            }
            visit(entry)
        })
    }

    fn xattr(&self, node: &Node, who: &Identity, name: &[u8]) -> Result<Option<Vec<u8>>> {
        xattr::get(node, who, name)
    }

    fn xattrs(&self, node: &Node, who: &Identity) -> Result<Vec<Vec<u8>>> {
        xattr::list(node, who)
    }

    fn space(&self) -> Result<Space> {
        self.ground.space()
    }

    fn writable(&self) -> Option<&dyn WritableVolume> {
        self.changes
            .as_ref()
            .map(|changes| changes as &dyn WritableVolume)
    }
}

/// Opens a regular file for `who`. The owner may always read and write, whatever the mode says,
/// and who may execute may read: a client checks at open time only, and a server that is stricter
/// breaks `open(..., O_CREAT, 0444)` followed by a write (RFC 1813 section 4.4).
fn open_file(
    node: &Node,
    who: &Identity,
    flags: OFlags,
    gate: Option<Arc<dyn Gate>>,
) -> Result<Arc<OpenFile>> {
    match node.kind {
        FileKind::Regular => {}
        FileKind::Directory => return Err(VolumeError::IsDirectory),
        FileKind::Symlink
        | FileKind::Block
        | FileKind::Character
        | FileKind::Fifo
        | FileKind::Socket => return Err(VolumeError::WrongType),
    }
    let is_writing = flags.contains(OFlags::WRONLY) || flags.contains(OFlags::RDWR);
    let purpose = if is_writing {
        Use::Writing
    } else {
        Use::Reading
    };
    assume(who)?;
    let mode = if is_writing { 2 } else { 4 };
    match files::access(node.as_path()?, mode) {
        Ok(()) => {}
        Err(Errno::ACCESS) if may_override(node, who, is_writing)? => {}
        Err(error) => return Err(error.into()),
    }
    if let Some(file) = node.kept(purpose) {
        return Ok(file);
    }
    assume_daemon()?;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    let path = node.as_path()?;
    let opened = rustix::fs::open(proc_path(&path), flags, rustix::fs::Mode::empty());
    let file = Arc::new(OpenFile::new(File::from(opened?)).behind(gate));
    Ok(node.keep(purpose, file))
}

fn may_override(node: &Node, who: &Identity, is_writing: bool) -> Result<bool> {
    let attributes = node.attributes()?;
    let execute = 1;
    Ok(attributes.uid == who.uid
        || (!is_writing && files::access(node.as_path()?, execute).is_ok()))
}

/// A descriptor to fsync the node with; `O_PATH` descriptors cannot.
fn open_for_sync(node: &Node) -> Result<Arc<OpenFile>> {
    for purpose in [Use::Writing, Use::Syncing, Use::Reading] {
        if let Some(file) = node.kept(purpose) {
            return Ok(file);
        }
    }
    assume_daemon()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let path = node.as_path()?;
    let opened = rustix::fs::open(proc_path(&path), flags, rustix::fs::Mode::empty())?;
    let file = Arc::new(OpenFile::new(File::from(opened)));
    Ok(node.keep(Use::Syncing, file))
}

fn statx_at(dir: impl AsFd, name: &[u8], flags: AtFlags) -> Result<Attributes> {
    use rustix::fs::StatxFlags;
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let statx = rustix::fs::statx(dir, name, flags | AtFlags::SYMLINK_NOFOLLOW, mask)?;
    Ok(Attributes::from_statx(&statx))
}
