//! The writing half of a tree.
//!
//! A change of a directory runs under that directory's lock, so that the attributes before and
//! after it belong together (RFC 1813 section 2.6, weak cache consistency), and is synced before
//! it is acknowledged if the tree is synchronous: the directory always, because a file whose name
//! is lost is lost. Invariant: a file whose fsync failed once never syncs successfully again
//! while the node runs ([`super::condemned`]). Not promised: that
//! other programs of the host do not change a directory between before and after.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Dev, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use towline_base::Name;
use towline_io::OpenFile;
use towline_sys::identity::{Identity, assume};

use crate::attributes::{Attributes, FileKind, Guard, SetAttributes, Wcc};
use crate::error::VolumeError;
use crate::node::{FileIdentity, Node};
use crate::volume::{
    Created, How, Pace, Result, Special, Upload, WritableVolume, XattrHow, XattrSet,
};

use super::condemned::Condemned;
use super::ground::{Ground, attributes_at, proc_path};
use super::{creating, list, open_file, open_for_sync, setting, statx_at, upload, xattr};

/// Locks for directories, chosen by inode number. More would only cost memory: two changes that
/// meet on one lock wait some microseconds for each other.
const LOCKS: usize = 256;

const DIR_MODE_DEFAULT: u32 = 0o755;

/// The writing half of one tree.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) ground: Arc<Ground>,
    is_synchronous: bool,
    locks: Box<[Mutex<()>]>,
    condemned: Condemned,
}

impl Changes {
    pub(super) fn new(ground: Arc<Ground>, is_synchronous: bool) -> Self {
        let locks = (0..LOCKS).map(|_| Mutex::new(())).collect();
        Self {
            ground,
            is_synchronous,
            locks,
            condemned: Condemned::default(),
        }
    }

    fn lock_index(node: &Node) -> usize {
        (node.identity.file_id % LOCKS as u64) as usize
    }

    fn lock(&self, index: usize) -> Option<MutexGuard<'_, ()>> {
        Some(
            self.locks
                .get(index)?
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Runs a change of `dir` as `who` and reports the directory before and after.
    pub(super) fn change<T>(
        &self,
        dir: &Node,
        who: &Identity,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Wcc)> {
        if dir.kind != FileKind::Directory {
            return Err(VolumeError::NotDirectory);
        }
        let result = {
            let _held = self.lock(Self::lock_index(dir));
            let before = dir.attributes()?;
            assume(who)?;
            let value = act()?;
            self.ground.changes.count(&dir.identity);
            let after = dir.attributes().ok();
            (
                value,
                Wcc {
                    before: Some(before),
                    after,
                },
            )
        };
        if self.is_synchronous {
            self.sync_always(dir)?;
        }
        Ok(result)
    }

    /// Runs a change of `node` itself and reports it before and after.
    fn alter<T>(&self, node: &Node, act: impl FnOnce() -> Result<T>) -> Result<(T, Wcc)> {
        let altered = {
            let _held = self.lock(Self::lock_index(node));
            let before = Some(node.attributes()?);
            let value = act()?;
            self.ground.changes.count(&node.identity);
            let after = node.attributes().ok();
            (value, Wcc { before, after })
        };
        self.sync(node)?;
        Ok(altered)
    }

    /// Syncs whatever the tree's kind is; a first failure is the last word on that file.
    pub(super) fn sync_always(&self, node: &Node) -> Result<()> {
        if !matches!(node.kind, FileKind::Regular | FileKind::Directory) {
            return Ok(());
        }
        self.condemned.check(&node.identity)?;
        let file = open_for_sync(node)?;
        self.condemned.sync(self.ground.id, node.identity, &*file)
    }

    /// Makes the bytes of an upload durable. One that cannot be loses what has arrived, because
    /// nobody knows any more which of its bytes the disk has: the client begins anew.
    fn sync_upload(&self, upload: &Upload, who: &Identity) -> Result<()> {
        let identity = upload::identity(upload)?;
        let synced = self.condemned.sync(self.ground.id, identity, &*upload.file);
        if synced.is_err()
            && let Err(error) = self.abandon(upload, who)
        {
            let volume = self.ground.id.0;
            tracing::warn!(volume, %error, "an upload that could not be made durable stays");
        }
        synced
    }

    /// Opens what was just made, gives it its attributes, and syncs it.
    fn finish(
        &self,
        dir: &Node,
        name: &Name,
        who: &Identity,
        set: &SetAttributes,
    ) -> Result<Arc<Node>> {
        let node = self.ground.enter(dir, name, Pace::Blocking)?;
        setting::apply(&node, who, &creating::at_birth(set, who))?;
        Ok(node)
    }

    fn created(&self, (node, dir): (Arc<Node>, Wcc)) -> Result<Created> {
        if self.is_synchronous {
            self.sync_always(&node)?;
        }
        let attributes = node.attributes()?;
        Ok(Created {
            node,
            attributes,
            dir,
        })
    }
}

impl WritableVolume for Changes {
    fn open_write(&self, node: &Node, who: &Identity) -> Result<Arc<OpenFile>> {
        open_file(node, who, OFlags::WRONLY, None)
    }

    fn sync(&self, node: &Node) -> Result<()> {
        if self.is_synchronous {
            self.sync_always(node)
        } else {
            Ok(())
        }
    }

    fn is_synchronous(&self) -> bool {
        self.is_synchronous
    }

    fn set_xattr(
        &self,
        node: &Node,
        who: &Identity,
        pair: (&[u8], &[u8]),
        how: XattrHow,
    ) -> Result<(XattrSet, Wcc)> {
        self.alter(node, || xattr::set(node, who, pair, how))
    }

    fn remove_xattr(&self, node: &Node, who: &Identity, name: &[u8]) -> Result<(bool, Wcc)> {
        self.alter(node, || xattr::remove(node, who, name))
    }

    fn written(&self, node: &Node) {
        self.ground.changes.count(&node.identity);
    }

    fn set_attributes(
        &self,
        node: &Node,
        who: &Identity,
        changes: &SetAttributes,
        guard: Guard,
    ) -> Result<Wcc> {
        let wcc = {
            let _held = self.lock(Self::lock_index(node));
            let before = node.attributes()?;
            if guard.is_some_and(|time| time != before.changed) {
                return Err(VolumeError::GuardFailed);
            }
            let applied = setting::apply(node, who, changes);
            // Some of it may have been done even where the whole failed.
            self.ground.changes.count(&node.identity);
            applied?;
            Wcc {
                before: Some(before),
                after: node.attributes().ok(),
            }
        };
        self.sync(node)?;
        Ok(wcc)
    }

    fn create(&self, dir: &Node, name: &Name, who: &Identity, how: &How) -> Result<Created> {
        let ground = &self.ground;
        let made = self.change(dir, who, || match how {
            How::Unchecked(set) => creating::unchecked(ground, dir, name, who, set),
            How::Guarded(set) => creating::guarded(ground, dir, name, who, set),
            How::Exclusive(verifier, set) => {
                creating::exclusive(ground, dir, name, who, (verifier, set))
            }
        })?;
        self.created(made)
    }

    fn make_dir(
        &self,
        dir: &Node,
        name: &Name,
        who: &Identity,
        set: &SetAttributes,
    ) -> Result<Created> {
        let made = self.change(dir, who, || {
            let mode = Mode::from_raw_mode(set.mode.unwrap_or(DIR_MODE_DEFAULT) & 0o7777);
            rustix::fs::mkdirat(dir.as_path()?, name.as_bytes(), mode)?;
            // mkdir(2) takes no set-gid bit; the others were given at birth.
            let rest = set.mode.filter(|mode| mode & 0o6000 != 0);
            self.finish(
                dir,
                name,
                who,
                &SetAttributes {
                    mode: rest,
                    size: None,
                    ..*set
                },
            )
        })?;
        self.created(made)
    }

    fn make_symlink(
        &self,
        dir: &Node,
        name: &Name,
        who: &Identity,
        target: &[u8],
        set: &SetAttributes,
    ) -> Result<Created> {
        let target = CString::new(target).map_err(|_| VolumeError::Invalid)?;
        let made = self.change(dir, who, || {
            rustix::fs::symlinkat(&target, dir.as_path()?, name.as_bytes())?;
            self.finish(
                dir,
                name,
                who,
                &SetAttributes {
                    mode: None,
                    size: None,
                    ..*set
                },
            )
        })?;
        self.created(made)
    }

    fn make_special(
        &self,
        dir: &Node,
        name: &Name,
        who: &Identity,
        special: Special,
        set: &SetAttributes,
    ) -> Result<Created> {
        let (kind, device): (FileType, Dev) = match special {
            Special::Fifo => (FileType::Fifo, 0),
            Special::Socket => (FileType::Socket, 0),
            Special::Character(major, minor) => (FileType::CharacterDevice, makedev(major, minor)),
            Special::Block(major, minor) => (FileType::BlockDevice, makedev(major, minor)),
        };
        let made = self.change(dir, who, || {
            let mode =
                Mode::from_raw_mode(set.mode.unwrap_or(creating::FILE_MODE_DEFAULT) & 0o7777);
            rustix::fs::mknodat(dir.as_path()?, name.as_bytes(), kind, mode, device)?;
            self.finish(
                dir,
                name,
                who,
                &SetAttributes {
                    mode: None,
                    size: None,
                    ..*set
                },
            )
        })?;
        self.created(made)
    }

    fn remove(&self, dir: &Node, name: &Name, who: &Identity) -> Result<Wcc> {
        let unlink = || {
            let dir = dir.as_path()?;
            let gone = attributes_at(dir.as_fd(), name).ok();
            rustix::fs::unlinkat(&dir, name.as_bytes(), AtFlags::empty())?;
            if let Some(gone) = &gone {
                self.ground.changes.count(&FileIdentity::of(gone));
            }
            Ok(gone)
        };
        // Before the answer: who removes a file may count on its room.
        self.change(dir, who, unlink).map(|(gone, wcc)| {
            self.ground.let_go(gone);
            wcc
        })
    }

    fn remove_dir(&self, dir: &Node, name: &Name, who: &Identity) -> Result<Wcc> {
        let flags = AtFlags::REMOVEDIR;
        let unlink = || {
            let above = dir.as_path()?;
            match rustix::fs::unlinkat(&above, name.as_bytes(), flags) {
                // What no listing shows must not keep a directory that its owner sees empty.
                Err(Errno::NOTEMPTY) if list::remove_leftovers(above.as_fd(), name)? => {
                    Ok(rustix::fs::unlinkat(&above, name.as_bytes(), flags)?)
                }
                other => Ok(other?),
            }
        };
        self.change(dir, who, unlink).map(|((), wcc)| wcc)
    }

    fn rename(
        &self,
        from: (&Node, &Name),
        to: (&Node, &Name),
        who: &Identity,
    ) -> Result<(Wcc, Wcc)> {
        let (from_dir, from_name) = from;
        let (to_dir, to_name) = to;
        if from_dir.kind != FileKind::Directory || to_dir.kind != FileKind::Directory {
            return Err(VolumeError::NotDirectory);
        }
        let wccs = {
            // Always in the order of the locks, or two renames could wait for each other.
            let mut indexes = [Self::lock_index(from_dir), Self::lock_index(to_dir)];
            indexes.sort_unstable();
            let [first, second] = indexes;
            let _first = self.lock(first);
            let _second = if second == first {
                None
            } else {
                self.lock(second)
            };
            let before = (from_dir.attributes()?, to_dir.attributes()?);
            assume(who)?;
            let moved = attributes_at(from_dir.as_path()?.as_fd(), from_name).ok();
            let replaced = attributes_at(to_dir.as_path()?.as_fd(), to_name).ok();
            // rename(2) of a file to another name of its own does nothing.
            let is_same = moved
                .zip(replaced)
                .is_some_and(|(moved, there)| FileIdentity::of(&moved) == FileIdentity::of(&there));
            rustix::fs::renameat(
                from_dir.as_path()?,
                from_name.as_bytes(),
                to_dir.as_path()?,
                to_name.as_bytes(),
            )?;
            if !is_same {
                for dir in [from_dir, to_dir] {
                    self.ground.changes.count(&dir.identity);
                }
            }
            if let Some(replaced) = &replaced {
                self.ground.changes.count(&FileIdentity::of(replaced));
            }
            self.ground.let_go(replaced);
            if let Ok(node) = self.ground.enter(to_dir, to_name, Pace::Blocking) {
                self.ground.moved(&node, to_dir, to_name);
            }
            let wcc = |dir: &Node, before| Wcc {
                before: Some(before),
                after: dir.attributes().ok(),
            };
            (wcc(from_dir, before.0), wcc(to_dir, before.1))
        };
        if self.is_synchronous {
            // The new name first: a crash between the two must not lose both.
            self.sync_always(to_dir)?;
            if from_dir.identity != to_dir.identity {
                self.sync_always(from_dir)?;
            }
        }
        Ok(wccs)
    }

    fn link(
        &self,
        node: &Node,
        dir: &Node,
        name: &Name,
        who: &Identity,
    ) -> Result<(Attributes, Wcc)> {
        if node.kind == FileKind::Directory {
            return Err(VolumeError::IsDirectory);
        }
        let path = node.as_path()?;
        let target = proc_path(&path);
        let flags = AtFlags::SYMLINK_FOLLOW;
        let ((), wcc) = self.change(dir, who, || {
            Ok(rustix::fs::linkat(
                rustix::fs::CWD,
                &target,
                dir.as_path()?,
                name.as_bytes(),
                flags,
            )?)
        })?;
        self.ground.changes.count(&node.identity);
        self.sync(node)?;
        Ok((node.attributes()?, wcc))
    }

    fn begin_upload(
        &self,
        dir: &Arc<Node>,
        name: &Name,
        who: &Identity,
        session: Option<&[u8]>,
    ) -> Result<Upload> {
        let begun = upload::begin(dir, name, who, session)?;
        let is_lost = |upload: &Upload| -> Result<bool> {
            Ok(self.condemned.check(&upload::identity(upload)?).is_err())
        };
        if !is_lost(&begun)? {
            return Ok(begun);
        }
        // Left over from a sync that failed: nothing of it is to be trusted.
        self.abandon(&begun, who)?;
        drop(begun);
        upload::begin(dir, name, who, session)
    }

    fn publish(&self, upload: &Upload, name: &Name, who: &Identity) -> Result<Attributes> {
        let replaced = attributes_at(upload.dir.as_path()?.as_fd(), name).ok();
        if replaced.is_some_and(|there| there.kind != FileKind::Regular) {
            return Err(VolumeError::Exists);
        }
        if self.is_synchronous {
            // Data before name: a name must never lead to bytes that a power cut can take.
            self.sync_upload(upload, who)?;
        }
        self.change(&upload.dir, who, || upload::publish(upload, name))?;
        self.ground.let_go(replaced);
        attributes_at(upload.dir.as_path()?.as_fd(), name)
    }

    fn reserve(&self, upload: &Upload, bytes_total: u64) -> Result<()> {
        let taken = statx_at(upload.file.as_fd(), b"", AtFlags::EMPTY_PATH)?.used;
        let missing = bytes_total.saturating_sub(taken);
        self.ground.make_room(missing)?;
        upload::reserve(upload, bytes_total)
    }

    fn abandon(&self, upload: &Upload, who: &Identity) -> Result<()> {
        if !upload.is_named {
            return Ok(());
        }
        match self.remove(&upload.dir, &upload.name, who) {
            Ok(_) | Err(VolumeError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
